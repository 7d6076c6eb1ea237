"""The report as sections of sentences and tables, before it becomes text or HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roman_nexus.comparison.coordinates import SAME_MAS
from roman_nexus.comparison.sides import KIND_TITLES
from roman_nexus.dq import describe

if TYPE_CHECKING:
    from roman_nexus.comparison.pixels import PlaneDifference, WorstPixel
    from roman_nexus.comparison.result import Comparison

__all__ = ["Section", "heading", "number", "sections", "verdict"]

_CELL = 60  # characters of a value at most


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report.

    Attributes
    ----------
    title : str
    lines : tuple of str
        Sentences.
    columns : tuple of str
        Heads of the table; empty for no table. A head that ends in ``<`` is of a column of text.
    rows : tuple of tuple of str
    """

    title: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def heading(comparison: Comparison) -> tuple[str, ...]:
    """Return what was compared and how."""
    shape = " x ".join(map(str, comparison.shape))
    first, last = comparison.rows
    rows = "" if (first, last) == (0, comparison.shape[-2]) else f", rows {first} to {last - 1} only"
    lines = [f"rerun    {comparison.new_name}", f"archive  {comparison.old_name}"]
    how = f"{KIND_TITLES[comparison.kind]}, {shape}{rows}; differences are rerun minus archive"
    if comparison.mask:
        flags = describe(comparison.mask).replace(" + ", " or ")
        how += f"; pixels flagged {flags} in either are left out of the statistics"
    return (*lines, how)


def verdict(comparison: Comparison) -> str:
    """Return the outcome in one sentence."""
    if comparison.identical:
        return "Identical, but for what any rerun changes."
    found = list(comparison.differing)
    for group in ("data", "groupdq", "resultantdq"):  # a ramp has one for each resultant
        members = [name for name in found if name.startswith(f"{group}[")]
        if members:
            found[found.index(members[0])] = f"{group} in {len(members)} of {comparison.shape[0]} resultants"
            found = [name for name in found if name not in members]
    for side in ("rerun", "archive"):
        members = [name for name in found if name.endswith(f" (only in the {side})")]
        if len(members) > 2:
            found[found.index(members[0])] = f"{len(members)} arrays only in the {side}"
            found = [name for name in found if name not in members]
    return f"Different: {', '.join(found)}."


def sections(comparison: Comparison) -> list[Section]:
    """Return all sections that have something to say."""
    made = [
        _pixels(comparison),
        _errors(comparison),
        _worst(comparison),
        _flags(comparison),
        _jumps(comparison),
        _coordinates(comparison),
        _references(comparison),
        _calibration(comparison),
        _metadata(comparison),
        _arrays(comparison),
    ]
    return [section for section in made if section.lines or section.rows]


def _pixels(comparison: Comparison) -> Section:
    columns = ("plane<", "unit<", "compared", "equal", "NaN in one", "largest", "max ulp", "median", "scatter")
    rows = tuple(
        (plane.label, plane.unit, f"{plane.compared:,}", share(plane.identical, plane.compared),
         f"{plane.nan_only_new + plane.nan_only_old:,}", number(plane.max_abs), _count(plane.max_ulp),
         number(plane.median), number(plane.scatter))
        for plane in comparison.planes
    )  # fmt: skip
    notes = [note for plane in comparison.planes for note in _pixel_notes(plane)]
    flagged = [f"{plane.label} {plane.excluded_differing:,}" for plane in comparison.planes if plane.excluded_differing]
    if flagged:
        notes.append(f"left out for their flags, but different too: {', '.join(flagged)}")
    return Section("Pixels", tuple(notes), columns, rows)


