"""The demo archive with its prompt products: what `rn.demo_archive` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from roman_nexus.demo.archive import DemoArchive, Progress, default_folder, make_archive
from roman_nexus.wcs import DETECTORS

__all__ = ["demo_archive"]


def demo_archive(
    folder: str | Path | None = None,
    *,
    detectors: int = 18,
    dithers: int = 2,
    shape: tuple[int, int] = (512, 512),
    progress: Callable[[str], None] | None = None,
) -> DemoArchive:
    """Make the demo archive, or open the one that is there.

    One visit of a simulated sky: Level 1 ramps with all the effects that the pipeline corrects, the references that
    match, the truth, and the Level 2 products that our own pipeline makes of them. The frames are small, so that all
    of it takes about a minute.

    Parameters
    ----------
    folder : path, optional
        By default ``ROMAN_NEXUS_DEMO``, or a folder in the user's cache.
    detectors : int
        How many of the 18.
    dithers : int
        Exposures of the visit.
    shape : tuple of int
        Frame of each detector, border included; multiples of 128.
    progress : callable, optional
        Called with one line of text now and then.

    Returns
    -------
    DemoArchive

    Examples
    --------
    >>> import roman_nexus as rn
    >>> archive = rn.demo_archive()  # doctest: +SKIP
    >>> run = rn.reprocess(archive.files("uncal")[0])  # doctest: +SKIP
    """
    place = Path(folder) if folder is not None else default_folder()

    if progress is not None:
        progress(f"demo archive in {place}: {detectors} x {dithers} exposures of {shape[0]} x {shape[1]} pixels")
    archive = make_archive(
        place,
        detectors=tuple(DETECTORS)[:detectors],
        dithers=dithers,
        shape=shape,
        overwrite=True,
        progress=_reporter("simulating references and ramps", progress),
    )
    archive.calibrate(_calibrate, _reporter("calibrating them: the archive's products", progress))
    return archive


def _reporter(title: str, progress: Callable[[str], None] | None) -> Progress:
    """Tell every sixth piece of some work; nothing is told where all of it was there already."""
    told: list[str] = []

    def report(done: int, total: int, what: str) -> None:
        if progress is None:
            return
        if not told:
            told.append(title)
            progress(title)
        if done % 6 == 0 or done == total:
            progress(f"  {done:>3} of {total}  {what}")

    return report


def _calibrate(level1: Path, references: Mapping[str, Path], folder: Path) -> list[Path]:
    from roman_nexus.engine.reprocess import reprocess

    run = reprocess(level1, references={name: str(path) for name, path in references.items()}, progress=False)
    return run.save(folder, schema="2.1.0")
