"""``roman-nexus verify``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from roman_nexus.cli.arguments import parse_references

__all__ = ["command"]


def command(
    product: Annotated[Path, typer.Argument(help="Level 1 file.", show_default=False)],
    reference: Annotated[
        list[str] | None, typer.Option("--reference", "-r", help="type=path of a reference of your own.")
    ] = None,
    references: Annotated[
        str | None, typer.Option(help="Where the others come from: a folder, crds, crds:<context> or recorded.")
    ] = None,
    environment: Annotated[
        Path | None, typer.Option(help="Python of an environment that has romancal 1.1.0; made on demand otherwise.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the report (.html or .json).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Run the mission's own pipeline on your file, with the same references, and compare step by step."""
    from roman_nexus.verify import verify

    report = verify(
        product,
        references=parse_references(reference or []),
        source=references,
        environment=environment,
        progress=lambda text: typer.echo(text, err=True),
    )
    typer.echo(json.dumps(report.to_dict(), indent=1) if as_json else str(report))
    if output is not None:
        report.save(output)
    return 0 if report.passed else 1
