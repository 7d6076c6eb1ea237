"""What a run says while it runs: one stream of events for the shell, the notebook and the log.

A listener is any callable that takes an `Event`. It is called from the thread that called
`roman_nexus.reprocess`, in order, and must not take long.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Event", "EventKind", "Listener"]

EventKind = Literal[
    "plan", "start", "progress", "stage", "step", "cached", "compile", "warning", "finish", "fail", "cancel"
]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes
    ----------
    kind : str
        "plan" the plan stands; "start" the run begins; "stage" a group of steps begins; "progress" part of a stage is
        done; "step" a step is complete; "cached" a result was taken from the cache; "compile" kernels were compiled;
        "warning"; "finish", "fail", "cancel" the end.
    text : str
        One line for people.
    step : str
        The step, or the steps joined by " + ".
    done, total : int
        Blocks of the stage.
    seconds : float
        Duration, where it has one.
    time : float
        Seconds since the epoch.
    """

    kind: EventKind
    text: str
    step: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    time: float = field(default_factory=time.time)


Listener = Callable[[Event], None]
