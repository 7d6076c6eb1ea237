"""Make the references and Level 1 files of the full-frame checks, once; needs the environment `.venv-parity`.

    python make_inputs.py FOLDER [KEY ...]

What exists with the same recipe is kept. A file takes one to four minutes and up to 6 GB of memory; the references of
a detector one minute and 1.3 GB of disk. FOLDER/inputs.json says what is there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import make_exposures
import make_references
from make_exposures import EXPOSURES, Wanted


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {"references": {}, "exposures": {}}


def write(path: Path, found: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1))
    part.replace(path)


def apart(function: Any, *arguments: Any) -> Any:
    """Call a function in a process of its own, so that its memory and its patches are gone afterwards."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def ensure_references(folder: Path, detector: str) -> None:
    found = read(folder / "inputs.json")
    recipe = {"version": make_references.VERSION, "seed": make_references.SEED}
    there = found["references"].get(detector, {})
    names = there.get("files", {}).values()
    if there.get("recipe") == recipe and all((folder / "references" / name).exists() for name in names):
        return
    print(f"making the references of {detector} (1 minute)", file=sys.stderr, flush=True)
    files = apart(make_references.make_references, folder / "references", detector)
    found["references"][detector] = {"recipe": recipe, "files": files}
    write(folder / "inputs.json", found)


def ensure_exposure(folder: Path, wanted: Wanted) -> None:
    found = read(folder / "inputs.json")
    versions = {"references": make_references.VERSION, "exposures": make_exposures.VERSION}
    recipe = json.loads(json.dumps({**asdict(wanted), "versions": versions}))
    path = folder / wanted.name
    if found["exposures"].get(wanted.key, {}).get("recipe") == recipe and path.exists():
        return
    print(f"simulating {wanted.name} with romanisim (1 to 4 minutes)", file=sys.stderr, flush=True)
    started = time.perf_counter()
    apart(make_exposures.make_exposure, wanted, folder / "references", path)
    seconds = round(time.perf_counter() - started, 1)
    found["exposures"][wanted.key] = {"recipe": recipe, "file": wanted.name, "seconds": seconds}
    write(folder / "inputs.json", found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("keys", nargs="*", choices=[[], *(wanted.key for wanted in EXPOSURES)], default=[])
    arguments = parser.parse_args()
    chosen = [wanted for wanted in EXPOSURES if not arguments.keys or wanted.key in arguments.keys]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for wanted in chosen:
        ensure_references(arguments.folder, wanted.detector)
        ensure_exposure(arguments.folder, wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
