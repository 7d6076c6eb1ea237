"""The ols_cas22 fit."""

import numpy as np
import pytest

from roman_nexus.steps.exposure.ramp_fit import STEP, RampFitOptions
from roman_nexus.steps.step import ExposureInfo, RampBlock

PATTERN = ((1,), (2, 3), (4, 5, 6, 7), (8, 9, 10, 11), (12, 13, 14, 15), (16,))
FRAME_TIME = 3.16247
GAIN, NOISE = 1.8, 6.0


def fit(data, groupdq=None, gain=GAIN, noise=NOISE, **options):
    data = np.asarray(data, dtype=np.float32)
    groupdq = np.zeros(data.shape, dtype=np.uint8) if groupdq is None else groupdq
    shape = data.shape[1:]
    block = RampBlock(data, groupdq, np.full(shape, 256, np.uint32), slice(0, shape[0]), slice(0, shape[1]))
    refs = {
        "gain": {"data": np.broadcast_to(np.float32(gain), shape)},
        "readnoise": {"data": np.broadcast_to(np.float32(noise), shape)},
    }
    exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", PATTERN[: len(data)], FRAME_TIME)
    return STEP.apply(block, refs, RampFitOptions(algorithm="ols_cas22", **options), exposure, None)


def simulate(rate, n, seed):
    rng = np.random.default_rng(seed)
    charge = np.cumsum(rng.poisson(rate * GAIN * FRAME_TIME, (16, n)), axis=0) / GAIN
    reads = charge + rng.normal(0, NOISE, charge.shape)
    return np.array([reads[np.array(group) - 1].mean(axis=0) for group in PATTERN])[:, None, :]


def weighted_slope(resultants):
    """Casertano (2022) by np.polyfit and dense matrices: slope, read and Poisson variance of one clean ramp, in DN."""
    electrons, noise = resultants * GAIN, NOISE * GAIN
    reads = np.concatenate(PATTERN) * FRAME_TIME
    n = np.array([len(group) for group in PATTERN])
    times = np.array([np.mean(group) for group in PATTERN]) * FRAME_TIME
    signal = max(electrons[-1] - electrons[0], 0)
    ratio = signal / np.sqrt(noise**2 + signal)
    power = [0, 0.4, 1, 3, 6, 10][np.searchsorted([5, 10, 20, 50, 100], ratio, side="right")]
    middle, half = (times[0] + times[-1]) / 2, (times[-1] - times[0]) / 2
    weights = (1 + power) * n / (1 + power * n) * np.abs((times - middle) / half) ** power
    used = weights > 0
    coefficients = np.zeros(len(n))
    coefficients[used] = np.array(
        [np.polyfit(times[used], unit[used], 1, w=np.sqrt(weights[used]))[0] for unit in np.eye(len(n))]
    )
    mean = np.array([np.isin(np.concatenate(PATTERN), group) / len(group) for group in PATTERN])
    photon = mean @ np.minimum.outer(reads, reads) @ mean.T  # variance per electron/s
    slope = coefficients @ electrons
    var_read = noise**2 * np.sum(coefficients**2 / n)
    return slope / GAIN, var_read / GAIN**2, coefficients @ photon @ coefficients * max(slope, 0) / GAIN**2


def test_mission_values():
    """Printed by romancal 1.1 for the same ramps."""
    ramps = [[100, 130, 200, 305, 415, 470], [100, 130, 200, 905, 1015, 1070], [100, 130, 200, 305, 60000, 60000]]
    data = np.array(ramps, dtype=np.float32).T[:, None, :].copy()
    groupdq = np.zeros(data.shape, dtype=np.uint8)
    groupdq[4:, 0, 2] = 2
    got = fit(data, groupdq)
    np.testing.assert_array_equal(got.rate[0], np.float32([7.8836694, 6.8106647, 7.713709]))
    np.testing.assert_array_equal(got.var_rnoise[0], np.float32([0.021243323, 0.5537817, 0.04119223]))
    np.testing.assert_array_equal(got.var_poisson[0], np.float32([0.09332406, 0.24778418, 0.14879839]))
    assert got.dq.tolist() == [[256, 256 + 4, 256]]
    assert got.jumps is None
    assert not got.chisq.any()


