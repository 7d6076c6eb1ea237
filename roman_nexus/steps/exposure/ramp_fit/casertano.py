"""The ols_cas22 ramp fit: fixed-power weights, jumps by local slopes.

Casertano (2022, Roman-STScI-000394, "Determining the best-fitting slope and its uncertainty for up-the-ramp sampled
images with unevenly distributed resultants"), as in ``stcal`` 1.20 `ols_cas22`, bit for bit: equations 35 to 45 in
float64 with the results accumulated in float32, the jump statistic in float32. A ramp is cut into runs of unflagged
resultants; a run with a jump loses the two resultants around it and falls apart in two; the slopes of the final runs
are averaged with their inverse read variance. Works in electrons, results are in DN.

The weights of a run depend only on its ends and on which of six classes the signal-to-noise ratio falls in. So all
coefficients are tabulated once per read pattern, and a pixel costs some multiplications. Ramps that are a single
run without a jump are fitted in `casertano_fast`; what is here takes any ramp.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.steps.exposure.ramp_fit.casertano_fast import (
    FITTED,
    PHOTON,
    RATIO_LIMITS,
    READ,
    SCALAR,
    TIME,
    fit_block,
)
from roman_nexus.steps.exposure.ramp_fit.covariance import ReadPattern, ramp_times
from roman_nexus.steps.exposure.ramp_fit.flags import DO_NOT_USE, JUMP_DET, NO_GAIN_VALUE, SATURATED, UNUSABLE
from roman_nexus.steps.exposure.ramp_fit.options import RampFitOptions
from roman_nexus.steps.exposure.ramp_fit.uniform import uniform_minus_rate
from roman_nexus.steps.step import ExposureInfo, FitBlock, RampBlock

__all__ = ["RunTable", "fit_ols", "make_table"]

# Casertano (2022), table 2: exponents of the weights, between the limits of the signal-to-noise ratio
EXPONENTS = np.array([0, 0.4, 1, 3, 6, 10], dtype=np.float32)

WEIGHTS, SLOPE, VAR_READ, VAR_PHOTON = range(4)  # sums over the runs of a pixel
F0, F1, F4 = np.float32(0), np.float32(1), np.float32(1e4)
NAN32 = np.float32(np.nan)
INTERCEPT, CONSTANT = 5.5, 1 / 3  # threshold for jumps, sigma
DECADES = 4  # of slope over which the threshold falls: from F1 to F4
MARGIN = 1e-4  # for the rounding of the threshold, relative


@dataclass(frozen=True, slots=True, eq=False)
class RunTable:
    """Constants of a read pattern.

    Attributes
    ----------
    reads : (F,) int64 ndarray
    times : (F,) float32 ndarray, s
    start : (F, F) int64 ndarray
        Where in `coefficients` the run from resultant s to e begins.
    coefficients : (N,) float64 ndarray, 1/s
        For every run, for every exponent, one coefficient per resultant: slope = sum k_i R_i.
    photon_variance : (F, F, 6) float32 ndarray, 1/s
        Variance of the slope per electron/s.
    lags : (2, F, 3) float32 ndarray
        For resultants i and i + 1, i and i + 2: time between them (s), 1/n + 1/n, and the photon noise term (s).
    """

    reads: NDArray[np.int64]
    times: NDArray[np.float32]
    start: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    photon_variance: NDArray[np.float32]
    lags: NDArray[np.float32]


@lru_cache(maxsize=4)
def make_table(read_pattern: ReadPattern, frame_time: float) -> RunTable:
    """Tabulate the coefficients of all runs of a read pattern.

    Parameters
    ----------
    read_pattern : tuple of tuple of int
        As checked by `ramp_times`.
    frame_time : float
        Seconds per read; used as float32.

    Returns
    -------
    RunTable
        Do not write to its arrays: the result is shared.

    Examples
    --------
    >>> from roman_nexus.steps.exposure.ramp_fit.casertano import make_table
    >>> table = make_table(((1,), (2,), (3,)), 2.0)
    >>> begin = table.start[0, 2]  # run of all three resultants, smallest exponent: least squares
    >>> table.coefficients[begin : begin + 3].tolist()
    [-0.25, 0.0, 0.25]
    """
    f = len(read_pattern)
    step = float(np.float32(frame_time))
    reads = np.array([len(resultant) for resultant in read_pattern])
    times = np.array([step * np.mean(resultant) for resultant in read_pattern], dtype=np.float32)
    noise_times = np.array(
        [np.sum((2 * (n - np.arange(n)) - 1) * r) * step / n**2 for n, r in zip(reads, read_pattern, strict=True)],
        dtype=np.float32,
    )
    lengths = np.maximum(np.arange(f)[None, :] - np.arange(f)[:, None] + 1, 0) * EXPONENTS.size
    start = np.concatenate([[0], np.cumsum(lengths.ravel())[:-1]]).reshape(f, f)
    coefficients = np.zeros(int(lengths.sum()))
    photon_variance = np.zeros((f, f, EXPONENTS.size), dtype=np.float32)
    _fill_runs(reads, times, noise_times, start, coefficients, photon_variance)
    return RunTable(reads, times, start, coefficients, photon_variance, _lags(reads, times, noise_times))


def _lags(
    reads: NDArray[np.int64], times: NDArray[np.float32], noise_times: NDArray[np.float32]
) -> NDArray[np.float32]:
    lags = np.full((2, reads.size, 3), np.nan, dtype=np.float32)
    inverse = F1 / reads.astype(np.float32)
    for lag in (1, 2):
        row = lags[lag - 1, :-lag]
        row[:, TIME] = times[lag:] - times[:-lag]
        row[:, READ] = inverse[lag:] + inverse[:-lag]
        earlier = np.float32(2) * np.minimum(times[lag:], times[:-lag])
        row[:, PHOTON] = noise_times[lag:] + noise_times[:-lag] - earlier
    return lags


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_runs(reads, times, noise_times, start, coefficients, photon_variance):  # type: ignore[no-untyped-def]
    """Equations 35 to 37, 40, 44 and 45 for every run and exponent."""
    for first in range(reads.size):
        for last in range(first + 1, reads.size):
            middle = np.float64((times[first] + times[last]) / np.float32(2))
            scale = np.float64((times[last] - times[first]) / np.float32(2))
            for c in range(EXPONENTS.size):
                power = np.float64(EXPONENTS[c])
                place = start[first, last] + c * (last - first + 1) - first
                f0, f1, f2 = 0.0, 0.0, 0.0
                for i in range(first, last + 1):
                    n, t = np.float64(reads[i]), np.float64(times[i])
                    w = ((1.0 + power) * n) / (1.0 + power * n) * abs((t - middle) / scale) ** power
                    coefficients[place + i] = w
                    f0 += w
                    f1 += w * t
                    f2 += w * np.float64(times[i] * times[i])
                determinant = f2 * f0 - f1 * f1
                variance, before = F0, 0.0
                for i in range(first, last + 1):
                    k = 0.0
                    if determinant != 0.0:
                        k = (f0 * times[i] - f1) * coefficients[place + i] / determinant
                    coefficients[place + i] = k
                    variance = np.float32(variance + (k * k * noise_times[i] + 2.0 * k * before))
                    before += k * times[i]
                photon_variance[first, last, c] = variance


@njit(nogil=True, cache=True, error_model="numpy")
def _fit_run(electrons, first, last, noise2, reads, start, coefficients, photon_variance):  # type: ignore[no-untyped-def]
    """Slope, read variance and photon variance (per electron/s) of one run."""
    rise = electrons[last] - electrons[first]
    signal = np.float64(rise if rise > F0 else F0)
    ratio = np.float32(signal / np.sqrt(noise2 + signal))
    c = 0
    while c < RATIO_LIMITS.size and not ratio < RATIO_LIMITS[c]:
        c += 1
    place = start[first, last] + c * (last - first + 1) - first
    slope, variance = F0, F0
    for i in range(first, last + 1):
        k = coefficients[place + i]
        slope = np.float32(slope + k * electrons[i])
        variance = np.float32(variance + k * k * noise2 / reads[i])
    return slope, variance, photon_variance[first, last, c]


@njit(nogil=True, cache=True, error_model="numpy")
def _statistic(electrons, i, lag, slope, noise2, correction, lags):  # type: ignore[no-untyped-def]
    """By how many sigma the local slope from i to i + lag exceeds the slope of the run."""
    time = lags[lag - 1, i, TIME]
    excess = (electrons[i + lag] - electrons[i]) / time - slope
    variance = (noise2 * lags[lag - 1, i, READ] + slope * lags[lag - 1, i, PHOTON]) / (time * time)
    return excess / np.sqrt(variance + correction)


@njit(nogil=True, cache=True, error_model="numpy")
def _worst(electrons, first, last, slope, noise2, times, lags):  # type: ignore[no-untyped-def]
    """Find the largest jump statistic of a run, and the resultant where it occurs."""
    correction = -slope / (times[last] - times[first])
    place = last - 1
    largest = _statistic(electrons, place, 1, slope, noise2, correction, lags)
    for i in range(first, last - 1):
        single = _statistic(electrons, i, 1, slope, noise2, correction, lags)
        double = _statistic(electrons, i, 2, slope, noise2, correction, lags)
        value = double if single != single or double > single else single
        if value > largest:
            largest, place = value, i
    return place, largest


@njit(nogil=True, cache=True, error_model="numpy")
def _find_runs(flags, stack):  # type: ignore[no-untyped-def]
    """Put the runs of unflagged resultants on the stack; return how many."""
    depth, first = 0, -1
    for i in range(flags.size):
        if flags[i] == 0 and first < 0:
            first = i
        if first >= 0 and (flags[i] != 0 or i == flags.size - 1):
            stack[depth, 0] = first
            stack[depth, 1] = i if flags[i] == 0 else i - 1
            depth, first = depth + 1, -1
    return depth


@njit(nogil=True, cache=True, error_model="numpy")
def _exceeds(value, slope, thresholds):  # type: ignore[no-untyped-def]
    """Compare a jump statistic with the threshold, which falls with the logarithm of the slope."""
    bounded = slope if slope > F1 else F1
    bounded = bounded if bounded < F4 else F4
    return value > thresholds[0] - thresholds[1] * np.log10(bounded)


@njit(nogil=True, cache=True, error_model="numpy")
def _split(stack, depth, first, last, jump, flags):  # type: ignore[no-untyped-def]
    """Flag a jump and put what it leaves of a run on the stack; return the new depth."""
    flags[jump] = JUMP_DET
    flags[jump + 1] = JUMP_DET
    if jump > first:
        stack[depth, 0], stack[depth, 1] = first, jump - 1
        depth += 1
    if jump + 1 < last:
        stack[depth, 0], stack[depth, 1] = jump + 2, last
        depth += 1
    return depth


@njit(nogil=True, cache=True, error_model="numpy")
def _add(slope, read, photon, sums):  # type: ignore[no-untyped-def]
    """Add a run with the inverse of its read variance as weight."""
    weight = F0 if read == F0 else F1 / read
    sums[WEIGHTS] += weight
    sums[SLOPE] += weight * slope
    sums[VAR_READ] += weight * weight * read
    sums[VAR_PHOTON] += weight * weight * photon


@njit(nogil=True, cache=True, error_model="numpy")
def _image_flags(flags, slope, err, gain):  # type: ignore[no-untyped-def]
    """Derive the flags of the rate image from those of the resultants."""
    jump, saturated, unusable = np.uint8(0), SATURATED, True
    for flag in flags:
        jump |= flag & JUMP_DET
        saturated &= flag
        unusable &= (flag & UNUSABLE) != 0
    dq = np.uint32(jump | saturated)
    if unusable or not np.isfinite(slope) or err <= F0:
        dq |= np.uint32(DO_NOT_USE)
    if gain < F0 or not np.isfinite(gain):
        dq |= NO_GAIN_VALUE
    return dq


@njit(nogil=True, cache=True, error_model="numpy")
def _average(sums, g):  # type: ignore[no-untyped-def]
    """Average the runs of a pixel and go back to DN: rate, error, Poisson and read variance."""
    divisor = sums[WEIGHTS] if sums[WEIGHTS] != F0 else F1
    slope = sums[SLOPE] / divisor
    photon = sums[VAR_PHOTON] / (divisor * divisor) * (slope if slope > F0 else F0)
    read = sums[VAR_READ] / (divisor * divisor)
    var_p, var_r = photon / (g * g), read / (g * g)
    return slope / g, np.sqrt(var_p + var_r), var_p, var_r


@njit(nogil=True, cache=True, error_model="numpy")
def _fit_pixels(  # type: ignore[no-untyped-def]
    data,
    groupdq,
    gain,
    readnoise,
    reads,
    times,
    start,
    coefficients,
    photon_variance,
    lags,
    find_jumps,
    thresholds,
    outcome,
    out,
    dq,
):
    """Fit the pixels that the fast path left.

    The runs are handled here and not in a function of their own, which would count the references to all these
    arrays up and down for every pixel; that takes longer than the fit.
    """
    f = data.shape[0]
    electrons, flags, stack = np.empty(f, np.float32), np.empty(f, np.uint8), np.empty((f + 1, 2), np.int64)
    sums = np.empty(4, np.float32)
    for y in range(data.shape[1]):
        for x in range(data.shape[2]):
            if outcome[y, x] == FITTED:
                continue
            g = gain[y, x]
            for i in range(f):
                electrons[i] = data[i, y, x] * g
                flags[i] = groupdq[i, y, x]
            noise = readnoise[y, x] * g
            noise2 = noise * noise
            sums[:] = F0
            depth = _find_runs(flags, stack)
            while depth > 0:
                depth -= 1
                first, last = stack[depth, 0], stack[depth, 1]
                if first == last:  # no slope
                    continue
                slope, read, photon = _fit_run(
                    electrons, first, last, noise2, reads, start, coefficients, photon_variance
                )
                jump, value = first, NAN32
                if find_jumps:
                    jump, value = _worst(electrons, first, last, slope, noise2, times, lags)
                if find_jumps and _exceeds(value, slope, thresholds):
                    depth = _split(stack, depth, first, last, jump, flags)
                elif slope == slope:
                    _add(slope, read, photon, sums)
            rate, err, var_poisson, var_read = _average(sums, g)
            out[0, y, x] = rate
            out[1, y, x] = err
            out[2, y, x] = var_poisson
            out[3, y, x] = var_read
            dq[y, x] |= _image_flags(flags, rate, err, g)


def _fit_fast(
    block: RampBlock,
    gain: NDArray[np.float32],
    readnoise: NDArray[np.float32],
    table: RunTable,
    find_jumps: bool,
    thresholds: NDArray[np.float32],
    out: NDArray[np.float32],
    dq: NDArray[np.uint32],
) -> NDArray[np.uint8]:
    """Fit what is a single run without a jump into `out` and `dq`; the outcome is SCALAR elsewhere."""
    outcome = np.full(gain.shape, SCALAR, dtype=np.uint8)
    intercept, constant = (float(value) for value in thresholds)
    limit = intercept - DECADES * constant - MARGIN * (intercept + DECADES * constant)
    if find_jumps and not limit > 0:  # then every pixel is a suspect
        return outcome
    f, begin = table.reads.size, table.start[0, -1]
    coefficients = table.coefficients[begin : begin + EXPONENTS.size * f].reshape(-1, f)
    fit_block(
        block.data,
        block.groupdq,
        gain,
        readnoise,
        table.reads,
        np.ascontiguousarray(coefficients.T),
        table.photon_variance[0, -1],
        table.lags,
        table.times[-1] - table.times[0],
        find_jumps,
        np.float32(limit),
        out,
        dq,
        outcome,
    )
    return outcome


def fit_ols(
    block: RampBlock,
    gain: NDArray[np.float32],
    readnoise: NDArray[np.float32],
    options: RampFitOptions,
    exposure: ExposureInfo,
) -> FitBlock:
    """Fit every pixel of a block.

    Parameters
    ----------
    block : RampBlock
        Arrays C-contiguous; not changed. Any bit of ``groupdq`` excludes a resultant.
    gain, readnoise : (ny, nx) float32 ndarray, e-/DN and DN
    options : RampFitOptions
    exposure : ExposureInfo

    Returns
    -------
    FitBlock
        Zero where nothing could be fitted. ``chisq`` is 0 and ``jumps`` None, as in romancal 1.1.
    """
    pattern = tuple(tuple(reads) for reads in exposure.read_pattern)
    table = make_table(pattern, float(exposure.frame_time))
    intercept = INTERCEPT if options.threshold_intercept is None else options.threshold_intercept
    constant = CONSTANT if options.threshold_constant is None else options.threshold_constant
    thresholds = np.array([intercept, constant], dtype=np.float32)
    out = np.empty((4, *gain.shape), dtype=np.float32)
    dq = block.pixeldq.copy()
    find_jumps = options.use_ramp_jump_detection
    outcome = _fit_fast(block, gain, readnoise, table, find_jumps, thresholds, out, dq)
    _fit_pixels(
        block.data,
        block.groupdq,
        gain,
        readnoise,
        table.reads,
        table.times,
        table.start,
        table.coefficients,
        table.photon_variance,
        table.lags,
        find_jumps,
        thresholds,
        outcome,
        out,
        dq,
    )
    weights = ramp_times(pattern, float(exposure.frame_time)).uniform_weights
    rate, err, var_poisson, var_rnoise = out
    dumo = uniform_minus_rate(block.data, weights, rate)
    return FitBlock(rate, err, var_poisson, var_rnoise, np.zeros_like(rate), dumo, dq)
