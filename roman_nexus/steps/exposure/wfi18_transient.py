"""wfi18_transient: take the transient out of the first resultant of detector WFI18.

The first read of WFI18 carries a signal that fades within the frame. What it should have read is extrapolated from
the second and third resultants; the difference, averaged along the weakly lit pixels of each row, is fitted with two
exponentials of the time at which the row is read (``romancal`` 1.1, ``wfi18_transient``)::

    D_0 -= a exp(-T0 / tau_a) + b exp(-T0 / tau_b)                                             [DN]

where T0(y, x) is the read time within a frame (`frame_timing`). The reference border is neither fitted nor corrected.
With fewer than five resultants, with ``mask_rows``, or if the fit fails, rows 0 to 999 of the first resultant are
flagged instead.

Pixels count as weakly lit if D_4 - D_3 is not above the median of their row. The mission pipeline lays the medians of
the rows along the columns instead, so that pixel (y, x) is compared with the median of row x; this is the default here,
and ``row_median_axis="rows"`` is what was meant.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.dq import ResultantFlag
from roman_nexus.errors import InputError, ShapeError
from roman_nexus.steps.exposure.frame_timing import pixel_times
from roman_nexus.steps.step import BORDER, ExposureInfo, Options, RampBlock, RampFrame, References, Step

__all__ = ["STEP", "TransientFit", "Wfi18TransientOptions", "apply", "double_exponential", "fit_transient", "prepare"]

SCA = 18
FIT_RESULTANTS = 5  #: resultants the fit looks at
MASKED_ROWS = 1000  #: rows of the full frame that are flagged where nothing can be fitted
MASK = np.uint8(ResultantFlag.DO_NOT_USE | ResultantFlag.WFI18_TRANSIENT)
SCIENCE_ROWS = 4088
START_ROWS = (300, 1000)  #: rows of the science frame whose times start the fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Wfi18TransientOptions(Options):
    """Options of `wfi18_transient`."""

    mask_rows: bool = field(default=False, metadata={"doc": "flag the affected rows instead of correcting them"})
    row_median_axis: Literal["romancal", "rows"] = field(
        default="romancal",
        metadata={
            "doc": "which row's median a pixel is compared with to tell weakly lit pixels: 'romancal' is the row whose "
            "number is the pixel's column, 'rows' is the pixel's own row"
        },
    )


@dataclass(frozen=True, slots=True)
class TransientFit:
    """The fitted transient, or why there is none.

    Attributes
    ----------
    amplitudes : tuple of float
        a and b, DN.
    time_constants : tuple of float
        tau_a and tau_b, seconds.
    fallback : str
        Why rows are flagged instead; empty when the fit holds.
    """

    amplitudes: tuple[float, float] = (0.0, 0.0)
    time_constants: tuple[float, float] = (1.0, 1.0)
    fallback: str = ""


def double_exponential(
    time: NDArray[np.float64], a: float, b: float, tau_a: float, tau_b: float
) -> NDArray[np.float64]:
    """Evaluate the transient, ``a exp(-t / tau_a) + b exp(-t / tau_b)``, DN.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.wfi18_transient import double_exponential
    >>> double_exponential(np.array([0.0]), 5.0, -2.0, 1.0, 1.0)
    array([3.])
    """
    with np.errstate(all="ignore"):  # a fit on its way may overflow
        return a * np.exp(-time / tau_a) + b * np.exp(-time / tau_b)


# --------------------------------------------------------------------------------------- measuring
def prepare(
    frame: RampFrame, references: References, options: Wfi18TransientOptions, exposure: ExposureInfo
) -> TransientFit:
    """Fit the transient over the whole exposure.

    Parameters
    ----------
    frame : RampFrame
        After refpix and dark_decay.
    references : mapping
        Not used.
    options : Wfi18TransientOptions
    exposure : ExposureInfo

    Returns
    -------
    TransientFit

    Raises
    ------
    ShapeError
        If the medians of the rows cannot be laid along the columns since the frame is not square.
    InputError
        If the read pattern does not belong to the ramp.

    Notes
    -----
    Two planes are held meanwhile: 200 MB for a full frame.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from roman_nexus.steps.exposure.wfi18_transient import STEP
    >>> from roman_nexus.steps.step import ExposureInfo
    >>> exposure = ExposureInfo("WFI18", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16)
    >>> STEP.prepare(SimpleNamespace(shape=(2, 4096, 4096)), {}, STEP.options(), exposure).fallback
    '2 resultants are fewer than the 5 a fit needs'
    """
    nresultants, ny, nx = frame.shape
    if exposure.nresultants != nresultants:
        msg = f"read_pattern lists {exposure.nresultants} resultants, but the ramp has {nresultants}"
        raise InputError(msg)
    if options.mask_rows:
        return TransientFit(fallback="mask_rows was asked for")
    if nresultants < FIT_RESULTANTS:
        return TransientFit(fallback=f"{nresultants} resultants are fewer than the {FIT_RESULTANTS} a fit needs")
    if options.row_median_axis == "romancal" and ny != nx:
        msg = f"frame of {ny} x {nx} pixels is not square; set the option row_median_axis of wfi18_transient to 'rows'"
        raise ShapeError(msg)

    residual, difference = _gather_planes(frame, exposure)
    median = np.median(difference, axis=1)
    levels = _row_levels(residual, difference, median, options.row_median_axis)
    row, column = pixel_times(exposure.frame_time, SCA, (ny, nx))
    return fit_transient(row[BORDER:-BORDER] + np.mean(column[BORDER:-BORDER]), levels)


def _gather_planes(frame: RampFrame, exposure: ExposureInfo) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the excess of the first resultant and D_4 - D_3, both in the science frame, DN."""
    _, ny, nx = frame.shape
    shape = (ny - 2 * BORDER, nx - 2 * BORDER)
    residual = np.empty(shape, dtype=np.float64)
    difference = np.empty(shape, dtype=np.float32)
    mean_reads = [np.mean([read * exposure.frame_time for read in reads]) for reads in exposure.read_pattern]
    first_gap, second_gap = np.diff(mean_reads)[:2]

    for block in frame.row_blocks():
        science, rows = _science_rows(block.rows, ny)
        data = block.data[:FIT_RESULTANTS, science, BORDER:-BORDER]
        rate = (data[2] - data[1]) / np.float64(second_gap)  # the difference is float32, the rate float64
        residual[rows] = data[0] - (data[1] - rate * first_gap)
        difference[rows] = data[4] - data[3]
    return residual, difference


