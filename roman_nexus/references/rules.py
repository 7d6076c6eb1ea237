"""Which of several reference files applies: the selection rule of CRDS, with its reasons.

A rule is *match, then use-after*. Each candidate says what it is for: values such as detector ``WFI01`` or exposure
type ``WFI_IMAGE|WFI_FLAT``. A value is met exactly, by one of several alternatives separated by ``|``, by a ``*``,
or does not matter (``N/A``). Of the candidates that meet all their values, those that meet most of them exactly
come first; of these, the latest ``useafter`` that is not after the start of the exposure wins. If none of them is
early enough, the next less exact group is asked. A rule may name ``N/A`` in place of a file: the type is then not
applicable, which is an answer and not a failure.

Source: CRDS user documentation, "Selectors" (MatchSelector weights, UseAfterSelector); behaviour verified against
crds 14.0.3. The answer does not depend on the order of the candidates: of two that are equal in everything, the
one whose file name sorts last wins, because CRDS names count upwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roman_nexus.errors import InputError
from roman_nexus.references.types import CRDS_KEYS, START_TIME

if TYPE_CHECKING:
    from roman_nexus.steps.step import ExposureInfo

__all__ = ["NOT_APPLICABLE", "Candidate", "Selection", "parse_time", "select", "selection_parameters"]

NOT_APPLICABLE = "N/A"
_UNDEFINED = "UNDEFINED"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file that a rule could choose.

    Attributes
    ----------
    name : str
        What goes into ``meta.ref_file``: ``crds://<file>``, an absolute path, or "N/A".
    match : tuple of (str, str)
        CRDS key and the value the file is for.
    useafter : str
        ISO 8601; empty means that time does not matter.
    path : Path or None
        Where the file is on this machine, whether or not it is there.
    """

    name: str
    match: tuple[tuple[str, str], ...] = ()
    useafter: str = ""
    path: Path | None = None

    @property
    def file(self) -> str:
        """File name without its folder."""
        return self.name.rsplit("/", 1)[-1] if self.name != NOT_APPLICABLE else NOT_APPLICABLE


@dataclass(frozen=True, slots=True)
class Selection:
    """The answer of a rule.

    Attributes
    ----------
    reftype : str
    chosen : Candidate or None
        None means that there is no file for these data.
    explanation : str
        One sentence for people.
    rejected : tuple of (Candidate, str)
        Every other candidate and why it lost.
    """

    reftype: str
    chosen: Candidate | None
    explanation: str
    rejected: tuple[tuple[Candidate, str], ...] = ()

    @property
    def not_applicable(self) -> bool:
        """True where the rule says that the type does not apply to these data."""
        return self.chosen is not None and self.chosen.name == NOT_APPLICABLE

    def explain(self) -> str:
        """Return the explanation and, line by line, why each other candidate lost."""
        lines = [self.explanation, *(f"  {candidate.file}: {why}" for candidate, why in self.rejected)]
        return "\n".join(lines)


def selection_parameters(exposure: ExposureInfo, extra: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the CRDS parameters of an exposure; `extra` adds or replaces some.

    Examples
    --------
    >>> from roman_nexus.steps.step import ExposureInfo
    >>> info = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.04)
    >>> selection_parameters(info)["ROMAN.META.INSTRUMENT.DETECTOR"]
    'WFI01'
    """
    parameters = {
        "ROMAN.META.INSTRUMENT.NAME": "WFI",
        CRDS_KEYS["detector"]: exposure.detector,
        CRDS_KEYS["optical_element"]: exposure.optical_element,
        CRDS_KEYS["exposure_type"]: exposure.exposure_type,
        START_TIME: exposure.start_time,
    }
    return parameters | normalize_parameters(extra or {})


def normalize_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Bring parameter names to CRDS spelling: upper case, starting with ``ROMAN.``; short names are accepted."""
    names = {**CRDS_KEYS, "start_time": START_TIME}
    normal = {}
    for key, value in parameters.items():
        name = names.get(key.lower(), key.upper())
        normal["ROMAN." + name if name.startswith("META.") else name] = str(value)
    return normal


