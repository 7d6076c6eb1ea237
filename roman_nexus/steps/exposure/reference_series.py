"""Time series of reference pixels: trends, interpolation of missing samples, spectra.

The arithmetic under `refpix`, on plain arrays. A channel of ny rows is a series of L = 140 ny samples: row by row 128
pixels in read order and 12 clock cycles of pause. A sample of value zero is missing.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.steps.step import BORDER, CHANNEL_WIDTH

__all__ = [
    "ROW_SAMPLES",
    "border_spectrum",
    "detrend",
    "fill_missing",
    "fill_missing_single",
    "fit_lines",
    "fit_offset",
    "read_order",
    "sample_times",
    "smooth_pauses",
    "smooth_pauses_single",
    "spectrum_of",
]

PAUSE = 12  #: clock cycles after each row that are kept in the series
ROW_SAMPLES = CHANNEL_WIDTH + PAUSE
COSINE_LENGTH = 32  #: samples in the window that fills missing samples
PAUSE_ITERATIONS = 3  #: smoothing rounds over the pauses


# --------------------------------------------------------------------------------- places in a series
def read_order(columns: NDArray[np.int_]) -> NDArray[np.int_]:
    """Return the place of detector columns in their channel's row, 0 to 127; odd channels are read backwards.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.reference_series import read_order
    >>> read_order(np.array([0, 127, 128, 255]))
    array([  0, 127, 127,   0])
    """
    place = columns % CHANNEL_WIDTH
    return np.where(columns // CHANNEL_WIDTH % 2 == 1, CHANNEL_WIDTH - 1 - place, place)


def sample_times(rows: NDArray[np.int_], places: NDArray[np.int_], ny: int) -> NDArray[np.float64]:
    """Return sample numbers counted from the middle of the series, (len(rows), len(places)).

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.reference_series import sample_times
    >>> sample_times(np.array([0, 1]), np.array([0, 139]), ny=2)
    array([[-139.5,   -0.5],
           [   0.5,  139.5]])
    """
    centre = np.float64(ny * ROW_SAMPLES - 1) / 2
    return np.add.outer(rows * ROW_SAMPLES, places) - centre


# -------------------------------------------------------------------------------- offsets and trends
@njit(nogil=True, cache=True, error_model="numpy")
def fit_offset(data, offset):  # type: ignore[no-untyped-def]
    """Write the intercept of each pixel's line over the centred resultant index.

    That is the mean over resultants, with the mission's float32 rounding: the plain sum in order of resultants, times
    the sum of squared indices, divided by F times that sum.

    Parameters
    ----------
    data : (F, ny, nx) float32 ndarray, DN
    offset : (ny, nx) float32 ndarray, DN
        Written.
    """
    nresultants, ny, nx = data.shape
    squares = np.float32(nresultants * (nresultants * nresultants - 1) / 12.0)
    divisor = np.float32(nresultants) * squares
    for y in range(ny):
        for x in range(nx):
            offset[y, x] = data[0, y, x]
        for i in range(1, nresultants):
            for x in range(nx):
                offset[y, x] += data[i, y, x]
        for x in range(nx):
            offset[y, x] = offset[y, x] * squares / divisor


def fit_lines(
    times: NDArray[np.float64], values: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a straight line to the non-zero values of each row, least squares in float64.

    Parameters
    ----------
    times : (n,) float64 ndarray
    values : (..., n) float32 ndarray, DN

    Returns
    -------
    slope, intercept : (...,) float64 ndarray
        Zero where no value is left; a line through the point and half its value at time 0 where one is left, as the
        minimum-norm solution has it.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.reference_series import fit_lines
    >>> fit_lines(np.array([-1.0, 0.0, 1.0]), np.array([[1, 3, 5], [1, 0, 5]], dtype=np.float32))
    (array([2., 2.]), array([3., 3.]))
    """
    used = values != 0
    number = used.sum(axis=-1)
    divisor = np.maximum(number, 1)
    mean_time = np.sum(used * times, axis=-1) / divisor
    mean_value = np.sum(values, axis=-1, dtype=np.float64) / divisor
    away = used * (times - mean_time[..., None])
    spread = np.sum(away * away, axis=-1)
    product = np.sum(away * (values - mean_value[..., None]), axis=-1)
    slope = np.divide(product, spread, out=np.zeros_like(product), where=spread > 0)
    single = number == 1
    slope = np.where(single, np.divide(mean_value, 2 * mean_time, out=np.zeros_like(slope), where=single), slope)
    intercept = mean_value - slope * mean_time
    return slope, intercept


def detrend(
    values: NDArray[np.float32], times: NDArray[np.float64], slope: float, intercept: float
) -> NDArray[np.float32]:
    """Subtract a line from the non-zero values, in float64 with one rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.reference_series import detrend
    >>> detrend(np.array([0, 5], dtype=np.float32), np.array([1.0, 2.0]), 2.0, 0.5)
    array([0. , 0.5], dtype=float32)
    """
    line = times * slope + intercept
    return np.where(values != 0, (values - line).astype(np.float32), values)


# ---------------------------------------------------------------------------------- missing samples
def fill_missing(series: NDArray[np.float32]) -> None:
    """Replace the zero samples by the cosine-weighted mean of the non-zero ones around them, in place.

    The window covers 16 samples before to 15 after, with weights sin(k pi / 32); where it holds no sample at all the
    zero stays.

    Parameters
    ----------
    series : (L,) float32 ndarray, DN

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.reference_series import fill_missing
    >>> series = np.array([4, 0, 4, 4], dtype=np.float32)
    >>> fill_missing(series)
    >>> series
    array([4., 4., 4., 4.], dtype=float32)
    """
    step = np.arange(1, COSINE_LENGTH + 1, dtype=np.float32)
    weights = np.sin(step * np.float32(np.pi) / np.float32(COSINE_LENGTH))
    _fill(series.copy(), weights, series)
    np.nan_to_num(series, copy=False)


