"""One weighted fit of many ramps, in the mission's order of operations.

Equations as in Brandt (2024, PASP 136, 045004, sections 3 and 4, and 045005, section 3), evaluated in exactly the
order of ``stcal`` 1.20 `likely_fit`, in float64, so that results agree to the last bit and ill-posed choices built
on them fall the same way. Symbols are those of the papers: theta and phi are leading and trailing minors of the
covariance matrix V, Theta and Phi (ThetaD and PhiD with the data) their weighted sums; C' = V^-1 1 and B' = V^-1 d;
A, B, C as in `likelihood_fast`.

Pixels lie along the last axis ("lanes"): M x N arrays, handled in tiles of `LANES`, loops over lanes innermost. The
determinant is kept near one by a fractional power; that one is left to NumPy, whose vector library differs from the
C library in the last bit.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.steps.exposure.ramp_fit.covariance import (
    PHOTON_COUPLING,
    PHOTON_DIAGONAL,
    READ_COUPLING,
    READ_DIAGONAL,
)

__all__ = ["fit_weighted", "scale_of", "solve_tile"]

Vector = NDArray[np.float64]

LANES = 64
RESCALE_EVERY = 10  # steps of the determinant recursion between two rescalings

# rows of the results of one weighted fit
RATE, CHI2, ERR, VAR_P, VAR_R = range(5)
# rows of the scratch of a tile, each with one line per difference
ALPHA, BETA, DATA, THETA, PHI, LEADING, LEADING_D, TRAILING, TRAILING_D = range(9)
# offsets in a line of `q` (C', B', and diagonal and first off-diagonal of V^-1) and in `v`
CP, BP, CI, CO = (i * LANES for i in range(4))
A, B, C, DET, SCALE, CHI, SUM = (i * LANES for i in range(7))


def fit_weighted(d: Vector, use: Vector, photon: Vector, read: Vector, terms: Vector) -> Vector:
    """Fit N ramps with a given covariance.

    Parameters
    ----------
    d : (M, N) float64 ndarray, DN/s
        Differences of neighbouring resultants per second.
    use : (M, N) float64 ndarray
        1 for usable differences, 0 for others.
    photon, read : (N,) float64 ndarray
        Rate guess / gain, the factor of aP and bP, and squared read noise (DN2).
    terms : (6, F) float64 ndarray
        `RampTimes.terms`.

    Returns
    -------
    (5, N) float64 ndarray
        Rows RATE (DN/s), CHI2, ERR (DN/s), VAR_P, VAR_R (DN2/s2).
    """
    fit = np.empty((5, d.shape[1]))
    _fit_once(d, use, photon, read, scale_of(photon, read, terms), terms, fit)
    return fit


def scale_of(photon: Vector, read: Vector, terms: Vector) -> Vector:
    """Find, per lane, the divisor that gives V a determinant of one, without overflow on the way."""
    size = terms.shape[1] - 1
    scale, before = np.ones_like(photon), np.ones_like(photon)
    determinant = photon * terms[PHOTON_DIAGONAL, 0] + read * terms[READ_DIAGONAL, 0]
    start = 2
    for stop in [*range(RESCALE_EVERY, size, RESCALE_EVERY), size]:
        _advance_determinant(before, determinant, scale, photon, read, terms, start, stop)
        factor = determinant ** (1 / stop)
        scale *= factor
        before /= determinant / factor
        determinant = np.ones_like(photon)
        start = stop + 1
    return scale


@njit(nogil=True, cache=True, error_model="numpy")
def _advance_determinant(before, determinant, scale, photon, read, terms, start, stop):  # type: ignore[no-untyped-def]
    """Carry the last two minors from order start - 1 to order stop."""
    for i in range(start, stop + 1):
        ap, ar = terms[PHOTON_DIAGONAL, i - 1], terms[READ_DIAGONAL, i - 1]
        bp, br = terms[PHOTON_COUPLING, i - 1], terms[READ_COUPLING, i - 1]
        for x in range(scale.size):
            s = scale[x]
            alpha = photon[x] * ap + read[x] * ar
            beta = photon[x] * bp + read[x] * br
            minor = alpha / s * determinant[x] - beta * beta / (s * s) * before[x]
            before[x] = determinant[x]
            determinant[x] = minor


@njit(nogil=True, cache=True, error_model="numpy")
def _build(d, use, photon, read, x0, n, terms, alpha, beta, data, v):  # type: ignore[no-untyped-def]
    """Fill in the scaled covariance matrix and the data, the unusable differences taken out of both."""
    for j in range(d.shape[0]):
        ap, ar = terms[PHOTON_DIAGONAL, j], terms[READ_DIAGONAL, j]
        bp, br = terms[PHOTON_COUPLING, j + 1], terms[READ_COUPLING, j + 1]
        after = min(j + 1, d.shape[0] - 1)
        for x in range(n):
            alpha[j, x] = (photon[x0 + np.uint64(x)] * ap + read[x0 + np.uint64(x)] * ar) / v[SCALE + x]
        for x in range(n):
            beta[j, x] = (photon[x0 + np.uint64(x)] * bp + read[x0 + np.uint64(x)] * br) / v[SCALE + x]
        for x in range(n):
            beta[j, x] = beta[j, x] * use[after, x0 + np.uint64(x)] * use[j, x0 + np.uint64(x)]
            data[j, x] = d[j, x0 + np.uint64(x)] * use[j, x0 + np.uint64(x)]


@njit(nogil=True, cache=True, error_model="numpy")
def _minors(alpha, beta, theta, phi, n):  # type: ignore[no-untyped-def]
    """Leading minors theta and trailing minors phi."""
    m = alpha.shape[0] - 1
    for x in range(n):
        theta[0, x] = 1.0
        theta[1, x] = alpha[0, x]
        phi[m, x] = 1.0
        phi[m - 1, x] = alpha[m - 1, x]
    for i in range(2, m + 1):
        for x in range(n):
            theta[i, x] = alpha[i - 1, x] * theta[i - 1, x] - beta[i - 2, x] * beta[i - 2, x] * theta[i - 2, x]
    for i in range(m - 2, -1, -1):
        for x in range(n):
            phi[i, x] = alpha[i, x] * phi[i + 1, x] - beta[i, x] * beta[i, x] * phi[i + 2, x]


@njit(nogil=True, cache=True, error_model="numpy")
def _trailing_sums(beta, phi, data, big_phi, big_phi_d, n):  # type: ignore[no-untyped-def]
    """Phi and PhiD."""
    m = data.shape[0] - 1
    for x in range(n):
        big_phi[m - 1, x] = 0.0
        big_phi_d[m - 1, x] = 0.0
    for i in range(m - 2, -1, -1):
        sign = 1.0 if (i + 1) % 2 else -1.0
        for x in range(n):
            big_phi[i, x] = big_phi[i + 1, x] * beta[i, x] + sign * beta[i, x] * phi[i + 2, x]
        for x in range(n):
            big_phi_d[i, x] = (big_phi_d[i + 1, x] + sign * data[i + 1, x] * phi[i + 2, x]) * beta[i, x]


@njit(nogil=True, cache=True, error_model="numpy")
def _leading_sums(beta, theta, data, big_theta, big_theta_d, n):  # type: ignore[no-untyped-def]
    """Theta and ThetaD."""
    m = data.shape[0] - 1
    for x in range(n):
        big_theta[0, x] = -theta[0, x]
        big_theta_d[0, x] = 0.0
    for x in range(n):
        big_theta_d[1, x] = -data[0, x] * theta[0, x]
    for i in range(1, m):
        sign = 1.0 if i % 2 else -1.0
        for x in range(n):
            big_theta[i, x] = big_theta[i - 1, x] * beta[i - 1, x] + sign * theta[i, x]
        for x in range(n):
            big_theta_d[i + 1, x] = beta[i - 1, x] * big_theta_d[i, x] + sign * data[i, x] * theta[i, x]


@njit(nogil=True, cache=True, error_model="numpy")
def _moments(data, use, x0, n, beta, theta, phi, leading, leading_d, trailing, trailing_d, q, v):  # type: ignore[no-untyped-def]
    """C', B' and the sums A, B, C."""
    m = data.shape[0] - 1
    for x in range(n):
        v[DET + x] = theta[m, x]
        v[A + x] = 0.0
        v[SUM + x] = 0.0
        v[B + x] = 0.0
        v[C + x] = 0.0
    for j in range(m):
        sign = 1.0 if j % 2 else -1.0
        for x in range(n):
            inner = phi[j + 1, x] * leading[j, x] + theta[j, x] * trailing[j, x]
            q[j, CP + x] = sign / v[DET + x] * inner
        for x in range(n):
            inner = phi[j + 1, x] * leading_d[j + 1, x] + theta[j, x] * trailing_d[j, x]
            q[j, BP + x] = sign / v[DET + x] * inner
        for x in range(n):
            q[j, CP + x] *= use[j, x0 + np.uint64(x)]
            v[B + x] += data[j, x] * q[j, CP + x]
            v[C + x] += q[j, CP + x]
        for x in range(n):
            coupling = beta[max(j - 1, 0), x] if j else 1.0
            v[A + x] += data[j, x] * sign / v[DET + x] * coupling * phi[j + 1, x] * leading_d[j, x]
        for x in range(n):
            v[SUM + x] += data[j, x] * data[j, x] * theta[j, x] * phi[j + 1, x] / v[DET + x]
    for x in range(n):
        v[A + x] = 2.0 * v[A + x] + v[SUM + x]
        v[CHI + x] = (v[A + x] - v[B + x] * v[B + x] / v[C + x]) / v[SCALE + x]


@njit(nogil=True, cache=True, error_model="numpy")
def _variances(photon, read, x0, n, terms, q, v, fit):  # type: ignore[no-untyped-def]
    """Photon and read-noise variance of the rate, from the weights C'/C and the unscaled, unmasked covariance."""
    for x in range(n):
        p, r = photon[x0 + np.uint64(x)], read[x0 + np.uint64(x)]
        diagonal_p, diagonal_r, coupled_p, coupled_r, before = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(q.shape[0]):
            weight = q[j, CP + x] / v[C + x]
            diagonal_p += weight * weight * (p * terms[PHOTON_DIAGONAL, j])
            diagonal_r += weight * weight * (r * terms[READ_DIAGONAL, j])
            if j:
                coupled_p += weight * before * (p * terms[PHOTON_COUPLING, j])
                coupled_r += weight * before * (r * terms[READ_COUPLING, j])
            before = weight
        fit[VAR_P, x0 + np.uint64(x)] = diagonal_p + 2.0 * coupled_p
        fit[VAR_R, x0 + np.uint64(x)] = diagonal_r + 2.0 * coupled_r


