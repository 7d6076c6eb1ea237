"""The slope with equal weight for every read, and how far the optimal slope lies from it (dumo).

Equal weights are optimal when read noise rules. The slope is U = sum_i w_i R_i over all resultants, whatever their
flags, with w_i = n_i (N tbar_i - S1) / (N S2 - S1^2), N = sum n, S1 = sum n tbar, S2 = sum n tbar^2: least squares with
the number of reads as weight. ``dumo = U - rate`` ("uniform minus optimal") keeps it in the product. Same
arithmetic as ``romancal`` 1.1.

romancal rounds dumo from float64 to float16 at once. `FitBlock` carries float32, and rounding twice would now
and then end one float16 step aside. So the float32 values here are *rounded to odd* (Boldo and Melquiond 2008,
IEEE Trans. Computers 57, 462): truncated, with the last bit set where anything was cut off. Rounding those to
float16 gives exactly what rounding the float64 values would.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.steps.exposure.ramp_fit.flags import SATURATED
from roman_nexus.steps.step import FitBlock, RampBlock

__all__ = ["CUT", "LAST", "fit_saturated", "round_to_odd", "uniform_minus_rate", "uniform_slope"]

CUT = np.int64((1 << 29) - 1)  # bits of a float64 that float32 lacks
LAST = np.int64(1 << 29)  # last bit that float32 has


@njit(nogil=True, cache=True, error_model="numpy")
def uniform_slope(data, weights, slope):  # type: ignore[no-untyped-def]
    """Write sum_i weights[i] data[i] into `slope`, adding in the order of the resultants.

    Parameters
    ----------
    data : (F, N) float32 ndarray, DN
    weights : (F,) float64 ndarray, 1/s
    slope : (N,) float64 ndarray, DN/s
    """
    for x in range(slope.size):
        slope[x] = weights[0] * data[0, x]
    for i in range(1, data.shape[0]):
        weight = weights[i]
        for x in range(slope.size):
            slope[x] += weight * data[i, x]


def round_to_odd(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round float64 to float32 so that a further rounding to float16 is exact.

    Parameters
    ----------
    values : ndarray of float64

    Returns
    -------
    ndarray of float32

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.ramp_fit.uniform import round_to_odd
    >>> value = np.array([1 + 2.0**-11 + 2.0**-40])  # just above the middle of two float16
    >>> value.astype("f2"), value.astype("f4").astype("f2"), round_to_odd(value).astype("f2")
    (array([1.001], dtype=float16), array([1.], dtype=float16), array([1.001], dtype=float16))
    """
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    odd = (bits & ~CUT) | np.where(bits & CUT, LAST, 0)
    with np.errstate(over="ignore"):
        return odd.view(np.float64).astype(np.float32)


def uniform_minus_rate(
    data: NDArray[np.float32], weights: NDArray[np.float64], rate: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return dumo.

    Parameters
    ----------
    data : (F, ...) float32 ndarray, DN
        The ramp; C-contiguous.
    weights : (F,) float64 ndarray, 1/s
    rate : (...) float32 ndarray, DN/s

    Returns
    -------
    (...) float32 ndarray, DN/s
        Rounded to odd.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.ramp_fit.uniform import uniform_minus_rate
    >>> ramp = np.array([[0], [30], [40]], dtype=np.float32)  # 1 s apart
    >>> uniform_minus_rate(ramp, np.array([-0.5, 0, 0.5]), np.array([19], dtype=np.float32))
    array([1.], dtype=float32)
    """
    slope = np.empty(rate.size)
    uniform_slope(data.reshape(data.shape[0], -1), weights, slope)
    return round_to_odd(slope.reshape(rate.shape) - rate)


def fit_saturated(block: RampBlock, weights: NDArray[np.float64]) -> FitBlock:
    """Make the rate image of an exposure in which every pixel is saturated.

    Nothing can be fitted; rates and variances are zero, but dumo is the uniform slope of the raw ramp (as in
    romancal 1.1).

    Parameters
    ----------
    block : RampBlock
    weights : (F,) float64 ndarray, 1/s

    Returns
    -------
    FitBlock
    """
    zero = np.zeros(block.pixeldq.shape, dtype=np.float32)
    return FitBlock(
        rate=zero,
        err=zero.copy(),
        var_poisson=zero.copy(),
        var_rnoise=zero.copy(),
        chisq=zero.copy(),
        dumo=uniform_minus_rate(np.ascontiguousarray(block.data), weights, zero),
        dq=block.pixeldq | block.groupdq[0] | SATURATED,
    )