def _pixel_notes(plane: PlaneDifference) -> Iterator[str]:
    """Say what the table has no column for."""
    if plane.dtype_new != plane.dtype_old:
        yield f"{plane.label} is {plane.dtype_new} in the rerun and {plane.dtype_old} in the archive"
    if plane.nan_examples:
        where = ", ".join(f"(x {x}, y {y})" for y, x in plane.nan_examples)
        counts = f"{plane.nan_only_new:,} pixels of the rerun only and {plane.nan_only_old:,} of the archive only"
        yield f"{plane.label} is NaN in {counts}, first at {where}"
    if plane.infinite_mismatch:
        count = f"{plane.infinite_mismatch:,}"
        yield f"{plane.label} is infinite on one side in {count} pixels, left out of the statistics"


def _errors(comparison: Comparison) -> Section:
    measured = [plane for plane in comparison.planes if plane.error_compared is not None]
    threshold = f"beyond {comparison.threshold_sigma:g}"
    columns = ("plane<", "compared", "median", "scatter", "largest", threshold)
    rows = tuple(
        (plane.label, f"{plane.error_compared:,}", number(plane.error_median), number(plane.error_scatter),
         number(plane.error_max), f"{plane.beyond_threshold:,}")
        for plane in measured
    )  # fmt: skip
    lines = (f"one error is err of the {comparison.error_from}, pixel by pixel",) if measured else ()
    return Section("In units of error", lines, columns if rows else (), rows)


def _worst(comparison: Comparison) -> Section:
    found: list[tuple[str, WorstPixel]] = []
    if comparison.kind == "image":
        for plane in comparison.planes:
            kept = plane.worst if plane.name == "data" else plane.worst[:1]
            found += [(plane.label, pixel) for pixel in kept]
    else:
        found = [(plane.label, pixel) for plane in comparison.planes for pixel in plane.worst]
        found = sorted(found, key=lambda item: -abs(item[1].difference))[:3]
    columns: tuple[str, ...] = ("plane<", "x", "y", "rerun", "archive", "difference", "in errors")
    rows: tuple[tuple[str, ...], ...] = tuple(
        (label, str(pixel.x), str(pixel.y), number(pixel.new, 6), number(pixel.old, 6), number(pixel.difference),
         number(pixel.in_errors))
        for label, pixel in found
    )  # fmt: skip
    if not comparison.error_from:
        columns, rows = columns[:-1], tuple(row[:-1] for row in rows)
    return Section("Pixels that differ most", (), columns if rows else (), rows)


def _flags(comparison: Comparison) -> Section:
    if not comparison.flags:
        return Section("Data quality", ("no data-quality array is in both products",))
    rows = tuple(
        (flags.label, change.name, f"{change.gained:,}", f"{change.lost:,}")
        for flags in comparison.flags
        for change in flags.changes
    )
    changed = [f"{flags.label} {flags.differing:,}" for flags in comparison.flags if not flags.same]
    names = ", ".join(dict.fromkeys(flags.name for flags in comparison.flags))
    line = f"pixels that differ in any bit: {', '.join(changed)}" if changed else f"{names}: no bit differs"
    columns = ("array<", "flag<", "gained", "lost") if rows else ()
    return Section("Data quality", (line,), columns, rows)


def _jumps(comparison: Comparison) -> Section:
    jumps = comparison.jumps
    if jumps is None:
        return Section("Jumps")
    line = f"{jumps.common:,} in both, {jumps.only_new:,} in the rerun only, {jumps.only_old:,} in the archive only"
    if not jumps.same_order and not jumps.only_new and not jumps.only_old:
        line += "; listed in another order"
    return Section("Jumps", (line,))


