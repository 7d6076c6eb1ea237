"""Reprocess one Level 1 file in this process, and print what it cost as one line of JSON.

    python one_run.py REQUEST.json

The request: ``input``; ``source``, a folder of references; ``references``, overrides; ``options``; ``stop``; ``cache``,
a folder or null for none; ``threads``; ``repeat``, runs in this process; ``each``, the overrides of each of them;
``arrays``, a folder that receives the arrays of the last run, or null; ``digests``, true to digest every array;
``rows_per_block``, rows of a block, or null.

Memory is that of this process only, so it is a process of its own that the benchmark starts for every figure.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any


def cpu_s() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory_mb(key: str) -> float:
    """Resident memory: "VmRSS" now, "VmHWM" at its highest; MB (1e6 bytes). With its parts where the system tells."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    found = [line for line in status.read_text().splitlines() if line.startswith(key + ":")]
    return int(found[0].split()[1]) * 1024 / 1e6


def digest(array: Any) -> str:
    """Digest of the bits of an array."""
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()[:16]


def reprocess_once(request: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Run once; returns the run and what it cost."""
    import roman_nexus as rn

    compiled = 0.0

    def listen(event: Any) -> None:
        nonlocal compiled
        if event.kind == "compile":
            compiled = max(compiled, event.seconds)

    wall, cpu = time.perf_counter(), cpu_s()
    run = rn.reprocess(
        request["input"],
        references=request.get("references") or {},
        source=request["source"],
        options=request.get("options"),
        stop=request.get("stop"),
        cache=request.get("cache") or False,
        threads=request.get("threads"),
        progress=listen,
    )
    cost = {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu, "compile_s": compiled}
    return run, {**cost, "ran": [step.name for step in run.plan.to_run], "steps": dict(run.seconds)}


def main() -> int:
    request = json.loads(Path(sys.argv[1]).read_text())
    warnings.filterwarnings("ignore")
    started = time.perf_counter()
    import roman_nexus  # noqa: F401

    imported = time.perf_counter() - started
    if request.get("rows_per_block"):
        from roman_nexus.engine.stream import RampStream

        RampStream.__init__.__kwdefaults__["rows_per_block"] = request["rows_per_block"]
    costs = []
    run = None
    each = request.get("each") or [request.get("references")] * (request.get("repeat") or 1)
    for references in each:
        del run  # its image would count as memory of the next run
        run, cost = reprocess_once(request | {"references": references})
        costs.append(cost)
    answer: dict[str, Any] = {"import_s": imported, "runs": costs, "peak_mb": memory_mb("VmHWM")}
    product = run.product
    if request.get("digests"):
        answer["digests"] = {name: digest(array) for name, array in product.arrays.items()}
    if request.get("arrays"):
        import numpy as np

        folder = Path(request["arrays"])
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in product.arrays.items():
            np.save(folder / f"{name}.npy", array)
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
