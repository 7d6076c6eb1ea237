"""What the figure shows, gathered while the pixels are read: images made small and histograms.

An image is made small by the mean of f x f pixels, the difference by the value of largest size among them, so that a
single pixel that changed stays visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Picture", "PictureMaker"]

_SIDE = 560  # pixels of a panel at most


@dataclass(frozen=True, eq=False)
class Picture:
    """Small images and a histogram of one plane.

    Attributes
    ----------
    title : str
        Which plane.
    unit : str
    factor : int
        Pixels along each side of the square that became one.
    extent : tuple of float
        Left, right, bottom, top of the images in pixels of the plane.
    old, new : (h, w) float32 ndarray
        Means of the good pixels; NaN where there is none.
    difference : (h, w) float32 ndarray
        In units of error if `in_errors`, else in `unit`; NaN where there is no good pixel.
    in_errors : bool
    edges, counts : (n + 1,) and (n,) ndarray
        Histogram of the difference over all good pixels.
    """

    title: str
    unit: str
    factor: int
    extent: tuple[float, float, float, float]
    old: NDArray[np.float32]
    new: NDArray[np.float32]
    difference: NDArray[np.float32]
    in_errors: bool
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


class PictureMaker:
    """Makes the small images from blocks of rows.

    Parameters
    ----------
    shape : (ny, nx)
        Of the rows that are compared.
    first_row : int
        Where they begin in the plane.
    in_errors : bool
    """

    def __init__(self, shape: tuple[int, int], first_row: int, *, in_errors: bool) -> None:
        self.factor = max(1, -(-max(shape) // _SIDE))
        self._shape, self._first_row, self._in_errors = shape, first_row, in_errors
        small = (-(-shape[0] // self.factor), -(-shape[1] // self.factor))
        self._old, self._new, self._difference = (np.full(small, np.nan, np.float32) for _ in range(3))

    @property
    def block_rows(self) -> int:
        """Rows of a block: about 128, a multiple of the factor."""
        return self.factor * max(1, 128 // self.factor)

    def add(
        self,
        new: NDArray[Any],
        old: NDArray[Any],
        usable: NDArray[np.bool_],
        error: NDArray[Any] | None,
        first_row: int,
    ) -> None:
        """Add a block; `first_row` counts from the start of the plane."""
        place = slice((first_row - self._first_row) // self.factor, None)
        rows = -(-new.shape[0] // self.factor)
        place = slice(place.start, place.start + rows)
        mine, other = new.astype(np.float32, copy=False), old.astype(np.float32, copy=False)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            difference = mine - other
            if self._in_errors and error is not None:
                difference /= error.astype(np.float32)
                difference[~(error > 0)] = np.nan
        good = usable & np.isfinite(mine) & np.isfinite(other)
        self._new[place] = _means(mine, good, self.factor)
        self._old[place] = _means(other, good, self.factor)
        self._difference[place] = _extremes(difference, good & np.isfinite(difference), self.factor)

    def finish(self, title: str, unit: str, histogram: tuple[NDArray[np.float64], NDArray[np.int64]]) -> Picture:
        """Return the picture."""
        ny, nx = self._old.shape
        extent = (
            -0.5,
            nx * self.factor - 0.5,
            self._first_row - 0.5,
            self._first_row + ny * self.factor - 0.5,
        )
        return Picture(
            title, unit, self.factor, extent, self._old, self._new, self._difference, self._in_errors, *histogram
        )


def _tiles(values: NDArray[Any], factor: int, fill: Any) -> NDArray[Any]:
    """View an array as (h, f, w, f); the edge is filled up to whole tiles."""
    ny, nx = values.shape
    pad = (-ny % factor, -nx % factor)
    if any(pad):
        values = np.pad(values, ((0, pad[0]), (0, pad[1])), constant_values=fill)
    return values.reshape(values.shape[0] // factor, factor, values.shape[1] // factor, factor)


def _means(values: NDArray[np.float32], good: NDArray[np.bool_], factor: int) -> NDArray[np.float32]:
    sums = _tiles(np.where(good, values, np.float32(0)), factor, 0).sum(axis=1, dtype=np.float64).sum(axis=2)
    counts = _counts(good, factor)
    mean = np.full(sums.shape, np.nan, np.float32)
    np.divide(sums, counts, out=mean, where=counts > 0, casting="unsafe")
    return mean


def _extremes(values: NDArray[np.float32], good: NDArray[np.bool_], factor: int) -> NDArray[np.float32]:
    """Return the value of largest size of each tile, with its sign."""
    tiles = _tiles(np.where(good, values, np.float32(0)), factor, 0)
    high, low = tiles.max(axis=1).max(axis=2), tiles.min(axis=1).min(axis=2)
    extreme: NDArray[np.float32] = np.where(-low > high, low, high).astype(np.float32)
    extreme[_counts(good, factor) == 0] = np.nan
    return extreme


def _counts(good: NDArray[np.bool_], factor: int) -> NDArray[np.int32]:
    counts: NDArray[np.int32] = _tiles(good, factor, False).sum(axis=1, dtype=np.int32).sum(axis=2)
    return counts
