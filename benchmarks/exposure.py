"""Ours and the mission's pipeline on the same real Level 1 file: time, memory and accuracy side by side: `make bench`.

    python benchmarks/exposure.py [--runs 3] [--theirs 1] [--only likelihood,rerun] [--folder build/parity]

The input is a full-size Level 1 file of romanisim, 9 resultants of 44 reads (16 reads for ols_cas22). Every figure of
ours is the median of so many processes, so that memory is honest. "Warm" is the second and third run in a process, with
kernels compiled and modules imported; romancal's figures leave importing out too. What the first run in a process
costs, and what compiling costs, are rows of their own. romancal runs as often as ``--theirs`` says (4 to 6 minutes
each) and counts with the smaller of its wall and CPU time; with ``--theirs 0`` its figures are those of the last
`make parity` or `make bench`. Nothing else should run meanwhile.

build/bench.json receives the table; the exit code is 1 if a goal's floor is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

from fullframe import Inputs  # noqa: E402

from roman_nexus.verify.mission import MissionRun, StepCost, run_mission  # noqa: E402
from roman_nexus.verify.report import percent  # noqa: E402
from roman_nexus.verify.stepwise import compare_image  # noqa: E402

LIKELIHOOD, OLS = {}, {"ramp_fit": {"algorithm": "ols_cas22"}}
OURS = ROOT / "benchmarks" / "one_run.py"


@dataclass
class Row:
    """One line of the table; None where there is nothing to say."""

    name: str
    ours_s: float | None = None
    theirs_s: float | None = None
    ratio: float | None = None
    ours_rss_mb: float | None = None
    theirs_rss_mb: float | None = None
    accuracy: str = ""
    goal: str = ""
    passed: bool = True


@dataclass
class Theirs:
    """Medians of the mission's pipeline."""

    run: MissionRun
    total: StepCost
    steps: dict[str, StepCost]


class Bench:
    """What the rows share."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        self.runs, self.n_theirs = arguments.runs, arguments.theirs
        self.folder, self.scratch = arguments.folder, scratch
        self.python = arguments.mission_python
        subprocess.run(
            [
                str(self.python),
                str(ROOT / "tests/parity/make_inputs.py"),
                str(self.folder / "inputs"),
                "nine",
                "encoded",
            ],
            check=True,
        )
        self.inputs = Inputs(self.folder / "inputs")
        self._theirs: dict[str, Theirs] = {}
        self.warm_s: float | None = None  # of the full likelihood run, once it was timed

    # ------------------------------------------------------------------------------------ one process
    def ours(self, key: str, options: dict[str, Any], **request: Any) -> dict[str, Any]:
        """Run ours in a process of its own."""
        path = self.scratch / "request.json"
        environment = {**os.environ, **request.pop("environment", {}), "ROMAN_NEXUS_PROGRESS": "false"}
        whole = {
            "input": self.inputs.path(key),
            "source": self.inputs.folder / "references",
            "options": options,
            **request,
        }
        path.write_text(json.dumps(whole, default=str))
        answer = subprocess.run(
            [sys.executable, str(OURS), str(path)], capture_output=True, text=True, check=False, env=environment
        )
        if answer.returncode:
            raise RuntimeError(answer.stderr.strip().splitlines()[-1])
        return json.loads(answer.stdout.splitlines()[-1])

    def repeated(self, key: str, options: dict[str, Any], **request: Any) -> list[dict[str, Any]]:
        """Run ours several times, each in a process of its own."""
        return [self.ours(key, options, **request) for _ in range(self.runs)]

    def theirs(self, key: str, options: dict[str, Any]) -> Theirs:
        """Run romancal, or take the last run."""
        name = key + ("_ols" if options else "")
        if name not in self._theirs:
            folder = self.folder / "mission" / name
            done: list[MissionRun] = []
            for _ in range(self.n_theirs):
                folder = self.folder / "bench" / name
                tell(f"romancal on {self.inputs.path(key).name}")
                done.append(run_mission(self.python, self.inputs.path(key), self.inputs.references(key), folder,
                                        keep=(), options=options))  # fmt: skip
            if not done:
                done = [MissionRun.read(folder if folder.exists() else self.folder / "bench" / name)]
            self._theirs[name] = Theirs(
                done[-1], median_cost([item.total for item in done]),
                {step.step: median_cost([item.steps[i] for item in done]) for i, step in enumerate(done[0].steps)},
            )  # fmt: skip
        return self._theirs[name]


def median_cost(costs: list[StepCost]) -> StepCost:
    """Median of each figure."""
    middle = {name: statistics.median(getattr(cost, name) for cost in costs) for name in ("wall_s", "cpu_s", "peak_mb")}
    return StepCost(costs[0].step, **middle)


def theirs_s(cost: StepCost) -> float:
    """Seconds of the mission's pipeline: it uses one core, so load from elsewhere must not count for us."""
    return min(cost.wall_s, cost.cpu_s)


