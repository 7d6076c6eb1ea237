"""The full-frame checks: both pipelines on Level 1 files of romanisim (A31 to A33, A35), and the truth of the scene."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from compare import Row, failed, row, statement

import roman_nexus as rn
from roman_nexus.dq import PixelFlag
from roman_nexus.verify.agreement import combine
from roman_nexus.verify.mission import RUNNER, MissionRun, run_mission
from roman_nexus.verify.report import VerifyReport
from roman_nexus.verify.verification import RAMP_STEPS, compare_with_mission

HERE = Path(__file__).resolve().parent
ONE_RUN = HERE.parents[1] / "benchmarks" / "one_run.py"

#: Files on which every ramp step is compared too; of the others only the rate image.
STEP_BY_STEP = ("nine", "wfi18")

#: Files whose scene is compared with the truth; the transient of WFI18 is estimated with a bias, on both sides.
TRUE = ("nine", "encoded", "short")


class Inputs:
    """The files that make_inputs.py made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found = json.loads((folder / "inputs.json").read_text())

    def path(self, key: str) -> Path:
        return self.folder / self.found["exposures"][key]["file"]

    def detector(self, key: str) -> str:
        return self.found["exposures"][key]["recipe"]["detector"]

    def references(self, key: str) -> dict[str, Path]:
        files = self.found["references"][self.detector(key)]["files"]
        return {reftype: self.folder / "references" / name for reftype, name in files.items() if reftype != "epsf"}

    def digest(self, key: str) -> str:
        """Of everything that the mission's result depends on."""
        about = [self.found["exposures"][key]["recipe"], self.found["references"][self.detector(key)]["recipe"]]
        return hashlib.sha256(json.dumps(about).encode() + RUNNER.read_bytes()).hexdigest()


def ensure_mission(python: Path, inputs: Inputs, key: str, folder: Path, **options: Any) -> MissionRun:
    """Run the mission's pipeline on a file, or read back a run on the same file by the same runner."""
    mark = folder / "digest"
    digest = inputs.digest(key) + json.dumps(options, sort_keys=True)
    if mark.exists() and mark.read_text() == digest:
        return MissionRun.read(folder)
    print(f"romancal on {inputs.path(key).name}", file=sys.stderr, flush=True)
    keep = RAMP_STEPS if key in STEP_BY_STEP and not options else ()
    mission = run_mission(
        python, inputs.path(key), inputs.references(key), folder, keep=keep, options=options,
        on_event=lambda event: print("  ", dict(event), file=sys.stderr, flush=True) if event["event"] == "done" else 0,
    )  # fmt: skip
    mark.write_text(digest)
    return mission


def compare_file(inputs: Inputs, key: str, mission: MissionRun, **options: Any) -> tuple[Any, VerifyReport]:
    """Run ours on a file and compare."""
    source = inputs.folder / "references"
    request = {"source": source, "cache": False, "progress": False, "options": options}
    run = rn.reprocess(inputs.path(key), **request)
    steps = RAMP_STEPS if key in STEP_BY_STEP and not options else ()
    return run, compare_with_mission(inputs.path(key), run, mission, request, steps)


def a31(key: str, report: VerifyReport) -> list[Row]:
    """One line for each array of the image, one for each ramp step, one for the borders, one for the metadata."""
    rows, grouped = [], {}
    for item in report.arrays:
        if item.step == "image" and "border" not in item.array:
            note = f"wanted {item.tolerance}, found {100 * item.agreement.close_fraction:.5f} %. {item.note}".strip()
            rows.append(row("A31", f"{key}: {item.array}", item.agreement, lambda _, item=item: item.passed, note))
        else:
            what = "borders" if item.step == "image" else f"after {item.step}"
            grouped.setdefault(what, []).append(item)
    for what, items in grouped.items():
        total = combine(item.agreement for item in items)
        problems = "; ".join(f"{item.array}: wanted {item.tolerance}. {item.note}" for item in items if not item.passed)
        names = ", ".join(item.array for item in items if "border" not in item.array) or f"{len(items)} arrays"
        passed = all(item.passed for item in items)
        rows.append(row("A31", f"{key}: {what}: {names}", total, lambda _, passed=passed: passed, problems))
    wrong = [f"{item.name}: {item.ours}, romancal {item.theirs}" for item in report.values if not item.passed]
    metadata = statement(
        "A31", f"{key}: metadata and WCS", [item.passed for item in report.values], "; ".join(wrong[:3])
    )
    return [*rows, metadata]


