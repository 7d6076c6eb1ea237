"""The ``roman-nexus`` command and how it ends.

Exit codes: 0 done; 1 the answer is no (products differ, a check failed, the doctor found a problem); 2 wrong usage;
3 bad input, reference or option; 4 the run failed (no room, no memory, cache); 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer

from roman_nexus.cli import compare, demo, doctor, info, references, reprocess, verify
from roman_nexus.cli.wording import in_shell_words
from roman_nexus.errors import MemoryBudgetError, RomanNexusError, RunCancelled, RunError

__all__ = ["app", "main"]

DONE, FAILED, INTERRUPTED = 0, 4, 130

commands = typer.Typer(
    name="roman-nexus",
    help="Rerun, compare and check prompt products of the Roman Wide Field Instrument.",
    epilog="Exit codes: 0 done; 1 the answer is no (products differ, a check failed); 2 wrong usage; "
    "3 bad input, reference or option; 4 the run failed; 130 interrupted.",
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
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        result: Any = commands(args=given, prog_name="roman-nexus", standalone_mode=False)
    except typer.Exit as leave:
        result = leave.exit_code
    except (typer.Abort, KeyboardInterrupt):
        result = INTERRUPTED
    except SystemExit as leave:  # how typer leaves when the reader of our output has left, as `head` does
        if not isinstance(leave.__context__, OSError):
            raise
        return _reader_left()
    except BrokenPipeError:
        return _reader_left()
    except RunCancelled as error:
        return _fail(error, INTERRUPTED, given)
    except RomanNexusError as error:
        return _fail(error, FAILED if isinstance(error, (RunError, MemoryBudgetError)) else 3, given)
    except OSError as error:
        return _fail(error, FAILED, given)
    except Exception as error:
        if not hasattr(error, "format_message") or not hasattr(error, "exit_code"):
            raise
        error.show() if hasattr(error, "show") else typer.echo(str(error), err=True)  # a mistake of usage
        return int(error.exit_code)
    if result == INTERRUPTED:
        typer.echo("interrupted; no unfinished file is left behind", err=True)
    return result if isinstance(result, int) else DONE


def _fail(error: Exception, code: int, given: list[str]) -> int:
    """Say what is wrong: in words, and as JSON where the answer was to be JSON."""
    message = in_shell_words(str(error))
    if "--json" in given:
        record = {"error": {"type": type(error).__name__, "message": message, "exit_code": code}}
        typer.echo(json.dumps(record, indent=1))
    typer.echo(message if code == INTERRUPTED else f"error: {message}", err=True)
    return code


def _reader_left() -> int:
    """Swallow what is still to be written, so that Python does not complain about it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE
