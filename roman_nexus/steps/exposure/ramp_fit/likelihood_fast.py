"""The likelihood ramp fit for well-behaved pixels, many columns at a time.

The rate of a ramp maximises the likelihood of its differences d with covariance matrix V (see `covariance`):

    C = 1' W 1,  B = 1' W d,  A = d' W d,   W = V^-1 over the usable differences
    rate = B / C,   err^2 = 1 / C,   chi^2 = A - B^2 / C,   weights w = W 1 / C

(Brandt 2024, PASP 136, 045004 and 045005). V needs a rate itself. As in romancal 1.1 the first fit takes the median
of all differences, the second, final fit takes the rate of the first.

Those papers evaluate A, B, C by two-sided recursions for determinants; here V = L D L' is factored once from the
left, which gives the same numbers to some 1e-13 with a fifth of the operations. Where that is not good enough the
pixel is left to `likelihood_exact`: too few differences for a well-posed problem, odd gain or read noise, or perhaps
a jump. There is none if the first chi^2 is below the threshold, since dropping differences gains at most the whole
chi^2. In long ramps, where chi^2 is larger without a jump, the gains themselves are worked out: with u = W (d - rate)
and P = W - W 1 1' W / C, dropping the set S of differences gains u_S' P_SS^-1 u_S. Each pixel is judged by itself, so
results do not depend on how a frame is cut.

The kernels work on tiles of `LANES` columns that stay in the first-level cache, with the loop over columns
innermost, so that it compiles to vector instructions. Vectors of a tile live in one flat array at fixed offsets:
a compiler must know that they do not overlap.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from roman_nexus.steps.exposure.ramp_fit.covariance import (
    INTERVAL,
    PHOTON_COUPLING,
    PHOTON_DIAGONAL,
    READ_COUPLING,
    READ_DIAGONAL,
    WEIGHT,
)
from roman_nexus.steps.exposure.ramp_fit.median import take_median
from roman_nexus.steps.exposure.ramp_fit.uniform import CUT, LAST

__all__ = ["EXACT", "FITTED", "UNFITTABLE", "fit_block"]

FITTED, UNFITTABLE, EXACT = 0, 1, 2  #: outcome per pixel: done, all NaN, left to the exact path
WELL_POSED = 3  # usable differences of which a pair can be dropped
OVERDETERMINED = 4  # usable differences from which it also matters which pair is dropped
SCREEN_FROM = 10  # differences from which chi-square is often above the threshold without a jump
LANES = 64

# offsets of the vectors of a tile
PHOTON, READ, PIVOT, Y, Z, A, B, C, USED, CHECK = (i * LANES for i in range(10))
UNIFORM, SP, SR, X, GUESS, H, U, P, SUSPECT = (i * LANES for i in range(10, 19))
VECTORS = 19
# offsets within the row of one difference
ROW_FACTOR, ROW_Y, ROW_PIVOT, ROW_Z, ROW = (i * LANES for i in range(5))


@njit(nogil=True, cache=True, error_model="numpy")
def _load(data, groupdq, y, x0, n, terms, v, difference, masked, use):  # type: ignore[no-untyped-def]
    """Differences, usable differences and uniform slope of a tile."""
    for x in range(n):
        v[USED + x] = 0.0
        v[CHECK + x] = 0.0
        v[UNIFORM + x] = terms[WEIGHT, 0] * data[0, y, x0 + x]
    for j in range(difference.shape[0]):
        scale, weight = terms[INTERVAL, j], terms[WEIGHT, j + 1]
        for x in range(n):
            late = data[j + 1, y, x0 + x]
            d = np.float64(late - data[j, y, x0 + x]) * scale
            difference[j, x] = d
            v[CHECK + x] += d
            v[UNIFORM + x] += weight * late
        for x in range(n):
            free = 1.0 if (groupdq[j, y, x0 + x] | groupdq[j + 1, y, x0 + x]) == 0 else 0.0
            use[j, x] = free
            masked[j, x] = free * difference[j, x]
        for x in range(n):
            v[USED + x] += use[j, x]


@njit(nogil=True, cache=True, error_model="numpy")
def _eliminate(v, masked, use, n, terms, rows, all_rows):  # type: ignore[no-untyped-def]
    """Sum up A, B and C by forward elimination; keep in `rows` what `_noise_parts`, or also `_screen`, needs."""
    for x in range(n):
        v[PIVOT + x] = 0.0
        v[Y + x] = 0.0
        v[Z + x] = 0.0
        v[A + x] = 0.0
        v[B + x] = 0.0
        v[C + x] = 0.0
    for j in range(masked.shape[0]):
        before = max(j - 1, 0)
        kept = rows[j * ROW : (j + 1) * ROW]
        ap, ar = terms[PHOTON_DIAGONAL, j], terms[READ_DIAGONAL, j]
        bp, br = terms[PHOTON_COUPLING, j], terms[READ_COUPLING, j]
        for x in range(n):
            one = use[j, x]
            beta = (v[PHOTON + x] * bp + v[READ + x] * br) * (one * use[before, x])
            factor = beta * v[PIVOT + x]
            pivot = 1.0 / (v[PHOTON + x] * ap + v[READ + x] * ar - factor * beta)
            y = one - factor * v[Y + x]
            z = masked[j, x] - factor * v[Z + x]
            v[C + x] += y * y * pivot
            v[B + x] += y * z * pivot
            v[A + x] += z * z * pivot
            v[PIVOT + x] = pivot
            v[Y + x] = y
            v[Z + x] = z
            kept[ROW_FACTOR + x] = factor
            kept[ROW_Y + x] = y * pivot
        if all_rows:
            for x in range(n):
                kept[ROW_PIVOT + x] = v[PIVOT + x]
                kept[ROW_Z + x] = v[Z + x] * v[PIVOT + x]


@njit(nogil=True, cache=True, error_model="numpy")
def _noise_parts(v, rows, n, terms):  # type: ignore[no-untyped-def]
    """Find x = W 1 by back substitution, and the photon and read parts of x' V x."""
    last = terms.shape[1] - 2
    ap, ar = terms[PHOTON_DIAGONAL, last], terms[READ_DIAGONAL, last]
    for x in range(n):
        value = rows[last * ROW + ROW_Y + x]
        v[X + x] = value
        v[SP + x] = value * value * ap
        v[SR + x] = value * value * ar
    for j in range(last - 1, -1, -1):
        kept, after = rows[j * ROW : (j + 1) * ROW], rows[(j + 1) * ROW : (j + 2) * ROW]
        ap, ar = terms[PHOTON_DIAGONAL, j], terms[READ_DIAGONAL, j]
        bp, br = 2.0 * terms[PHOTON_COUPLING, j + 1], 2.0 * terms[READ_COUPLING, j + 1]
        for x in range(n):
            following = v[X + x]
            value = kept[ROW_Y + x] - after[ROW_FACTOR + x] * following
            v[X + x] = value
            v[SP + x] += value * (value * ap + following * bp)
            v[SR + x] += value * (value * ar + following * br)