@pytest.mark.parametrize("rate", [0.05, 1.0, 5.0, 20.0, 100.0, 1000.0])
def test_clean_ramps_against_numpy(rate):
    """Every class of signal-to-noise ratio, hence every exponent."""
    data = simulate(rate, 25, seed=1)
    got = fit(data, use_ramp_jump_detection=False)
    for x in range(25):
        slope, var_read, var_poisson = weighted_slope(np.float32(data[:, 0, x]).astype(float))
        np.testing.assert_allclose(got.rate[0, x], slope, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(got.var_rnoise[0, x], var_read, rtol=1e-5)
        np.testing.assert_allclose(got.var_poisson[0, x], var_poisson, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(got.err**2, got.var_rnoise + got.var_poisson, rtol=1e-5)


def test_a_jump_is_left_out():
    data = simulate(5.0, 2000, seed=2)
    hit = data.copy()
    hit[3:] += 2000
    clean, cut, kept = fit(data), fit(hit), fit(hit, use_ramp_jump_detection=False)
    assert np.mean(clean.dq == 256) > 0.99
    assert np.all(cut.dq & 4)
    assert abs(np.median(cut.rate) - 5) < 0.1
    assert np.median(kept.rate) > 30
    assert not (kept.dq & 4).any()
    assert not (fit(hit, threshold_intercept=1e6).dq & 4).any()
    assert np.mean(fit(data, threshold_intercept=1.0, threshold_constant=0.0).dq & 4 != 0) > 0.3


def test_runs_are_averaged_by_read_variance():
    """Two runs of three resultants with slopes 2 and 4; the flag between them keeps them apart."""
    times = np.array([np.mean(group) for group in PATTERN]) * FRAME_TIME
    data = np.concatenate([2 * times[:2], [0], 4 * times[3:]])[:, None, None]
    groupdq = np.zeros((6, 1, 1), dtype=np.uint8)
    groupdq[2] = 8
    both = fit(data, groupdq)
    parts = []
    for flagged in (slice(2, 6), slice(0, 3)):
        one = groupdq.copy()
        one[flagged] = 8
        parts.append(fit(data, one))
    inverse = np.array([1 / part.var_rnoise[0, 0] for part in parts])
    np.testing.assert_allclose([part.rate[0, 0] for part in parts], [2, 4], rtol=1e-5)
    np.testing.assert_allclose(both.rate[0, 0], inverse @ [2, 4] / inverse.sum(), rtol=1e-5)
    np.testing.assert_allclose(both.var_rnoise[0, 0], 1 / inverse.sum(), rtol=1e-5)


def test_flags_of_the_image():
    cases = [
        ([0, 0, 0, 2, 2, 2], GAIN, 0),  # unlike the likelihood fit: some are not enough
        ([2, 2, 2, 2, 2, 2], GAIN, 2 + 1),
        ([1, 2, 1, 2, 1, 2], GAIN, 1),
        ([0, 1, 0, 1, 0, 1], GAIN, 1),  # nothing could be fitted: rate and error 0
        ([4, 0, 0, 0, 0, 0], GAIN, 4),
        ([64, 0, 0, 0, 0, 0], GAIN, 0),
        ([0, 0, 0, 0, 0, 0], np.nan, 1 + (1 << 19)),
        ([0, 0, 0, 0, 0, 0], -1.0, 1 << 19),
        ([0, 0, 0, 0, 0, 0], 0.0, 1),
    ]
    groupdq = np.array([case[0] for case in cases], dtype=np.uint8).T[:, None, :].copy()
    data = np.broadcast_to(np.float32([3, 8, 17, 30, 43, 50])[:, None, None], groupdq.shape)
    got = fit(data, groupdq, gain=np.float32([[case[1] for case in cases]]))
    dq = (got.dq[0] & ~np.uint32(256)).tolist()
    assert dq == [case[2] for case in cases]


def test_non_finite_data_is_flagged():
    data = simulate(5.0, 3, seed=3)
    data[2, 0, 1] = np.nan
    got = fit(data)
    assert (got.rate[0, 1], got.err[0, 1]) == (0, 0)
    assert (got.dq[0] & 1).tolist() == [0, 1, 0]


@pytest.mark.parametrize("rate", [0.5, 50.0])
def test_pulls(rate):
    n = 20000
    got = fit(simulate(rate, n, seed=4), use_ramp_jump_detection=False)
    pulls = (got.rate[0] - rate) / np.median(got.err)
    assert abs(pulls.mean()) < 0.2  # the exponent depends on the noise, which biases faint pixels
    assert abs(pulls.std() - 1) < 0.06
