"""``roman-nexus info``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["command"]

_SHOWN = (
    "instrument.detector", "instrument.optical_element", "exposure.type", "exposure.start_time",
    "exposure.ma_table_number", "exposure.nresultants", "exposure.frame_time", "exposure.effective_exposure_time",
    "observation.visit_id", "wcsinfo.ra_ref", "wcsinfo.dec_ref", "wcsinfo.s_region", "reftype", "useafter",
    "statistics.image_median", "statistics.good_pixel_fraction", "calibration_software_name",
    "calibration_software_version", "file_date",
)  # fmt: skip


def command(
    products: Annotated[list[Path], typer.Argument(help="ASDF files.", show_default=False)],
    everything: Annotated[bool, typer.Option("--all", help="All metadata.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a product is, from its header alone."""
    from roman_nexus.errors import FileFormatError
    from roman_nexus.products.blocks import peek

    records: list[dict[str, Any]] = []
    problems = []
    for path in products:
        try:
            tree = peek(path)
        except FileFormatError as error:  # the others are shown all the same
            problems.append(str(error))
            continue
        records.append({"file": str(path), **tree})
        if not as_json:
            _show(path, tree, everything)
    if problems:
        raise FileFormatError("\n".join(problems))
    if as_json:
        typer.echo(json.dumps(records, indent=1, default=str))


def _show(path: Path, tree: Mapping[str, Any], everything: bool) -> None:
    flat = dict(_flatten(tree.get("meta", {})))
    typer.echo(f"{path}{_what(path)}")
    for name in flat if everything else (name for name in _SHOWN if name in flat):
        typer.echo(f"  {name:<34} {flat[name]}")
    for name, status in tree.get("meta", {}).get("cal_step", {}).items() if not everything else ():
        if status != "INCOMPLETE":
            typer.echo(f"  cal_step.{name:<25} {status}")
    for name, value in tree.items():
        if name != "meta" and hasattr(value, "shape"):
            typer.echo(f"  array {name:<28} {value.dtype!s:<9} {' x '.join(map(str, value.shape))}")


def _what(path: Path) -> str:
    """Say what the name of the file says."""
    from roman_nexus.errors import FileNameError
    from roman_nexus.products.levels import SUFFIXES
    from roman_nexus.products.names import parse

    try:
        known = SUFFIXES.get(getattr(parse(path), "suffix", None) or "")
    except FileNameError:
        return ""
    if known is None:
        return ""
    return f" (Level {known.level} {known.title})" if known.level is not None else f" ({known.title})"


def _flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, Mapping) and name != "wcs":
            yield from _flatten(value, f"{prefix}{name}.")
        elif name != "wcs":
            yield f"{prefix}{name}", value