@njit(nogil=True, cache=True, error_model="numpy")
def _start(gain, readnoise, y, x0, n, v):  # type: ignore[no-untyped-def]
    """Set the covariance for the first fit from the median of the differences."""
    for x in range(n):
        guess, noise = v[GUESS + x], np.float64(readnoise[y, x0 + x])
        v[PHOTON + x] = (guess if guess > 0.0 else 0.0) / gain[y, x0 + x]
        v[READ + x] = noise * noise


@njit(nogil=True, cache=True, error_model="numpy")
def _classify(gain, readnoise, y, x0, n, one, v, outcome):  # type: ignore[no-untyped-def]
    """Decide who may be fitted here, and set the covariance for the final fit from the first rate."""
    for x in range(n):
        g, s, used = gain[y, x0 + x], readnoise[y, x0 + x], v[USED + x]
        first = v[B + x] / v[C + x]
        chi2 = v[A + x] - v[B + x] * first
        usual = (g > 0) & (g < np.inf) & (s > 0) & (s < np.inf)
        empty = (used == 0.0) | (v[CHECK + x] * 0.0 != 0.0) | (g != g) | (s != s)
        safe = usual & (used >= WELL_POSED) & (chi2 < one)
        outcome[y, x0 + x] = UNFITTABLE if empty else (FITTED if safe else EXACT)
        v[PHOTON + x] = (first if first > 0.0 else 0.0) / g
        v[CHECK + x] = np.nan if empty else 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def _screen(v, rows, n, m, one, two):  # type: ignore[no-untyped-def]
    """Mark lanes where dropping a difference might gain `one`, or a pair of neighbours `two`."""
    for x in range(n):
        v[SUSPECT + x] = 0.0
        v[X + x] = 0.0  # C', B', diagonal of W, u and diagonal of P of the difference after this one
        v[H + x] = 0.0
        v[SP + x] = 0.0
        v[U + x] = 0.0
        v[P + x] = 1.0
    for j in range(m - 1, -1, -1):
        after = min(j + 1, m - 1)
        kept, following = rows[j * ROW : (j + 1) * ROW], rows[after * ROW : (after + 1) * ROW]
        for x in range(n):
            factor, weight = following[ROW_FACTOR + x], v[SP + x]
            c = kept[ROW_Y + x] - factor * v[X + x]
            h = kept[ROW_Z + x] - factor * v[H + x]
            inverse = 1.0 / v[C + x]
            u = h - v[B + x] * inverse * c
            diagonal = kept[ROW_PIVOT + x] + factor * factor * weight
            p = diagonal - c * c * inverse
            q = -factor * weight - c * v[X + x] * inverse
            gain = u * u * v[P + x] - 2.0 * u * v[U + x] * q + v[U + x] * v[U + x] * p
            fine = (u * u < one * p) & (gain < two * (p * v[P + x] - q * q))
            v[SUSPECT + x] += 0.0 if fine else 1.0
            v[X + x] = c
            v[H + x] = h
            v[SP + x] = diagonal
            v[U + x] = u
            v[P + x] = p


