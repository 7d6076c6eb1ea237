"""How the command presents itself, and that it starts quickly."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from roman_nexus.cli.main import commands, main
from roman_nexus.engine.pipelines import step_names

COMMANDS = ("reprocess", "compare", "info", "references", "verify", "doctor", "demo", "cache")


def run_apart(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    registered = [item.name for item in (*commands.registered_commands, *commands.registered_groups)]
    assert sorted(registered) == sorted(COMMANDS)
    for name in COMMANDS:
        assert f"  {name} " in said
    assert "Exit codes:" in said


@pytest.mark.parametrize(
    "words", [*([name] for name in COMMANDS), ["demo", "make"], ["demo", "run"], ["cache", "ls"], ["cache", "clear"]]
)
def test_every_command_has_a_help_text(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "-h"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: roman-nexus {' '.join(words)} ")
    undescribed = [line for line in said.splitlines() if line.strip() in ("--help", "--json", "--output")]
    assert not undescribed


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"roman-nexus {version('roman-nexus')}\n"


def test_help_imports_nothing_heavy() -> None:
    done = run_apart(
        "import sys\n"
        "from roman_nexus.cli.main import main\n"
        "assert main(['--help']) == 0 and main(['reprocess', '--help']) == 0\n"
        "heavy = {'numpy', 'scipy', 'numba', 'asdf', 'astropy', 'gwcs', 'roman_datamodels', 'matplotlib'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr


def test_module_and_script_are_the_same_command() -> None:
    done = run_apart("import sys; sys.argv = ['roman-nexus', '--version']; from roman_nexus.cli.main import app; app()")
    assert (done.returncode, done.stdout.split()[0]) == (0, "roman-nexus")


# ---------------------------------------------------------------------------------------------------- completion
def complete(*words: str) -> list[str]:
    """Return what bash would be offered for the last word."""
    environment = {
        "_ROMAN_NEXUS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("roman-nexus", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = run_apart("from roman_nexus.cli.main import app; app()", **environment)
    return done.stdout.split()


def test_completion_script_can_be_shown() -> None:
    code = "from roman_nexus.cli.main import main; main(['--show-completion', 'bash'])"
    done = run_apart(code, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert "complete -o default -F _roman_nexus_completion roman-nexus" in done.stdout


def test_commands_are_completed() -> None:
    assert complete("re") == ["reprocess", "references"]


def test_steps_are_completed() -> None:
    assert complete("reprocess", "--to", "dark") == ["dark_decay", "dark_current"]


@pytest.mark.parametrize("option", ["--start", "--skip"])
def test_all_steps_are_offered(option: str) -> None:
    from roman_nexus.cli.completion import complete_step, complete_stop

    assert complete_step("") == list(step_names())
    assert complete_stop("") == ["L2", *step_names()]


def test_options_and_references_are_completed() -> None:
    from roman_nexus.cli.completion import complete_option, complete_reference, complete_schema

    assert complete_option("ramp_fit.alg") == ["ramp_fit.algorithm="]
    assert {"flat=", "gain=", "inverselinearity="} <= set(complete_reference(""))
    assert complete_schema("as") == ["as-input"]
