"""The likelihood ramp fit of a block: fast where that is safe, exact where it matters.

`likelihood_fast` fits all pixels; those it declines go through `likelihood_exact`, which also searches for jumps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roman_nexus.steps.exposure.ramp_fit.covariance import RampTimes
from roman_nexus.steps.exposure.ramp_fit.flags import (
    DO_NOT_USE,
    JUMP_DET,
    NO_GAIN_VALUE,
    collapse_flags,
    jumps_in,
    sort_jumps,
)
from roman_nexus.steps.exposure.ramp_fit.likelihood_exact import Detection, fit_lanes
from roman_nexus.steps.exposure.ramp_fit.likelihood_fast import EXACT, UNFITTABLE, fit_block
from roman_nexus.steps.exposure.ramp_fit.median import median_network, take_median
from roman_nexus.steps.exposure.ramp_fit.options import MISSION_THRESHOLD, RampFitOptions
from roman_nexus.steps.exposure.ramp_fit.uniform import uniform_minus_rate
from roman_nexus.steps.step import FitBlock, RampBlock

__all__ = ["fit_likelihood", "make_detection"]

Image = NDArray[np.float32]

CHUNK = 1 << 14  # pixels that the exact path takes at a time
BELOW = 1 - 1e-6  # keeps the rounding of chi-square off the threshold
SQRT2 = np.sqrt(2.0)


def make_detection(options: RampFitOptions, times: RampTimes) -> Detection | None:
    """Set up the search for jumps.

    A single difference is dropped for a gain in chi-square of t^2, t being the threshold in sigma; a pair for the
    gain that is as improbable with two degrees of freedom.

    Parameters
    ----------
    options : RampFitOptions
    times : RampTimes

    Returns
    -------
    Detection or None
        None when the options switch the search off.

    Examples
    --------
    >>> from roman_nexus.steps.exposure.ramp_fit.covariance import ramp_times
    >>> from roman_nexus.steps.exposure.ramp_fit.likelihood import make_detection
    >>> from roman_nexus.steps.exposure.ramp_fit.options import RampFitOptions
    >>> detection = make_detection(RampFitOptions(), ramp_times(((1,), (2, 3), (4, 5), (6,)), 3.0))
    >>> detection.one_threshold, round(detection.two_threshold, 6), detection.two_allowed.tolist()
    (20.25, 23.798545, [1.0, 1.0])
    """
    from scipy.special import chdtri, erfc

    if not options.jump_detection:
        return None
    threshold = MISSION_THRESHOLD if options.rejection_threshold is None else float(options.rejection_threshold)
    one, two = threshold**2, float(chdtri(2, erfc(threshold / SQRT2)))
    n = times.n_reads
    one_allowed = np.ones(n.size - 1)
    if options.one_omission_rule == "reads":
        one_allowed = (n[1:] * n[:-1] == 1).astype(np.float64)
        one_allowed[[0, -1]] = 1.0
    return Detection(one, two if np.isfinite(two) else one + 10, one_allowed, (n[1:-1] > 1).astype(np.float64))


def fit_likelihood(
    block: RampBlock,
    gain: Image,
    readnoise: Image,
    times: RampTimes,
    options: RampFitOptions,
    expanded: NDArray[np.uint8] | None = None,
) -> FitBlock:
    """Fit every pixel of a block.

    Parameters
    ----------
    block : RampBlock
        Arrays C-contiguous; not changed.
    gain, readnoise : (ny, nx) float32 ndarray, e-/DN and DN
    times : RampTimes
    options : RampFitOptions
    expanded : (F, ny, nx) uint8 ndarray or None
        Flags of the resultants after jumps were found and large events grown.

    Returns
    -------
    FitBlock
    """
    inputs = _Inputs(block, gain, readnoise, times, options, make_detection(options, times), expanded)
    fit, outcome = _fit_fast(inputs)
    pixels = np.flatnonzero(outcome == EXACT)
    dropped = np.zeros((times.interval.size, pixels.size), dtype=np.bool_)
    for start in range(0, pixels.size, CHUNK):
        part = slice(start, start + CHUNK)
        dropped[:, part] = _refit(inputs, pixels[part], fit)
    _set_flags(inputs, fit, dropped, pixels)
    if options.flag_unfitted:
        fit.dq[~np.isfinite(fit.rate)] |= DO_NOT_USE
        fit.dq[~(np.isfinite(gain) & (gain > 0))] |= NO_GAIN_VALUE
    return fit


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Arguments of `fit_likelihood`, and how it searches jumps."""

    block: RampBlock
    gain: Image
    readnoise: Image
    times: RampTimes
    options: RampFitOptions
    detection: Detection | None
    expanded: NDArray[np.uint8] | None