@njit(nogil=True, cache=True, error_model="numpy")
def _any_exact(outcome, y, x0, n):  # type: ignore[no-untyped-def]
    largest = np.uint8(0)
    for x in range(n):
        largest = max(largest, outcome[y, x0 + x])
    return largest == EXACT


@njit(nogil=True, cache=True, error_model="numpy")
def _absolve(gain, readnoise, y, x0, n, v, outcome):  # type: ignore[no-untyped-def]
    """Keep the lanes here that `_screen` did not mark."""
    for x in range(n):
        g, s = gain[y, x0 + x], readnoise[y, x0 + x]
        usual = (g > 0) & (g < np.inf) & (s > 0) & (s < np.inf)
        if usual & (v[USED + x] >= OVERDETERMINED) & (v[SUSPECT + x] == 0.0) & (outcome[y, x0 + x] == EXACT):
            outcome[y, x0 + x] = FITTED


@njit(nogil=True, cache=True, error_model="numpy")
def _finish(v, bits, n):  # type: ignore[no-untyped-def]
    """Turn the sums into results, in place; dumo is rounded to odd (see `uniform`)."""
    for x in range(n):
        inverse = 1.0 / v[C + x] + v[CHECK + x]
        best = v[B + x] * inverse
        v[A + x] -= v[B + x] * best
        v[B + x] = best
        v[SP + x] *= v[PHOTON + x] * inverse * inverse
        v[SR + x] *= v[READ + x] * inverse * inverse
        v[C + x] = np.sqrt(inverse)
        v[UNIFORM + x] -= np.float32(best)
    for x in range(n):
        slope = bits[UNIFORM + x]
        bits[UNIFORM + x] = (slope & ~CUT) | (LAST if slope & CUT != 0 else 0)


@njit(nogil=True, cache=True, error_model="numpy")
def _store(v, offset, images, k, y, x0, n):  # type: ignore[no-untyped-def]
    for x in range(n):
        images[k, y, x0 + x] = v[offset + x]


@njit(nogil=True, cache=True, error_model="numpy")
def fit_block(data, groupdq, gain, readnoise, terms, network, one, two, images, outcome):  # type: ignore[no-untyped-def]
    """Fit every pixel of a block that is safe to fit this way.

    Parameters
    ----------
    data : (F, ny, nx) float32 ndarray, DN
    groupdq : (F, ny, nx) uint8 ndarray
        Any bit excludes a resultant.
    gain, readnoise : (ny, nx) float32 ndarray, e-/DN and DN
    terms : (6, F) float64 ndarray
        `RampTimes.terms`.
    network : (N, 2) int64 ndarray
        `median_network` of F - 1.
    one, two : float
        Gain in chi-square that dropping a difference, or a pair, must stay below for the pixel to be fitted here.
    images : (6, ny, nx) float32 ndarray
        Results: rate, err (DN/s), Poisson and read variance (DN2/s2), chi-square, dumo (DN/s); NaN where `outcome` is
        `UNFITTABLE`, arbitrary where it is `EXACT`.
    outcome : (ny, nx) uint8 ndarray
        Result: `FITTED`, `UNFITTABLE` or `EXACT`.
    """
    m = data.shape[0] - 1
    screen = m >= SCREEN_FROM
    v = np.empty(VECTORS * LANES)
    bits, guess = v.view(np.int64), v[GUESS : GUESS + LANES]
    difference, masked, use = np.empty((m, LANES)), np.empty((m, LANES)), np.empty((m, LANES))
    rows = np.empty(m * ROW)
    for y in range(data.shape[1]):
        for x0 in range(0, data.shape[2], LANES):
            n = min(LANES, data.shape[2] - x0)
            _load(data, groupdq, y, x0, n, terms, v, difference, masked, use)
            take_median(difference, network, n, guess)
            _start(gain, readnoise, y, x0, n, v)
            _eliminate(v, masked, use, n, terms, rows, screen)
            _classify(gain, readnoise, y, x0, n, one, v, outcome)
            if screen and _any_exact(outcome, y, x0, n):
                _screen(v, rows, n, m, one, two)
                _absolve(gain, readnoise, y, x0, n, v, outcome)
            _eliminate(v, masked, use, n, terms, rows, False)
            _noise_parts(v, rows, n, terms)
            _finish(v, bits, n)
            _store(v, B, images, 0, y, x0, n)
            _store(v, C, images, 1, y, x0, n)
            _store(v, SP, images, 2, y, x0, n)
            _store(v, SR, images, 3, y, x0, n)
            _store(v, A, images, 4, y, x0, n)
            _store(v, UNIFORM, images, 5, y, x0, n)
