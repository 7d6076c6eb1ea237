"""``roman-nexus compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from roman_nexus.cli.waiting import waiting

__all__ = ["command"]

_REPORTS = (".html", ".png", ".json", ".txt")


def command(
    new: Annotated[Path, typer.Argument(help="The rerun.", show_default=False)],
    old: Annotated[Path, typer.Argument(help="The archive's product.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the report: .png, .html, .json or .txt.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    fail_on_difference: Annotated[bool, typer.Option(help="Exit with 1 if the products differ.")] = False,
) -> int:
    """Say what differs between two products: pixels, flags, coordinates, metadata, references."""
    from roman_nexus.comparison import compare
    from roman_nexus.errors import OptionError

    if output is not None and output.suffix.lower() not in _REPORTS:
        msg = f"--output {output} is no report that can be written; end the name in {', '.join(_REPORTS)}"
        raise OptionError(msg)
    with waiting(f"comparing {new.name} with {old.name}", shown=not as_json):
        found = compare(new, old)
    typer.echo(json.dumps(found.to_dict(), indent=1) if as_json else str(found))
    if output is not None:
        with waiting(f"writing {output}", shown=not as_json):
            found.save(output)
        typer.echo(f"wrote {output}", err=True)
    return 1 if fail_on_difference and not found.identical else 0
