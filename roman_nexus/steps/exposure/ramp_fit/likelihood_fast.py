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

All sums are kept in units of the squared read noise, so that V is aR + rho aP with one number rho per pixel.

The kernels work on tiles of `LANES` columns that stay in the first-level cache, with the loop over columns
innermost, so that it compiles to vector instructions. A compiler must know for that which arrays cannot overlap, and
gives up if there are many. So a tile has three: `v` holds vectors at fixed offsets, `s` and `r` what depends on the
difference, one line each. It must also know that indices are not negative, since those would count from the end:
hence the unsigned columns.
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

# offsets in `v`
RATIO, READ, PIVOT, Y, Z, A, B, C, EARLY, CLEAR = (i * LANES for i in range(10))
USED, BLANK, UNIFORM, SP, SR, X, GUESS, H, U, P, SUSPECT = (i * LANES for i in range(10, 21))
VECTORS = 21
# offsets in a line of `s`: differences (the median shuffles them), which are usable, differences masked with that
DIFFERENCE, USE, MASKED, S_LINE = (i * LANES for i in range(4))
# offsets in a line of `r`: results of the elimination
FACTOR, R_Y, R_PIVOT, R_Z, R_LINE = (i * LANES for i in range(5))


@njit(nogil=True, cache=True, error_model="numpy")
def _load(data, groupdq, y, x0, n, terms, v, s):  # type: ignore[no-untyped-def]
    """Differences, usable differences and uniform slope of a tile."""
    for x in range(n):
        v[EARLY + x] = data[0, y, x0 + np.uint64(x)]
        v[CLEAR + x] = 1.0 if groupdq[0, y, x0 + np.uint64(x)] == 0 else 0.0
        v[USED + x] = 0.0
        v[UNIFORM + x] = terms[WEIGHT, 0] * v[EARLY + x]
    for j in range(s.shape[0]):
        scale, weight = terms[INTERVAL, j], terms[WEIGHT, j + 1]
        for x in range(n):
            late = data[j + 1, y, x0 + np.uint64(x)]
            clear = 1.0 if groupdq[j + 1, y, x0 + np.uint64(x)] == 0 else 0.0
            d = np.float64(late - np.float32(v[EARLY + x])) * scale
            free = clear * v[CLEAR + x]
            s[j, DIFFERENCE + x] = d
            s[j, USE + x] = free
            s[j, MASKED + x] = free * d
            v[USED + x] += free
            v[UNIFORM + x] += weight * late
            v[EARLY + x] = late
            v[CLEAR + x] = clear


@njit(nogil=True, cache=True, error_model="numpy")
def _eliminate(v, s, n, terms, r, all_rows):  # type: ignore[no-untyped-def]
    """Sum up A, B and C by forward elimination; keep in `r` what `_noise_parts`, or also `_screen`, needs."""
    for x in range(n):
        v[PIVOT + x] = 0.0
        v[Y + x] = 0.0
        v[Z + x] = 0.0
        v[A + x] = 0.0
        v[B + x] = 0.0
        v[C + x] = 0.0
    for j in range(s.shape[0]):
        before, line = max(j - 1, 0), r[j * R_LINE : (j + 1) * R_LINE]
        ap, ar = terms[PHOTON_DIAGONAL, j], terms[READ_DIAGONAL, j]
        bp, br = terms[PHOTON_COUPLING, j], terms[READ_COUPLING, j]
        for x in range(n):
            one = s[j, USE + x]
            beta = (v[RATIO + x] * bp + br) * (one * s[before, USE + x])
            factor = beta * v[PIVOT + x]
            pivot = 1.0 / (v[RATIO + x] * ap + ar - factor * beta)
            y = one - factor * v[Y + x]
            z = s[j, MASKED + x] - factor * v[Z + x]
            scaled = y * pivot
            v[C + x] += y * scaled
            v[B + x] += z * scaled
            v[A + x] += z * (z * pivot)
            v[PIVOT + x] = pivot
            v[Y + x] = y
            v[Z + x] = z
            line[FACTOR + x] = factor
            line[R_Y + x] = scaled
        if all_rows:
            for x in range(n):
                line[R_PIVOT + x] = v[PIVOT + x]
                line[R_Z + x] = v[Z + x] * v[PIVOT + x]


@njit(nogil=True, cache=True, error_model="numpy")
def _noise_parts(v, r, n, terms):  # type: ignore[no-untyped-def]
    """Find x = W 1 by back substitution, and the photon and read parts of x' V x."""
    last = terms.shape[1] - 2
    ap, ar = terms[PHOTON_DIAGONAL, last], terms[READ_DIAGONAL, last]
    for x in range(n):
        value = r[last * R_LINE + R_Y + x]
        v[X + x] = value
        v[SP + x] = value * value * ap
        v[SR + x] = value * value * ar
    for j in range(last - 1, -1, -1):
        line, following = r[j * R_LINE : (j + 1) * R_LINE], r[(j + 1) * R_LINE : (j + 2) * R_LINE]
        ap, ar = terms[PHOTON_DIAGONAL, j], terms[READ_DIAGONAL, j]
        bp, br = 2.0 * terms[PHOTON_COUPLING, j + 1], 2.0 * terms[READ_COUPLING, j + 1]
        for x in range(n):
            next_value = v[X + x]
            value = line[R_Y + x] - following[FACTOR + x] * next_value
            v[X + x] = value
            v[SP + x] += value * (value * ap + next_value * bp)
            v[SR + x] += value * (value * ar + next_value * br)