def wall(answers: list[dict[str, Any]], run: int = 0) -> float:
    """Median wall time of a run."""
    return statistics.median(answer["runs"][run]["wall_s"] for answer in answers)


def warm(answers: list[dict[str, Any]], figure: str = "wall_s") -> float:
    """Median of a figure over all runs but the first of each process."""
    return statistics.median(run[figure] for answer in answers for run in answer["runs"][1:])


def peak(answers: list[dict[str, Any]]) -> float:
    """Median of the highest resident memory."""
    return statistics.median(answer["peak_mb"] for answer in answers)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def accuracy(bench: Bench, key: str, arrays: Path, theirs: MissionRun) -> str:
    """How far the image agrees with romancal's, in words."""
    found = {path.stem: np.load(path, mmap_mode="r") for path in arrays.glob("*.npy")}
    exposure = theirs.meta["exposure"]
    rows = {item.array: item for item in compare_image(found, theirs, exposure["read_pattern"], exposure["frame_time"])}
    data, dq, err = (rows[name].agreement for name in ("data", "dq", "err"))
    words = (f"data {percent(data.identical_fraction)} identical, {percent(data.within_one_fraction)} within 1 ulp, "
             f"max {data.max_difference:.2g} DN/s; dq {percent(dq.identical_fraction)}; "
             f"err {percent(err.identical_fraction)}")  # fmt: skip
    outside = [name for name, item in rows.items() if not item.passed]
    return words + (f"; outside the tolerance: {', '.join(outside)}" if outside else "")


# ------------------------------------------------------------------------------------------------ rows
def full_run(bench: Bench, key: str, options: dict[str, Any], name: str, floor: float, aim: str) -> list[Row]:
    """Time the whole pipeline on one file, with its memory and its steps."""
    arrays = bench.scratch / f"{key}-{bool(options)}"
    bench.ours(key, options, arrays=str(arrays))  # compiles, and gives the arrays
    answers = bench.repeated(key, options, repeat=3)
    theirs = bench.theirs(key, options)
    seconds, first = warm(answers), wall(answers)
    ratio = theirs_s(theirs.total) / seconds
    exact = accuracy(bench, key, arrays, theirs.run)
    rows = [
        Row(f"{name}, warm, 2 threads", seconds, theirs_s(theirs.total), ratio, peak(answers), theirs.total.peak_mb,
            exact, f"at least {floor:g}x{aim}", ratio >= floor and "outside" not in exact),
        Row(f"{name}, first in a process", first, theirs_s(theirs.total), theirs_s(theirs.total) / first),
    ]  # fmt: skip
    cpu = warm(answers, "cpu_s")
    if not options:
        bench.warm_s = seconds
    rows.append(Row(f"{name}, CPU seconds", cpu, theirs.total.cpu_s, theirs.total.cpu_s / cpu))
    if not options:
        memory = peak(answers)
        rows.append(
            Row(
                "peak memory of the full run",
                ratio=theirs.total.peak_mb / memory,
                ours_rss_mb=memory,
                theirs_rss_mb=theirs.total.peak_mb,
                goal="at most 800 MB, floor 1000",
                passed=memory <= 1000,
            )
        )
        rows += [step_row(step, cost, answers) for step, cost in theirs.steps.items()]
    shutil.rmtree(arrays, ignore_errors=True)
    return rows


