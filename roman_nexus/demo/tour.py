"""The main job, done once on the demo archive: rerun with a flat of your own, see what changed, check the truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.demo.archive import DemoArchive
from roman_nexus.demo.prompt import demo_archive

__all__ = ["my_flat", "pulls", "tour"]

#: A right calibration has pulls of scatter 1 (a little more: undetected small jumps are not in the error).
SCATTER_LIMITS = (0.95, 1.06)
#: The zero point of one exposure is uncertain by what is left of the 1/f noise, a small part of a pixel's error ...
MEDIAN_LIMIT = 0.2
#: ... and of either sign, so that the mean over exposures is zero within so many standard errors.
SIGNIFICANCE = 3.5


def tour(folder: Path | None, *, detectors: int = 18, dithers: int = 2, say: Callable[[str], None] = print) -> int:
    """Make the archive, rerun one exposure with a changed flat, compare, and check against the truth.

    Parameters
    ----------
    folder : Path or None
    detectors, dithers : int
    say : callable
        Takes one text at a time.

    Returns
    -------
    int
        0 if the truth was recovered, 1 if not.
    """
    import roman_nexus as rn

    archive = demo_archive(folder, detectors=detectors, dithers=dithers, progress=say)
    level1 = archive.files("uncal")[0]
    prompt = archive.files("cal")[0]
    flat = my_flat(archive, archive.folder / "my_flat.asdf")
    say(f"\nrerunning {level1.name} with {flat.name}, in which a disc is 2 % brighter\n")
    references = {**archive.references("WFI01"), "flat": str(flat)}
    run = rn.reprocess(level1, references=references)
    say(str(run.plan))
    say(f"\n{run.image!r}\n")
    written = run.save(archive.folder / "rerun")
    comparison = rn.compare(run.image, prompt)
    say(str(comparison))
    report = archive.folder / "rerun" / "comparison.html"
    comparison.save(report)

    say("\nrates against the truth of the simulation (median and scatter of (rate - truth) / err):")
    found = []
    for path in archive.files("cal"):
        median, scatter, count = pulls(archive, path)
        found.append((median, scatter))
        say(f"  {path.name:<52} {median:+.3f}  {scatter:.3f}  ({count} pixels)")
    good = recovers_truth(found)
    say("\nthe truth is recovered" if good else "\nthe truth is NOT recovered: please report this")
    say(f"wrote {', '.join(str(path) for path in (*written, report))}")
    return 0 if good else 1


def recovers_truth(found: list[tuple[float, float]]) -> bool:
    """Judge the pulls of several exposures, each (median, scatter)."""
    medians, scatters = np.array(found).T
    each = bool((np.abs(medians) < MEDIAN_LIMIT).all())
    each &= bool(((scatters > SCATTER_LIMITS[0]) & (scatters < SCATTER_LIMITS[1])).all())
    if len(medians) < 3:
        return each
    error = medians.std(ddof=1) / np.sqrt(len(medians))
    return each and bool(abs(medians.mean()) < SIGNIFICANCE * error)


def my_flat(archive: DemoArchive, path: Path) -> Path:
    """Write a copy of the first detector's flat with a disc that is 2 % brighter.

    Parameters
    ----------
    archive : DemoArchive
    path : Path

    Returns
    -------
    Path
    """
    import asdf

    from roman_nexus.products.saving import write_asdf

    with asdf.open(archive.references("WFI01")["flat"], lazy_load=False, memmap=False) as opened:
        flat = np.array(opened["roman"]["data"])
        ny, nx = flat.shape
        y, x = np.mgrid[:ny, :nx]
        disc = np.hypot(y - 0.6 * ny, x - 0.4 * nx) < 0.15 * nx
        flat[disc] *= np.float32(1.02)
        opened["roman"]["data"] = flat
        return write_asdf(opened, path)


def pulls(archive: DemoArchive, product: Path) -> tuple[float, float, int]:
    """Return median, scatter and number of (rate - truth) / err over the pixels that should be right.

    Parameters
    ----------
    archive : DemoArchive
    product : Path
        A Level 2 product of the archive.
    """
    from roman_nexus.products.blocks import open_blocks

    with open_blocks(product) as image, open_blocks(archive.truth(product)) as truth:
        arrays = {name: np.asarray(image.array(f"roman.{name}")) for name in ("data", "err", "dq")}
        return pull_statistics(arrays, np.asarray(truth.array("rate")))


def pull_statistics(arrays: Any, rate: NDArray[np.float32]) -> tuple[float, float, int]:
    """Compare an image with the true rate; flagged pixels are left out.

    Parameters
    ----------
    arrays : mapping
        ``data``, ``err`` and ``dq`` of an image.
    rate : (ny, nx) float32 ndarray, DN/s
    """
    err = arrays["err"].astype(np.float64)
    good = (arrays["dq"] == 0) & np.isfinite(arrays["data"]) & (err > 0)
    values = (arrays["data"][good] - rate[good]) / err[good]
    median = float(np.median(values))
    return median, float(np.median(np.abs(values - median)) / 0.6744897501960817), int(good.sum())
