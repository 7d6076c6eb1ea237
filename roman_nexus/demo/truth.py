"""What a simulated exposure was made from: the answers that a calibration should find."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.demo.cosmic_rays import Events
from roman_nexus.demo.pointing import DetectorView
from roman_nexus.demo.readout import NEVER
from roman_nexus.demo.sky import Sources
from roman_nexus.products.saving import write_asdf
from roman_nexus.steps.step import BORDER

__all__ = ["Truth"]


@dataclass(frozen=True)
class Truth:
    """The truth of one exposure; images are in the science frame, as Level 2 has them.

    Attributes
    ----------
    rate : (ny, nx) float32 ndarray
        The rate that Level 2 should recover, DN/s: flat-fielded for the exposure types that are.
    electrons : (ny, nx) float32 ndarray
        Electrons of light and dark current that had arrived by the last read, shot noise included; sudden charge not.
    first_saturated : (ny, nx) uint8 ndarray
        First resultant in which a read reached the full well; 255 where none did.
    cosmic_rays : Events
        In full-frame pixels; ``read`` counts the reads of the read pattern.
    resultant_of_read : (n,) int64 ndarray
        Resultant of each of those reads.
    sources : Sources
        All that lie on the frame.
    x, y : float64 ndarray
        Where they were drawn, science-frame pixels (0-based).
    source_rate : float64 ndarray
        Their total rates, DN/s.
    view : DetectorView
        The true WCS, which the file may report wrongly.
    """

    rate: NDArray[np.float32]
    electrons: NDArray[np.float32]
    first_saturated: NDArray[np.uint8]
    cosmic_rays: Events
    resultant_of_read: NDArray[np.int64]
    sources: Sources
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    source_rate: NDArray[np.float64]
    view: DetectorView

    @property
    def saturated(self) -> NDArray[np.bool_]:
        """Pixels that saturate, (ny, nx)."""
        return np.asarray(self.first_saturated != NEVER)

    @property
    def cosmic_ray_resultant(self) -> NDArray[np.int64]:
        """First resultant that holds the charge of each of `cosmic_rays`."""
        return self.resultant_of_read[self.cosmic_rays.read]

    def cosmic_ray_mask(self, least_electrons: float = 0.0) -> NDArray[np.bool_]:
        """Return the pixels that a cosmic ray hit with more than some electrons, (ny, nx)."""
        hits, (ny, nx) = self.cosmic_rays, self.rate.shape
        y, x = hits.y - BORDER, hits.x - BORDER
        some = (y >= 0) & (y < ny) & (x >= 0) & (x < nx) & (hits.electrons > least_electrons)
        mask = np.zeros((ny, nx), dtype=bool)
        mask[y[some], x[some]] = True
        return mask

    def catalog(self) -> Any:
        """Return the sources on the frame as an astropy Table, with ``x``, ``y`` (pixel) and ``rate`` (DN/s)."""
        table = self.sources.to_table()
        table["x"], table["y"], table["rate"] = self.x, self.y, self.source_rate
        for name, unit in (("x", "pixel"), ("y", "pixel"), ("rate", "DN/s")):
            table[name].unit = unit
        return table

    def write(self, path: str | Path) -> Path:
        """Write the truth as a plain ASDF file (tree: rate, electrons, first_saturated, cosmic_rays, sources, wcsinfo).

        Returns
        -------
        Path
        """
        import asdf

        at = self.view.pointing
        hits = {name: getattr(self.cosmic_rays, name) for name in ("y", "x", "electrons")}
        sources = {name: np.asarray(column) for name, column in self.sources.columns().items()}
        tree = {
            "rate": self.rate,
            "electrons": self.electrons,
            "first_saturated": self.first_saturated,
            "cosmic_rays": {**hits, "resultant": self.cosmic_ray_resultant},
            "sources": {**sources, "x": self.x, "y": self.y, "rate": self.source_rate},
            "wcsinfo": {name: getattr(at, name) for name in at.__dataclass_fields__},
        }
        return write_asdf(asdf.AsdfFile(tree), Path(path))