def _science_rows(rows: slice, ny: int) -> tuple[slice, slice]:
    """Return the science rows of a block, counted in the block and in the science frame."""
    first = min(max(rows.start, BORDER), ny - BORDER)
    stop = max(first, min(rows.stop, ny - BORDER))
    return slice(first - rows.start, stop - rows.start), slice(first - BORDER, stop - BORDER)


def _row_levels(
    residual: NDArray[np.float64],
    difference: NDArray[np.float32],
    median: NDArray[np.float32],
    axis: Literal["romancal", "rows"],
) -> NDArray[np.float64]:
    """Return the sigma-clipped mean of the weakly lit pixels of each row, DN; NaN where there are none."""
    from astropy.stats import sigma_clipped_stats

    levels = np.empty(len(median))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows without a single usable pixel come out as NaN, and the fit says so
        for start in range(0, len(levels), 64):  # astropy copies what it clips several times
            rows = slice(start, start + 64)
            limit = median if axis == "romancal" else median[rows, None]
            bright = difference[rows] > limit
            levels[rows], _, _ = sigma_clipped_stats(residual[rows], mask=bright, sigma=3.0, axis=1)
    return levels


def fit_transient(times: NDArray[np.float64], levels: NDArray[np.float64]) -> TransientFit:
    """Fit two exponentials to the excess of the rows, by unweighted least squares.

    Parameters
    ----------
    times : (n,) float64 ndarray
        Mean read time of each row of the science frame, seconds.
    levels : (n,) float64 ndarray
        Excess of each row, DN.

    Returns
    -------
    TransientFit
        With `TransientFit.fallback` set if the fit failed.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.wfi18_transient import double_exponential, fit_transient
    >>> times = np.linspace(0, 3, 4088)
    >>> fit = fit_transient(times, double_exponential(times, 50.0, -5.0, 0.3, 1.0))
    >>> np.round(fit.amplitudes, 6).tolist(), np.round(fit.time_constants, 6).tolist()
    ([50.0, -5.0], [0.3, 1.0])
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    # the mission starts at the times of rows 300 and 1000; on a smaller frame, at the same fractions
    starts = (float(times[row * len(times) // SCIENCE_ROWS]) for row in START_ROWS)
    start = [levels[0] * 1.1, levels[0] * -0.1, *starts]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # the covariance is not used
            (a, b, tau_a, tau_b), _ = curve_fit(double_exponential, times, levels, p0=start)
    except (ValueError, RuntimeError) as failure:
        return TransientFit(fallback=f"the fit failed: {failure}")
    return TransientFit((float(a), float(b)), (float(tau_a), float(tau_b)))


# --------------------------------------------------------------------------------------- correcting
def apply(
    block: RampBlock,
    references: References,
    options: Wfi18TransientOptions,
    exposure: ExposureInfo,
    state: TransientFit | None,
) -> None:
    """Subtract the transient from the first resultant, or flag its affected rows.

    Parameters
    ----------
    block : RampBlock
        ``data[0]`` or ``groupdq[0]`` changes.
    references : mapping
        Not used.
    options : Wfi18TransientOptions
    exposure : ExposureInfo
    state : TransientFit or None
        From `prepare`; None flags the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.wfi18_transient import STEP
    >>> from roman_nexus.steps.step import ExposureInfo, RampBlock
    >>> exposure = ExposureInfo("WFI18", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16)
    >>> block = RampBlock(
    ...     np.zeros((2, 2, 1), np.float32), np.zeros((2, 2, 1), np.uint8), np.zeros((2, 1), np.uint32),
    ...     slice(999, 1001), slice(0, 1),
    ... )
    >>> STEP.apply(block, {}, STEP.options(), exposure, None)
    >>> block.groupdq[:, :, 0].tolist()
    [[129, 0], [0, 0]]
    """
    if state is None or state.fallback:
        block.groupdq[0, : max(0, MASKED_ROWS - block.rows.start)] |= MASK
        return
    ny, nx = exposure.shape
    row, column = pixel_times(exposure.frame_time, SCA, (ny, nx))
    inner, _ = _science_rows(block.rows, ny)
    across, _ = _science_rows(block.columns, nx)
    row, column = row[block.rows][inner], column[block.columns][across]
    tau_a, tau_b = state.time_constants
    a, b = state.amplitudes
    factors = (a * np.exp(-row / tau_a), np.exp(-column / tau_a), b * np.exp(-row / tau_b), np.exp(-column / tau_b))
    _subtract(block.data[0, inner, across], *factors)


@njit(nogil=True, cache=True, error_model="numpy")
def _subtract(data, row_a, column_a, row_b, column_b):  # type: ignore[no-untyped-def]
    """Subtract the sum of two outer products in float64, rounding once."""
    ny, nx = data.shape
    for y in range(ny):
        for x in range(nx):
            correction = row_a[y] * column_a[x] + row_b[y] * column_b[x]
            data[y, x] = np.float32(np.float64(data[y, x]) - correction)


STEP = Step(
    name="wfi18_transient",
    level="ramp",
    options=Wfi18TransientOptions,
    apply=apply,
    prepare=prepare,
    needs_prepare=lambda options, exposure: not options.mask_rows and exposure.nresultants >= FIT_RESULTANTS,
    applies=lambda exposure: exposure.detector == "WFI18",
    title="Correct the transient in the first resultant of WFI18",
    quirks={
        "row_median_axis": "romancal compares pixel (y, x) with the median of row x instead of row y",
        "mask_rows": "the fallback flags rows 0 to 999 of the full frame, border included",
    },
)
