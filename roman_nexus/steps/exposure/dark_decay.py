"""dark_decay: subtract the signal that decays after the detector's reset.

The signal falls off exponentially from the middle of the first read; a resultant sees its mean over its reads
(``romancal`` 1.1, ``dark_decay``)::

    data_i -= mean_r A exp(-(T0(y, x) + (r - 1.5) T) / tau)                                    [DN]

with amplitude A and time constant tau of the detector, reads r of the resultant (from 1), frame time T and the time T0
at which a pixel is read within a frame. T0 is a sum of a term of the row and one of the column (`frame_timing`), so the
correction is an outer product of two vectors, computed once in `prepare`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.errors import InputError, ReferenceMismatchError
from roman_nexus.steps.exposure.frame_timing import pixel_times
from roman_nexus.steps.step import ExposureInfo, Needs, Options, RampBlock, RampFrame, References, Step

__all__ = ["STEP", "DarkDecayOptions", "DarkDecayState", "apply", "decay_of", "prepare"]

READ_OFFSET = 1.5  #: reads before the middle of the first read, where the amplitude holds


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkDecayOptions(Options):
    """Options of `dark_decay`: there are none."""


@dataclass(frozen=True, slots=True)
class DarkDecayState:
    """The decaying signal of an exposure: ``row[i, y] * column[x]`` in resultant i.

    Attributes
    ----------
    row : (F, ny) float64 ndarray, DN
    column : (nx,) float64 ndarray
    """

    row: NDArray[np.float64]
    column: NDArray[np.float64]


def decay_of(table: Any, detector: str) -> tuple[float, float]:
    """Look up amplitude and time constant of a detector.

    Parameters
    ----------
    table : mapping
        ``decay_table`` of the reference: detector to ``amplitude`` and ``time_constant``.
    detector : str
        For example "WFI01".

    Returns
    -------
    amplitude : float
        DN.
    time_constant : float
        Seconds.

    Raises
    ------
    ReferenceMismatchError
        If the detector is not in the table, or a value is empty or impossible.

    Examples
    --------
    >>> from roman_nexus.steps.exposure.dark_decay import decay_of
    >>> decay_of({"WFI01": {"amplitude": 0.5, "time_constant": 20}}, "WFI01")
    (0.5, 20.0)
    """
    if detector not in table:
        msg = f"darkdecaysignal reference has no entry for {detector}; it lists {', '.join(table) or 'no detector'}"
        raise ReferenceMismatchError(msg)
    entry = table[detector]
    amplitude, time_constant = (_number(entry.get(name)) for name in ("amplitude", "time_constant"))
    if not (math.isfinite(amplitude) and math.isfinite(time_constant) and time_constant > 0):
        msg = (
            f"darkdecaysignal reference has amplitude {amplitude} DN and time constant {time_constant} s for "
            f"{detector} (nan: empty); expected finite numbers, the time constant positive"
        )
        raise ReferenceMismatchError(msg)
    return amplitude, time_constant


def _number(value: Any) -> float:
    """Return a scalar as float; what is none becomes NaN."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def prepare(
    frame: RampFrame, references: References, options: DarkDecayOptions, exposure: ExposureInfo
) -> DarkDecayState:
    """Compute the two factors of the decaying signal.

    Parameters
    ----------
    frame : RampFrame
        Only its shape is looked at.
    references : mapping
        ``references["darkdecaysignal"]["decay_table"]``.
    options : DarkDecayOptions
    exposure : ExposureInfo

    Returns
    -------
    DarkDecayState

    Raises
    ------
    ReferenceMismatchError
        If the table has no usable entry for the detector.
    InputError
        If the read pattern does not belong to the ramp, or the frame time is impossible.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from roman_nexus.steps.exposure.dark_decay import STEP
    >>> from roman_nexus.steps.step import ExposureInfo
    >>> exposure = ExposureInfo("WFI03", "F158", "WFI_IMAGE", ((1,),), 4.0, shape=(256, 128))
    >>> table = {"WFI03": {"amplitude": 2.0, "time_constant": 4.0}}
    >>> frame = SimpleNamespace(shape=(1, 256, 128))
    >>> state = STEP.prepare(frame, {"darkdecaysignal": {"decay_table": table}}, STEP.options(), exposure)
    >>> round(float(state.row[0, 0] * state.column[127]), 6)  # half a read before time zero: 2 exp(1/2)
    3.297443
    """
    nresultants, ny, nx = frame.shape
    if exposure.nresultants != nresultants:
        msg = f"read_pattern lists {exposure.nresultants} resultants, but the ramp has {nresultants}"
        raise InputError(msg)
    amplitude, time_constant = decay_of(references["darkdecaysignal"]["decay_table"], exposure.detector)
    row_times, column_times = pixel_times(exposure.frame_time, exposure.sca, (ny, nx))
    row = np.empty((nresultants, ny))
    for i, reads in enumerate(exposure.read_pattern):
        starts = (np.array(reads, dtype=np.float64) - READ_OFFSET) * exposure.frame_time
        with np.errstate(over="ignore"):
            row[i] = np.mean(amplitude * np.exp(-(row_times + starts[:, None]) / time_constant), axis=0)
    if not np.all(np.abs(row) < np.finfo(np.float32).max):
        msg = (
            f"darkdecaysignal reference gives amplitude {amplitude} DN and time constant {time_constant} s for "
            f"{exposure.detector}: with frames of {exposure.frame_time} s the signal at the start overflows"
        )
        raise ReferenceMismatchError(msg)
    return DarkDecayState(row, np.exp(-column_times / time_constant))


def apply(
    block: RampBlock, references: References, options: DarkDecayOptions, exposure: ExposureInfo, state: DarkDecayState
) -> None:
    """Subtract the decaying signal.

    Parameters
    ----------
    block : RampBlock
        ``data`` changes, DN.
    references : mapping
        Not used.
    options : DarkDecayOptions
    exposure : ExposureInfo
    state : DarkDecayState
        From `prepare`.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.dark_decay import STEP, DarkDecayState
    >>> from roman_nexus.steps.step import ExposureInfo, RampBlock
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,),), 3.16)
    >>> data = np.full((1, 1, 2), 10, dtype=np.float32)
    >>> block = RampBlock(data, np.zeros((1, 1, 2), np.uint8), np.zeros((1, 2), np.uint32), slice(0, 1), slice(0, 2))
    >>> STEP.apply(block, {}, STEP.options(), exposure, DarkDecayState(np.array([[4.0]]), np.array([1.0, 0.5])))
    >>> block.data.tolist()
    [[[6.0, 8.0]]]
    """
    _subtract(block.data, state.row[:, block.rows], state.column[block.columns])


@njit(nogil=True, cache=True, error_model="numpy")
def _subtract(data, row, column):  # type: ignore[no-untyped-def]
    """Subtract the outer product in float64, rounding once."""
    nresultants, ny, nx = data.shape
    for i in range(nresultants):
        for y in range(ny):
            level = row[i, y]
            for x in range(nx):
                data[i, y, x] = np.float32(np.float64(data[i, y, x]) - level * column[x])


STEP = Step(
    name="dark_decay",
    level="ramp",
    options=DarkDecayOptions,
    apply=apply,
    references=(Needs("darkdecaysignal", whole=("decay_table",), missing="error"),),
    prepare=prepare,
    title="Subtract the dark signal that decays after reset",
)
