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

BRIGHTER = 1.02  #: factor of the changed flat in its disc
LISTED = 6  #: exposures that are listed one by one
#: A right calibration has pulls of scatter 1 (a little more: undetected small jumps are not in the error).
SCATTER_LIMITS = (0.95, 1.06)
#: The zero point of one exposure is uncertain by what is left of the 1/f noise, a small part of a pixel's error ...
MEDIAN_LIMIT = 0.2
#: ... and of either sign, so that the mean over exposures is zero within so many standard errors.
SIGNIFICANCE = 3.5


def tour(
    folder: Path | None,
    *,
    detectors: int = 18,
    dithers: int = 2,
    shape: tuple[int, int] = (512, 512),
    say: Callable[[str], None] = print,
) -> int:
    """Make the archive, rerun one exposure with a changed flat, compare, and check against the truth.

    Parameters
    ----------
    folder : Path or None
    detectors, dithers : int
    shape : tuple of int
        Frame of each detector, border included.
    say : callable
        Takes one text at a time.

    Returns
    -------
    int
        0 if the changed flat did what it must and the truth was recovered, 1 if not.
    """
    import roman_nexus as rn

    say("1. An archive to work on")
    archive = demo_archive(folder, detectors=detectors, dithers=dithers, shape=shape, progress=say)
    level1, prompt = archive.files("uncal")[0], archive.files("cal")[0]

    say(f"\n2. Rerun one exposure with a flat of your own, in which a disc is {100 * (BRIGHTER - 1):.0f} % brighter")
    flat = my_flat(archive, archive.folder / "my_flat.asdf")
    run = rn.reprocess(level1, references={**archive.references("WFI01"), "flat": str(flat)})
    say(f"{run.plan}\n\n{run.image!r}")
    written = run.save(archive.folder / "rerun")

    say("\n3. What changed against the archive's product")
    comparison = rn.compare(run.image, prompt)
    say(str(comparison))
    written.append(comparison.save(archive.folder / "rerun" / "comparison.html"))
    ratio = disc_ratio(run.image.data, prompt)
    as_expected = abs(ratio * BRIGHTER - 1) < 1e-4
    say(f"\nin the disc the rates are {ratio:.5f} of the archive's; 1 / {BRIGHTER:.2f} = {1 / BRIGHTER:.5f} is right")

    say("\n4. The archive's rates against the truth of the simulation: (rate - truth) / err, right are 0 and 1")
    found = [pulls(archive, path) for path in archive.files("cal")]
    say(_table_of_pulls([path.name for path in archive.files("cal")], found))
    good = as_expected and recovers_truth([(median, scatter) for median, scatter, _ in found])
    say("\nthe truth is recovered" if good else "\nthe truth is NOT recovered: please report this")
    say("\n".join(f"wrote {path}" for path in written))
    return 0 if good else 1


def _table_of_pulls(names: list[str], found: list[tuple[float, float, int]]) -> str:
    """List a few exposures one by one, many of them by their range."""
    lines = [f"  {'':<48}{'median':>16}{'scatter':>16}{'pixels':>12}"]
    if len(names) <= LISTED:
        lines += [f"  {name:<48}{median:>+16.3f}{scatter:>16.3f}{count:>12,}"
                  for name, (median, scatter, count) in zip(names, found, strict=True)]  # fmt: skip
    else:
        medians, scatters, counts = zip(*found, strict=True)
        middle = f"{min(medians):+.3f} to {max(medians):+.3f}", f"{min(scatters):.3f} to {max(scatters):.3f}"
        lines.append(f"  {f'{len(names)} exposures':<48}{middle[0]:>16}{middle[1]:>16}{sum(counts):>12,}")
    return "\n".join(lines)


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
        flat[_disc(flat.shape)] *= np.float32(BRIGHTER)
        opened["roman"]["data"] = flat
        return write_asdf(opened, path)


def _disc(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where the changed flat is brighter, in the science frame."""
    ny, nx = shape
    y, x = np.mgrid[:ny, :nx]
    inside: NDArray[np.bool_] = np.hypot(y - 0.6 * ny, x - 0.4 * nx) < 0.15 * nx
    return inside


def disc_ratio(rate: NDArray[np.float32], prompt: Path) -> float:
    """Return the median ratio of the rerun's rates to the archive's in the disc.

    Parameters
    ----------
    rate : (ny, nx) float32 ndarray, DN/s
    prompt : Path
        The archive's Level 2 product of the same exposure.
    """
    from roman_nexus.products.blocks import open_blocks

    with open_blocks(prompt) as image:
        old, dq = np.asarray(image.array("roman.data")), np.asarray(image.array("roman.dq"))
    good = _disc(rate.shape) & (dq == 0) & (old > 0)
    return float(np.median(np.asarray(rate)[good] / old[good]))


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
