"""Run the mission's own pipeline on a file, run ours, and compare step by step: anybody can check us on their data."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from roman_nexus.errors import DataWarning, InputError, OutputError, StepError
from roman_nexus.verify.environment import find_python
from roman_nexus.verify.mission import STEPS, Event, MissionRun, run_mission
from roman_nexus.verify.report import VerifyReport
from roman_nexus.verify.stepwise import ArrayRow, compare_image, compare_metadata, compare_ramp

__all__ = ["compare_with_mission", "reference_files", "verify"]

RAMP_STEPS = STEPS[: STEPS.index("ramp_fit")]

#: Options that mean something else on the mission's side; see `roman_nexus.steps.exposure.refpix`.
_NOT_COMPARABLE = ("refpix",)

Progress = Callable[[str], None]


def verify(
    path: str | os.PathLike[str],
    *,
    references: Any = None,
    source: Any = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    skip: Collection[str] = (),
    waive: Mapping[str, Any] | None = None,
    steps: Collection[str] | None = None,
    environment: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare every step of our exposure pipeline with the mission's, on the same file and references.

    The mission's pipeline runs in an environment of its own, which is made on first use (about 1 GB, from the package
    index). It needs 0.5 GB of memory for each resultant of a full frame and some minutes.

    Parameters
    ----------
    path : path
        Level 1 file.
    references, source, options, skip, waive, threads
        As for `roman_nexus.reprocess`. References must be files, for the mission's pipeline reads them too.
    steps : collection of str, optional
        The ramp steps after which to compare; all by default. The rate image is always compared.
    environment : path, optional
        Python, or folder, of an environment that holds romancal; see `roman_nexus.verify.environment`.
    folder : path, optional
        Keep the mission's arrays and product here. By default they go into a temporary folder.
    progress : callable, optional
        Called with one line of text as the work goes on.

    Returns
    -------
    VerifyReport

    Raises
    ------
    MissingSoftwareError
        If the mission's pipeline is not there and cannot be installed.
    RunError
        If the mission's pipeline fails.
    InputError
        If a reference is not a file, or an option has no counterpart.
    OutputError
        If there is no room for the arrays.

    Examples
    --------
    >>> from roman_nexus.verify import verify
    >>> report = verify("r0000101001001001001_0001_wfi01_f158_uncal.asdf")  # doctest: +SKIP
    >>> report.passed  # doctest: +SKIP
    True
    """
    say = progress or (lambda line: None)
    compared = _chosen_steps(steps, skip)
    _check_options(options or {})
    request = {"references": references, "source": source, "options": options or {}, "skip": tuple(skip),
               "waive": waive, "threads": threads, "cache": False, "progress": False}  # fmt: skip
    python = find_python(environment, progress=say)
    say("running our pipeline")
    run = _reprocess(path, request)
    files = reference_files(run.references)
    with _workspace(folder, run.plan.shape, compared) as where:
        mission = run_mission(
            python, Path(path), files, where, options=options, skip=skip, keep=compared, product=folder is not None,
            on_event=lambda event: _tell(event, say),
        )  # fmt: skip
        return compare_with_mission(path, run, mission, request, compared, progress=say)


