"""Statistics of an image for ``meta.statistics``: median, scatter and fraction of good pixels.

A pixel is good if its rate is finite, it is not DO_NOT_USE and its err is positive. Of these (``romancal`` 1.1
``populate_statistics``)::

    image_median         median of the rates
    image_rms            1.482602218505602 * median(|rate - image_median|)
    good_pixel_fraction  their number over the number of pixels

in float32, where a median of an even number of values is the mean of the two in the middle. The medians are exact and
need no copy of the image: the bits of a float32 order like an integer, so one pass over the image counts the upper 16
bits and tells in which bin the median lies, and a second one counts the lower 16 bits of the values in that bin.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.dq import PixelFlag
from roman_nexus.errors import InputError, ShapeError

__all__ = ["image_statistics"]

DO_NOT_USE = np.uint32(PixelFlag.DO_NOT_USE)
MAD_TO_SIGMA = np.float32(1.482602218505602)  #: for a normal distribution
BINS = 1 << 16


@njit(nogil=True, cache=True, error_model="numpy")
def _count(data, dq, err, centre, absolute, low_bin, high_bin, counts):  # type: ignore[no-untyped-def]
    """Count good pixels by the upper 16 bits of their order, or by the lower ones inside two bins.

    The order is that of data - centre, or of its absolute value. With a negative `low_bin` all good pixels go to
    ``counts[0]``; else those of `low_bin` go to ``counts[0]`` and those of `high_bin`, if another, to ``counts[1]``.
    """
    ny, nx = data.shape
    for y in range(ny):
        for x in range(nx):
            value = data[y, x] - centre
            # float16 err: positive numbers are the integers 1 to 0x7C00 (infinity)
            positive = np.uint16(err[y, x] - np.uint16(1)) < np.uint16(0x7C00)
            finite = abs(data[y, x]) < np.float32(np.inf)
            if not (positive & finite & (dq[y, x] & DO_NOT_USE == 0)):
                continue
            if absolute:
                value = abs(value)
            bits = np.float32(value).view(np.uint32)
            # negative numbers order backwards
            order = np.uint32(bits ^ (np.uint32(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint32(0x80000000)))
            place = np.intp(order >> np.uint32(16))
            if low_bin < 0:
                counts[0, place] += 1
            elif place == low_bin:
                counts[0, order & np.uint32(0xFFFF)] += 1
            elif place == high_bin:
                counts[1, order & np.uint32(0xFFFF)] += 1


class _Selection:
    """Exact order statistics of the good pixels of an image."""

    def __init__(
        self, data: NDArray[np.float32], dq: NDArray[np.uint32], err: NDArray[np.float16], threads: int
    ) -> None:
        edges = np.linspace(0, data.shape[0], max(1, threads) + 1).astype(int)
        cuts = [slice(first, last) for first, last in pairwise(edges) if last > first]
        self._pieces = [(data[cut], dq[cut], err.view(np.uint16)[cut]) for cut in cuts]

    def _histogram(self, centre: np.float32, absolute: bool, bins: tuple[int, int]) -> NDArray[np.int64]:
        counts = np.zeros((len(self._pieces), 2, BINS), dtype=np.int32)
        if len(self._pieces) == 1:
            _count(*self._pieces[0], centre, absolute, *bins, counts[0])
        else:
            with ThreadPoolExecutor(len(self._pieces)) as pool:
                jobs = [
                    pool.submit(_count, *piece, centre, absolute, *bins, own)
                    for piece, own in zip(self._pieces, counts, strict=True)
                ]
                for job in jobs:
                    job.result()
        total: NDArray[np.int64] = counts.sum(axis=0, dtype=np.int64)
        return total

    def median(self, centre: np.float32, absolute: bool) -> tuple[np.float32, int]:
        """Return the median of data - centre (or of its absolute value) and the number of good pixels."""
        upper = np.cumsum(self._histogram(centre, absolute, (-1, -1))[0])
        n_good = int(upper[-1])
        if n_good == 0:
            return np.float32(np.nan), 0
        ranks = ((n_good - 1) // 2, n_good // 2)
        low_bin, high_bin = (int(np.searchsorted(upper, rank, side="right")) for rank in ranks)
        lower = np.cumsum(self._histogram(centre, absolute, (low_bin, high_bin)), axis=1)
        middle = []
        for rank, place in zip(ranks, (low_bin, high_bin), strict=True):
            before = int(upper[place - 1]) if place else 0
            inside = lower[0 if place == low_bin else 1]
            middle.append(_from_order((place << 16) + int(np.searchsorted(inside, rank - before, side="right"))))
        if n_good % 2:
            return middle[0], n_good
        with np.errstate(over="ignore"):
            return (middle[0] + middle[1]) / np.float32(2), n_good


def _from_order(order: int) -> np.float32:
    """Return the float32 at a place in the order."""
    bits = order ^ (0x80000000 if order >> 31 else 0xFFFFFFFF)
    return np.float32(np.array(bits, dtype=np.uint32).view(np.float32))


def image_statistics(
    data: NDArray[np.float32], dq: NDArray[np.uint32], err: NDArray[np.float16], *, threads: int = 1
) -> dict[str, float]:
    """Compute the statistics that a Level 2 image carries.

    Parameters
    ----------
    data : (ny, nx) float32 ndarray, DN/s
    dq : (ny, nx) uint32 ndarray
    err : (ny, nx) float16 ndarray, DN/s
    threads : int, optional
        Number of threads; does not change the result.

    Returns
    -------
    dict
        ``zodiacal_light`` (always -1, which means not measured), ``image_median`` and ``image_rms`` in DN/s (NaN
        without a good pixel), ``good_pixel_fraction``.

    Raises
    ------
    ShapeError
        If the arrays have different shapes.
    InputError
        If an array is of another type.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.statistics import image_statistics
    >>> data = np.array([[1.0, 2.0, 4.0, np.nan]], dtype=np.float32)
    >>> found = image_statistics(data, np.zeros((1, 4), np.uint32), np.ones((1, 4), np.float16))
    >>> found["image_median"], found["good_pixel_fraction"]
    (2.0, 0.75)
    """
    if not data.shape == dq.shape == err.shape or data.ndim != 2:
        msg = f"data, dq and err have shapes {data.shape}, {dq.shape} and {err.shape}; expected three equal (ny, nx)"
        raise ShapeError(msg)
    types = [str(array.dtype) for array in (data, dq, err)]
    if types != ["float32", "uint32", "float16"]:
        msg = f"data, dq and err are {', '.join(types)}; expected float32, uint32 and float16, as in a product"
        raise InputError(msg)
    found = {
        "zodiacal_light": -1.0,
        "image_median": float("nan"),
        "image_rms": float("nan"),
        "good_pixel_fraction": 0.0,
    }
    if data.size == 0:
        return found
    selection = _Selection(data, dq, err, threads)
    median, n_good = selection.median(np.float32(0.0), False)
    if n_good:
        deviation, _ = selection.median(median, True)
        found["image_median"] = float(median)
        found["image_rms"] = float(deviation * MAD_TO_SIGMA)
        found["good_pixel_fraction"] = n_good / data.size
    return found
