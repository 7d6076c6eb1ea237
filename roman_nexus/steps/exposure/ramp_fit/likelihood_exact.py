"""The likelihood ramp fit and its jump detection, in the mission's order of operations.

Equations as in Brandt (2024, PASP 136, 045004, sections 3 and 4; and 045005, sections 3.1 and 3.2) and evaluated in
exactly the order of ``stcal`` 1.20 `likely_fit`, in float64, so that ill-posed choices fall the same way. All
symbols are those of the papers: theta, phi are leading and trailing minors of the covariance matrix, Phi, Theta (and
PhiD, ThetaD with the data) their weighted sums; C' = V^-1 1, B' = V^-1 d; Ci and Co the diagonal and first
off-diagonal of V^-1.

Jump detection drops, as long as that gains enough chi-square, the difference or the pair of neighbouring
differences that gains most. A difference that holds a jump is an outlier; a jump within a resultant of several
reads spoils the two differences that share it.

Pixels lie along the last axis ("lanes"): M x N arrays, loops over lanes innermost. The determinant is kept near one
by a fractional power; that one is left to NumPy, whose vector library differs from the C library in the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.steps.exposure.ramp_fit.covariance import (
    PHOTON_COUPLING,
    PHOTON_DIAGONAL,
    READ_COUPLING,
    READ_DIAGONAL,
    RampTimes,
)

__all__ = ["Detection", "ExactFit", "fit_lanes"]

Vector = NDArray[np.float64]

LANES = 64
RESCALE_EVERY = 10  # steps of the determinant recursion between two rescalings
FEWEST = 3  # with no more usable differences the search for jumps ends

# rows of the results of one weighted fit
RATE, CHI2, ERR, VAR_P, VAR_R = range(5)
# rows of the scratch of a tile, each with one line per difference
ALPHA, BETA, DATA, THETA, PHI, LEADING, LEADING_D, TRAILING, TRAILING_D = range(9)
# offsets in a line of `q` (C', B', Ci, Co), of `w` (rate and chi-square without one difference, without a pair), of `v`
CP, BP, CI, CO = (i * LANES for i in range(4))
RATE1, CHI1, RATE_PAIR, CHI_PAIR = (i * LANES for i in range(4))
A, B, C, DET, SCALE, CHI, SUM = (i * LANES for i in range(7))


@dataclass(frozen=True, slots=True)
class Detection:
    """How jumps are searched.

    Attributes
    ----------
    one_threshold, two_threshold : float
        Least gain in chi-square for dropping one difference or two.
    one_allowed : (M,) float64 ndarray
        1 where a single difference may be dropped, else 0.
    two_allowed : (M - 1,) float64 ndarray
        1 where differences j and j + 1 may be dropped together, else 0.
    """

    one_threshold: float
    two_threshold: float
    one_allowed: Vector
    two_allowed: Vector


@dataclass(slots=True)
class ExactFit:
    """Results for N pixels: rate, err (DN/s), var_poisson, var_rnoise (DN2/s2), chisq, each (N,) float64.

    `use` is (M, N), 1 where a difference entered the fit; `dropped` is (M, N) bool, True where a jump was found.
    """

    rate: Vector
    err: Vector
    var_poisson: Vector
    var_rnoise: Vector
    chisq: Vector
    use: Vector
    dropped: NDArray[np.bool_]


def fit_lanes(
    differences: Vector,
    use: Vector,
    gain: Vector,
    noise: Vector,
    guess: Vector,
    times: RampTimes,
    detection: Detection | None,
    veto: NDArray[np.bool_] | None = None,
) -> ExactFit:
    """Fit N ramps, searching for jumps first.

    Parameters
    ----------
    differences : (M, N) float64 ndarray, DN/s
    use : (M, N) float64 ndarray
        1 for usable differences, 0 for others.
    gain, noise : (N,) float64 ndarray, e-/DN and DN
    guess : (N,) float64 ndarray, DN/s
        Rate for the covariance matrix while jumps are searched; not negative.
    times : RampTimes
    detection : Detection or None
        None searches no jumps.
    veto : (M, N) bool ndarray or None
        Differences to leave out of the final fit.

    Returns
    -------
    ExactFit
    """
    terms, read = times.terms, noise * noise
    with np.errstate(all="ignore"):
        final = use.copy()
        if detection is None:
            rate = _weighted_fit(differences, final, guess / gain, read, terms)[RATE]
        else:
            rate = _search(differences, final, guess / gain, read, terms, detection)
        dropped = final != use
        if veto is not None:
            final[veto] = 0.0
        positive = rate * (rate > 0)
        fit = _weighted_fit(differences, final, positive / gain, read, terms)
    return ExactFit(fit[RATE], fit[ERR], fit[VAR_P], fit[VAR_R], fit[CHI2], final, dropped)


def _search(d: Vector, use: Vector, photon: Vector, read: Vector, terms: Vector, detection: Detection) -> Vector:
    """Drop differences from `use` in place; return the rate each pixel had when its search ended."""
    rate = np.full(d.shape[1], np.nan)
    active = np.arange(d.shape[1])
    for step in range(d.shape[0]):
        some_use, some_photon, some_read = use[:, active], photon[active], read[active]
        fitted, without = np.empty(active.size), np.empty(active.size)
        drop = np.empty(active.size, dtype=np.bool_)
        _search_once(
            d[:, active],
            some_use,
            some_photon,
            some_read,
            _scale(some_photon, some_read, terms),
            terms,
            detection.one_threshold,
            detection.two_threshold,
            detection.one_allowed,
            detection.two_allowed,
            fitted,
            without,
            drop,
        )
        rate[active] = np.where(drop, without, fitted if step == 0 else rate[active])
        use[:, active] = some_use
        active = active[drop & (some_use.sum(axis=0) > FEWEST)]
        if not active.size:
            break
    return rate


def _weighted_fit(d: Vector, use: Vector, photon: Vector, read: Vector, terms: Vector) -> Vector:
    """One fit with the given covariance; rows RATE to VAR_R."""
    fit = np.empty((5, d.shape[1]))
    _fit_once(d, use, photon, read, _scale(photon, read, terms), terms, fit)
    return fit


def _scale(photon: Vector, read: Vector, terms: Vector) -> Vector:
    """Find the factor that gives the covariance matrix a determinant of one, without overflow on the way."""
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
    """The scaled covariance matrix and the data, both with the unusable differences taken out."""
    for j in range(d.shape[0]):
        ap, ar = terms[PHOTON_DIAGONAL, j], terms[READ_DIAGONAL, j]
        bp, br = terms[PHOTON_COUPLING, j + 1], terms[READ_COUPLING, j + 1]
        after = min(j + 1, d.shape[0] - 1)
        for x in range(n):
            alpha[j, x] = (photon[x0 + x] * ap + read[x0 + x] * ar) / v[SCALE + x]
        for x in range(n):
            beta[j, x] = (photon[x0 + x] * bp + read[x0 + x] * br) / v[SCALE + x]
        for x in range(n):
            beta[j, x] = beta[j, x] * use[after, x0 + x] * use[j, x0 + x]
            data[j, x] = d[j, x0 + x] * use[j, x0 + x]


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
            q[j, CP + x] *= use[j, x0 + x]
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
        p, r = photon[x0 + x], read[x0 + x]
        diagonal_p, diagonal_r, coupled_p, coupled_r, before = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(q.shape[0]):
            weight = q[j, CP + x] / v[C + x]
            diagonal_p += weight * weight * (p * terms[PHOTON_DIAGONAL, j])
            diagonal_r += weight * weight * (r * terms[READ_DIAGONAL, j])
            if j:
                coupled_p += weight * before * (p * terms[PHOTON_COUPLING, j])
                coupled_r += weight * before * (r * terms[READ_COUPLING, j])
            before = weight
        fit[VAR_P, x0 + x] = diagonal_p + 2.0 * coupled_p
        fit[VAR_R, x0 + x] = diagonal_r + 2.0 * coupled_r


@njit(nogil=True, cache=True, error_model="numpy")
def _inverse_elements(use, x0, n, beta, theta, phi, q, v):  # type: ignore[no-untyped-def]
    """Diagonal Ci and first off-diagonal Co of the inverse of the covariance matrix."""
    for j in range(q.shape[0]):
        for x in range(n):
            q[j, CI + x] = theta[j, x] * phi[j + 1, x] / v[DET + x] * use[j, x0 + x]
    for j in range(q.shape[0] - 1):
        for x in range(n):
            q[j, CO + x] = -beta[j, x] * theta[j, x] * phi[j + 2, x] / v[DET + x]


@njit(nogil=True, cache=True, error_model="numpy")
def _omit_one(q, v, w, n):  # type: ignore[no-untyped-def]
    """Rate and chi-square without the difference j, for all j."""
    for j in range(q.shape[0]):
        for x in range(n):
            cp, bp, ci = q[j, CP + x], q[j, BP + x], q[j, CI + x]
            aa, bb, cc = v[A + x], v[B + x], v[C + x]
            a = (ci * bb - bp * cp) / (cc * ci - cp * cp)
            b = (bp - a * cp) / ci
            chi = aa + a * a * cc - 2.0 * a * bb + b * b * ci - 2.0 * b * bp + 2.0 * a * b * cp
            w[j, RATE1 + x] = a
            w[j, CHI1 + x] = chi / v[SCALE + x]


@njit(nogil=True, cache=True, error_model="numpy")
def _omit_pair(q, v, w, n):  # type: ignore[no-untyped-def]
    """Rate and chi-square without the differences j and j + 1, for all j."""
    for j in range(q.shape[0] - 1):
        for x in range(n):
            cp, bp, ci, co = q[j, CP + x], q[j, BP + x], q[j, CI + x], q[j, CO + x]
            cq, bq, cj = q[j + 1, CP + x], q[j + 1, BP + x], q[j + 1, CI + x]
            aa, bb, cc = v[A + x], v[B + x], v[C + x]
            u = cp * cp - cc * ci
            t = cp * cq - cc * co
            s = bb * cp - bp * cc
            c = (s / u - (bb * cq - bq * cc) / t) / (t / u - (cq * cq - cc * cj) / t)
            b = (s - c * t) / u
            a = (bb - b * cp - c * cq) / cc
            chi = aa + a * a * cc + b * b * ci + c * c * cj
            chi -= 2.0 * a * bb + 2.0 * b * bp + 2.0 * c * bq
            chi += 2.0 * a * b * cp + 2.0 * a * c * cq + 2.0 * b * c * co
            w[j, RATE_PAIR + x] = a
            w[j, CHI_PAIR + x] = chi / v[SCALE + x]


@njit(nogil=True, cache=True, error_model="numpy")
def _replace_masked(use, x, lane, rate, chi, w):  # type: ignore[no-untyped-def]
    """Where a difference was not in the fit, take what the fit without it says instead of 0/0."""
    m = use.shape[0]
    for j in range(m):
        if use[j, x] == 0.0:
            w[j, RATE1 + lane] = rate
            w[j, CHI1 + lane] = chi
    for j in range(m - 1):
        if use[j + 1, x] == 0.0:
            w[j, RATE_PAIR + lane] = w[j, RATE1 + lane]
            w[j, CHI_PAIR + lane] = w[j, CHI1 + lane]
        if use[j, x] == 0.0:
            w[j, RATE_PAIR + lane] = w[j + 1, RATE1 + lane]
            w[j, CHI_PAIR + lane] = w[j + 1, CHI1 + lane]


@njit(nogil=True, cache=True, error_model="numpy")
def _choose(use, x, lane, chi, w, one_threshold, two_threshold, one_allowed, two_allowed):  # type: ignore[no-untyped-def]
    """Drop from ``use[:, x]`` what gains most; return whether anything was dropped and the rate without it.

    Comparisons and products are those of stcal, NaN included: a NaN gain anywhere forbids any drop, ties drop together.
    """
    m = use.shape[0]
    best_one = (chi - w[0, CHI1 + lane]) * one_allowed[0]
    for j in range(1, m):
        gain = (chi - w[j, CHI1 + lane]) * one_allowed[j]
        if gain > best_one or gain != gain:
            best_one = gain
    best_two = (chi - w[0, CHI_PAIR + lane]) * two_allowed[0]
    for j in range(1, m - 1):
        gain = (chi - w[j, CHI_PAIR + lane]) * two_allowed[j]
        if gain > best_two or gain != gain:
            best_two = gain
    one = best_one - one_threshold > best_two - two_threshold
    best = best_one * (best_one > one_threshold) * one + best_two * (best_two > two_threshold) * (not one)
    if best == 0.0 or best != best:
        return False, 0.0
    found, rate = False, 0.0
    for j in range(m if one else m - 1):
        hit = chi - w[j, (CHI1 if one else CHI_PAIR) + lane] == best
        rate += w[j, (RATE1 if one else RATE_PAIR) + lane] * hit
        if hit:
            found = True
            use[j, x] = 0.0
            if not one:
                use[j + 1, x] = 0.0
    return found, rate


@njit(nogil=True, cache=True, error_model="numpy")
def _solve(d, use, photon, read, scale, x0, n, terms, tile, q, v):  # type: ignore[no-untyped-def]
    """C', B' in `q` and A, B, C, chi-square in `v` for one tile of lanes."""
    alpha, beta, data, theta, phi = tile[ALPHA], tile[BETA], tile[DATA], tile[THETA], tile[PHI]
    leading, leading_d = tile[LEADING], tile[LEADING_D]
    trailing, trailing_d = tile[TRAILING], tile[TRAILING_D]
    for x in range(n):
        v[SCALE + x] = scale[x0 + x]
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
    for x0 in range(0, total, LANES):
        n = min(LANES, total - x0)
        _solve(d, use, photon, read, scale, x0, n, terms, tile, q, v)
        for x in range(n):
            fit[RATE, x0 + x] = v[B + x] * (1.0 / v[C + x])
            fit[CHI2, x0 + x] = v[CHI + x]
            fit[ERR, x0 + x] = np.sqrt(v[SCALE + x] / v[C + x])
        _variances(photon, read, x0, n, terms, q, v, fit)


@njit(nogil=True, cache=True, error_model="numpy")
def _search_once(  # type: ignore[no-untyped-def]
    d, use, photon, read, scale, terms, one_threshold, two_threshold, one_allowed, two_allowed, rate, without, drop
):
    """Fit every lane and drop from `use` what gains most; `without` is the rate then, where `drop` is True."""
    m, total = d.shape
    tile, v = np.zeros((9, m + 1, LANES)), np.empty(7 * LANES)
    q, w = np.empty((m, 4 * LANES)), np.empty((m, 4 * LANES))
    for x0 in range(0, total, LANES):
        n = min(LANES, total - x0)
        _solve(d, use, photon, read, scale, x0, n, terms, tile, q, v)
        _inverse_elements(use, x0, n, tile[BETA], tile[THETA], tile[PHI], q, v)
        _omit_one(q, v, w, n)
        _omit_pair(q, v, w, n)
        for x in range(n):
            chi = v[CHI + x]
            rate[x0 + x] = v[B + x] * (1.0 / v[C + x])
            _replace_masked(use, x0 + x, x, rate[x0 + x], chi, w)
            drop[x0 + x], without[x0 + x] = _choose(
                use, x0 + x, x, chi, w, one_threshold, two_threshold, one_allowed, two_allowed
            )