@njit(nogil=True, cache=True, error_model="numpy")
def solve_tile(d, use, photon, read, scale, x0, n, terms, tile, q, v):  # type: ignore[no-untyped-def]
    """Put C', B' into `q` and A, B, C, chi-square into `v`, for the lanes x0 to x0 + n."""
    alpha, beta, data, theta, phi = tile[ALPHA], tile[BETA], tile[DATA], tile[THETA], tile[PHI]
    leading, leading_d = tile[LEADING], tile[LEADING_D]
    trailing, trailing_d = tile[TRAILING], tile[TRAILING_D]
    for x in range(n):
        v[SCALE + x] = scale[x0 + np.uint64(x)]
    _build(d, use, photon, read, x0, n, terms, alpha, beta, data, v)
    _minors(alpha, beta, theta, phi, n)
    _trailing_sums(beta, phi, data, trailing, trailing_d, n)
    _leading_sums(beta, theta, data, leading, leading_d, n)
    _moments(data, use, x0, n, beta, theta, phi, leading, leading_d, trailing, trailing_d, q, v)


@njit(nogil=True, cache=True, error_model="numpy")
def _fit_once(d, use, photon, read, scale, terms, fit):  # type: ignore[no-untyped-def]
    """One weighted fit of every lane."""
    m, total = d.shape
    tile, q, v = np.zeros((9, m + 1, LANES)), np.empty((m, 4 * LANES)), np.empty(7 * LANES)
    for start in range(0, total, LANES):
        n, x0 = min(LANES, total - start), np.uint64(start)
        solve_tile(d, use, photon, read, scale, x0, n, terms, tile, q, v)
        for x in range(n):
            fit[RATE, x0 + np.uint64(x)] = v[B + x] * (1.0 / v[C + x])
            fit[CHI2, x0 + np.uint64(x)] = v[CHI + x]
            fit[ERR, x0 + np.uint64(x)] = np.sqrt(v[SCALE + x] / v[C + x])
        _variances(photon, read, x0, n, terms, q, v, fit)