@njit(nogil=True, cache=True, error_model="numpy")
def _start(gain, readnoise, y, x0, n, v):  # type: ignore[no-untyped-def]
    """Set rho = guess / (gain sigma^2) for the first fit, the guess being the median of the differences."""
    for x in range(n):
        guess, noise = v[GUESS + x], np.float64(readnoise[y, x0 + np.uint64(x)])
        v[READ + x] = noise * noise
        v[RATIO + x] = (guess if guess > 0.0 else 0.0) / (gain[y, x0 + np.uint64(x)] * v[READ + x])


@njit(nogil=True, cache=True, error_model="numpy")
def _classify(gain, readnoise, y, x0, n, one, v, outcome):  # type: ignore[no-untyped-def]
    """Decide who may be fitted here, and set rho for the final fit from the first rate."""
    for x in range(n):
        g, noise, used = gain[y, x0 + np.uint64(x)], readnoise[y, x0 + np.uint64(x)], v[USED + x]
        first = v[B + x] / v[C + x]
        chi2 = (v[A + x] - v[B + x] * first) / v[READ + x]
        usual = (g > 0) & (g < np.inf) & (noise > 0) & (noise < np.inf)
        empty = (used == 0.0) | (g != g) | (noise != noise)
        safe = usual & (used >= WELL_POSED) & (chi2 < one)
        outcome[y, x0 + np.uint64(x)] = UNFITTABLE if empty else (FITTED if safe else EXACT)
        v[RATIO + x] = (first if first > 0.0 else 0.0) / (g * v[READ + x])
        v[BLANK + x] = np.nan if empty else 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def _screen(v, r, n, m, one, two):  # type: ignore[no-untyped-def]
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
        line, following = r[j * R_LINE : (j + 1) * R_LINE], r[after * R_LINE : (after + 1) * R_LINE]
        for x in range(n):
            factor, weight = following[FACTOR + x], v[SP + x]
            c = line[R_Y + x] - factor * v[X + x]
            h = line[R_Z + x] - factor * v[H + x]
            inverse = 1.0 / v[C + x]
            u = h - v[B + x] * inverse * c
            diagonal = line[R_PIVOT + x] + factor * factor * weight
            p = diagonal - c * c * inverse
            q = -factor * weight - c * v[X + x] * inverse
            gain = u * u * v[P + x] - 2.0 * u * v[U + x] * q + v[U + x] * v[U + x] * p
            enough_one, enough_two = one * v[READ + x], two * v[READ + x]
            fine = (u * u < enough_one * p) & (gain < enough_two * (p * v[P + x] - q * q))
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
        largest = max(largest, outcome[y, x0 + np.uint64(x)])
    return largest == EXACT


@njit(nogil=True, cache=True, error_model="numpy")
def _absolve(gain, readnoise, y, x0, n, v, outcome):  # type: ignore[no-untyped-def]
    """Keep the lanes here that `_screen` did not mark."""
    for x in range(n):
        g, noise = gain[y, x0 + np.uint64(x)], readnoise[y, x0 + np.uint64(x)]
        usual = (g > 0) & (g < np.inf) & (noise > 0) & (noise < np.inf)
        if usual & (v[USED + x] >= OVERDETERMINED) & (v[SUSPECT + x] == 0.0) & (outcome[y, x0 + np.uint64(x)] == EXACT):
            outcome[y, x0 + np.uint64(x)] = FITTED


@njit(nogil=True, cache=True, error_model="numpy")
def _finish(v, bits, n):  # type: ignore[no-untyped-def]
    """Turn the sums into results, in place; dumo is rounded to odd (see `uniform`)."""
    for x in range(n):
        inverse = 1.0 / v[C + x] + v[BLANK + x]
        best = v[B + x] * inverse
        variance = v[READ + x] * inverse
        v[A + x] = (v[A + x] - v[B + x] * best) / v[READ + x]
        v[B + x] = best
        v[SP + x] *= v[RATIO + x] * inverse * variance
        v[SR + x] *= inverse * variance
        v[C + x] = np.sqrt(variance)
        v[UNIFORM + x] -= np.float32(best)
    for x in range(n):
        slope = bits[UNIFORM + x]
        bits[UNIFORM + x] = (slope & ~CUT) | (LAST if slope & CUT != 0 else 0)


@njit(nogil=True, cache=True, error_model="numpy")
def _store(v, offset, images, k, y, x0, n):  # type: ignore[no-untyped-def]
    for x in range(n):
        images[k, y, x0 + np.uint64(x)] = v[offset + x]


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
    v, s, r = np.empty(VECTORS * LANES), np.empty((m, S_LINE)), np.empty(m * R_LINE)
    bits, guess = v.view(np.int64), v[GUESS : GUESS + LANES]
    for y in range(data.shape[1]):
        for start in range(0, data.shape[2], LANES):
            n = min(LANES, data.shape[2] - start)
            x0 = np.uint64(start)
            _load(data, groupdq, y, x0, n, terms, v, s)
            take_median(s, network, n, guess)
            _start(gain, readnoise, y, x0, n, v)
            _eliminate(v, s, n, terms, r, screen)
            _classify(gain, readnoise, y, x0, n, one, v, outcome)
            if screen and _any_exact(outcome, y, x0, n):
                _screen(v, r, n, m, one, two)
                _absolve(gain, readnoise, y, x0, n, v, outcome)
            _eliminate(v, s, n, terms, r, False)
            _noise_parts(v, r, n, terms)
            _finish(v, bits, n)
            _store(v, B, images, 0, y, x0, n)
            _store(v, C, images, 1, y, x0, n)
            _store(v, SP, images, 2, y, x0, n)
            _store(v, SR, images, 3, y, x0, n)
            _store(v, A, images, 4, y, x0, n)
            _store(v, UNIFORM, images, 5, y, x0, n)
