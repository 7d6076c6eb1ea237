"""Progress shows on what takes long, and only there."""

from __future__ import annotations

import io
import sys
import time

import pytest
from rich.console import Console

from roman_nexus.cli.waiting import waiting
from roman_nexus.engine.events import Event
from roman_nexus.engine.progress import ProgressDisplay


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(file: io.StringIO) -> Console:
    return Console(file=file, force_terminal=True, width=100)


def wait_for(file: io.StringIO, text: str, seconds: float = 5.0) -> bool:
    """Wait until something is on the screen."""
    end = time.monotonic() + seconds
    while text not in file.getvalue() and time.monotonic() < end:
        time.sleep(0.01)
    return text in file.getvalue()


def test_a_short_run_shows_nothing() -> None:
    file = Terminal()
    with ProgressDisplay(screen(file), patience=30.0) as display:
        display(Event("stage", "dq_init: 3 blocks", step="dq_init", total=3))
        display(Event("progress", "dq_init", step="dq_init", done=3, total=3))
    assert file.getvalue() == ""


def test_a_long_stage_shows_without_any_further_event() -> None:
    file = Terminal()
    with ProgressDisplay(screen(file), patience=0.05) as display:
        display(Event("stage", "refpix: 32 blocks", step="refpix", total=32))
        assert wait_for(file, "refpix")
        display(Event("progress", "refpix", step="refpix", done=16, total=32))
        assert wait_for(file, " 50%")


def test_long_lists_of_steps_are_shortened() -> None:
    file = Terminal()
    steps = "dark_decay + wfi18_transient + linearity + ramp_fit"
    with ProgressDisplay(screen(file), patience=0.0) as display:
        display(Event("stage", steps, step=steps, total=2))
        assert wait_for(file, "dark_decay ... ramp_fit")


def test_compilation_is_told_at_once() -> None:
    file = Terminal()
    with ProgressDisplay(screen(file), patience=30.0) as display:
        display(Event("compile", "compiling kernels for this machine; this happens once"))
        assert "this happens once" in file.getvalue()


def test_the_display_ends_with_an_error() -> None:
    file = Terminal()

    def fail() -> None:
        with ProgressDisplay(screen(file), patience=0.0) as display:
            display(Event("stage", "refpix", step="refpix", total=2))
            assert wait_for(file, "refpix")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - its own
        fail()
    written = len(file.getvalue())
    time.sleep(0.3)
    assert len(file.getvalue()) == written


def test_waiting_shows_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Terminal()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setenv("TERM", "xterm")
    with waiting("comparing", patience=0.05):
        assert wait_for(file, "comparing")


@pytest.mark.parametrize("shown", [True, False])
def test_waiting_is_quiet_where_nobody_sees_it(shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO() if shown else Terminal()
    monkeypatch.setattr(sys, "stderr", file)
    with waiting("comparing", shown=shown, patience=0.0):
        time.sleep(0.05)
    assert file.getvalue() == ""
