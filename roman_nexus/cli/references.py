"""``roman-nexus references``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from roman_nexus.cli.arguments import parse_references, parse_waivers
from roman_nexus.cli.completion import complete_reference

__all__ = ["command"]


def command(
    product: Annotated[Path, typer.Argument(help="Level 1 file, ramp product or Level 2 image.", show_default=False)],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-r",
            help="type=path of a reference of your own, or type=skip; may be repeated.",
            autocompletion=complete_reference,
        ),
    ] = None,
    references: Annotated[
        str | None,
        typer.Option(help="Where the others come from: a folder, crds, crds:<context>, crds-cache or recorded."),
    ] = None,
    waive: Annotated[
        list[str] | None, typer.Option(help="type=field in which a reference may differ; may be repeated.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Every candidate, and why it was not taken.")] = False,
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
            reftype: {
                "applies": item.applies,
                "name": item.name,
                "origin": item.origin,
                "why": item.why,
                "waived": [mismatch.field for mismatch in found.waived.get(reftype, ())],
            }
            for reftype, item in found.records.items()
        }
        typer.echo(json.dumps(record, indent=1))
    else:
        typer.echo(found.explain() if explain else str(found))
