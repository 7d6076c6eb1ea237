"""A progress bar for runs that take longer than two seconds, in the shell and in the notebook."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from roman_nexus.engine.events import Event

__all__ = ["ProgressDisplay"]

PATIENCE_SECONDS = 2.0


class ProgressDisplay:
    """Shows the events of a run; quiet until it has lasted two seconds.

    A clock of its own makes it appear: a run that is busy with its first stage sends no events meanwhile.

    Parameters
    ----------
    console : rich.console.Console, optional
        Standard error by default, so that results can be piped.
    patience : float
        Seconds before anything is shown.
    """

    def __init__(self, console: Console | None = None, patience: float = PATIENCE_SECONDS) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<44}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(), console=console or Console(stderr=True), transient=False,
        )  # fmt: skip
        self._clock = threading.Timer(patience, self._progress.start)
        self._clock.daemon = True
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clock.cancel()
        self._clock.join()
        if self._progress.live.is_started:
            self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if event.kind == "stage":
            self._tasks[event.step] = self._progress.add_task(_short(event.step), total=event.total)
        elif event.kind == "progress" and event.step in self._tasks:
            self._progress.update(self._tasks[event.step], completed=event.done)
        elif event.kind == "compile":
            self._progress.console.print(event.text, style="dim")


def _short(text: str, width: int = 44) -> str:
    """Shorten a list of steps to fit the column."""
    if len(text) <= width:
        return text
    names = text.split(" + ")
    return f"{names[0]} ... {names[-1]}"
