"""The ``roman-nexus`` command and how it ends.

Exit codes: 0 done; 1 the comparison found differences (``compare --fail-on-difference``, ``verify``); 2 wrong usage;
3 bad input, reference or option; 4 the run failed (no room, no memory, cache); 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from roman_nexus.cli import compare, demo, doctor, info, references, reprocess, verify
from roman_nexus.errors import PlanError, RomanNexusError, RunCancelled, RunError

__all__ = ["app", "main"]

commands = typer.Typer(
    name="roman-nexus",
    help="Rerun, compare and check prompt products of the Roman Wide Field Instrument.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands.command("reprocess")(reprocess.command)
commands.command("compare")(compare.command)
commands.command("info")(info.command)
commands.command("references")(references.command)
commands.command("verify")(verify.command)
commands.command("doctor")(doctor.command)
commands.add_typer(demo.commands, name="demo")
commands.add_typer(doctor.cache_commands, name="cache")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"roman-nexus {version('roman-nexus')}")
        raise typer.Exit


@commands.callback()
def _top(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Rerun, compare and check prompt products of the Roman Wide Field Instrument."""


def app() -> None:
    """Run the command and turn our errors into a message and an exit code."""
    sys.exit(main())


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code.

    Parameters
    ----------
    arguments : list of str, optional
        ``sys.argv[1:]`` by default.
    """
    try:
        result: Any = commands(args=arguments, standalone_mode=False)
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing was written", err=True)
        return 130
    except RunCancelled as error:
        typer.echo(str(error), err=True)
        return 130
    except RomanNexusError as error:
        typer.echo(f"error: {error}", err=True)
        return 4 if isinstance(error, (RunError, PlanError, MemoryError)) else 3
    except BrokenPipeError:
        # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # click's usage errors
            error.show() if hasattr(error, "show") else typer.echo(str(error), err=True)
            return int(error.exit_code)
        raise
    return result if isinstance(result, int) else 0
