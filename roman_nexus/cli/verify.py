"""``roman-nexus verify``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from roman_nexus.cli.arguments import parse_options, parse_references, parse_waivers
from roman_nexus.cli.completion import complete_option, complete_reference, complete_step

__all__ = ["command"]


def command(
    product: Annotated[Path, typer.Argument(help="Level 1 file.", show_default=False)],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference", "-r", help="type=path of a reference of your own.", autocompletion=complete_reference
        ),
    ] = None,
    references: Annotated[
        str | None,
        typer.Option(help="Where the others come from: a folder, crds, crds:<context>, crds-cache or recorded."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-p", help="step.option=value, for both pipelines.", autocompletion=complete_option),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Step to leave out in both.", autocompletion=complete_step)
    ] = None,
    waive: Annotated[list[str] | None, typer.Option(help="type=field in which a reference may differ.")] = None,
    environment: Annotated[
        Path | None, typer.Option(help="Python of an environment that has romancal 1.1.0; made on demand otherwise.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep the mission's arrays and product here.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the report (.html, .json or .txt).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Run the mission's own pipeline on your file, with the same references, and compare step by step."""
    from roman_nexus.verify import verify

    report = verify(
        product,
        references=parse_references(reference or []),
        source=references,
        options=parse_options(option or []),
        skip=skip or (),
        waive=parse_waivers(waive or []),
        environment=environment,
        folder=folder,
        progress=lambda text: typer.echo(text, err=True),
    )
    typer.echo(json.dumps(report.to_dict(), indent=1) if as_json else str(report))
    if output is not None:
        report.save(output)
        typer.echo(f"wrote {output}", err=True)
    return 0 if report.passed else 1
