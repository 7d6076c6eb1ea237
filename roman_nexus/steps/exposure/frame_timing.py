"""When each pixel of a frame is read.

Every read-out channel (128 columns) is clocked 142 cycles a row: 128 pixels and 14 cycles of overhead. After each
group of 256 rows the detector turns to the guide window. The science pixel *p* of the row *q*, both in read order, is
thus sampled after ``n = p + 142 q + G floor(q / 256)`` cycles, G being the cycles of one guide-window excursion. The
mission's model (``romancal`` 1.1, ``frame_read_times``, marked provisional there) inflates G by 1.5, because guide
reads let the WFI18 transient decay faster than science reads do, and rescales n so that a frame still takes the
frame time.

The map separates: ``T0(y, x) = row(y) + column(x)``. So exponentials of it are outer products.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import InputError, ShapeError
from roman_nexus.steps.step import CHANNEL_WIDTH

__all__ = ["PIXEL_CLOCK", "pixel_times"]

PIXEL_CLOCK = 4.915263e-6  #: seconds per clock cycle
ROW_CYCLES = CHANNEL_WIDTH + 14  #: clock cycles from one row to the next
GUIDE_STRIDE = 256  #: rows between two guide-window excursions
GUIDE_FACTOR = 1.5  #: weight of the guide-window time


def pixel_times(
    frame_time: float, sca: int, shape: tuple[int, int] = (4096, 4096)
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the read time of every pixel since the start of its frame, as two vectors to be added.

    Parameters
    ----------
    frame_time : float
        Seconds per read.
    sca : int
        Detector number, 1 to 18: it decides whether rows or columns are read backwards.
    shape : tuple of int
        Full frame (ny, nx); nx is a multiple of 128. Rows are read in groups of 256, as on the full detector.

    Returns
    -------
    row : (ny,) float64 ndarray
        Seconds.
    column : (nx,) float64 ndarray
        Seconds; ``row[:, None] + column`` is the map.

    Raises
    ------
    InputError
        If the frame time is not a finite number or is too short to read the rows.
    ShapeError
        If the frame is empty or nx is not a multiple of 128.

    Examples
    --------
    >>> from roman_nexus.steps.exposure.frame_timing import pixel_times
    >>> row, column = pixel_times(3.16247, sca=1)
    >>> round(float(row[1000] + column[130]), 12)
    2.387809342547
    """
    ny, nx = shape
    if ny < 1 or nx < 1 or nx % CHANNEL_WIDTH:
        msg = f"frame of {ny} x {nx} pixels; expected at least one row and a multiple of {CHANNEL_WIDTH} columns"
        raise ShapeError(msg)
    last = CHANNEL_WIDTH - 1 + ROW_CYCLES * (ny - 1)
    _check_frame_time(frame_time, last, ny)

    groups = math.ceil(ny / GUIDE_STRIDE)
    guide = (frame_time / PIXEL_CLOCK - last) / groups * GUIDE_FACTOR
    seconds = frame_time / (last + groups * guide)  # of one cycle; the frame ends with an excursion

    order = np.arange(ny)
    row = seconds * (ROW_CYCLES * order + guide * (order // GUIDE_STRIDE))
    across = np.arange(CHANNEL_WIDTH)
    pair = np.concatenate([across, across[::-1]])  # neighbouring channels are read in opposite directions
    column = seconds * np.resize(pair, nx)
    if sca % 3 == 0:
        return row, np.ascontiguousarray(column[::-1])
    return np.ascontiguousarray(row[::-1]), column


def _check_frame_time(frame_time: float, last: int, ny: int) -> None:
    """Refuse a frame time in which the rows cannot be read."""
    if not math.isfinite(frame_time) or frame_time <= 0:
        msg = f"frame_time is {frame_time!r}; expected seconds per read, a positive number"
        raise InputError(msg)
    needed = last * PIXEL_CLOCK
    if frame_time < needed:
        msg = (
            f"frame_time is {frame_time:.6g} s, but reading {ny} rows takes {needed:.6g} s at "
            f"{PIXEL_CLOCK:.6g} s a clock cycle; check meta.exposure.frame_time"
        )
        raise InputError(msg)