def step_row(step: str, cost: StepCost, answers: list[dict[str, Any]]) -> Row:
    """One step; ours is added up over the threads, for fused steps have no wall time of their own."""
    ours = statistics.median(run["steps"].get(step, 0.0) for answer in answers for run in answer["runs"][1:])
    ratio = theirs_s(cost) / ours if ours > 1e-3 else None
    return Row(f"  step {step}, thread seconds", ours, theirs_s(cost), ratio, None, cost.peak_mb)


def likelihood(bench: Bench) -> list[Row]:
    return full_run(bench, "nine", LIKELIHOOD, "full run, likelihood, 44 reads", 10.0, ", aim 40x")


def ols(bench: Bench) -> list[Row]:
    return full_run(bench, "encoded", OLS, "full run, ols_cas22, 16 reads", 10.0, "")


def same_process(bench: Bench) -> list[Row]:
    """Memory of one exposure and of three in one process: it must not grow."""
    memory, first = peak(bench.repeated("nine", LIKELIHOOD, repeat=3)), peak(bench.repeated("nine", LIKELIHOOD))
    return [
        Row("peak memory of three runs in one process", ours_rss_mb=memory, goal=f"not growing: one run {first:.0f} MB",
            passed=memory <= 1.1 * first),
    ]  # fmt: skip


def threads(bench: Bench) -> list[Row]:
    """Scaling with threads."""
    rows, seconds = [], {}
    for number in (1, 2):
        answers = bench.repeated("nine", LIKELIHOOD, threads=number, repeat=2)
        seconds[number] = warm(answers)
        note = "" if number == 1 else f"{seconds[1] / seconds[2]:.2f} times faster than one"
        rows.append(Row(f"full run, warm, {number} thread{'s' if number > 1 else ''}", seconds[number], accuracy=note,
                        ours_rss_mb=peak(answers)))  # fmt: skip
    return rows


def other_flat(bench: Bench, number: int) -> Path:
    """Write a flat of another content."""
    import asdf

    target = bench.scratch / f"flat_{number}.asdf"
    with asdf.open(bench.inputs.references("nine")["flat"], memmap=False, lazy_load=False) as file:
        file["roman"]["data"] = np.array(file["roman"]["data"]) * np.float32(1 + 0.001 * (number + 1))
        file.write_to(target, all_array_compression="lz4")
    return target


def rerun(bench: Bench) -> list[Row]:
    """Time what is left to do when only the flat changed, and when nothing did."""
    cache = str(bench.scratch / "cache")
    theirs = bench.theirs("nine", LIKELIHOOD)
    flats = [{"flat": str(other_flat(bench, number))} for number in range(bench.runs + 1)]
    each: list[dict[str, str]] = [{}]
    for flat in flats:
        each += [flat, flat]
    answer = bench.ours("nine", LIKELIHOOD, cache=cache, each=each)
    shutil.rmtree(cache, ignore_errors=True)
    # the first change imports what the run did not; it is left out like the first run of a process
    changed, unchanged = answer["runs"][3::2], answer["runs"][4::2]
    whole = answer["runs"][0]["wall_s"] if bench.warm_s is None else bench.warm_s
    ran, again = ({step for run in runs for step in run["ran"]} for runs in (changed, unchanged))
    first, second = (statistics.median(run["wall_s"] for run in runs) for runs in (changed, unchanged))
    other, memory = theirs_s(theirs.total), theirs.total.peak_mb
    limit = f"at most 3 % of the full run ({0.03 * whole:.2f} s)"
    return [
        Row("rerun with another flat, warm (romancal: all again)", first, other, other / first, answer["peak_mb"],
            memory, f"{100 * first / whole:.1f} % of the full run; ran {', '.join(sorted(ran))}", limit,
            first <= 0.03 * whole),
        Row("rerun with nothing changed, warm (romancal: all again)", second, other, other / second,
            answer["peak_mb"], memory, f"ran {', '.join(sorted(again)) or 'nothing'}", "under 0.3 s", second < 0.3),
    ]  # fmt: skip


