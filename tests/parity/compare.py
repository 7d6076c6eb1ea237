"""Compare what both pipelines made of the synthetic cases, and judge by the tolerances of the specification."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cases
import cases_fit  # noqa: F401 - registers its checks
import cases_image  # noqa: F401
import cases_ramp  # noqa: F401
import numpy as np

from roman_nexus.errors import RomanNexusError
from roman_nexus.verify.agreement import NOTHING, Agreement, combine, compare_arrays


@dataclass
class Row:
    """One line of the table: a check, or a part of it."""

    check: str
    what: str
    compared: int
    identical: float
    max_ulp: int | None
    passed: bool
    note: str = ""
    worst: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Pair:
    """One case on both sides."""

    case: cases.Case
    ours: dict[str, np.ndarray]
    theirs: dict[str, np.ndarray]
    about_ours: dict[str, Any]
    about_theirs: dict[str, Any]


def pairs(folder: Path, check: str, quick: bool) -> Iterator[Pair]:
    """Read back the results of a check, case by case.

    Raises
    ------
    RuntimeError
        If one side did not run, failed, or started from other inputs.
    """
    for number, case in enumerate(cases.CHECKS[check](quick)):
        sides = []
        for side in ("ours", "theirs"):
            path = folder / check / f"{number:02d}.{side}.npz"
            if not path.exists():
                msg = f"{side} has no result of case {case.name!r}"
                raise RuntimeError(msg)
            with np.load(path) as stored:
                arrays = {name: stored[name] for name in stored.files}
            about = json.loads(str(arrays.pop("about")))
            if about["digest"] != cases.digest(case):
                msg = f"{side} ran case {case.name!r} on other inputs"
                raise RuntimeError(msg)
            sides.append((arrays, about))
        (ours, about_ours), (theirs, about_theirs) = sides
        yield Pair(case, ours, theirs, about_ours, about_theirs)


def agreement(pair: Pair, name: str, where: np.ndarray | None = None) -> Agreement:
    """Compare one array of a case."""
    if error := pair.about_ours.get("error"):
        msg = f"case {pair.case.name!r}: {error}"
        raise RuntimeError(msg)
    flags = name.split()[-1] in ("dq", "groupdq", "pixeldq", "flags")
    try:
        found = compare_arrays(pair.ours[name], pair.theirs[name], flags=flags, where=where)
    except (RomanNexusError, KeyError) as error:
        msg = f"case {pair.case.name!r}, {name}: {error}"
        raise RuntimeError(msg) from error
    return found.labelled(f"{pair.case.name}: {name}")


Judge = Callable[[Agreement], bool]


def identical(found: Agreement) -> bool:
    """Every value is bit-identical."""
    return found.identical == found.compared > 0


def mostly(share: float, ulps: int) -> Judge:
    """At least this share is identical, the rest is at most so many units in the last place apart."""

    def judge(found: Agreement) -> bool:
        close = found.identical_fraction >= share and found.max_ulp <= ulps
        return found.compared > 0 and close and not found.nan_mismatch

    return judge


def within_one(share: float) -> Judge:
    """At least this share is at most one unit in the last place apart."""

    def judge(found: Agreement) -> bool:
        return found.compared > 0 and found.within_one_fraction >= share and not found.nan_mismatch

    return judge


def row(check: str, what: str, found: Agreement, judge: Judge, note: str = "") -> Row:
    """Make a line of the table of one comparison."""
    if found.nan_mismatch:
        note = f"{found.nan_mismatch} NaN on one side only. {note}".strip()
    worst = [str(item) for item in found.worst]
    share = found.identical_fraction
    return Row(check, what, found.compared, share, found.max_ulp, judge(found), note, worst)


def failed(check: str, what: str, problem: object) -> Row:
    """Make a line for something that could not be compared."""
    return Row(check, what, 0, 0.0, None, False, str(problem))


def compare_all(folder: Path, check: str, quick: bool, wanted: dict[str, tuple[list[str], Judge]]) -> list[Row]:
    """Compare the same arrays of all cases of a check; one line for each group of arrays."""
    totals = dict.fromkeys(wanted, NOTHING)
    for pair in pairs(folder, check, quick):
        for what, (names, _) in wanted.items():
            there = [name for name in names if name in pair.theirs]
            totals[what] = combine([totals[what], *(agreement(pair, name) for name in there)])
    return [row(check, what, totals[what], judge) for what, (_, judge) in wanted.items()]


def statement(check: str, what: str, results: list[bool], note: str = "") -> Row:
    """Make a line of things that are equal or not."""
    share = sum(results) / len(results) if results else 0.0
    return Row(check, what, len(results), share, None, bool(results) and all(results), note)
