"""Charge that appears at once: cosmic-ray tracks and pixels that flicker (telegraph noise).

Both are lists of events: at a read, a pixel gains (or loses) electrons for the rest of the exposure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Events", "cosmic_rays", "telegraph_noise"]

FLUX = 5.0  #: cosmic rays per second and cm2
PIXEL_CM = 1e-3
TRACK_PIXELS = 4.0  #: mean length of a track
CHARGE = 900.0  #: median electrons per pixel of track
CHARGE_SPREAD = 0.7  #: standard deviation of the logarithm of a track's charge
STEP = 0.2  #: pixels between the points at which a track leaves charge
TELEGRAPH_CHARGE = 150.0  #: electrons between the two states, median
TELEGRAPH_RATE = 0.1  #: changes per read


@dataclass(frozen=True)
class Events:
    """Sudden charge, one array element for each pixel and read, sorted by y, x, read.

    Attributes
    ----------
    y, x : int32 ndarray
        Full frame.
    read : int32 ndarray
        Index of the first read (among those of the read pattern, from 0) that sees the charge.
    electrons : float32 ndarray
    """

    y: NDArray[np.int32]
    x: NDArray[np.int32]
    read: NDArray[np.int32]
    electrons: NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.y.size)

    def sorted(self) -> Events:
        """Return the events in order, those of one pixel and read added up."""
        order = np.lexsort((self.read, self.x, self.y))
        y, x, read, electrons = self.y[order], self.x[order], self.read[order], self.electrons[order]
        new = np.ones(y.size, dtype=bool)
        new[1:] = (np.diff(y) != 0) | (np.diff(x) != 0) | (np.diff(read) != 0)
        total = np.bincount(np.cumsum(new) - 1, weights=electrons, minlength=int(new.sum()))
        return Events(y[new], x[new], read[new], total.astype(np.float32))

    def merged(self, other: Events) -> Events:
        """Return the events of both."""
        both = (self, other)
        return Events(
            np.concatenate([item.y for item in both]),
            np.concatenate([item.x for item in both]),
            np.concatenate([item.read for item in both]),
            np.concatenate([item.electrons for item in both]),
        ).sorted()

    def columns(self, start: int, stop: int) -> Events:
        """Return the events of some columns, x counted from the first of them."""
        some = (self.x >= start) & (self.x < stop)
        return Events(self.y[some], self.x[some] - np.int32(start), self.read[some], self.electrons[some])


def cosmic_rays(
    rng: np.random.Generator, shape: tuple[int, int], read_times: NDArray[np.float64], rate: float = 1.0
) -> Events:
    """Draw the cosmic rays of an exposure.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
        Full frame; the border is hit like the rest, but does not show it.
    read_times : (n,) float64 ndarray
        When the reads of the read pattern are made, s since the reset, ascending.
    rate : float
        Multiple of the usual flux of 5 per second and cm2.

    Returns
    -------
    Events
    """
    ny, nx = shape
    expected = rate * FLUX * (ny * PIXEL_CM) * (nx * PIXEL_CM) * float(read_times[-1])
    n = int(rng.poisson(expected))
    x, y = rng.uniform(-0.5, nx - 0.5, n), rng.uniform(-0.5, ny - 0.5, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    length = rng.exponential(TRACK_PIXELS, n)
    charge = CHARGE * np.exp(CHARGE_SPREAD * rng.standard_normal(n))
    read = np.searchsorted(read_times, rng.uniform(0, read_times[-1], n))

    points = np.ceil(length / STEP).astype(int) + 1
    ray = np.repeat(np.arange(n), points)
    along = STEP * (np.arange(ray.size) - np.repeat(np.cumsum(points) - points, points))
    px = np.rint(x[ray] + along * np.cos(angle[ray])).astype(np.int32)
    py = np.rint(y[ray] + along * np.sin(angle[ray])).astype(np.int32)
    inside = (px >= 0) & (px < nx) & (py >= 0) & (py < ny)
    electrons = (charge[ray] * STEP).astype(np.float32)
    return Events(py[inside], px[inside], read[ray][inside].astype(np.int32), electrons[inside]).sorted()


def telegraph_noise(rng: np.random.Generator, where: NDArray[np.bool_], reads: int) -> Events:
    """Draw the flicker of telegraph pixels between two states.

    Parameters
    ----------
    rng : numpy.random.Generator
    where : (ny, nx) bool ndarray
    reads : int
        Number of reads.

    Returns
    -------
    Events
    """
    y, x = (axis.astype(np.int32) for axis in np.nonzero(where))
    charge = TELEGRAPH_CHARGE * np.exp(0.5 * rng.standard_normal(y.size))
    changes = rng.random((y.size, reads)) < TELEGRAPH_RATE
    pixel, read = np.nonzero(changes)
    up = np.cumsum(changes, axis=1)[pixel, read] % 2 == 1
    electrons = np.where(up, charge[pixel], -charge[pixel])
    return Events(y[pixel], x[pixel], read.astype(np.int32), electrons.astype(np.float32)).sorted()
