"""The report of a comparison with the mission's pipeline: text, HTML and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from roman_nexus.errors import OutputError
from roman_nexus.verify.mission import StepCost
from roman_nexus.verify.stepwise import ArrayRow, ValueRow

__all__ = ["VerifyReport"]

_HEAD = ("step", "array", "compared", "identical", "max ulp", "criterion", "verdict", "note")


@dataclass(frozen=True)
class VerifyReport:
    """What agrees and what does not.

    Attributes
    ----------
    input_name : str
    detector : str
    arrays : tuple of ArrayRow
        In the order of the steps.
    values : tuple of ValueRow
        Metadata.
    costs : tuple of StepCost
        What each step cost the mission's pipeline; the last is the total.
    seconds : dict of str to float
        What our run took, by step, added up over the threads; "wall" is the wall time.
    versions : dict of str to str
        Packages on the mission's side.
    references : dict of str to str
        Reference type to file name.
    """

    input_name: str
    detector: str
    arrays: tuple[ArrayRow, ...]
    values: tuple[ValueRow, ...]
    costs: tuple[StepCost, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Everything is within its criterion."""
        return bool(self.arrays) and not self.failures

    @property
    def failures(self) -> tuple[ArrayRow | ValueRow, ...]:
        """What is not."""
        rows: list[ArrayRow | ValueRow] = [*self.arrays, *self.values]
        return tuple(row for row in rows if not row.passed)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "input": self.input_name,
            "detector": self.detector,
            "passed": self.passed,
            "arrays": [row.to_dict() for row in self.arrays],
            "values": [row.to_dict() for row in self.values],
            "mission_costs": [
                {"step": cost.step, "wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_mb": cost.peak_mb}
                for cost in self.costs
            ],
            "seconds": dict(self.seconds),
            "versions": dict(self.versions),
            "references": dict(self.references),
        }

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    def to_html(self) -> str:
        """Return the report as a page that needs nothing else."""
        parts = [
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
            f"<title>{escape(self._title())}</title><style>{_STYLE}</style></head><body>",
            self._repr_html_(),
            "</body></html>",
        ]
        return "\n".join(parts)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the report; the suffix decides: .html, .json, anything else is text.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        target = Path(path)
        text = {".html": self.to_html, ".json": self.to_json}.get(target.suffix, self.__str__)()
        part = target.with_name(f".{target.name}.part-{os.getpid()}")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(target)
        except OSError as error:
            part.unlink(missing_ok=True)
            msg = f"the report cannot be written to {target}: {error}; name another file"
            raise OutputError(msg) from error
        return target

    def __str__(self) -> str:
        lines = [self._title(), "", *_text_table(_HEAD, [_array_cells(row) for row in self.arrays]), ""]
        values = [_short(_value_cells(row)) for row in self.values]
        lines += [*_text_table(("value", "ours", "theirs", "verdict", "note"), values), "", *self._cost_lines()]
        if self.failures:
            lines += ["", "What does not agree", *(f"  {line}" for row in self.failures for line in _explain(row))]
        return "\n".join([*lines, "", self._verdict()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        failed = [f"<li>{escape(line.strip())}</li>" for row in self.failures for line in _explain(row)]
        worst = f"<h2>What does not agree</h2><ul>{''.join(failed)}</ul>" if failed else ""
        costs = "".join(f"<li>{escape(line)}</li>" for line in self._cost_lines())
        return (
            f"<h1>{escape(self._title())}</h1><p><b>{escape(self._verdict())}</b></p>"
            + _html_table(_HEAD, [_array_cells(row) for row in self.arrays])
            + _html_table(("value", "ours", "theirs", "verdict", "note"), [_value_cells(row) for row in self.values])
            + worst
            + f"<ul>{costs}</ul>"
        )

    def _title(self) -> str:
        pipeline = f"romancal {self.versions.get('romancal', '')}".strip()
        return f"{self.input_name} ({self.detector}): roman_nexus against {pipeline}"

    def _verdict(self) -> str:
        total = len(self.arrays) + len(self.values)
        if self.passed:
            return f"agrees: {total} of {total} within their criterion"
        return f"does not agree: {len(self.failures)} of {total} outside their criterion"

    def _cost_lines(self) -> list[str]:
        lines = []
        if self.costs:
            total = self.costs[-1]
            lines.append(
                f"mission pipeline: {total.wall_s:.1f} s wall, {total.cpu_s:.1f} s CPU, "
                f"peak memory {total.peak_mb:.0f} MB"
            )
        if "wall" in self.seconds:
            lines.append(f"roman_nexus: {self.seconds['wall']:.1f} s wall")
        return lines


_STYLE = (
    "body{font:14px sans-serif;margin:2em;max-width:80em}table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.2em .7em;text-align:left;border-bottom:1px solid #ccc}tr.failed td{background:#fde8e8}"
)


def _array_cells(row: ArrayRow) -> tuple[str, ...]:
    found = row.agreement
    note = f"{found.nan_mismatch} NaN on one side only. {row.note}".strip() if found.nan_mismatch else row.note
    return (row.step, row.array, str(found.compared), percent(found.identical_fraction), str(found.max_ulp),
            row.tolerance, _word(row.passed), note)  # fmt: skip


def _value_cells(row: ValueRow) -> tuple[str, ...]:
    return row.name, row.ours, row.theirs, _word(row.passed), row.note


def _short(cells: Sequence[str], width: int = 40) -> tuple[str, ...]:
    """Cut long values for the text; the other forms have them in full."""
    return tuple(cell if len(cell) <= width else f"{cell[: width - 3]}..." for cell in cells)


def percent(share: float) -> str:
    """Write a share so that "100 %" means all of them.

    Examples
    --------
    >>> from roman_nexus.verify.report import percent
    >>> percent(1.0), percent(0.9999999), percent(0.98765)
    ('100 %', '99.99999 %', '98.765 %')
    """
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    text = f"{100 * share:.3f}"
    return f"{100 * share:.7g} %" if text == "100.000" else f"{text} %"


def _word(passed: bool) -> str:
    return "pass" if passed else "FAIL"


def _explain(row: ArrayRow | ValueRow) -> list[str]:
    """Say where a row fails, with its worst pixels."""
    if isinstance(row, ValueRow):
        return [f"{row.name}: ours {row.ours}, theirs {row.theirs}"]
    lines = [f"{row.step} {row.array}: {percent(row.agreement.identical_fraction)} identical, wanted {row.tolerance}"]
    return lines + [f"  {item}" for item in row.agreement.worst]


def _text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    table = [head, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr{' class=failed' if 'FAIL' in row else ''}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