def _fit_fast(inputs: _Inputs) -> tuple[FitBlock, NDArray[np.uint8]]:
    """Fit what can be fitted fast; the outcome is EXACT where that cannot be trusted."""
    block, shape = inputs.block, inputs.gain.shape
    images, outcome = np.empty((6, *shape), dtype=np.float32), np.empty(shape, dtype=np.uint8)
    network = median_network(inputs.times.interval.size)
    one = two = np.inf
    if inputs.detection is not None:
        one, two = inputs.detection.one_threshold * BELOW, inputs.detection.two_threshold * BELOW
    gain, readnoise, terms = inputs.gain, inputs.readnoise, inputs.times.terms
    fit_block(block.data, block.groupdq, gain, readnoise, terms, network, one, two, images, outcome)
    # the fast path knows neither the other first guess nor grown flags
    if inputs.options.first_guess == "usable":
        outcome[(block.groupdq != 0).any(axis=0) & (outcome != UNFITTABLE)] = EXACT
    if inputs.expanded is not None:
        outcome[((inputs.expanded[1:] & JUMP_DET) != 0).any(axis=0) & (outcome != UNFITTABLE)] = EXACT
    rate, err, var_poisson, var_rnoise, chisq, dumo = images
    return FitBlock(rate, err, var_poisson, var_rnoise, chisq, dumo, np.empty_like(block.pixeldq)), outcome


def _refit(inputs: _Inputs, pixels: NDArray[np.int64], fit: FitBlock) -> NDArray[np.bool_]:
    """Put the exact results of some pixels (flat indices) into `fit`; return the differences dropped."""
    m = inputs.times.interval.size
    # np.take, not indexing, which would put pixels first in memory
    data = inputs.block.data.reshape(m + 1, -1).take(pixels, axis=1)
    flagged = inputs.block.groupdq.reshape(m + 1, -1).take(pixels, axis=1) != 0
    usable = ~(flagged[1:] | flagged[:-1])
    veto = None
    if inputs.expanded is not None:
        veto = (inputs.expanded[1:].reshape(m, -1).take(pixels, axis=1) & JUMP_DET) != 0
    with np.errstate(all="ignore"):
        differences = (data[1:] - data[:-1]) / inputs.times.interval[:, None]
        exact = fit_lanes(
            differences,
            usable.astype(np.float64),
            inputs.gain.ravel()[pixels].astype(np.float64),
            # the mission multiplies and divides by sqrt(2), which can move the last bit
            inputs.readnoise.ravel()[pixels] * SQRT2 / SQRT2,
            _first_guess(differences, usable if inputs.options.first_guess == "usable" else None),
            inputs.times,
            inputs.detection,
            veto,
        )
        for name in ("rate", "err", "var_poisson", "var_rnoise", "chisq"):
            getattr(fit, name).reshape(-1)[pixels] = getattr(exact, name)
        weights = inputs.times.uniform_weights
        fit.dumo.reshape(-1)[pixels] = uniform_minus_rate(data, weights, exact.rate.astype(np.float32))
    return exact.dropped


def _first_guess(differences: NDArray[np.float64], usable: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Median of the differences of each pixel, not negative; NaN where a difference is NaN."""
    if usable is not None:
        values = np.sort(np.where(usable, differences, np.inf), axis=0)
        count = usable.sum(axis=0)
        lanes = np.arange(count.size)
        middle = 0.5 * (values[np.maximum(count - 1, 0) // 2, lanes] + values[np.maximum(count, 1) // 2, lanes])
        guess = np.where(count > 0, middle, np.nan)
    else:
        guess = np.empty(differences.shape[1])
        take_median(differences.copy(), median_network(len(differences)), guess.size, guess)
    guess[np.isnan(differences).any(axis=0)] = np.nan
    with np.errstate(invalid="ignore"):
        return np.asarray(guess * (guess > 0))


def _set_flags(inputs: _Inputs, fit: FitBlock, dropped: NDArray[np.bool_], pixels: NDArray[np.int64]) -> None:
    """Derive `dq` and `jumps` of the fit; a jump in difference j is flagged in resultant j + 1."""
    block, expanded = inputs.block, inputs.expanded
    difference, lane = np.nonzero(dropped)
    y, x = np.divmod(pixels[lane], block.pixeldq.shape[1])
    if expanded is None:
        collapse_flags(block.groupdq, block.pixeldq, fit.dq)
        known = bool((fit.dq & JUMP_DET).any())
        fit.dq[y, x] |= JUMP_DET
    else:
        collapse_flags(expanded, block.pixeldq, fit.dq)
        # growing a core may have wiped DO_NOT_USE, which still counts
        kept = np.empty_like(fit.dq)
        collapse_flags(block.groupdq | expanded, block.pixeldq, kept)
        fit.dq |= kept & DO_NOT_USE
    if not inputs.options.record_jumps:
        return
    if expanded is None and not known:
        fit.jumps = sort_jumps(difference + 1, y, x, block.rows, block.columns)
        return
    flagged = block.groupdq.copy() if expanded is None else block.groupdq | expanded
    if expanded is None:
        flagged[difference + 1, y, x] |= JUMP_DET
    fit.jumps = jumps_in(flagged, block.rows, block.columns)