def parse_time(text: Any) -> datetime:
    """Read an ISO 8601 time (UTC); a missing time of day is midnight.

    Raises
    ------
    InputError
        If `text` is not such a time.

    Examples
    --------
    >>> parse_time("2027-04-01T00:00:00.000")
    datetime.datetime(2027, 4, 1, 0, 0)
    """
    value = getattr(text, "isot", text)
    if isinstance(value, Mapping):
        value = value.get("value", value)
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    except ValueError as error:
        msg = f"time {text!r} cannot be read; expected ISO 8601, for example 2027-04-01T00:00:00.000"
        raise InputError(msg) from error
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def select(reftype: str, parameters: Mapping[str, Any], candidates: Iterable[Candidate]) -> Selection:
    """Choose the reference file for an exposure.

    Parameters
    ----------
    reftype : str
    parameters : mapping
        Values of the exposure, by CRDS key (any case, with or without ``ROMAN.``) or by short name ("detector",
        "optical_element", "exposure_type", "start_time").
    candidates : iterable of Candidate
        In any order.

    Returns
    -------
    Selection

    Raises
    ------
    InputError
        If the start of the exposure or a ``useafter`` cannot be read as a time.

    Examples
    --------
    >>> key = "ROMAN.META.INSTRUMENT.DETECTOR"
    >>> flats = [Candidate(f"crds://flat_{year}.asdf", ((key, "WFI01"),), f"{year}-05-01") for year in (2020, 2026)]
    >>> choice = select("flat", {"detector": "WFI01", "start_time": "2027-04-01"}, flats)
    >>> choice.chosen.name
    'crds://flat_2026.asdf'
    >>> choice.explanation
    '2 candidates for FLAT WFI01; 2 match; useafter 2026-05-01 wins over 2020-05-01'
    """
    known = normalize_parameters(parameters)
    pool = sorted(candidates, key=lambda item: (item.file, item.name, item.useafter, item.match))
    rejected: list[tuple[Candidate, str]] = []
    matching: dict[int, list[Candidate]] = {}
    for candidate in pool:
        weight, reason = _weigh(candidate, known)
        if weight is None:
            rejected.append((candidate, reason))
        else:
            matching.setdefault(weight, []).append(candidate)
    head = _head(reftype, known, pool)
    n_matching = sum(map(len, matching.values()))
    if not matching:
        return Selection(reftype, None, f"{head}; none matches{_reasons(rejected)}", tuple(rejected))

    start = _start_time(known) if any(item.useafter for group in matching.values() for item in group) else None
    for weight in sorted(matching, reverse=True):
        in_time, late = _split_by_time(matching[weight], start)
        rejected += late
        if in_time:
            less_exact = [item for other in matching if other < weight for item in matching[other]]
            rejected += [(item, "matches less exactly") for item in less_exact]
            chosen, losers, why = _latest(in_time)
            text = f"{head}; {n_matching} match{'es' if n_matching == 1 else ''}; {why}"
            return Selection(reftype, chosen, text, tuple(rejected + losers))
    late = [entry for entry in rejected if entry[1].startswith("useafter")]
    text = f"{head}; {n_matching} match{'es' if n_matching == 1 else ''}, but too late{_reasons(late)}"
    return Selection(reftype, None, text, tuple(rejected))


def _reasons(rejected: Sequence[tuple[Candidate, str]]) -> str:
    """Say why the first two of the losers lost."""
    shown = "; ".join(f"{candidate.file}: {why}" for candidate, why in rejected[:2])
    more = f"; and {len(rejected) - 2} more" if len(rejected) > 2 else ""
    return f" ({shown}{more})" if shown else ""