def _coordinates(comparison: Comparison) -> Section:
    wcs = comparison.wcs
    if wcs.note:
        return Section("Coordinates", (wcs.note,))
    if wcs.same:
        return Section("Coordinates", (f"the same to {SAME_MAS:g} mas at {wcs.points} pixels of a 9 x 9 grid",))
    lines = [
        f"shift at {wcs.points} pixels of a 9 x 9 grid: median {number(wcs.median_mas)} mas, "
        f"largest {number(wcs.max_mas)} mas",
        f"mean {_signed(wcs.mean_east_mas)} mas east, {_signed(wcs.mean_north_mas)} mas north",
    ]
    if wcs.corner_max_mas is not None:
        lines.append(f"the corners of the footprint move by up to {number(wcs.corner_max_mas)} mas")
    if wcs.one_sided:
        lines.append(f"{wcs.one_sided} pixels of the grid have a position in one product only")
    return Section("Coordinates", tuple(lines))


def _references(comparison: Comparison) -> Section:
    rows = tuple(
        (item.reftype, _value(item.new or "none"), _value(item.old or "none"), item.why)
        for item in comparison.references
    )
    lines = () if rows else ("the same are recorded in both",)
    return Section("References", lines, ("type<", "rerun<", "archive<", "how<") if rows else (), rows)


def _calibration(comparison: Comparison) -> Section:
    rows = tuple((item.key, _side(item, "rerun"), _side(item, "archive")) for item in comparison.calibration)
    return Section("Calibration steps", (), ("step<", "rerun<", "archive<") if rows else (), rows)


def _metadata(comparison: Comparison) -> Section:
    rows = tuple((item.key, _side(item, "rerun"), _side(item, "archive")) for item in comparison.metadata)
    lines = [] if rows else ["no key differs"]
    if comparison.expected:
        lines.append(f"changed by any rerun: {', '.join(item.key for item in comparison.expected)}")
    return Section("Metadata", tuple(lines), ("key<", "rerun<", "archive<") if rows else (), rows)


def _arrays(comparison: Comparison) -> Section:
    lines = []
    for item in comparison.arrays:
        if item.shape_new != item.shape_old:
            lines.append(f"{item.name} has shape {item.shape_new} in the rerun and {item.shape_old} in the archive")
        elif item.differing:
            lines.append(f"{item.name} differs in {item.differing:,} of {item.compared:,} values")
    equal = [item.name for item in comparison.arrays if item.same]
    if equal:
        lines.append(f"equal: {', '.join(equal)}")
    for side in ("rerun", "archive"):
        names = [item.name for item in comparison.one_sided if item.only_in == side]
        if names:
            lines.append(f"only in the {side}: {', '.join(names)}")
    return Section("Other arrays", tuple(lines))


def number(value: float | None, digits: int = 4) -> str:
    """Write a number with so many digits; a dash for what was not measured.

    Examples
    --------
    >>> from roman_nexus.comparison.sections import number
    >>> number(0.00012345), number(0.0), number(None)
    ('0.0001234', '0', '–')
    """
    return "–" if value is None else f"{value:.{digits}g}"


def _count(value: int | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if value < 1_000_000 else f"{value:.1e}"


def share(part: int, whole: int) -> str:
    """Write a percentage that is 100 only if nothing is missing.

    Examples
    --------
    >>> from roman_nexus.comparison.sections import share
    >>> share(999_999_999, 1_000_000_000), share(3, 3), share(0, 0)
    ('99.9999 %', '100 %', '–')
    """
    if not whole:
        return "–"
    if part == whole:
        return "100 %"
    percent = math.floor(1e6 * part / whole) / 1e4
    return f"{percent:.4f} %" if percent else "under 0.0001 %" if part else "0 %"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4g}"


def _side(item: Any, side: str) -> str:
    if item.only_in and item.only_in != side:
        return "(no such key)"
    return _value(item.new if side == "rerun" else item.old)


def _value(value: Any) -> str:
    """Write a value of the metadata in one short line; the end of a path tells more than its start."""
    if value is None:
        return "none"
    if value in ("?", -999999):
        return f"not set ({value})"
    text = " ".join(str(value).split())
    if len(text) <= _CELL:
        return text
    return f"…{text[-_CELL + 1 :]}" if "/" in text and " " not in text else f"{text[: _CELL - 1]}…"