def compare_with_mission(
    path: str | os.PathLike[str],
    run: Any,
    mission: MissionRun,
    request: Mapping[str, Any],
    steps: Collection[str],
    *,
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare a finished run of ours with a finished run of the mission's pipeline.

    Parameters
    ----------
    path : path
        Level 1 file.
    run : Run
        Ours, to the rate image.
    mission : MissionRun
    request : mapping
        Arguments of `roman_nexus.reprocess` that made `run`; it is run again up to each of `steps`.
    steps : collection of str
        Ramp steps after which to compare.
    progress : callable, optional
        Called with one line of text as the work goes on.

    Returns
    -------
    VerifyReport
    """
    say = progress or (lambda line: None)
    rows: list[ArrayRow] = []
    for step in steps:
        if mission.kept(step):
            say(f"comparing {step}")
            rows += compare_ramp(step, _reprocess(path, {**request, "stop": step}).ramp.arrays, mission)
    say("comparing the rate image")
    exposure = run.image.meta["exposure"]
    rows += compare_image(run.image.arrays, mission, exposure["read_pattern"], float(exposure["frame_time"]))
    files = reference_files(run.references)
    return VerifyReport(
        input_name=Path(path).name,
        detector=run.plan.detector,
        arrays=tuple(rows),
        values=tuple(compare_metadata(run.image.meta, run.image.wcs, mission)),
        costs=(*mission.steps, mission.total),
        seconds=run.seconds,
        versions=mission.versions,
        references={reftype: file.name if file else "N/A" for reftype, file in files.items()},
    )


def reference_files(references: Mapping[str, Any]) -> dict[str, Path | None]:
    """Return the files of resolved references; None where there is none.

    Raises
    ------
    InputError
        If a reference exists in memory only.
    """
    found: dict[str, Path | None] = {}
    for reftype, reference in references.items():
        if reference is None or not reference.applies:
            found[reftype] = None
        elif reference.path is None:
            msg = (
                f"the {reftype} reference {reference.name} is not a file; the mission's pipeline reads files only: "
                "save it as an ASDF reference file and give its path"
            )
            raise InputError(msg)
        else:
            found[reftype] = Path(reference.path)
    return found


def _reprocess(path: Any, request: Mapping[str, Any]) -> Any:
    """Run ours; its warnings about the input are not news in a comparison."""
    from roman_nexus.engine.reprocess import reprocess

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return reprocess(path, **request)


def _chosen_steps(steps: Collection[str] | None, skip: Collection[str]) -> tuple[str, ...]:
    if steps is None:
        return tuple(step for step in RAMP_STEPS if step not in skip)
    if unknown := [step for step in steps if step not in RAMP_STEPS]:
        msg = f"cannot compare after {', '.join(unknown)}; the ramp steps are {', '.join(RAMP_STEPS)}"
        raise StepError(msg)
    return tuple(step for step in RAMP_STEPS if step in steps)


def _check_options(options: Mapping[str, Mapping[str, Any]]) -> None:
    for step in _NOT_COMPARABLE:
        if options.get(step):
            msg = (
                f"options of {step} cannot be compared: romancal hands its switches to the neighbours of those they "
                "are named after; verify with the defaults"
            )
            raise InputError(msg)


@contextlib.contextmanager
def _workspace(
    folder: str | os.PathLike[str] | None, shape: tuple[int, int, int], steps: Collection[str]
) -> Iterator[Path]:
    """Give a folder with room for the arrays; a temporary one is removed at the end."""
    parent = Path(folder).expanduser() if folder is not None else Path(tempfile.gettempdir())
    samples = shape[0] * shape[1] * shape[2]
    needed = samples * 5 * len(steps) + shape[1] * shape[2] * 30
    try:
        parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(parent).free
    except OSError as error:
        msg = f"the folder {parent} cannot be used: {error}; name another folder"
        raise OutputError(msg) from error
    if free < needed:
        msg = (
            f"the arrays of the mission's pipeline need {needed / 1e9:.1f} GB but {parent} has {free / 1e9:.1f} GB "
            "free; name another folder, or compare after fewer steps"
        )
        raise OutputError(msg)
    if folder is not None:
        yield parent
        return
    with tempfile.TemporaryDirectory(prefix="roman_nexus-verify-") as temporary:
        yield Path(temporary)


def _tell(event: Event, say: Progress) -> None:
    """Turn an event of the mission's pipeline into a line for people."""
    if event["event"] == "start":
        say(f"mission pipeline: {event['step']}")
    elif event["event"] == "done":
        say(f"mission pipeline: {event['step']} took {event['wall_s']:.1f} s")