def _weigh(candidate: Candidate, known: Mapping[str, str]) -> tuple[int | None, str]:
    """Count the values that are met exactly; None and the reason where one is not met."""
    weight = 0
    for key, rule in candidate.match:
        if not rule.strip():
            return None, f"does not say which {_label(key)} it is for"
        value = _condition(known.get(key, _UNDEFINED))
        wanted = _condition(rule)
        if wanted == NOT_APPLICABLE or value == NOT_APPLICABLE:
            continue  # does not matter, and does not count either
        alternatives = _alternatives(wanted)
        if value != "*" and "*" not in alternatives and value not in alternatives:
            return None, f"is for {_label(key)} {rule.strip('| ')}, not {value}"
        weight += 1
    return weight, ""


def _condition(value: str) -> str:
    """Bring a value to the spelling in which CRDS compares: upper case, numbers as floats."""
    text = str(value).strip().upper()
    if text in ("ANY", "*"):
        return "*"
    if text in ("N/A", "NOT APPLICABLE", "NOT_APPLICABLE"):
        return NOT_APPLICABLE
    if text in ("TRUE", "FALSE"):
        return text[0]
    return str(float(text)) if _NUMBER.fullmatch(text) else text


def _alternatives(rule: str) -> list[str]:
    if "|" not in rule:
        return [rule]
    return [_condition(part) for part in rule.split("|") if part.strip()]


def _split_by_time(
    group: Sequence[Candidate], start: datetime | None
) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Part candidates whose useafter has come from those that are too late."""
    in_time, late = [], []
    for item in group:
        if start is not None and item.useafter and parse_time(item.useafter) > start:
            late.append((item, f"useafter {_short(parse_time(item.useafter))} is after the exposure ({_short(start)})"))
        else:
            in_time.append(item)
    return in_time, late


def _latest(group: Sequence[Candidate]) -> tuple[Candidate, list[tuple[Candidate, str]], str]:
    """Return the winner, the losers with reasons, and the reason in words."""

    def rank(item: Candidate) -> tuple[datetime, str, str]:
        return (parse_time(item.useafter) if item.useafter else datetime.min, item.file, item.name)

    chosen, *others = sorted(group, key=rank, reverse=True)
    wins = f"useafter {_short(rank(chosen)[0])}" if chosen.useafter else "no useafter"
    losers = []
    for item in others:
        same = rank(item)[0] == rank(chosen)[0]
        reason = f"same useafter as {chosen.file}, whose name sorts later" if same else f"older than {chosen.file}"
        losers.append((item, reason))
    if not others:
        why = f"{wins} is taken"
    elif rank(others[0])[0] == rank(chosen)[0]:
        why = f"{wins} occurs more than once and {chosen.file} sorts last"
    else:
        why = f"{wins} wins over {_short(rank(others[0])[0])}"
    if chosen.name == NOT_APPLICABLE:
        why += " and says that the type does not apply (N/A)"
    return chosen, losers, why


def _start_time(known: Mapping[str, str]) -> datetime:
    if not known.get(START_TIME):
        msg = "the start time of the exposure is not known; give parameters={'start_time': '2027-04-01T00:00:00'}"
        raise InputError(msg)
    return parse_time(known[START_TIME])


def _head(reftype: str, known: Mapping[str, str], pool: Sequence[Candidate]) -> str:
    keys = dict.fromkeys(key for item in pool for key, _ in item.match)
    what = " ".join([reftype.upper(), *(known.get(key, f"(no {_label(key)})") for key in keys)])
    return f"{len(pool)} candidate{'' if len(pool) == 1 else 's'} for {what}"


def _label(key: str) -> str:
    """Return what people call a key: "optical element", "exposure type"."""
    for name, crds in CRDS_KEYS.items():
        if crds == key:
            return name.replace("_", " ")
    return key.rsplit(".", 1)[-1].lower().replace("_", " ")


def _short(time: datetime | None) -> str:
    if time is None:
        return "-"
    return time.date().isoformat() if time == datetime(time.year, time.month, time.day) else time.isoformat(sep=" ")