@njit(nogil=True, cache=True, error_model="numpy")
def _fill(given, weights, filled):  # type: ignore[no-untyped-def]
    length = given.shape[0]
    half = weights.shape[0] // 2
    for j in range(length):
        if given[j] != np.float32(0.0):
            continue
        total, weight = 0.0, 0.0
        for k in range(weights.shape[0]):
            source = j + half - 1 - k
            if 0 <= source < length and given[source] != np.float32(0.0):
                total += np.float64(weights[k]) * np.float64(given[source])
                weight += np.float64(weights[k])
        filled[j] = np.float32(np.float64(np.float32(total)) / weight)


def smooth_pauses(series: NDArray[np.float32]) -> None:
    """Smooth the 12 pause samples of every row with their neighbours, three rounds, in place.

    Each round replaces them by ``x_j / 2 + (x_{j-1} + x_{j+1}) / 4`` of the round before, around the ends too. This is
    what multiplying the spectrum by ``(1 + cos(2 pi k / L)) / 2`` does, as the mission computes it.

    Parameters
    ----------
    series : (L,) float32 ndarray, DN
        L is a multiple of 140.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.reference_series import smooth_pauses
    >>> series = np.zeros(140, dtype=np.float32)
    >>> series[127] = 64
    >>> smooth_pauses(series)
    >>> series[126:132]
    array([ 0., 64., 29.,  8.,  1.,  0.], dtype=float32)
    """
    length = series.size
    pauses = np.arange(length).reshape(-1, ROW_SAMPLES)[:, CHANNEL_WIDTH:].ravel()
    before, after = pauses - 1, (pauses + 1) % length
    for _ in range(PAUSE_ITERATIONS):
        wide = series.astype(np.float64)
        series[pauses] = wide[pauses] / 2 + (wide[before] + wide[after]) / 4


# ------------------------------------------------- the same with the mission's choice of float types
def fill_missing_single(series: NDArray[np.float32]) -> None:
    """Do what `fill_missing` does as ``romancal`` 1.1 computes it: the weighted sum in float32.

    It differs from the float64 sum by some 1e-6 of the counts; but only so are results equal to the last bit.

    Parameters
    ----------
    series : (L,) float32 ndarray, DN

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.reference_series import fill_missing_single
    >>> series = np.zeros(280, dtype=np.float32)
    >>> series[::2] = 4
    >>> fill_missing_single(series)
    >>> bool(np.allclose(series, 4))
    True
    """
    step = np.arange(1, COSINE_LENGTH + 1, dtype=np.float32)
    weights = np.sin(step * np.float32(np.pi) / np.float32(COSINE_LENGTH))
    present = (series != 0).astype(np.int64)
    total = np.convolve(series, weights, mode="same")
    share = np.convolve(present, weights, mode="same")
    with np.errstate(divide="ignore", invalid="ignore"):
        series += (total / share) * (1 - present)
    np.nan_to_num(series, copy=False)


def smooth_pauses_single(series: NDArray[np.float32]) -> None:
    """Do what `smooth_pauses` does as ``romancal`` 1.1 computes it: by transforms, forward in float32.

    The transforms leave noise of about 1e-5 DN; but only so are results equal to the last bit.

    Parameters
    ----------
    series : (L,) float32 ndarray, DN
        L is a multiple of 140.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.reference_series import smooth_pauses_single
    >>> series = np.zeros(140, dtype=np.float32)
    >>> series[127] = 64
    >>> smooth_pauses_single(series)
    >>> np.round(series[126:132]).tolist()
    [0.0, 64.0, 29.0, 8.0, 1.0, 0.0]
    """
    from scipy.fft import irfft, rfft

    length = series.size
    frequency = np.abs(np.fft.rfftfreq(length, 1 / length))
    taper = (1 + np.cos(2 * np.pi * frequency / length)) / 2
    pauses = np.arange(length).reshape(-1, ROW_SAMPLES)[:, CHANNEL_WIDTH:].ravel()
    for _ in range(PAUSE_ITERATIONS):
        spectrum = taper * rfft(series, workers=1) / length
        series[pauses] = irfft(spectrum * length, workers=1).astype(np.float32)[pauses]


# ------------------------------------------------------------------------------------------ spectra
def spectrum_of(series: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Return the spectrum of a series over its length, (L / 2 + 1,) complex64.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.reference_series import spectrum_of
    >>> spectrum_of(np.full(4, 3, dtype=np.float32))
    array([3.+0.j, 0.+0.j, 0.+0.j], dtype=complex64)
    """
    from scipy.fft import rfft

    spectrum: NDArray[np.complex64] = rfft(series / np.float32(series.size), workers=1)
    return spectrum


def border_spectrum(values: NDArray[np.float32], places: NDArray[np.int_]) -> NDArray[np.complex64]:
    """Return the spectrum of border columns, scaled up for the samples between them that are not there.

    Parameters
    ----------
    values : (ny, 4) float32 ndarray, DN
    places : (4,) int ndarray
        Place of the columns in read order.

    Returns
    -------
    (L / 2 + 1,) complex64 ndarray, DN
    """
    series = np.zeros((values.shape[0], ROW_SAMPLES), dtype=np.float32)
    series[:, places] = values
    return spectrum_of(series.ravel()) * np.float32(ROW_SAMPLES / BORDER)
