"""Compare every step with the mission's pipeline and print one table: `make parity`.

    python tests/parity/run.py [--only A3,A4] [--quick] [--folder build/parity] [--mission-python PATH]

Needs two environments: this one, and `.venv-parity` with romancal 1.1.0 and romanisim (`make parity` makes both). The
first full run takes about an hour on two cores, nearly all of it romanisim and romancal; what they made is kept, so the
next run takes minutes. ``--quick`` leaves out everything that needs a full frame of romanisim.

build/parity.json receives the table; the exit code is 1 if a check does not pass.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from checks import SYNTHETIC  # noqa: E402
from compare import Row, failed  # noqa: E402

SMALL = ("A28", "A29", "A30", "A34")
FULL = ("A31", "A32", "A33", "A35", "truth")
KEYS = ("nine", "encoded", "short", "wfi18")

WIDTH = 64  # characters of what was compared
NOTE = 110  # characters of a note in the printed table

#: Slow even on synthetic input: full frames of 4096 x 4096 that romancal insists on.
SLOW = ("A7", "A8", "A9")


def mission_python(named: str | None) -> Path:
    """The Python of the mission's environment."""
    found = Path(named or os.environ.get("ROMAN_NEXUS_ROMANCAL_PYTHON") or ROOT / ".venv-parity" / "bin" / "python")
    if not found.exists():
        sys.exit(f"there is no Python at {found}; run `make parity-environment`, or name one with --mission-python")
    return found


def synthetic(python: Path, folder: Path, wanted: list[str], quick: bool) -> list[Row]:
    """Run both sides on the synthetic cases and compare."""
    needed = sorted({case for check in wanted for case in SYNTHETIC[check][1]}, key=lambda name: int(name[1:]))
    flags = ["--quick"] if quick else []
    for interpreter, script in ((python, "theirs.py"), (Path(sys.executable), "ours.py")):
        print(f"{script}: {' '.join(needed)}", file=sys.stderr, flush=True)
        subprocess.run([str(interpreter), str(HERE / script), str(folder), *needed, *flags], check=True)
    rows: list[Row] = []
    for check in wanted:
        rows += guarded(check, lambda check=check: SYNTHETIC[check][0](folder, quick))
    return [item for item in unique(rows) if item.check in wanted]


def guarded(check: str, call: Callable[[], list[Row]]) -> list[Row]:
    """Turn a check that cannot be made into a line that says so."""
    try:
        return call()
    except Exception as error:  # one check must not hide the others
        return [failed(check, "could not be compared", f"{type(error).__name__}: {error}")]


def unique(rows: list[Row]) -> list[Row]:
    """Drop lines that two checks share."""
    seen: dict[tuple[str, str], Row] = {}
    for item in rows:
        seen.setdefault((item.check, item.what), item)
    return list(seen.values())


def small(python: Path, folder: Path, wanted: list[str], image: Path | None) -> list[Row]:
    """Run the checks on small frames."""
    from bad_input import a34
    from smallframe import a28, a29, a30, ensure_small

    ensure_small(python, folder)
    calls = {
        "A28": lambda: a28(folder),
        "A29": lambda: a29(folder),
        "A30": lambda: a30(python, folder, image),
        "A34": lambda: a34(folder),
    }
    rows: list[Row] = []
    for check in wanted:
        print(check, file=sys.stderr, flush=True)
        rows += guarded(check, calls[check])
    return rows


def full(python: Path, folder: Path, wanted: list[str]) -> tuple[list[Row], Path | None]:
    """Run the checks on full frames; also a Level 2 file that romancal is to take on."""
    from fullframe import Inputs, run_full

    import roman_nexus as rn

    subprocess.run([str(python), str(HERE / "make_inputs.py"), str(folder / "inputs")], check=True)
    inputs = Inputs(folder / "inputs")
    rows = run_full(python, inputs, folder, set(wanted), KEYS)
    run = rn.reprocess(inputs.path("short"), source=inputs.folder / "references", cache=False, progress=False)
    return rows, run.save(folder / "ours", schema="2.1.0", wcs=False)[0]


def order(item: Row) -> tuple[int, str]:
    """Sort key: by the number of the check."""
    return (int(item.check[1:]), "") if item.check[1:].isdigit() else (999, item.check)


def table(rows: list[Row]) -> str:
    """The rows as text; build/parity.json has the notes in full."""
    lines = [("check", "what", "compared", "identical", "max ulp", "verdict", "note")]
    for item in rows:
        ulp = "" if item.max_ulp is None else str(item.max_ulp)
        note = " ".join(item.note.split())
        note = note if len(note) <= NOTE or not item.passed else f"{note[:NOTE]}..."
        verdict = "pass" if item.passed else "FAIL"
        lines.append(
            (item.check, item.what[:WIDTH], str(item.compared), f"{100 * item.identical:.5f} %", ulp, verdict, note)
        )
    widths = [*(max(len(line[i]) for line in lines) for i in range(6)), 0]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    failures = [item for item in rows if not item.passed and item.worst]
    return "\n".join([*text, *(f"worst of {item.check} {item.what}: {'; '.join(item.worst)}" for item in failures)])


def write(path: Path, rows: list[Row]) -> None:
    """Write the table as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps([item.to_dict() for item in rows], indent=1))
    part.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="comma-separated checks, for example A3,A4")
    parser.add_argument("--quick", action="store_true", help="no full frames")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "parity", help="where inputs and results are kept"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "parity.json")
    parser.add_argument("--mission-python")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ.setdefault("ROMAN_NEXUS_PROGRESS", "false")
    python = mission_python(arguments.mission_python)
    everything = [*SYNTHETIC, *SMALL, *FULL]
    wanted = arguments.only.split(",") if arguments.only else everything
    if unknown := [check for check in wanted if check not in everything]:
        parser.error(f"unknown checks {', '.join(unknown)}; there are {', '.join(everything)}")
    if arguments.quick:
        wanted = [check for check in wanted if check not in (*FULL, *SLOW)]
    started = time.perf_counter()
    folder = arguments.folder
    rows: list[Row] = []
    if chosen := [check for check in wanted if check in SYNTHETIC]:
        cases = folder / ("quick" if arguments.quick else "cases")
        rows += guarded("cases", lambda: synthetic(python, cases, chosen, arguments.quick))
        if all(item.passed for item in rows):  # gigabytes that only help to find out what differs
            shutil.rmtree(cases, ignore_errors=True)
    image = None
    if chosen := [check for check in wanted if check in FULL]:
        found, image = full(python, folder, chosen)
        rows += found
    if chosen := [check for check in wanted if check in SMALL]:
        rows += small(python, folder / "small", chosen, image)
    rows.sort(key=order)
    print(table(rows))
    bad = [item for item in rows if not item.passed]
    print(f"\n{len(rows) - len(bad)} of {len(rows)} pass, {time.perf_counter() - started:.0f} s")
    write(arguments.json, rows)
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
