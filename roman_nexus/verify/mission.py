"""One run of the mission's pipeline, in its own process and environment, and the arrays it left behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import FileFormatError, InputError, OutputError, RunError
from roman_nexus.verify import mission_runner

__all__ = ["RUNNER", "STEPS", "MissionRun", "StepCost", "run_mission"]

RUNNER = Path(mission_runner.__file__)

#: The steps, in the order in which the mission's pipeline takes them.
STEPS = tuple(mission_runner.STEPS)

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepCost:
    """What one step cost the mission's pipeline.

    Attributes
    ----------
    step : str
    wall_s, cpu_s : float
        Seconds, without writing the arrays that are compared.
    peak_mb : float
        Highest resident memory of the process during the step, MB.
    """

    step: str
    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class MissionRun:
    """What the mission's pipeline made of one Level 1 file.

    Attributes
    ----------
    folder : Path
        Where its arrays lie.
    steps : tuple of StepCost
    total : StepCost
        Of the whole run; its name is "total".
    meta : dict
        Metadata of the result as plain values: cal_step, photometry, statistics, ref_file, wcsinfo, wcs.
    versions : dict of str to str
        Package versions of its environment.
    products : dict of str to Path
        Files written, if asked for: "cal" and "wcs".
    """

    folder: Path
    steps: tuple[StepCost, ...]
    total: StepCost
    meta: dict[str, Any]
    versions: dict[str, str]
    products: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> MissionRun:
        """Read back a finished run.

        Raises
        ------
        RunError
            If the pipeline ended with an error; its message is repeated.
        FileFormatError
            If there is no readable result in the folder.
        """
        try:
            result = json.loads((folder / "result.json").read_text())
        except (OSError, ValueError) as error:
            msg = f"{folder} holds no finished run of the mission's pipeline ({error}); run it again"
            raise FileFormatError(msg) from error
        if failure := result.get("error"):
            msg = f"the mission's pipeline ended with {failure['type']}: {failure['message']}"
            raise RunError(msg)
        total = result["total"]
        return cls(
            folder=folder,
            steps=tuple(StepCost(**item) for item in result["steps"]),
            total=StepCost("total", total["wall_s"], total["cpu_s"], total["peak_mb"]),
            meta=result["meta"],
            versions=result["versions"],
            products={kind: Path(path) for kind, path in result.get("products", {}).items()},
        )

    def array(self, step: str, name: str) -> NDArray[Any]:
        """Return an array as it was after a step, memory-mapped.

        Parameters
        ----------
        step : str
            A step, or "final" for the finished product.
        name : str
            For example "data" or "groupdq".

        Raises
        ------
        InputError
            If no such array was kept.
        """
        for folder in self._folders(step):
            path = folder / f"{name}.npy"
            if path.exists():
                array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
                return array
        msg = f"the run in {self.folder} kept no array {name!r} of step {step!r}"
        raise InputError(msg)

    def kept(self, step: str) -> tuple[str, ...]:
        """Return the names of the arrays that were kept of one step."""
        return tuple(sorted(path.stem for path in (self.folder / step).glob("*.npy")))

    def _folders(self, step: str) -> list[Path]:
        """Folders in which an array of a step may lie: only what a step may change is kept, so earlier ones too."""
        if step == "final":
            return [self.folder / "final"]
        ran = STEPS[: STEPS.index(step) + 1]
        if step in STEPS[6:]:  # an image has no array of the ramp before it
            ran = ran[6:]
        return [self.folder / name for name in reversed(ran)]


def run_mission(
    python: Path,
    path: Path,
    references: Mapping[str, str | os.PathLike[str] | None],
    folder: Path,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    skip: Collection[str] = (),
    keep: Collection[str] | str = "all",
    stop: str | None = None,
    product: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> MissionRun:
    """Run the mission's exposure pipeline on one Level 1 file.

    Parameters
    ----------
    python : Path
        Python of the mission's environment.
    path : Path
        Level 1 file.
    references : mapping
        Reference type to file; None or absent means that there is no such reference.
    folder : Path
        Receives arrays, products and ``result.json``.
    options : mapping, optional
        Step to parameter to value, in romancal's names of parameters.
    skip : collection of str
        Steps to leave out.
    keep : collection of str or "all"
        Steps whose arrays are kept.
    stop : str, optional
        Last step to run.
    product : bool
        Also write the Level 2 file and the WCS file.
    on_event : callable, optional
        Called with every event: ``{"event": "start" | "done", "step": ..., ...}``.

    Returns
    -------
    MissionRun

    Raises
    ------
    RunError
        If the pipeline fails; its message is repeated.
    OutputError
        If the folder cannot be written.
    """
    request = {
        "input": str(Path(path).resolve()),
        "references": {name: str(Path(file).resolve()) if file else "N/A" for name, file in references.items()},
        "options": {step: dict(values) for step, values in (options or {}).items()},
        "skip": list(skip),
        "keep": keep if isinstance(keep, str) else list(keep),
        "stop": stop,
        "product": product,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").unlink(missing_ok=True)
        (folder / "request.json").write_text(json.dumps(request, indent=1))
    except OSError as error:
        msg = f"the folder {folder} for the mission's run cannot be written: {error}; name another folder"
        raise OutputError(msg) from error
    words = _follow([str(python), str(RUNNER), str(folder / "request.json"), str(folder)], folder, on_event)
    if not (folder / "result.json").exists():
        msg = f"the mission's pipeline ended without a result: {words}"
        raise RunError(msg)
    return MissionRun.read(folder)


def _follow(command: list[str], folder: Path, on_event: Callable[[Event], None] | None) -> str:
    """Run the runner, pass its events on, and return the end of what it said on standard error."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    log = folder / "mission.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process,
    ):
        try:
            for line in process.stdout or ():
                if on_event and line.startswith("{"):
                    on_event(json.loads(line))
        except BaseException:
            process.terminate()
            raise
    return " | ".join(log.read_text().strip().splitlines()[-3:]) or f"exit code {process.returncode}"
