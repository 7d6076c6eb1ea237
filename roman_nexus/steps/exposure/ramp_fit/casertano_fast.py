"""The ols_cas22 fit of ramps without flags and without jumps, many columns at a time.

Most ramps are one run from the first resultant to the last. Then all pixels take the same path through the fit, and
differ only in the class of their signal-to-noise ratio, which selects the coefficients. The arithmetic, step by step
and rounding by rounding, is that of the scalar path in `casertano`, so the results are the same to the last bit.

Whether there is a jump need not be known exactly: the threshold falls with the logarithm of the slope, but never
below a limit. Pixels with no statistic above that limit have no jump; those that have one, and those with a flagged
resultant, are left to the scalar path. A statistic that is NaN never makes a jump there, and makes no suspect here.

The kernels work on tiles of `LANES` columns that stay in the first-level cache, with the loop over columns innermost
and unsigned, so that it compiles to vector instructions (see `likelihood_fast`). `e` holds the electrons, one line
per resultant, `v` all other vectors of a tile at fixed offsets.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from roman_nexus.steps.exposure.ramp_fit.flags import DO_NOT_USE, NO_GAIN_VALUE

__all__ = ["FITTED", "PHOTON", "RATIO_LIMITS", "READ", "SCALAR", "TIME", "fit_block"]

FITTED, SCALAR = 0, 1  #: outcome per pixel: done, left to the scalar path
LANES = 64

# Casertano (2022), table 2: signal-to-noise ratio at which the next exponent of the weights applies
RATIO_LIMITS = np.array([5, 10, 20, 50, 100], dtype=np.float32)
TIME, READ, PHOTON = range(3)  # last axis of `RunTable.lags`
F0, F1 = np.float32(0), np.float32(1)

# offsets in `v`
GAIN, NOISE2, SLOPE, VAR_READ, VAR_PHOTON, ERR, CORRECTION, SUSPECT = (i * LANES for i in range(8))
VECTORS = 8


@njit(nogil=True, cache=True, error_model="numpy")
def _load(data, groupdq, gain, readnoise, y, x0, n, v, e, union):  # type: ignore[no-untyped-def]
    """Electrons, squared read noise and the union of the flags of a tile."""
    for x in range(n):
        g = gain[y, x0 + np.uint64(x)]
        noise = readnoise[y, x0 + np.uint64(x)] * g
        v[GAIN + x] = g
        v[NOISE2 + x] = noise * noise
        union[x] = 0
    for i in range(data.shape[0]):
        for x in range(n):
            e[i, x] = data[i, y, x0 + np.uint64(x)] * v[GAIN + x]
        for x in range(n):
            union[x] |= groupdq[i, y, x0 + np.uint64(x)]


@njit(nogil=True, cache=True, error_model="numpy")
def _classify(v, e, n, photon, classes):  # type: ignore[no-untyped-def]
    """Find the class of the signal-to-noise ratio; NaN counts as high."""
    last = e.shape[0] - 1
    for x in range(n):
        rise = e[last, x] - e[0, x]
        signal = np.float64(rise if rise > F0 else F0)
        ratio = np.float32(signal / np.sqrt(v[NOISE2 + x] + signal))
        c = np.uint64(0)
        for limit in RATIO_LIMITS:
            c += np.uint64(0 if ratio < limit else 1)
        classes[x] = c
    for x in range(n):
        v[VAR_PHOTON + x] = photon[classes[x]]


@njit(nogil=True, cache=True, error_model="numpy")
def _sum_up(v, e, n, reads, coefficients, classes):  # type: ignore[no-untyped-def]
    """Slope and read variance, rounded to float32 after each resultant."""
    for x in range(n):
        v[SLOPE + x] = F0
        v[VAR_READ + x] = F0
    for i in range(e.shape[0]):
        row, count = coefficients[i], np.float64(reads[i])
        for x in range(n):
            k = row[classes[x]]
            v[SLOPE + x] = np.float32(v[SLOPE + x] + k * e[i, x])
            v[VAR_READ + x] = np.float32(v[VAR_READ + x] + k * k * v[NOISE2 + x] / count)


@njit(nogil=True, cache=True, error_model="numpy")
def _screen(v, e, n, lags, span, limit):  # type: ignore[no-untyped-def]
    """Mark lanes where a jump statistic exceeds the limit."""
    for x in range(n):
        v[CORRECTION + x] = -v[SLOPE + x] / span
    for lag in range(1, 3):
        for i in range(e.shape[0] - lag):
            early, late = e[i], e[i + lag]
            time, read, photon = lags[lag - 1, i, TIME], lags[lag - 1, i, READ], lags[lag - 1, i, PHOTON]
            for x in range(n):
                excess = (late[x] - early[x]) / time - v[SLOPE + x]
                variance = (v[NOISE2 + x] * read + v[SLOPE + x] * photon) / (time * time)
                sigma = np.sqrt(variance + v[CORRECTION + x])
                v[SUSPECT + x] += F1 if excess > limit * sigma else F0


@njit(nogil=True, cache=True, error_model="numpy")
def _finish(v, n):  # type: ignore[no-untyped-def]
    """Weight the one run as the scalar path weights many, and go back to DN, in place."""
    for x in range(n):
        slope, read, photon, g = v[SLOPE + x], v[VAR_READ + x], v[VAR_PHOTON + x], v[GAIN + x]
        fitted = slope == slope
        weight = F0 if read == F0 else F1 / read
        total = F0 + weight if fitted else F0
        divisor = total if total != F0 else F1
        slope = (F0 + weight * slope if fitted else F0) / divisor
        read = (F0 + weight * weight * read if fitted else F0) / (divisor * divisor)
        photon = (F0 + weight * weight * photon if fitted else F0) / (divisor * divisor)
        photon *= slope if slope > F0 else F0
        v[SLOPE + x] = slope / g
        v[VAR_PHOTON + x] = photon / (g * g)
        v[VAR_READ + x] = read / (g * g)
        v[ERR + x] = np.sqrt(photon / (g * g) + read / (g * g))


@njit(nogil=True, cache=True, error_model="numpy")
def _flag(v, union, y, x0, n, dq, outcome):  # type: ignore[no-untyped-def]
    """Decide who is done here, and flag those whose rate or gain is no good."""
    for x in range(n):
        done = (union[x] == 0) & (v[SUSPECT + x] == F0)
        bad = not (np.abs(v[SLOPE + x]) < np.inf) or v[ERR + x] <= F0
        no_gain = not (v[GAIN + x] >= F0 and v[GAIN + x] < np.inf)
        bits = (np.uint32(DO_NOT_USE) if bad else np.uint32(0)) | (NO_GAIN_VALUE if no_gain else np.uint32(0))
        dq[y, x0 + np.uint64(x)] |= bits if done else np.uint32(0)
        outcome[y, x0 + np.uint64(x)] = FITTED if done else SCALAR


@njit(nogil=True, cache=True, error_model="numpy")
def _store(v, offset, images, k, y, x0, n):  # type: ignore[no-untyped-def]
    for x in range(n):
        images[k, y, x0 + np.uint64(x)] = v[offset + x]


@njit(nogil=True, cache=True, error_model="numpy")
def fit_block(  # type: ignore[no-untyped-def]
    data, groupdq, gain, readnoise, reads, coefficients, photon, lags, span, find_jumps, limit, images, dq, outcome
):
    """Fit every pixel of a block that has no flagged resultant and certainly no jump.

    Parameters
    ----------
    data : (F, ny, nx) float32 ndarray, DN
        At least two resultants.
    groupdq : (F, ny, nx) uint8 ndarray
        Any bit leaves the pixel to the scalar path.
    gain, readnoise : (ny, nx) float32 ndarray, e-/DN and DN
    reads : (F,) int64 ndarray
    coefficients : (F, 6) float64 ndarray, 1/s
        Of the run of all resultants, for each class.
    photon : (6,) float32 ndarray, 1/s
        Variance of its slope per electron/s.
    lags : (2, F, 3) float32 ndarray
        `RunTable.lags`.
    span : float32, s
        Time from the first resultant to the last.
    find_jumps : bool
        If not, `limit` is not used.
    limit : float32, sigma
        Greater than 0. A pixel with a jump statistic above it is left to the scalar path.
    images : (4, ny, nx) float32 ndarray
        Results: rate, err (DN/s), Poisson and read variance (DN2/s2); arbitrary where `outcome` is `SCALAR`.
    dq : (ny, nx) uint32 ndarray
        Flags are added where `outcome` is `FITTED`.
    outcome : (ny, nx) uint8 ndarray
        Result: `FITTED` or `SCALAR`.
    """
    v, e = np.empty(VECTORS * LANES, np.float32), np.empty((data.shape[0], LANES), np.float32)
    union, classes = np.empty(LANES, np.uint8), np.empty(LANES, np.uint64)
    for y in range(data.shape[1]):
        for start in range(0, data.shape[2], LANES):
            n = min(LANES, data.shape[2] - start)
            x0 = np.uint64(start)
            _load(data, groupdq, gain, readnoise, y, x0, n, v, e, union)
            _classify(v, e, n, photon, classes)
            _sum_up(v, e, n, reads, coefficients, classes)
            v[SUSPECT : SUSPECT + LANES] = F0
            if find_jumps:
                _screen(v, e, n, lags, span, limit)
            _finish(v, n)
            _flag(v, union, y, x0, n, dq, outcome)
            _store(v, SLOPE, images, 0, y, x0, n)
            _store(v, ERR, images, 1, y, x0, n)
            _store(v, VAR_PHOTON, images, 2, y, x0, n)
            _store(v, VAR_READ, images, 3, y, x0, n)
