"""The levels of Roman data, L0 to L5: what they are, who makes them, when they come and what replaces them.

Data, and small questions asked of it. Facts are those of the mission's data-release pages (latencies, access, what is
overwritten) and of the file suffixes in use. Latencies are goals, counted from the acquisition (L1, L2) or from the
arrival of the last input (L3, L4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from roman_nexus.errors import ProductLevelError

__all__ = ["LEVELS", "SUFFIXES", "Level", "Suffix", "expected_suffixes", "level_of", "stop_rule", "suffix"]

Scope = Literal["detector", "exposure", "skycell", "any"]
Access = Literal["public", "restricted"]


@dataclass(frozen=True, slots=True)
class Level:
    """One level of data.

    Attributes
    ----------
    number : int
        0 to 5.
    title : str
    made_by : str
        What makes it, from what.
    latency : timedelta or None
        Goal for prompt products; None where there is none.
    counted_from : str
        What the latency is counted from.
    access : {"public", "restricted"}
    reprocessed : str
        What happens to a product when it is made again.
    superseded_by : str
        What takes its place for good.
    """

    number: int
    title: str
    made_by: str
    latency: timedelta | None
    counted_from: str
    access: Access
    reprocessed: str
    superseded_by: str

    @property
    def name(self) -> str:
        """Short name, "L0" to "L5"."""
        return f"L{self.number}"


_IN_PLACE = "overwritten in place, no version kept"

#: The six levels by number.
LEVELS: dict[int, Level] = {
    level.number: level
    for level in (
        Level(0, "packets from the spacecraft", "ground system", None, "", "restricted", "kept as received", "nothing"),
        Level(
            1, "uncalibrated ramps", "formatting of L0", timedelta(hours=24), "acquisition", "public",
            _IN_PLACE, "the same product, formatted again",
        ),
        Level(
            2, "calibrated rate images", "exposure pipeline from L1", timedelta(hours=48), "acquisition", "public",
            _IN_PLACE, "the same product, reprocessed",
        ),
        Level(
            3, "mosaics on skycells", "mosaic pipeline from L2", timedelta(days=5), "last input", "public",
            _IN_PLACE + " (prompt); a new release (release products)",
            "the product of a data release for the same skycell, filter and group; the prompt one is removed later",
        ),
        Level(
            4, "source catalogs and segmentation maps", "catalog pipelines from L2 and L3", timedelta(days=7),
            "last input", "public", _IN_PLACE + " (prompt); a new release (release products)",
            "the product of a data release for the same skycell, filter and group; the prompt one is removed later",
        ),
        Level(
            5, "community products", "science teams and the other science center", None, "", "public",
            "as its authors say", "as its authors say",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Suffix:
    """One kind of file, known by the suffix of its name.

    Attributes
    ----------
    name : str
        The suffix, for example "cal".
    level : int or None
        None for what has no level: associations, pictures, intermediate results.
    extension : str
    scopes : tuple of str
        What one file covers: "detector", "exposure" or "skycell".
    title : str
    archived : bool
        False for intermediate results of a rerun, which are never in the archive.
    expected : bool
        Whether the archive normally has one in each file set.
    """

    name: str
    level: int | None
    extension: str
    scopes: tuple[Scope, ...]
    title: str
    archived: bool = True
    expected: bool = True


_DETECTOR: tuple[Scope, ...] = ("detector",)
_SKYCELL: tuple[Scope, ...] = ("skycell",)
_BOTH: tuple[Scope, ...] = ("detector", "skycell")
_STEP_OUTPUTS = {
    "dqinit": "after dq_init", "saturation": "after saturation", "refpix": "after refpix",
    "dark_decay": "after dark_decay", "wfi18_transient": "after wfi18_transient", "linearity": "after linearity",
    "rampfit": "after ramp_fit", "darkcurrent": "after dark_current", "assignwcs": "after assign_wcs",
    "photomstep": "after photom", "photom": "after photom", "flat": "after flat_field",
    "tweakregstep": "after tweakreg", "tweakreg": "after tweakreg", "skymatch": "after skymatch",
    "outlierdetection": "after outlier_detection", "flux": "after flux", "mbcat": "multiband catalog of a rerun",
}  # fmt: skip

#: Every known suffix by name.
SUFFIXES: dict[str, Suffix] = {
    entry.name: entry
    for entry in (
        Suffix("uncal", 1, "asdf", _DETECTOR, "uncalibrated ramp"),
        Suffix("gw", 1, "asdf", _DETECTOR, "guide-window data", expected=False),
        Suffix("face", 1, "asdf", ("exposure",), "attitude from the guide windows", expected=False),
        Suffix("cal", 2, "asdf", _DETECTOR, "calibrated rate image"),
        Suffix("wcs", 2, "asdf", _DETECTOR, "coordinate system only"),
        Suffix("coadd", 3, "asdf", _SKYCELL, "mosaic"),
        Suffix("cat", 4, "parquet", _BOTH, "source catalog"),
        Suffix("segm", 4, "asdf", _BOTH, "segmentation map"),
        Suffix("asn", None, "json", _SKYCELL, "association: what went in", expected=False),
        Suffix("preview", None, "png", _BOTH, "picture", expected=False),
        Suffix("thumb", None, "png", _BOTH, "small picture", expected=False),
        *(Suffix(name, None, "asdf", ("any",), title, False, False) for name, title in _STEP_OUTPUTS.items()),
    )
}

_NO_CATALOG_ELEMENTS = {
    "GRISM": "spectra are extracted by the other science center",
    "PRISM": "spectra are extracted by the other science center",
    "DARK": "nothing of the sky is seen",
}
_NO_CATALOG_SURVEYS = {"GBTDS": "its mosaics, light curves and catalogs come from the other science center"}


def level_of(number: int) -> Level:
    """Return a level by its number.

    Raises
    ------
    ProductLevelError
        If there is no such level.

    Examples
    --------
    >>> level_of(2).latency
    datetime.timedelta(days=2)
    """
    if number not in LEVELS:
        msg = f"there is no level {number!r}; the levels of Roman data are 0 to 5"
        raise ProductLevelError(msg)
    return LEVELS[number]


def suffix(name: str) -> Suffix:
    """Return what is known of a file-name suffix.

    Raises
    ------
    ProductLevelError
        If the suffix is not known.

    Examples
    --------
    >>> suffix("cat").extension
    'parquet'
    """
    if name not in SUFFIXES:
        msg = f"suffix {name!r} is not known; the archive's are {', '.join(_archived())}"
        raise ProductLevelError(msg)
    return SUFFIXES[name]


def _archived() -> Iterator[str]:
    return (entry.name for entry in SUFFIXES.values() if entry.archived)


def stop_rule(optical_element: str | None = None, survey: str | None = None) -> str | None:
    """Say why the pipelines stop after Level 2, or return None where they go on to mosaics and catalogs.

    Parameters
    ----------
    optical_element : str, optional
        For example "F158" or "GRISM"; upper or lower case.
    survey : str, optional
        For example "GBTDS".

    Examples
    --------
    >>> stop_rule("grism")
    'GRISM: stops after Level 2, spectra are extracted by the other science center'
    >>> stop_rule("F158") is None
    True
    """
    for key, rules in ((optical_element, _NO_CATALOG_ELEMENTS), (survey, _NO_CATALOG_SURVEYS)):
        if key is not None and key.upper() in rules:
            return f"{key.upper()}: stops after Level 2, {rules[key.upper()]}"
    return None


def expected_suffixes(
    scope: Scope, *, optical_element: str | None = None, survey: str | None = None
) -> tuple[str, ...]:
    """List the suffixes that the archive normally has for one file set.

    Parameters
    ----------
    scope : {"detector", "exposure", "skycell"}
    optical_element, survey : str, optional
        See `stop_rule`.

    Examples
    --------
    >>> expected_suffixes("detector", optical_element="F158")
    ('uncal', 'cal', 'wcs', 'cat', 'segm')
    >>> expected_suffixes("detector", optical_element="PRISM")
    ('uncal', 'cal', 'wcs')
    """
    highest = 2 if stop_rule(optical_element, survey) else 5
    return tuple(
        entry.name
        for entry in SUFFIXES.values()
        if entry.expected and scope in entry.scopes and entry.level is not None and entry.level <= highest
    )
