"""``roman-nexus demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["commands"]

commands = typer.Typer(help="The embedded demo archive.", no_args_is_help=True, rich_markup_mode=None)


@commands.command("make")
def make(
    folder: Annotated[Path | None, typer.Argument(help="Where; by default in the user's cache.")] = None,
    detectors: Annotated[int, typer.Option(help="Number of detectors.", min=1, max=18)] = 18,
    dithers: Annotated[int, typer.Option(help="Number of dithers.", min=1, max=4)] = 2,
) -> None:
    """Make the demo archive: one visit with ramps, references, truth and prompt products."""
    from roman_nexus.demo import demo_archive

    archive = demo_archive(
        folder, detectors=detectors, dithers=dithers, progress=lambda text: typer.echo(text, err=True)
    )
    typer.echo(str(archive))


@commands.command("run")
def run(
    folder: Annotated[Path | None, typer.Argument(help="The demo archive; made if it is not there.")] = None,
    detectors: Annotated[int, typer.Option(help="Number of detectors.", min=1, max=18)] = 18,
    dithers: Annotated[int, typer.Option(help="Number of dithers.", min=1, max=4)] = 2,
) -> int:
    """Do the main job on the demo archive: calibrate, change a flat, rerun, compare, check against the truth."""
    from roman_nexus.demo.tour import tour

    return tour(folder, detectors=detectors, dithers=dithers, say=typer.echo)
