"""Data quality of the rate image, from the flags of its resultants.

Rules of romancal 1.1 for the likelihood fit: SATURATED where any resultant is saturated, JUMP_DET where any has
a jump, DO_NOT_USE where at most one resultant is neither SATURATED nor DO_NOT_USE. Flags of single resultants
otherwise (AD_FLOOR, DROPOUT, WFI18_TRANSIENT) do not reach the image.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["DO_NOT_USE", "JUMP_DET", "NO_GAIN_VALUE", "SATURATED", "collapse_flags", "jumps_in", "sort_jumps"]

DO_NOT_USE, SATURATED, JUMP_DET = np.uint8(1), np.uint8(2), np.uint8(4)
NO_GAIN_VALUE = np.uint32(1 << 19)
UNUSABLE = np.uint8(3)  # DO_NOT_USE | SATURATED


@njit(nogil=True, cache=True, error_model="numpy")
def collapse_flags(groupdq, pixeldq, dq):  # type: ignore[no-untyped-def]
    """Write the flags of the rate image into `dq`.

    Parameters
    ----------
    groupdq : (F, ny, nx) uint8 ndarray
    pixeldq, dq : (ny, nx) uint32 ndarray
    """
    nx = groupdq.shape[2]
    union, usable = np.empty(nx, np.uint8), np.empty(nx, np.uint16)
    for y in range(groupdq.shape[1]):
        union[:] = 0
        usable[:] = 0
        for i in range(groupdq.shape[0]):
            for x in range(nx):
                union[x] |= groupdq[i, y, x]
            for x in range(nx):
                usable[x] += np.uint16((groupdq[i, y, x] & UNUSABLE) == 0)
        for x in range(nx):
            few = DO_NOT_USE if usable[x] <= 1 else np.uint8(0)
            dq[y, x] = pixeldq[y, x] | np.uint32((union[x] & (SATURATED | JUMP_DET)) | few)


def sort_jumps(
    resultant: NDArray[np.int64], y: NDArray[np.int64], x: NDArray[np.int64], rows: slice, columns: slice
) -> NDArray[np.int16]:
    """List jumps ordered by resultant, y, x.

    Parameters
    ----------
    resultant, y, x : (N,) int ndarray
        Places in the block, any order.
    rows, columns : slice
        Place of the block in the full frame.

    Returns
    -------
    (N, 3) int16 ndarray
        Resultant, y, x in the full frame.
    """
    order = np.lexsort((x, y, resultant))
    places = (resultant[order], y[order] + (rows.start or 0), x[order] + (columns.start or 0))
    return np.stack(places, axis=1).astype(np.int16)


def jumps_in(groupdq: NDArray[np.uint8], rows: slice, columns: slice) -> NDArray[np.int16]:
    """List all JUMP_DET flags of a block as `sort_jumps` does.

    Parameters
    ----------
    groupdq : (F, ny, nx) uint8 ndarray
    rows, columns : slice
        Place of the block in the full frame.

    Returns
    -------
    (N, 3) int16 ndarray
    """
    resultant, y, x = np.nonzero(groupdq & JUMP_DET)
    return sort_jumps(resultant, y, x, rows, columns)
