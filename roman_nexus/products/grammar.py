"""The tokens of file names and their order: one `Grammar` per kind of name.

A grammar is a row of parts. Each part is a regular expression with named tokens and a sentence for people, so a name
that does not fit is refused with the part at which it goes wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from roman_nexus.errors import FileNameError
from roman_nexus.products.levels import SUFFIXES

__all__ = ["COADD", "DETECTOR", "EXPOSURE", "GROUND", "LIGHTCURVE", "REFERENCE", "TRUTH", "Grammar", "Part", "Token"]

ELEMENTS = ("f062", "f087", "f106", "f129", "f146", "f158", "f184", "f213", "grism", "prism", "dark")


@dataclass(frozen=True, slots=True)
class Token:
    """How one token is written.

    Attributes
    ----------
    digits : int
        Width of a number; 0 for text.
    highest : int or None
        Largest number; the smallest is 1.
    upper : bool
        Upper case in metadata, lower case in names.
    """

    digits: int = 0
    highest: int | None = None
    upper: bool = False

    def read(self, text: str) -> int | str:
        """Turn the text in a name into the value."""
        if self.digits:
            return int(text)
        return text.upper() if self.upper else text

    def write(self, value: Any) -> str:
        """Turn the value into the text in a name."""
        if self.digits:
            return f"{int(value):0{self.digits}d}"
        return str(value).lower() if self.upper else str(value)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a name: what it is, its expression, and how it is composed.

    Attributes
    ----------
    title : str
    pattern : str
        Regular expression with named groups.
    expected : str
        For the message when it does not fit.
    template : str
        ``{token}`` for each token; left out when the first token is None.
    """

    title: str
    pattern: str
    expected: str
    template: str


class Grammar:
    """A row of parts.

    Parameters
    ----------
    kind : str
        For messages.
    parts : tuple of Part
    tokens : mapping of str to Token
        The tokens that are not plain text.
    """

    def __init__(self, kind: str, parts: tuple[Part, ...], tokens: Mapping[str, Token]) -> None:
        self.kind = kind
        self.parts = parts
        names = re.findall(r"\(\?P<(\w+)>", "".join(part.pattern for part in parts))
        self.tokens: dict[str, Token] = {name: tokens.get(name, Token()) for name in names}

    @cached_property
    def _whole(self) -> re.Pattern[str]:
        return re.compile("".join(part.pattern for part in self.parts) + r"\Z")

    def match(self, name: str) -> dict[str, str | None]:
        """Return the tokens of `name` as text.

        Raises
        ------
        FileNameError
            Naming the part that does not fit, or the number that is out of range.
        """
        found = self._whole.match(name)
        if found is None:
            raise self._explained(name)
        tokens: dict[str, str | None] = found.groupdict()
        for key, text in tokens.items():
            token = self.tokens[key]
            if text is not None and token.highest is not None and not 1 <= int(text) <= token.highest:
                msg = f"{name!r}: the {_title(key)} is {text}; it must be {1:0{token.digits}d} to {token.highest}"
                raise FileNameError(msg)
        return _settle_dark(tokens)

    def _explained(self, name: str) -> FileNameError:
        """Find the first part that does not fit."""
        start = 0
        for number, part in enumerate(self.parts):
            end = r"\Z" if number == len(self.parts) - 1 else ""
            found = re.match("".join(item.pattern for item in self.parts[: number + 1]) + end, name)
            if found is None:
                rest = name[start:] or "nothing"
                msg = f"{name!r} is no {self.kind} name: {part.title} expected at {rest!r}: {part.expected}"
                return FileNameError(msg)
            start = found.end()
        msg = f"{name!r} is no {self.kind} name: {name[start:]!r} is left over"
        return FileNameError(msg)

    def write(self, values: Mapping[str, Any]) -> str:
        """Compose a name from the values of its tokens.

        Raises
        ------
        FileNameError
            If a value is missing or cannot be written.
        """
        text = ""
        for part in self.parts:
            names = re.findall(r"\{(\w+)\}", part.template)
            given = [name for name in names if values[name] is not None]
            if names and not given:
                continue
            if given != names:
                msg = f"a {self.kind} name needs {' and '.join(names)} together; only {', '.join(given)} is given"
                raise FileNameError(msg)
            try:
                text += part.template.format(**{name: self.tokens[name].write(values[name]) for name in names})
            except (TypeError, ValueError) as error:
                msg = f"{part.title}: {', '.join(repr(values[name]) for name in names)} cannot be written: {error}"
                raise FileNameError(msg) from error
        return text


def _settle_dark(tokens: dict[str, str | None]) -> dict[str, str | None]:
    """Read ``_dark_decay`` as the suffix that it is, not as the optical element DARK and a suffix ``decay``."""
    suffix = tokens.get("suffix")
    if tokens.get("optical_element") == "dark" and f"dark_{suffix}" in SUFFIXES and suffix not in SUFFIXES:
        return {**tokens, "optical_element": None, "suffix": f"dark_{suffix}"}
    return tokens


def _title(token: str) -> str:
    return token.rstrip("_").replace("_", " ")


