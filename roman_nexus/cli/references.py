"""``roman-nexus references``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from roman_nexus.cli.arguments import parse_references, parse_waivers

__all__ = ["command"]


def command(
    product: Annotated[Path, typer.Argument(help="Level 1 file, ramp product or Level 2 image.", show_default=False)],
    reference: Annotated[
        list[str] | None, typer.Option("--reference", "-r", help="type=path of a reference of your own.")
    ] = None,
    references: Annotated[
        str | None, typer.Option(help="Where they come from: a folder, crds, crds:<context> or recorded.")
    ] = None,
    waive: Annotated[list[str] | None, typer.Option(help="type=field in which a reference may differ.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which reference files apply to a product, and why."""
    import warnings

    from roman_nexus.engine.reprocess import find_references
    from roman_nexus.errors import RomanNexusWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RomanNexusWarning)
        found = find_references(
            product, references=parse_references(reference or []), source=references, waive=parse_waivers(waive or [])
        )
    if as_json:
        record = {
            reftype: None if item is None else {"name": item.name, "origin": item.origin, "why": item.why}
            for reftype, item in found.items()
        }
        typer.echo(json.dumps(record, indent=1))
    else:
        typer.echo(str(found))
