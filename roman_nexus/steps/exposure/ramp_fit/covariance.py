"""Times of the resultants, and the covariance matrix of their differences.

A resultant is the mean of some non-destructive reads. With d_j = (R_{j+1} - R_j) / (tbar_{j+1} - tbar_j), the
covariance matrix of the differences of a ramp with count rate c (DN/s), gain g (e-/DN) and read noise sigma (DN
per read) is tridiagonal:

    alpha_j = c/g aP_j + sigma^2 aR_j        (diagonal)
    beta_j  = c/g bP_j + sigma^2 bR_j        (elements j, j+1)

with coefficients that depend on the read pattern only (Brandt 2024, PASP 136, 045004, equations 4, 11, 28, 29).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import InputError

__all__ = ["RampTimes", "ReadPattern", "ramp_times"]

ReadPattern = tuple[tuple[int, ...], ...]

# rows of `RampTimes.terms`
INTERVAL, PHOTON_DIAGONAL, READ_DIAGONAL, PHOTON_COUPLING, READ_COUPLING, WEIGHT = range(6)

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RampTimes:
    """What a read pattern says about a ramp of F resultants and M = F - 1 differences.

    Attributes
    ----------
    n_reads : (F,) int64 ndarray
        Reads averaged into each resultant.
    mean_time : (F,) ndarray, s
        Mean time of the reads, tbar.
    noise_time : (F,) ndarray, s
        Variance-weighted time, tau.
    interval : (M,) ndarray, s
        Differences of `mean_time`.
    photon_diagonal, read_diagonal : (M,) ndarray
        aP (1/s) and aR (1/s2).
    photon_coupling, read_coupling : (M - 1,) ndarray
        bP (1/s) and bR (1/s2).
    uniform_weights : (F,) ndarray, 1/s
        Weights of the resultants in the slope in which every read counts the same.
    terms : (6, F) ndarray
        The same as one array, which is what compiled code is quick to pass on. Rows: ``1 / interval``, aP, aR, bP and
        bR (element j couples the differences j - 1 and j), uniform weights. Unused elements are 0.
    """

    n_reads: NDArray[np.int64]
    mean_time: Vector
    noise_time: Vector
    interval: Vector
    photon_diagonal: Vector
    read_diagonal: Vector
    photon_coupling: Vector
    read_coupling: Vector
    uniform_weights: Vector
    terms: Vector


@lru_cache(maxsize=16)
def ramp_times(read_pattern: ReadPattern, frame_time: float) -> RampTimes:
    """Derive the times and covariance coefficients of a read pattern.

    Parameters
    ----------
    read_pattern : tuple of tuple of int
        Read numbers (from 1) that were averaged into each resultant.
    frame_time : float
        Seconds per read.

    Returns
    -------
    RampTimes
        Do not write to its arrays: the result is shared.

    Raises
    ------
    InputError
        If a resultant is empty, its reads do not ascend, two resultants do not ascend in mean time, there are
        fewer than two of them, or `frame_time` is not positive.

    Examples
    --------
    >>> from roman_nexus.steps.exposure.ramp_fit.covariance import ramp_times
    >>> times = ramp_times(((1,), (2, 3), (4, 5, 6, 7)), 3.0)
    >>> times.mean_time.tolist(), times.noise_time.tolist()
    ([3.0, 7.5, 16.5], [3.0, 6.75, 14.625])
    """
    _check(read_pattern, frame_time)
    reads = [np.array(resultant) * frame_time for resultant in read_pattern]
    n = np.array([len(times) for times in reads])
    mean = np.array([np.mean(times) for times in reads])
    tau = np.array([_noise_time(times) for times in reads])
    dt = np.diff(mean)
    terms = np.zeros((6, n.size))
    terms[INTERVAL, :-1] = 1 / dt
    terms[PHOTON_DIAGONAL, :-1] = (tau[:-1] + tau[1:] - 2 * mean[:-1]) / dt**2
    terms[READ_DIAGONAL, :-1] = (1 / n[:-1] + 1 / n[1:]) / dt**2
    terms[PHOTON_COUPLING, 1:-1] = (mean[1:-1] - tau[1:-1]) / (dt[1:] * dt[:-1])
    terms[READ_COUPLING, 1:-1] = -1 / (n[1:-1] * dt[1:] * dt[:-1])
    terms[WEIGHT] = _uniform_weights(n, mean)
    return RampTimes(
        n_reads=n,
        mean_time=mean,
        noise_time=tau,
        interval=dt,
        photon_diagonal=terms[PHOTON_DIAGONAL, :-1],
        read_diagonal=terms[READ_DIAGONAL, :-1],
        photon_coupling=terms[PHOTON_COUPLING, 1:-1],
        read_coupling=terms[READ_COUPLING, 1:-1],
        uniform_weights=terms[WEIGHT],
        terms=terms,
    )


def _noise_time(times: Vector) -> float:
    """Mean time of the reads, weighted by how often their photons are counted (tau)."""
    n = len(times)
    weight = 2 * n + 1 - 2 * np.arange(1, n + 1)
    return float(np.sum(weight * times) / n**2)


def _uniform_weights(n: NDArray[np.int64], t: Vector) -> Vector:
    """Weights of a least-squares slope in which a resultant counts as often as it has reads."""
    total, first, second = np.sum(n), np.sum(n * t), np.sum(n * t**2)
    weights: Vector = (total * n * t - first * n) / (total * second - first**2)
    return weights


def _check(read_pattern: ReadPattern, frame_time: float) -> None:
    if not (math.isfinite(frame_time) and frame_time > 0):
        msg = f"frame_time is {frame_time!r} s; a ramp can be fitted only with a positive time per read"
        raise InputError(msg)
    if len(read_pattern) < 2:
        msg = f"the read pattern has {len(read_pattern)} resultant(s); a slope needs at least 2"
        raise InputError(msg)
    previous = -math.inf
    for index, reads in enumerate(read_pattern):
        if not reads or any(late <= early for early, late in pairwise(reads)):
            msg = f"resultant {index} of the read pattern is {list(reads)}; expected one or more reads, ascending"
            raise InputError(msg)
        mean = sum(reads) / len(reads)
        if mean <= previous:
            msg = (
                f"resultant {index} of the read pattern has mean read {mean:g}, not after that of the resultant "
                f"before it ({previous:g}); resultants must ascend in time"
            )
            raise InputError(msg)
        previous = mean
