"""``roman-nexus reprocess``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roman_nexus.cli.arguments import parse_options, parse_references, parse_waivers
from roman_nexus.cli.completion import (
    complete_option,
    complete_reference,
    complete_schema,
    complete_step,
    complete_stop,
)
from roman_nexus.cli.waiting import waiting

if TYPE_CHECKING:
    from roman_nexus.engine.result import Run

__all__ = ["command"]

_NO_PRODUCT = (".fits", ".fit", ".png", ".html", ".json", ".txt", ".parquet")


def command(
    product: Annotated[Path, typer.Argument(help="Level 1 file, ramp product or Level 2 image.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder, or full name of the product.")] = Path(),
    to: Annotated[str, typer.Option(help="L2, or the step to stop after.", autocompletion=complete_stop)] = "L2",
    start: Annotated[str | None, typer.Option(help="First step.", autocompletion=complete_step)] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Step to leave out; may be repeated.", autocompletion=complete_step)
    ] = None,
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
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-p", help="step.option=value; may be repeated.", autocompletion=complete_option),
    ] = None,
    waive: Annotated[
        list[str] | None, typer.Option(help="type=field in which a reference may differ; may be repeated.")
    ] = None,
    compare: Annotated[Path | None, typer.Option(help="Archive product to compare the result with.")] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            help="Schema to write: newest, as-input or 2.1.0 (romancal 1.1.0); newest unless set otherwise.",
            autocompletion=complete_schema,
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Worker threads.", min=1)] = None,
    memory_budget: Annotated[float | None, typer.Option(help="Refuse a plan that needs more, MB.", min=1)] = None,
    cache: Annotated[bool, typer.Option(help="Use and fill the cache of results.")] = True,
    strict: Annotated[bool, typer.Option(help="Fail where an optional reference is missing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print plan and result as JSON.")] = False,
    progress: Annotated[bool, typer.Option(help="Show progress.")] = True,
) -> None:
    """Run the exposure pipeline, or a part of it, with references and options of your own."""
    import warnings

    from roman_nexus.engine.reprocess import plan, reprocess
    from roman_nexus.errors import RomanNexusWarning

    arguments = {
        "to": to, "start": start, "skip": skip or (), "references": parse_references(reference or []),
        "source": references, "options": parse_options(option or []), "waive": parse_waivers(waive or []),
        "strict": strict, "cache": None if cache else False, "threads": threads, "memory_budget_mb": memory_budget,
    }  # fmt: skip
    _check_places(output, compare)
    watched = progress and not as_json
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RomanNexusWarning)  # they are in the plan's notes and shown below
        with waiting("reading the input and the references", shown=watched):
            made = plan(product, **arguments)  # type: ignore[arg-type]
        if dry_run:
            typer.echo(json.dumps({"plan": made.to_dict()}, indent=1) if as_json else str(made))
            return
        if not as_json:
            typer.echo(str(made))
        run = reprocess(product, **arguments, progress=None if watched else False)  # type: ignore[arg-type]
    for text in run.warnings:
        typer.echo(f"warning: {text}", err=True)
    with waiting("writing the product", shown=watched):
        files = [str(path) for path in run.save(output, schema=schema)]
    comparison = None
    if compare is not None:
        from roman_nexus.comparison import compare as compare_products

        with waiting(f"comparing with {compare.name}", shown=watched):
            comparison = compare_products(run.product, compare)
    _tell(run, files, comparison, as_json=as_json)


def _check_places(output: Path, compare: Path | None) -> None:
    """Find out before the work, and not after it, that its result cannot be written or compared."""
    import os

    from roman_nexus.errors import OptionError, OutputError

    if output.suffix.lower() in _NO_PRODUCT and not output.is_dir():
        msg = (
            f"--output {output} ends in {output.suffix}; give a folder, or a name that ends in .asdf. FITS and PNG are "
            "made from the product, see roman_nexus.products.to_fits and to_png"
        )
        raise OptionError(msg)
    named = output.suffix == ".asdf" and not output.is_dir()
    folder = output.parent if named else output
    if named and not folder.is_dir():
        msg = f"--output {output} cannot be written: there is no folder {folder}; make it, or name another one"
        raise OutputError(msg)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        msg = f"--output {output} cannot be written: {there} is no folder that you may write to; name another folder"
        raise OutputError(msg)
    if compare is not None:
        from roman_nexus.products.blocks import peek

        peek(compare)


def _tell(run: Run, files: list[str], comparison: Any, *, as_json: bool) -> None:
    """Print what came out."""
    if as_json:
        record = {"plan": run.plan.to_dict(), "files": files, "seconds": run.seconds, "warnings": run.warnings,
                  "peak_memory_mb": run.peak_memory_mb}  # fmt: skip
        if comparison is not None:
            record["comparison"] = comparison.to_dict()
        typer.echo(json.dumps(record, indent=1, default=str))
        return
    typer.echo(f"\n{run.product!r}")
    typer.echo(f"\n{run.seconds['wall']:.1f} s, peak memory {run.peak_memory_mb:.0f} MB")
    typer.echo("\n".join(f"wrote {path}" for path in files))
    if comparison is not None:
        typer.echo(f"\n{comparison}")
