"""`roman_nexus.reprocess`: request, plan, run, result in one call."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from roman_nexus.engine.events import Listener
from roman_nexus.engine.plan import Plan
from roman_nexus.engine.request import open_request
from roman_nexus.engine.result import Run
from roman_nexus.settings import Settings

__all__ = ["find_references", "plan", "reprocess"]


def reprocess(
    product: Any,
    to: str = "L2",
    *,
    references: Any = None,
    source: Any = None,
    options: Mapping[str, Any] | None = None,
    start: str | None = None,
    stop: str | None = None,
    skip: Sequence[str] = (),
    waive: Mapping[str, Sequence[str]] | None = None,
    strict: bool = False,
    cache: bool | str | Path | None = None,
    threads: int | None = None,
    memory_budget_mb: float | None = None,
    progress: bool | Listener | None = None,
    cancel: threading.Event | None = None,
) -> Run:
    """Run the exposure pipeline, or any part of it, on one detector.

    Everything is resolved, fetched and checked before the first pixel is touched, and only what must be done is done:
    an image whose input, options and references did not change comes from the cache.

    Parameters
    ----------
    product : path or model
        A Level 1 file, a ramp product or a Level 2 image.
    to : str
        "L2" for the rate image, or the name of a step to stop after.
    references : mapping, path or ReferenceSource, optional
        References of your own by type, each a path, an array, a dict of arrays, a model or "skip". A path or a source
        given directly is the same as `source`.
    source : path, str or ReferenceSource, optional
        Where the other references come from: a folder, "crds", "crds:<context>", "crds-cache" or "recorded". By
        default the setting ``references``, else a folder ``references`` beside the input, else CRDS for a Level 1
        file or a ramp and the recorded ones for an image.
    options : mapping, optional
        Step name to a mapping of options, for example ``{"ramp_fit": {"algorithm": "ols_cas22"}}``.
    start, stop : str, optional
        First and last step. By default the first that the input has not had, and the last.
    skip : sequence of str
        Steps to leave out.
    waive : mapping of str to sequence of str, optional
        Reference type to the fields in which it may differ from the data, for example
        ``{"flat": ["optical_element"]}``.
    strict : bool
        Raise, instead of warn, where an optional reference is missing.
    cache : bool or path, optional
        False keeps nothing; a path is used instead of the configured folder.
    threads : int, optional
        Worker threads; by default one a processor.
    memory_budget_mb : float, optional
        Refuse a plan that needs more, MB.
    progress : bool or callable, optional
        True shows a progress bar, a callable gets every `Event`.
    cancel : threading.Event, optional
        Set it from another thread to stop the run between two blocks.

    Returns
    -------
    Run
        ``run.image`` (or ``run.ramp``), ``run.plan``, ``run.save(folder)``.

    Raises
    ------
    InputError, ProductLevelError, FileFormatError
        The input cannot be calibrated.
    ReferenceNotFoundError, ReferenceMismatchError
        A reference is missing or does not belong to these data.
    OptionError, StepError, MemoryBudgetError
        What was asked cannot be planned.
    RunCancelled, OutputError
        It was stopped, or there is no room. Nothing is left under a final name.

    Examples
    --------
    >>> import roman_nexus as rn
    >>> run = rn.reprocess("r0000101001001001001_0001_wfi01_f158_uncal.asdf")  # doctest: +SKIP
    >>> run.image.data.shape  # doctest: +SKIP
    (4088, 4088)
    """
    arguments = (to, references, source, options, start, stop, skip, waive, strict, cache, threads, memory_budget_mb)
    with open_request(product, *arguments) as request, _listening(progress, request.settings) as tell:
        return request.carry_out(tell, cancel or threading.Event())


def plan(
    product: Any,
    to: str = "L2",
    *,
    references: Any = None,
    source: Any = None,
    options: Mapping[str, Any] | None = None,
    start: str | None = None,
    stop: str | None = None,
    skip: Sequence[str] = (),
    waive: Mapping[str, Sequence[str]] | None = None,
    strict: bool = False,
    cache: bool | str | Path | None = None,
    threads: int | None = None,
    memory_budget_mb: float | None = None,
) -> Plan:
    """Make the plan that `reprocess` would carry out, and do nothing else.

    The parameters are those of `reprocess`.

    Examples
    --------
    >>> import roman_nexus as rn
    >>> print(rn.plan("r0000101001001001001_0001_wfi01_f158_uncal.asdf"))  # doctest: +SKIP
    """
    arguments = (to, references, source, options, start, stop, skip, waive, strict, cache, threads, memory_budget_mb)
    with open_request(product, *arguments) as request:
        return request.plan


def find_references(
    product: Any,
    *,
    references: Any = None,
    source: Any = None,
    waive: Mapping[str, Sequence[str]] | None = None,
) -> Any:
    """Find and check the references that apply to a product, with the reason for each.

    The parameters are those of `reprocess`.

    Returns
    -------
    ReferenceSet
        Reference type to `Reference` or None.
    """
    arguments = ("L2", references, source, None, None, None, (), waive, False, False, None, None)
    with open_request(product, *arguments) as request:
        return request.references


@contextlib.contextmanager
def _listening(progress: bool | Listener | None, settings: Settings) -> Iterator[Listener]:
    """Give the function that shows events."""
    if callable(progress):
        yield progress
        return
    if progress is False or (progress is None and not settings.progress):
        yield lambda _event: None
        return
    from roman_nexus.engine.progress import ProgressDisplay

    with ProgressDisplay() as display:
        yield display
