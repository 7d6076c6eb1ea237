"""``roman-nexus info``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["command"]

_SHOWN = (
    "filename", "file_date", "calibration_software_name", "calibration_software_version", "instrument.detector",
    "instrument.optical_element", "exposure.type", "exposure.start_time", "exposure.ma_table_number",
    "exposure.nresultants", "exposure.frame_time", "exposure.effective_exposure_time", "observation.visit_id",
    "wcsinfo.ra_ref", "wcsinfo.dec_ref", "wcsinfo.s_region", "statistics.image_median",
    "statistics.good_pixel_fraction",
)  # fmt: skip


def command(
    products: Annotated[list[Path], typer.Argument(help="ASDF files.", show_default=False)],
    everything: Annotated[bool, typer.Option("--all", help="All metadata.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a product is, from its header alone."""
    from roman_nexus.products.blocks import peek

    records = []
    for path in products:
        tree = peek(path)
        records.append({"file": str(path), **tree})
        if not as_json:
            _show(path, tree, everything)
    if as_json:
        typer.echo(json.dumps(records, indent=1, default=str))


def _show(path: Path, tree: Mapping[str, Any], everything: bool) -> None:
    flat = dict(_flatten(tree.get("meta", {})))
    typer.echo(str(path))
    for name, value in flat.items():
        if everything or name in _SHOWN:
            typer.echo(f"  {name:<34} {value}")
    for name, status in tree.get("meta", {}).get("cal_step", {}).items() if not everything else ():
        if status != "INCOMPLETE":
            typer.echo(f"  cal_step.{name:<25} {status}")
    for name, value in tree.items():
        if name != "meta" and hasattr(value, "shape"):
            typer.echo(f"  array {name:<28} {value.dtype!s:<9} {' x '.join(map(str, value.shape))}")


def _flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, Mapping) and name != "wcs":
            yield from _flatten(value, f"{prefix}{name}.")
        elif name != "wcs":
            yield f"{prefix}{name}", value
