"""The likelihood ramp fit with its search for jumps, in the mission's order of operations.

Jumps are searched by dropping, as long as that gains enough chi-square, the difference or the pair of neighbouring
differences that gains most (Brandt 2024, PASP 136, 045005, sections 3.1 and 3.2). A difference that holds a jump is an
outlier; a jump within a resultant of several reads spoils the two differences that share it. What a drop would
gain follows from elements of the inverse covariance matrix, without fitting again:

    a = rate without difference j = (Ci B - B' C') / (C Ci - C'^2),   b = size of the jump = (B' - a C') / Ci
    chi^2 = A + a^2 C - 2 a B + b^2 Ci - 2 b B' + 2 a b C'

with Ci, Co the diagonal and first off-diagonal of V^-1, other symbols as in `weighted_fit`; for pairs likewise. With
two or three differences left this is ill-posed, and rounding decides: hence the order of operations of ``stcal`` 1.20.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.steps.exposure.ramp_fit.covariance import RampTimes
from roman_nexus.steps.exposure.ramp_fit.weighted_fit import (
    BETA,
    BP,
    CHI,
    CHI2,
    CI,
    CO,
    CP,
    DET,
    ERR,
    LANES,
    PHI,
    RATE,
    SCALE,
    THETA,
    VAR_P,
    VAR_R,
    A,
    B,
    C,
    fit_weighted,
    scale_of,
    solve_tile,
)

__all__ = ["Detection", "ExactFit", "fit_lanes"]

Vector = NDArray[np.float64]

FEWEST = 3  # with no more usable differences the search for jumps ends

# offsets in a line of `w`: rate and chi-square without one difference, without a pair
RATE1, CHI1, RATE_PAIR, CHI_PAIR = (i * LANES for i in range(4))


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
            rate = fit_weighted(differences, final, guess / gain, read, terms)[RATE]
        else:
            rate = _search(differences, final, guess / gain, read, terms, detection)
        dropped = final != use
        if veto is not None:
            final[veto] = 0.0
        positive = rate * (rate > 0)
        fit = fit_weighted(differences, final, positive / gain, read, terms)
    return ExactFit(fit[RATE], fit[ERR], fit[VAR_P], fit[VAR_R], fit[CHI2], final, dropped)


def _search(d: Vector, use: Vector, photon: Vector, read: Vector, terms: Vector, detection: Detection) -> Vector:
    """Drop differences from `use` in place; return the rate each pixel had when its search ended."""
    rate = np.full(d.shape[1], np.nan)
    active = np.arange(d.shape[1])
    for step in range(d.shape[0]):
        some_use, some_photon, some_read = use.take(active, axis=1), photon[active], read[active]
        fitted, without = np.empty(active.size), np.empty(active.size)
        drop = np.empty(active.size, dtype=np.bool_)
        _search_once(
            d.take(active, axis=1),
            some_use,
            some_photon,
            some_read,
            scale_of(some_photon, some_read, terms),
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


@njit(nogil=True, cache=True, error_model="numpy")
def _inverse_elements(use, x0, n, beta, theta, phi, q, v):  # type: ignore[no-untyped-def]
    """Diagonal Ci and first off-diagonal Co of the inverse of the covariance matrix."""
    for j in range(q.shape[0]):
        for x in range(n):
            q[j, CI + x] = theta[j, x] * phi[j + 1, x] / v[DET + x] * use[j, x0 + np.uint64(x)]
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
def _search_once(  # type: ignore[no-untyped-def]
    d, use, photon, read, scale, terms, one_threshold, two_threshold, one_allowed, two_allowed, rate, without, drop
):
    """Fit every lane and drop from `use` what gains most; `without` is the rate then, where `drop` is True."""
    m, total = d.shape
    tile, v = np.zeros((9, m + 1, LANES)), np.empty(7 * LANES)
    q, w = np.empty((m, 4 * LANES)), np.empty((m, 4 * LANES))
    for start in range(0, total, LANES):
        n, x0 = min(LANES, total - start), np.uint64(start)
        solve_tile(d, use, photon, read, scale, x0, n, terms, tile, q, v)
        _inverse_elements(use, x0, n, tile[BETA], tile[THETA], tile[PHI], q, v)
        _omit_one(q, v, w, n)
        _omit_pair(q, v, w, n)
        for x in range(n):
            chi = v[CHI + x]
            rate[x0 + np.uint64(x)] = v[B + x] * (1.0 / v[C + x])
            _replace_masked(use, x0 + np.uint64(x), x, rate[x0 + np.uint64(x)], chi, w)
            drop[x0 + np.uint64(x)], without[x0 + np.uint64(x)] = _choose(
                use, x0 + np.uint64(x), x, chi, w, one_threshold, two_threshold, one_allowed, two_allowed
            )