# ---------------------------------------------------------------------------------- cost and determinism
def one_run(folder: Path, **request: Any) -> dict[str, Any]:
    """Run ours once in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "one_run.json"
    path.write_text(json.dumps(request, default=str))
    answer = subprocess.run([sys.executable, str(ONE_RUN), str(path)], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(answer.stderr.strip().splitlines()[-1])
    return json.loads(answer.stdout.splitlines()[-1])


def a32_a33(inputs: Inputs, mission: MissionRun, folder: Path) -> list[Row]:
    """Peak memory and wall time; the figures of record are those of `make bench`, on a quiet machine."""
    ours = one_run(folder, input=inputs.path("nine"), source=inputs.folder / "references")
    peak, wall = ours["peak_mb"], ours["runs"][0]["wall_s"]
    theirs = min(mission.total.wall_s, mission.total.cpu_s)  # romancal uses one core: its CPU time bounds it from below
    memory = f"{peak:.0f} MB, allowed 1000; romancal {mission.total.peak_mb:.0f} MB"
    times = f"{wall:.1f} s against {theirs:.1f} s: {theirs / wall:.1f} times faster, wanted 10"
    return [
        statement("A32", "peak memory, 9 resultants, full frame", [peak < 1000], memory),
        statement("A33", "wall time, 9 resultants, full frame", [theirs / wall >= 10], times),
    ]


def a35(inputs: Inputs, folder: Path) -> list[Row]:
    """Digests of all arrays with other numbers of threads and rows."""
    rows = []
    for key in ("short", "wfi18"):
        common = {"input": inputs.path(key), "source": inputs.folder / "references", "digests": True}
        settings = [(1, None), (2, None), (4, 48), (2, 7), (3, 512)]
        found = [
            one_run(folder, **common, threads=threads, rows_per_block=high)["digests"] for threads, high in settings
        ]
        same = [found[0][name] == other[name] for other in found[1:] for name in found[0]]
        different = sorted({name for other in found[1:] for name in found[0] if found[0][name] != other[name]})
        note = "threads, rows of a block: " + ", ".join(f"{t}, {high or 'default'}" for t, high in settings)
        rows.append(statement("A35", f"determinism, {key}", same, f"{note}. {', '.join(different)}".strip()))
    return rows


# ----------------------------------------------------------------------------------------------- truth
def truth(inputs: Inputs, key: str, image: Any) -> list[Row]:
    """Does the image recover the simulated rates, without bias and with the scatter that it states?

    The truth holds the electrons that fell, so the photon noise of the total is no error here: of the stated variance
    what remains is err^2 - rate / (gain x exposure time).
    """
    import asdf

    with asdf.open(inputs.folder / f"truth_{key}.asdf") as file:
        electrons, seconds = np.asarray(file["electrons"], dtype=np.float32), float(file["exptime"])
        hit = np.asarray(file["hit"])
    inner = (slice(4, -4),) * 2
    electrons, hit = (array[inner] if array.shape == (4096, 4096) else array for array in (electrons, hit))
    references = rn.engine.reprocess.find_references(inputs.path(key), source=inputs.folder / "references")
    gain = np.asarray(references["gain"].array("data")[inner])
    dark = np.asarray(references["dark"].array("dark_slope")[inner])
    flat = np.asarray(references["flat"].array("data"))
    wanted = (electrons / gain / seconds - dark) / flat
    bad = PixelFlag.DO_NOT_USE | PixelFlag.SATURATED | PixelFlag.JUMP_DET | PixelFlag.NO_LIN_CORR
    err = image.err.astype(np.float32)
    variance = err**2 - np.maximum(wanted, 0) / (gain * seconds * flat)
    good = (
        ((image.dq & np.uint32(bad)) == 0) & ((hit & 6) == 0) & np.isfinite(image.data) & (flat > 0.5) & (variance > 0)
    )
    rows = []
    for low, high in ((0.0, 1.0), (1.0, 20.0), (20.0, 1000.0)):
        here = good & (wanted >= low) & (wanted < high)
        difference = image.data[here] - wanted[here]
        pull = difference / np.sqrt(variance[here])
        bias = float(np.median(difference) / np.median(wanted[here]))
        sigma = float(np.subtract(*np.percentile(pull, (84.135, 15.865))) / 2)
        note = f"{here.sum()} pixels, median bias {100 * bias:+.3f} %, scatter of the pulls {sigma:.3f}"
        good_enough = [abs(bias) < (0.01 if high == 1 else 0.002), 0.9 < sigma < 1.15]
        rows.append(statement("truth", f"{key}: rates of {low:g} to {high:g} DN/s", good_enough, note))
    return rows


def run_full(python: Path, inputs: Inputs, folder: Path, wanted: set[str], keys: tuple[str, ...]) -> list[Row]:
    """All full-frame checks that are wanted."""
    rows: list[Row] = []
    for key in keys:
        print(f"full frame: {key}", file=sys.stderr, flush=True)
        try:
            mission = ensure_mission(python, inputs, key, folder / "mission" / key)
            if wanted & {"A31", "truth"}:
                run, report = compare_file(inputs, key, mission)
                report.save(folder / f"verify_{key}.html")
                rows += a31(key, report) if "A31" in wanted else []
                rows += truth(inputs, key, run.image) if "truth" in wanted and key in TRUE else []
            if "A31" in wanted and key == "nine":
                options = {"ramp_fit": {"algorithm": "ols_cas22"}}
                other = ensure_mission(python, inputs, key, folder / "mission" / "nine_ols", **options)
                rows += a31("nine, ols_cas22", compare_file(inputs, key, other, **options)[1])
            if wanted & {"A32", "A33"} and key == "nine":
                rows += [item for item in a32_a33(inputs, mission, folder) if item.check in wanted]
        except (rn_error(), RuntimeError) as error:
            rows.append(failed("A31", key, error))
    if "A35" in wanted:
        print("A35", file=sys.stderr, flush=True)
        rows += a35(inputs, folder)
    return rows


def rn_error() -> type[Exception]:
    from roman_nexus.errors import RomanNexusError

    return RomanNexusError
