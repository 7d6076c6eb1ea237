"""What a plan will cost: peak memory, scratch space, bytes read and time.

The memory model adds up what is alive at the widest moment; it is compared with measurements in the tests and the
benchmarks. Times start from constants measured once on a two-core machine and are replaced by what this machine took
last time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roman_nexus.errors import MemoryBudgetError
from roman_nexus.steps.step import CHANNEL_WIDTH, Step

__all__ = ["available_memory_mb", "check_budget", "estimate_memory", "estimate_seconds", "peak_rss_mb"]

BASE_MB = 265.0  #: interpreter with numba, asdf, gwcs and roman_datamodels loaded
IN_MEMORY_LIMIT_MB = 200.0  #: ramps up to this size wait in memory between segments

#: Thread-seconds per million samples (pixels x resultants; image steps: pixels).
DEFAULT_COST = {
    "dq_init": 0.004,
    "saturation": 0.006,
    "refpix": 0.030,
    "dark_decay": 0.004,
    "wfi18_transient": 0.010,
    "linearity": 0.035,
    "ramp_fit": 0.020,
    "dark_current": 0.004,
    "flat_field": 0.015,
    "assign_wcs": 0.0,
    "photom": 0.0,
}


def estimate_memory(
    shape: tuple[int, int, int], steps: Sequence[Step], threads: int, rows_per_block: int, prepared: Sequence[str]
) -> tuple[dict[str, float], float]:
    """Return the items of the peak memory and the size of the scratch file, both in MB.

    Parameters
    ----------
    shape : tuple of int
        (F, ny, nx).
    steps : sequence of Step
        The steps to run.
    threads, rows_per_block : int
    prepared : sequence of str
        Steps that keep a whole flag cube (saturation growth, snowballs).
    """
    n_res, n_rows, n_columns = shape
    plane = n_rows * n_columns / 1e6
    items = {"program": BASE_MB}
    ramp_steps = [step for step in steps if step.level in ("raw", "ramp", "fit")]
    couples_channels = any(step.couples == "channel" for step in ramp_steps)
    keeps_ramp = bool(ramp_steps) and ramp_steps[-1].level != "fit"
    ramp_mb = 4 * n_res * plane
    scratch = 0.0
    if couples_channels or keeps_ramp:
        if ramp_mb > IN_MEMORY_LIMIT_MB:
            scratch = ramp_mb
        else:
            items["ramp between steps"] = ramp_mb
        items["pixel flags"] = 4 * plane
    if keeps_ramp:
        items["ramp product"] = 5 * n_res * plane
    if ramp_steps:
        block = n_res * rows_per_block * n_columns / 1e6
        items["row blocks"] = threads * block * 4 * 3.2
        planes = sum(len(needs.images) for step in ramp_steps for needs in step.references)
        items["decoded pieces"] = min(4.2 * (n_res + 2), 70.0) + 4.2 * min(planes * 2, 24)
    if couples_channels:
        n_frequencies = n_rows * (CHANNEL_WIDTH + 12) // 2 + 1
        strip = 4 * n_res * n_rows * CHANNEL_WIDTH / 1e6
        items["reference spectra"] = 3 * n_res * n_frequencies * 8 / 1e6
        items["channel strips"] = threads * (2.2 * strip + 7 * 16 * n_frequencies / 1e6)
    if any(step.level in ("fit", "image") for step in steps):
        items["image"] = 16 * plane
    for name in prepared:
        items[f"flags for {name}"] = n_res * plane
    # segments follow each other: the widest is the channel segment or the last one, never their sum
    if "channel strips" in items and "image" in items:
        narrow = min(items["channel strips"] + items["reference spectra"], items["image"])
        items["not at the same time"] = -narrow
    return items, scratch


def estimate_seconds(
    steps: Sequence[Step], shape: tuple[int, int, int], reads: int, threads: int, measured: Mapping[str, Any] | None
) -> dict[str, float]:
    """Estimate the thread-seconds of each step.

    Parameters
    ----------
    measured : mapping or None
        Step name to thread-seconds per million samples, as this machine took last time.
    """
    n_res, n_rows, n_columns = shape
    pixels = n_rows * n_columns / 1e6
    cost: dict[str, float] = {}
    for step in steps:
        rate = float((measured or {}).get(step.name, DEFAULT_COST.get(step.name, 0.01)))
        samples = pixels * (n_res if step.level in ("raw", "ramp", "fit") else 1)
        cost[step.name] = rate * samples
    return cost


def available_memory_mb() -> float:
    """Memory that this process may still take: what is free, or what the container allows."""
    free = float("inf")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = float(line.split()[1]) / 1e3
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    try:
        text = limit.read_text().strip()
        if text != "max":
            free = min(free, (float(text) - float(used.read_text())) / 1e6)
    except (OSError, ValueError):
        pass
    if free == float("inf"):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    return free


def check_budget(memory_mb: float, items: Mapping[str, float], budget_mb: float) -> None:
    """Refuse a plan that needs more memory than it is allowed.

    Raises
    ------
    MemoryBudgetError
        With the numbers.
    """
    allowed = budget_mb or available_memory_mb() + items.get("program", 0.0)
    if memory_mb <= allowed:
        return
    listed = ", ".join(f"{name} {size:.0f}" for name, size in items.items())
    origin = "the memory budget" if budget_mb else "what this machine has free"
    msg = (
        f"this plan needs about {memory_mb:.0f} MB but {origin} is {allowed:.0f} MB ({listed}); use fewer threads, "
        "stop at the rate image instead of a ramp, or raise memory_budget_mb"
    )
    raise MemoryBudgetError(msg)


def peak_rss_mb() -> float:
    """Return the peak resident memory of this process so far, MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
