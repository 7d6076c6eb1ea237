"""The report as text and as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from roman_nexus.comparison.sections import Section, heading, sections, verdict

if TYPE_CHECKING:
    from roman_nexus.comparison.result import Comparison

__all__ = ["html_report", "text_report"]

_FOLDED = 12  # longer tables are folded in HTML

# Colours are those of the page around, so that the report can be read on light and on dark ground.
_STYLE = """
.rn-comparison {font-size: 0.95em; line-height: 1.45}
.rn-comparison .rn-verdict {font-weight: 600; margin: 0.4em 0; padding: 0.3em 0.7em;
  border-left: 0.3em solid #0072b2; background: rgba(128, 128, 128, 0.12)}
.rn-comparison .rn-different {border-left-color: #d55e00}
.rn-comparison h4 {margin: 0.9em 0 0.2em 0; font-size: 1em}
.rn-comparison p {margin: 0.1em 0}
.rn-comparison table {border-collapse: collapse; margin: 0.2em 0; font-variant-numeric: tabular-nums; color: inherit}
.rn-comparison th, .rn-comparison td {padding: 0.12em 0.8em 0.12em 0; text-align: right; color: inherit;
  background: transparent; border: none; border-bottom: 1px solid rgba(128, 128, 128, 0.35)}
.rn-comparison th {font-weight: 600}
.rn-comparison .rn-text {text-align: left; overflow-wrap: anywhere}
"""


def text_report(comparison: Comparison) -> str:
    """Write the report as text."""
    lines = ["Comparison", *(f"  {line}" for line in heading(comparison)), "", verdict(comparison)]
    for section in sections(comparison):
        lines += ["", section.title, *(f"  {line}" for line in section.lines)]
        lines += [f"  {line}" for line in _align(section)]
    return "\n".join(lines)


def _align(section: Section) -> list[str]:
    """Lay a table out in columns: text to the left, numbers to the right."""
    if not section.rows:
        return []
    heads = [head.rstrip("<") for head in section.columns]
    widths = [max(map(len, column)) for column in zip(heads, *section.rows, strict=True)]
    lines = []
    for row in (heads, *section.rows):
        cells = (
            cell.ljust(width) if head.endswith("<") else cell.rjust(width)
            for cell, width, head in zip(row, widths, section.columns, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return lines


def html_report(comparison: Comparison) -> str:
    """Write the report as a piece of HTML for a notebook."""
    kind = "" if comparison.identical else " rn-different"
    head = "<br>".join(_head_line(line) for line in heading(comparison))
    body = "".join(_html_section(section) for section in sections(comparison))
    return (
        f'<div class="rn-comparison"><style>{_STYLE}</style><p>{head}</p>'
        f'<p class="rn-verdict{kind}">{escape(verdict(comparison))}</p>{body}</div>'
    )


def _head_line(line: str) -> str:
    label, gap, rest = line.partition("  ")
    return f"<b>{escape(label)}</b> {escape(rest.strip())}" if gap else escape(line)


def _html_section(section: Section) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in section.lines)
    table = _html_table(section) if section.rows else ""
    if len(section.rows) > _FOLDED:
        table = f"<details><summary>{len(section.rows)} rows</summary>{table}</details>"
    return f"<h4>{escape(section.title)}</h4>{lines}{table}"


def _html_table(section: Section) -> str:
    kinds = [' class="rn-text"' if head.endswith("<") else "" for head in section.columns]
    heads = "".join(
        f"<th{kind}>{escape(head.rstrip('<'))}</th>" for head, kind in zip(section.columns, kinds, strict=True)
    )
    rows = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in section.rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
