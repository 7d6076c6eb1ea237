"""The product of an exposure in which every pixel is saturated.

The same as ``create_fully_saturated_zeroed_image`` of romancal 1.1.0 makes.

Rates and errors are zero and all flags say SATURATED; ``dumo`` is the uniform-weight slope of the raw ramp. Unlike
romancal, which leaves ``meta.wcs`` out and cannot save the product, we write ``wcs = None``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.engine.store import TileStore
from roman_nexus.steps.exposure.ramp_fit.covariance import ramp_times
from roman_nexus.steps.exposure.ramp_fit.uniform import fit_saturated
from roman_nexus.steps.half_precision import to_float16
from roman_nexus.steps.step import BORDER, ExposureInfo

__all__ = ["saturated_image"]


def saturated_image(store: TileStore, exposure: ExposureInfo) -> dict[str, NDArray[Any]]:
    """Make the planes of the image from the ramp as saturation left it.

    Parameters
    ----------
    store : TileStore
    exposure : ExposureInfo

    Returns
    -------
    dict of str to (ny, nx) ndarray
        Science frame.
    """
    shape = exposure.science_shape
    half = ("err", "var_poisson", "chisq", "dumo")
    planes: dict[str, NDArray[Any]] = {name: np.zeros(shape, np.float16) for name in half}
    planes["data"] = np.zeros(shape, np.float32)
    planes["dq"] = np.empty(shape, np.uint32)
    weights = ramp_times(exposure.read_pattern, exposure.frame_time).uniform_weights
    inner = slice(BORDER, -BORDER)
    for block in store.row_blocks():
        first, last = max(block.rows.start, BORDER), min(block.rows.stop, exposure.shape[0] - BORDER)
        if first >= last:
            continue
        here, there = slice(first - block.rows.start, last - block.rows.start), slice(first - BORDER, last - BORDER)
        fit = fit_saturated(block, weights)
        planes["dq"][there] = fit.dq[here, inner]
        to_float16(fit.dumo[here, inner], planes["dumo"][there])
    return planes