def seconds_of(command: list[str]) -> float:
    """Wall time of a command; it must succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def start_up(bench: Bench) -> list[Row]:
    """Time what it costs to begin."""
    program = Path(sys.executable).with_name("roman-nexus")
    code = "import time; t = time.perf_counter(); import roman_nexus; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    several = range(max(5, bench.runs))
    imports = [float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in several]
    helps = [seconds_of([str(program), "--help"]) for _ in several]
    imported, helped = statistics.median(imports), statistics.median(helps)
    return [
        Row("import roman_nexus", imported, goal="under 0.3 s", passed=imported < 0.3),
        Row("roman-nexus --help", helped, goal="under 0.5 s", passed=helped < 0.5),
    ]


def cold_start(bench: Bench) -> list[Row]:
    """Time the first run on a machine, which compiles the kernels."""
    empty = bench.scratch / "numba"
    cold = bench.ours("nine", LIKELIHOOD, environment={"NUMBA_CACHE_DIR": str(empty)})
    warm = bench.ours("nine", LIKELIHOOD, environment={"NUMBA_CACHE_DIR": str(empty)})
    first, second = cold["runs"][0]["wall_s"], warm["runs"][0]["wall_s"]
    note = f"{first - second:.1f} s more than the next run, once for a machine"
    return [Row("cold start: full run that compiles the kernels", first, ours_rss_mb=cold["peak_mb"], accuracy=note)]


GROUPS: dict[str, Callable[[Bench], list[Row]]] = {
    "likelihood": likelihood,
    "ols": ols,
    "process": same_process,
    "threads": threads,
    "rerun": rerun,
    "start": start_up,
    "cold": cold_start,
}


# ----------------------------------------------------------------------------------------------- table
def cells(row: Row) -> tuple[str, ...]:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    verdict = "" if not row.goal else ("pass" if row.passed else "FAIL")
    times = (number(row.ours_s, ".3g"), number(row.theirs_s, ".1f"), number(row.ratio, ".1f"))
    memory = (number(row.ours_rss_mb, ".0f"), number(row.theirs_rss_mb, ".0f"))
    return (row.name, *times, *memory, verdict, row.goal, row.accuracy)


def table(rows: list[Row]) -> str:
    head = ("name", "ours s", "romancal s", "ratio", "ours MB", "romancal MB", "verdict", "goal", "accuracy")
    lines = [head, *map(cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def machine(theirs: dict[str, Theirs]) -> str:
    """Cores and versions, for the README."""
    import importlib.metadata as metadata

    ours = ", ".join(f"{name} {metadata.version(name)}" for name in ("roman-nexus", "numpy", "scipy", "numba"))
    found = next(iter(theirs.values()), None)
    other = ", ".join(f"{name} {version}" for name, version in found.run.versions.items()) if found else "not run"
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, load {load:.1f} at the end; ours: {ours}; romancal's environment: {other}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="runs of ours for every figure")
    parser.add_argument("--theirs", type=int, default=1, help="runs of romancal; 0 takes the figures of the last one")
    parser.add_argument("--only", help=f"comma-separated: {', '.join(GROUPS)}")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "parity", help="inputs, shared with make parity"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench.json")
    named = os.environ.get("ROMAN_NEXUS_ROMANCAL_PYTHON") or ROOT / ".venv-parity" / "bin" / "python"
    parser.add_argument("--mission-python", type=Path, default=Path(named))
    arguments = parser.parse_args()
    wanted = arguments.only.split(",") if arguments.only else list(GROUPS)
    if unknown := [name for name in wanted if name not in GROUPS]:
        parser.error(f"unknown groups {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    rows: list[Row] = []
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as scratch:
        bench = Bench(arguments, Path(scratch))
        for name in wanted:
            tell(name)
            rows += GROUPS[name](bench)
        print(table(rows))
        print(machine(bench._theirs))
    part = arguments.json.with_suffix(".part")
    part.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    part.replace(arguments.json)
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
