"""Data quality of the rate image, from the flags of its resultants.

Rules of romancal 1.1 for the likelihood fit: SATURATED where any resultant is saturated, JUMP_DET where any has
a jump, DO_NOT_USE where at most one resultant is neither SATURATED nor DO_NOT_USE. Flags of single resultants
otherwise (AD_FLOOR, DROPOUT, WFI18_TRANSIENT) do not reach the image.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.dq import PixelFlag, ResultantFlag

__all__ = [
    "DO_NOT_USE",
    "JUMP_DET",
    "NO_GAIN_VALUE",
    "SATURATED",
    "UNUSABLE",
    "collapse_flags",
    "jumps_in",
    "sort_jumps",
]

# the first three bits mean the same for a resultant and for a pixel
DO_NOT_USE = np.uint8(ResultantFlag.DO_NOT_USE)
SATURATED = np.uint8(ResultantFlag.SATURATED)
JUMP_DET = np.uint8(ResultantFlag.JUMP_DET)
UNUSABLE = np.uint8(DO_NOT_USE | SATURATED)
NO_GAIN_VALUE = np.uint32(PixelFlag.NO_GAIN_VALUE)


@njit(nogil=True, cache=True, error_model="numpy")
def collapse_flags(groupdq, pixeldq, dq):  # type: ignore[no-untyped-def]
    """Write the flags of the rate image into `dq`.

    Parameters
    ----------
    groupdq : (F, ny, nx) uint8 ndarray
    pixeldq, dq : (ny, nx) uint32 ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.ramp_fit.flags import collapse_flags
    >>> groupdq = np.array([[0, 0, 0], [0, 4, 2], [0, 0, 2]], dtype=np.uint8).reshape(3, 1, 3)
    >>> dq = np.zeros((1, 3), dtype=np.uint32)
    >>> collapse_flags(groupdq, np.zeros_like(dq), dq)
    >>> dq
    array([[0, 4, 3]], dtype=uint32)
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

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.ramp_fit.flags import jumps_in
    >>> groupdq = np.zeros((3, 1, 2), dtype=np.uint8)
    >>> groupdq[2, 0, 1] = 4
    >>> jumps_in(groupdq, slice(10, 11), slice(20, 22)).tolist()
    [[2, 10, 21]]
    """
    resultant, y, x = np.nonzero(groupdq & JUMP_DET)
    return sort_jumps(resultant, y, x, rows, columns)