# --------------------------------------------------------------------------------------------- the seven grammars
def _number(name: str, digits: int, prefix: str = "") -> Part:
    pattern = rf"{prefix}(?P<{name}>\d{{{digits}}})"
    return Part(_title(name), pattern, f"{digits} digits", f"{prefix}{{{name}}}")


_NUMBERS = {
    "program": Token(5, 99999),  # flight programs end at 18445; tutorials use 99999
    "execution_plan": Token(2, 99),
    "pass_": Token(3, 999),
    "segment": Token(3, 999),
    "observation": Token(3, 999),
    "visit": Token(3, 999),
    "exposure": Token(4, 9999),
    "detector": Token(upper=True),
    "optical_element": Token(upper=True),
}
_VISIT = (
    _number("program", 5, "r"),
    _number("execution_plan", 2),
    _number("pass_", 3),
    _number("segment", 3),
    _number("observation", 3),
    _number("visit", 3),
    _number("exposure", 4, "_"),
)
# a filter that does not exist must not be taken for a suffix
_ELEMENT = Part(
    "the optical element",
    rf"(?:_(?P<optical_element>{'|'.join(ELEMENTS)})(?![a-z0-9])|(?!_f\d+(?:[_.]|\Z)))",
    f"one of {', '.join(ELEMENTS)}, or none",
    "_{optical_element}",
)


def _ending(extensions: str, words: str = r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*") -> Part:
    return Part(
        "suffix and extension",
        rf"(?:_(?P<suffix>(?!wfi\d\d[_.](?!transient)){words})\.(?P<ext>{extensions}))?",
        f"_<suffix>.<{extensions}> in lower case, or nothing for a file set",
        "_{suffix}.{ext}",
    )


DETECTOR = Grammar(
    "detector",
    (
        *_VISIT,
        Part("the detector", r"_(?P<detector>wfi(?:0[1-9]|1[0-8]))", "_wfi01 to _wfi18", "_{detector}"),
        _ELEMENT,
        _ending("asdf|parquet|png|fits|json"),
    ),
    _NUMBERS,
)
EXPOSURE = Grammar("exposure", (*_VISIT, _ending("asdf|fits", "[a-z][a-z0-9]*")), _NUMBERS)
COADD = Grammar(
    "skycell",
    (
        _number("program", 5, "r"),
        Part("the release", r"_(?P<release>p|[a-z]{1,2}\d+)", "p for prompt, or letters and a number", "_{release}"),
        Part(
            "the group",
            r"_(?P<group>v\d{14}|d\d{8}|p\d{5}|full|user)(?![a-z0-9])",
            "v and 14 digits, d and 8, p and 5, full or user",
            "_{group}",
        ),
        Part(
            "the skycell",
            r"_(?P<skycell>\d{3}[pm]\d{2}x\d{2}y\d{2})",
            "for example 270p65x69y50",
            "_{skycell}",
        ),
        _ELEMENT,
        _ending("asdf|parquet|json|png"),
    ),
    _NUMBERS,
)
GROUND = Grammar(
    "ground-test",
    (
        Part("the campaign", r"(?P<campaign>TVAC[12]|FPS)", "TVAC1, TVAC2 or FPS", "{campaign}"),
        Part("the test", r"_(?P<test>[A-Z0-9]+)", "capitals and digits", "_{test}"),
        Part("the test procedure", r"_(?P<otp>[A-Z0-9]+)", "capitals and digits", "_{otp}"),
        Part("the start", r"_(?P<start>\d{14})", "14 digits, YYYYMMDDhhmmss", "_{start}"),
        Part("the detector", r"_(?P<detector>WFI(?:0[1-9]|1[0-8]))", "_WFI01 to _WFI18", "_{detector}"),
        _ending("asdf", "[a-z0-9]+"),
    ),
    {},
)
TRUTH = Grammar(
    "truth-catalog",
    (
        Part("the HEALPix pixel", r"cat-(?P<healpix>0|[1-9]\d*)", "a number", "cat-{healpix}"),
        Part("the extension", r"\.(?P<ext>fits)", ".fits", ".{ext}"),
    ),
    {"healpix": Token(1)},
)
LIGHTCURVE = Grammar(
    "light-curve",
    (
        Part("the date", r"roman_sn1a_(?P<mjd>\d{5})", "roman_sn1a_ and five digits", "roman_sn1a_{mjd}"),
        Part("the filter", rf"_(?P<optical_element>{'|'.join(ELEMENTS[:8])})", "a filter", "_{optical_element}"),
        Part("the extension", r"\.(?P<ext>asdf)", ".asdf", ".{ext}"),
    ),
    {"mjd": Token(5), "optical_element": Token(upper=True)},
)
REFERENCE = Grammar(
    "reference",
    (
        Part("the observatory", r"roman", "roman", "roman"),
        Part("the instrument", r"(?:_(?P<instrument>wfi))?", "_wfi or none", "_{instrument}"),
        Part("the reference type", r"(?:_(?P<reftype>[a-z][a-z0-9-]*))?", "lower case", "_{reftype}"),
        Part("the serial number", r"_(?P<serial>\d{4})", "4 digits", "_{serial}"),
        Part("the extension", r"\.(?P<ext>asdf|pmap|imap|rmap|yaml|fits)", ".asdf or a mapping", ".{ext}"),
    ),
    {"serial": Token(4)},
)
