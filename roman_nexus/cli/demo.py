"""``roman-nexus demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["commands"]

commands = typer.Typer(help="The embedded demo archive.", no_args_is_help=True, rich_markup_mode=None)

_Folder = Annotated[Path | None, typer.Argument(help="The archive; by default in the user's cache.")]
_Detectors = Annotated[int, typer.Option(help="Number of detectors.", min=1, max=18)]
_Dithers = Annotated[int, typer.Option(help="Number of dithers.", min=1, max=4)]
_Size = Annotated[int, typer.Option(help="Side of the frame, pixels: a multiple of 128.", min=256, max=4096)]


@commands.command("make")
def make(folder: _Folder = None, detectors: _Detectors = 18, dithers: _Dithers = 2, size: _Size = 512) -> None:
    """Make the demo archive: one visit with ramps, references, truth and prompt products."""
    from roman_nexus.demo import demo_archive

    archive = demo_archive(
        folder,
        detectors=detectors,
        dithers=dithers,
        shape=(size, size),
        progress=lambda text: typer.echo(text, err=True),
    )
    for suffix in ("uncal", "cal"):
        files = archive.files(suffix)
        typer.echo(f"{len(files):>3} {suffix:<6} {_from_here(files[0].parent)}")
    typer.echo(f"    try: roman-nexus reprocess {_from_here(archive.files('uncal')[0])} -o rerun")


@commands.command("run")
def run(folder: _Folder = None, detectors: _Detectors = 18, dithers: _Dithers = 2, size: _Size = 512) -> int:
    """Do the main job on the demo archive: calibrate, change a flat, rerun, compare, check against the truth."""
    from roman_nexus.demo.tour import tour

    return tour(folder, detectors=detectors, dithers=dithers, shape=(size, size), say=typer.echo)


def _from_here(path: Path) -> Path:
    """Return a path as it would be typed in the current folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
