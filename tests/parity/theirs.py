"""Run the synthetic cases through the mission's own functions; needs the environment `.venv-parity`.

    python theirs.py FOLDER CHECK [CHECK ...] [--quick]

For every case, FOLDER/<check>/<number>.theirs.npz receives the arrays and what else is compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import cases
import cases_fit  # noqa: F401 - registers its checks
import cases_image  # noqa: F401
import cases_ramp  # noqa: F401
import numpy as np

RUNNER = Path(__file__).resolve().parents[2] / "roman_nexus" / "verify" / "mission_runner.py"


class Node(dict):
    """A dictionary whose items are attributes too, like the mission's data models."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *problem: object) -> None:
        return None


def load_runner() -> Any:
    """Load the script that runs the whole pipeline: it knows how to keep romancal offline."""
    spec = importlib.util.spec_from_file_location("mission_runner", RUNNER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ramp_model(case: cases.Case, **arrays: Any) -> Node:
    """Ramp as the mission's functions see it; the arrays are copies, for they are changed in place."""
    values = {name: np.array(array) for name, array in case.ramp.items()}
    given = case.exposure
    node = Node(
        values,
        meta=Node(
            exposure=Node(
                read_pattern=given["read_pattern"],
                frame_time=given["frame_time"],
                nresultants=len(given["read_pattern"]),
                type=given["exposure_type"],
            ),
            instrument=Node(detector=given["detector"], optical_element=given["optical_element"]),
            cal_step=Node(),
        ),
        **arrays,
    )
    node.setdefault("pixeldq", np.zeros(given["shape"], dtype=np.uint32))
    if "data" in values:
        node.setdefault("groupdq", np.zeros(values["data"].shape, dtype=np.uint8))
    return node


def reference(case: cases.Case, reftype: str) -> Node:
    """Reference file as the mission's functions see it."""
    return Node({name: np.array(value) if isinstance(value, np.ndarray) else value
                 for name, value in case.references[reftype].items()})  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("checks", nargs="+")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    load_runner().go_offline(arguments.folder / "crds")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    np.seterr(all="ignore")
    from theirs_image import RUN as RUN_IMAGE
    from theirs_ramp import RUN as RUN_RAMP

    runners = {**RUN_RAMP, **RUN_IMAGE}
    for check in arguments.checks:
        folder = arguments.folder / check
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        for number, case in enumerate(cases.CHECKS[check](arguments.quick)):
            digest = cases.digest(case)
            found = runners[check](case, folder)
            about = {"name": case.name, "digest": digest, **found.pop("about", {})}
            np.savez(folder / f"{number:02d}.theirs.npz", about=json.dumps(about), **found)
        print(f"{check}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
