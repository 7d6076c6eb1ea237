"""The outline of an image on the sky, and its text form S_REGION."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import InputError

__all__ = ["footprint", "s_region"]


def footprint(wcs: Any) -> NDArray[np.float64]:
    """Return the corners of the bounding box on the sky.

    Parameters
    ----------
    wcs : gwcs.WCS
        With a bounding box ((x0, x1), (y0, y1)), pixels.

    Returns
    -------
    (4, 2) float64 ndarray
        (ra, dec) of (x0, y0), (x0, y1), (x1, y1), (x1, y0), degrees, 0 <= ra < 360.

    Raises
    ------
    InputError
        If the WCS has no bounding box.
    """
    if wcs.bounding_box is None:
        msg = "the WCS has no bounding box, so its footprint is not defined; set wcs.bounding_box to the image's limits"
        raise InputError(msg)
    (x0, x1), (y0, y1) = wcs.bounding_box.bounding_box(order="F")
    x, y = np.array([x0, x0, x1, x1], dtype=np.float64), np.array([y0, y1, y1, y0], dtype=np.float64)
    ra, dec = wcs(x, y, with_bounding_box=False)
    return np.column_stack([np.where(ra < 0, 360 + ra, ra), dec])


def s_region(wcs: Any) -> str | None:
    """Write the footprint the way ``meta.wcsinfo.s_region`` has it.

    Parameters
    ----------
    wcs : gwcs.WCS

    Returns
    -------
    str or None
        ``POLYGON ICRS  `` (two spaces) and eight numbers with nine decimals, degrees; None if one is NaN.

    Raises
    ------
    InputError
        If the WCS has no bounding box.
    """
    corners = footprint(wcs)
    if np.isnan(corners).any():
        return None
    return "POLYGON ICRS  " + " ".join(f"{angle:.9f}" for angle in corners.ravel())
