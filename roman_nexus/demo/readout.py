"""From electrons to counts: the accumulation and read-out of a strip of pixels.

For every pixel and read, in the order of the detector: electrons arrive (a Poisson number for the time since the read
before, and sudden charge), the curved response makes counts of them, the converter adds its integral non-linearity,
a full well holds no more, and the dark decay signal comes on top. The reads of a resultant are averaged, then gain
the read noise of their average and the noise common to many pixels. Whatever is averaged has been carried read by read,
so that the reads of a resultant are correlated exactly as in the detector.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from roman_nexus.demo.nonlinearity import CURVE, HIGHEST, SCALE

__all__ = ["NEVER", "accumulate"]

NEVER = 255  #: value of `saturated` where a pixel does not saturate
_C0, _C1, _C2 = CURVE
_TOP = HIGHEST

Image = NDArray[np.float32]


@numba.njit(nogil=True, cache=True)
def accumulate(
    rng: np.random.Generator,
    rate: Image,
    gain: Image,
    level: Image,
    curvature: Image,
    full_well: Image,
    read_noise: Image,
    live: NDArray[np.bool_],
    inl: Image,
    common: Image,
    decay: Image,
    read_decay: NDArray[np.float64],
    first: Image,
    interval: NDArray[np.float64],
    resultant: NDArray[np.int64],
    reads: NDArray[np.int64],
    event_y: NDArray[np.int32],
    event_x: NDArray[np.int32],
    event_read: NDArray[np.int32],
    event_electrons: Image,
    data: NDArray[np.uint16],
    electrons: Image,
    saturated: NDArray[np.uint8],
) -> None:
    """Read out a strip of one read-out channel.

    Parameters
    ----------
    rng : numpy.random.Generator
        Advanced.
    rate : (ny, nx) float32 ndarray
        Electrons per second, light and dark current.
    gain : (ny, nx), electrons per DN
    level : (ny, nx), DN at the reset, as ideal counts
    curvature : (ny, nx)
        Of the response.
    full_well : (ny, nx), DN as read out
    read_noise : (ny, nx), DN in one read
    live : (ny, nx) bool ndarray
        False for reference pixels: they have level and noise, nothing else.
    inl : (65536,), DN
        Correction of the integral non-linearity.
    common : (F, ny, nx), DN
        Correlated noise of the resultants.
    decay : (ny, nx), DN
        Dark decay signal of every pixel at the start of its read number 0, times `read_decay` of each read.
    read_decay : (n,)
    first : (ny, nx) or (0, 0), DN
        Added to the first resultant.
    interval : (n,), s
        Time from the read before (or the reset) to each read.
    resultant : (n,) int64 ndarray
        To which resultant each read belongs.
    reads : (F,) int64 ndarray
        Reads in each resultant.
    event_y, event_x, event_read, event_electrons
        Sudden charge, sorted by y, x, read.
    data : (F, ny, nx) uint16 ndarray, DN
        Filled.
    electrons : (ny, nx)
        Filled: all that arrived by the last read, without sudden charge.
    saturated : (ny, nx) uint8 ndarray
        Filled: first resultant with a read at the full well, or `NEVER`.
    """
    ny, nx = rate.shape
    frames = reads.size
    mean = np.empty(frames)
    event = 0
    for y in range(ny):
        for x in range(nx):
            mean[:] = 0.0
            saturated[y, x] = NEVER
            if live[y, x]:
                arrived, sudden = 0.0, 0.0
                for read in range(resultant.size):
                    arrived += rng.poisson(rate[y, x] * interval[read])
                    while (
                        event < event_y.size
                        and event_y[event] == y
                        and event_x[event] == x
                        and event_read[event] == read
                    ):
                        sudden += event_electrons[event]
                        event += 1
                    ideal = min(level[y, x] + (arrived + sudden) / gain[y, x], _TOP)
                    u = ideal / SCALE
                    shown = ideal - curvature[y, x] * ideal * u * (_C0 + u * (_C1 + u * _C2))
                    shown = _uncorrected(shown, inl)
                    if shown >= full_well[y, x]:
                        shown = full_well[y, x]
                        saturated[y, x] = min(saturated[y, x], resultant[read])
                    mean[resultant[read]] += shown + decay[y, x] * read_decay[read]
                electrons[y, x] = arrived
                if first.size:
                    mean[0] += first[y, x] * reads[0]
            else:
                electrons[y, x] = 0.0
                for frame in range(frames):
                    mean[frame] = level[y, x] * reads[frame]
            while event < event_y.size and event_y[event] == y and event_x[event] == x:
                event += 1  # charge in a reference pixel does not show
            for frame in range(frames):
                noise = read_noise[y, x] / math.sqrt(reads[frame]) * rng.standard_normal()
                count = mean[frame] / reads[frame] + noise + common[frame, y, x]
                data[frame, y, x] = np.uint16(min(max(math.floor(count + 0.5), 0.0), 65535.0))


@numba.njit(nogil=True, cache=True)
def _uncorrected(linear: float, inl: Image) -> float:
    """Return the count that becomes `linear` once its integral non-linearity is corrected."""
    count = linear
    for _ in range(2):  # the correction changes by a hundredth of itself at most
        at = min(max(count, 0.0), 65534.0)
        below = int(at)
        count = linear - (inl[below] + (at - below) * (inl[below + 1] - inl[below]))
    return count
