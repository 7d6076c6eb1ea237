"""The median over a short first axis, side by side for many columns.

A sorting network is a fixed list of compare-and-swap operations, so there are no branches and a compiler can do
several columns at a time. The lists are Batcher's odd-even merge sort (Knuth, The Art of Computer Programming,
volume 3, section 5.3.4) without the operations that do not reach the middle.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["median_network", "take_median"]


@lru_cache(maxsize=64)
def median_network(size: int) -> NDArray[np.int64]:
    """List the compare-and-swap operations that bring the median of `size` values to the middle.

    Parameters
    ----------
    size : int
        Number of values, at least 1.

    Returns
    -------
    (N, 2) int64 ndarray
        Pairs (a, b), a < b: the smaller value goes to a. Do not write to it: the result is shared.

    Examples
    --------
    >>> from roman_nexus.steps.exposure.ramp_fit.median import median_network
    >>> median_network(3).tolist()
    [[0, 2], [0, 1], [1, 2]]
    """
    needed = {(size - 1) // 2, size // 2}
    pairs = []
    for low, high in reversed(_sorting_network(size)):
        if low in needed or high in needed:
            needed |= {low, high}
            pairs.append((low, high))
    return np.array(pairs[::-1], dtype=np.int64).reshape(-1, 2)


def _sorting_network(size: int) -> list[tuple[int, int]]:
    """Batcher's merge exchange for any size (Knuth, algorithm 5.2.2M)."""
    pairs: list[tuple[int, int]] = []
    top = 1 << max(size - 1, 0).bit_length() >> 1
    p = top
    while p > 0:
        q, r, distance = top, 0, p
        while distance > 0:
            pairs += [(i, i + distance) for i in range(size - distance) if i & p == r]
            distance, q, r = q - p, q >> 1, p
        p >>= 1
    return pairs


@njit(nogil=True, cache=True, error_model="numpy")
def take_median(values, pairs, n, median):  # type: ignore[no-untyped-def]
    """Put the median of ``values[:, x]`` into ``median[x]`` for x < n; shuffles `values`; NaN is not seen."""
    size = values.shape[0]
    for k in range(pairs.shape[0]):
        low, high = pairs[k, 0], pairs[k, 1]
        for x in range(n):
            a = values[low, x]
            b = values[high, x]
            values[low, x] = b if b < a else a
            values[high, x] = a if b < a else b
    lower, upper = (size - 1) // 2, size // 2
    for x in range(n):
        median[x] = (values[lower, x] + values[upper, x]) / 2.0 if upper != lower else values[lower, x]
