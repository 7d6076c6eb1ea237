"""A sign of life on standard error for what takes long and has no steps to count."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator

__all__ = ["waiting"]

PATIENCE_SECONDS = 2.0


@contextlib.contextmanager
def waiting(text: str, *, shown: bool = True, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Show a moving line while the block lasts, if it lasts longer than two seconds and somebody can see it.

    Parameters
    ----------
    text : str
        What is being done.
    shown : bool
        False shows nothing.
    patience : float
        Seconds before anything is shown.
    """
    if not shown or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    status = Console(stderr=True).status(text)
    timer = threading.Timer(patience, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
