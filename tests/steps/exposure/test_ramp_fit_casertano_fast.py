"""The fast path of the ols_cas22 fit gives the bits of the scalar path."""

import itertools

import numpy as np
import pytest

from roman_nexus.steps.exposure.ramp_fit import STEP, RampFitOptions, casertano
from roman_nexus.steps.exposure.ramp_fit.casertano_fast import FITTED, SCALAR
from roman_nexus.steps.step import ExposureInfo, RampBlock

FRAME_TIME = 3.16247
RESULTS = ("rate", "err", "var_poisson", "var_rnoise", "dumo", "dq")
ODD_REFERENCE = np.float32([np.nan, 0, -0.0, -1.5, np.inf, -np.inf, 1e-30, 1e-15, 1e20, 1e38])
ODD_DATA = np.float32([np.nan, np.inf, -np.inf, 0, -0.0, -5000, 1e38, 1e-42])
SEARCHES = [
    {},
    {"use_ramp_jump_detection": False},
    {"threshold_intercept": 3.0, "threshold_constant": 0.1},
    {"threshold_intercept": 6.0, "threshold_constant": 1.2},  # bright pixels have far more jumps than faint ones
    {"threshold_intercept": 1.0, "threshold_constant": 0.5},  # the threshold can be negative: no fast path
]


def make_pattern(f, rng):
    """Resultants of 1 to 5 reads, some with a gap after them."""
    ends = np.cumsum(rng.integers(1, 6, f) + rng.integers(0, 2, f))
    starts = np.concatenate([[1], ends[:-1] + 1])
    return tuple(tuple(range(a, rng.integers(a, b + 1) + 1)) for a, b in zip(starts, ends, strict=True))


def simulate(pattern, shape, rng, jumps=0.0):
    """Ramps of all brightnesses: data, gain and read noise; with `jumps` cosmic rays per pixel."""
    times = np.array([np.mean(reads) for reads in pattern]) * FRAME_TIME
    steps = np.diff(times, prepend=0)[:, None, None]
    arriving = rng.poisson(10 ** rng.uniform(-2, 4, shape) * steps).astype(float)
    hit = rng.random(arriving.shape) < jumps / len(pattern)
    arriving[hit] += rng.exponential(500, hit.sum())
    n = np.array([len(reads) for reads in pattern])[:, None, None]
    data = np.cumsum(arriving, axis=0) / 1.8 + rng.normal(0, 6, arriving.shape) / np.sqrt(n)
    return [a.astype(np.float32) for a in (data, rng.normal(1.8, 0.1, shape), rng.normal(6, 0.5, shape))]


def spoil(data, gain, readnoise, rng):
    """Put values in that no detector should have; return flags, of which a third are saturated ramps."""
    for image, share, odd in ((data, 0.01, ODD_DATA), (gain, 0.05, ODD_REFERENCE), (readnoise, 0.05, ODD_REFERENCE)):
        bad = rng.random(image.shape) < share
        image[bad] = rng.choice(odd, bad.sum())
    flat, falling = rng.random((2, *gain.shape)) < 0.03
    data[:, flat] = data[0, flat]
    data[:, falling] *= -1
    groupdq = np.where(rng.random(data.shape) < 0.02, rng.choice([1, 2, 4, 8, 64, 128], data.shape), 0)
    saturated = rng.random(data.shape) < 0.01
    return (groupdq | 2 * np.logical_or.accumulate(saturated, axis=0)).astype(np.uint8)


def fit(data, groupdq, gain, readnoise, pattern, **options):
    ny, nx = gain.shape
    block = RampBlock(data, groupdq, np.full((ny, nx), 256, np.uint32), slice(0, ny), slice(0, nx))
    refs = {"gain": {"data": gain}, "readnoise": {"data": readnoise}}
    exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", pattern, FRAME_TIME)
    with np.errstate(all="ignore"):
        return STEP.apply(block, refs, RampFitOptions(algorithm="ols_cas22", **options), exposure, None)


def assert_same_bits(got, expected):
    for name in RESULTS:
        a, b = getattr(got, name), getattr(expected, name)
        np.testing.assert_array_equal(a, b, err_msg=name)
        finite = a == a  # the sign of a NaN means nothing
        np.testing.assert_array_equal(np.signbit(a[finite]), np.signbit(b[finite]), err_msg=f"sign of {name}")


@pytest.fixture
def outcomes(monkeypatch):
    """Collect what the fast path says of each pixel."""
    seen, fast = [], casertano._fit_fast

    def spy(*arguments):
        seen.append(fast(*arguments))
        return seen[-1]

    monkeypatch.setattr(casertano, "_fit_fast", spy)
    return seen


def without_fast_path(monkeypatch):
    def all_scalar(block, gain, *_):
        return np.full(gain.shape, SCALAR, dtype=np.uint8)

    monkeypatch.setattr(casertano, "_fit_fast", all_scalar)


@pytest.mark.parametrize("options", SEARCHES)
@pytest.mark.parametrize("f", [2, 3, 4, 9, 16])
def test_same_bits_as_the_scalar_path(f, options, monkeypatch):
    rng = np.random.default_rng(f)
    pattern = make_pattern(f, rng)
    data, gain, readnoise = simulate(pattern, (20, 331), rng, jumps=0.4)
    groupdq = spoil(data, gain, readnoise, rng)
    got = fit(data, groupdq, gain, readnoise, pattern, **options)
    without_fast_path(monkeypatch)
    assert_same_bits(got, fit(data, groupdq, gain, readnoise, pattern, **options))


@pytest.mark.parametrize("f", [2, 3, 4, 9, 16])
def test_most_clean_ramps_are_fast(f, outcomes):
    rng = np.random.default_rng(f)
    pattern = make_pattern(f, rng)
    data, gain, readnoise = simulate(pattern, (20, 331), rng)
    groupdq = np.zeros(data.shape, dtype=np.uint8)
    fit(data, groupdq, gain, readnoise, pattern)
    fit(data, groupdq, gain, readnoise, pattern, use_ramp_jump_detection=False)
    search, none = outcomes
    assert np.mean(search == FITTED) > 0.98
    assert np.all(none == FITTED)


def test_flags_and_jumps_are_left_to_the_scalar_path(outcomes):
    pattern = tuple((k,) for k in range(1, 9))
    data = np.broadcast_to(np.float32(20) * np.arange(8, dtype=np.float32)[:, None, None], (8, 1, 200)).copy()
    groupdq = np.zeros(data.shape, dtype=np.uint8)
    groupdq[7, 0, 70] = 64
    data[5:, 0, 150] += 500
    one = np.ones((1, 200), dtype=np.float32)
    got = fit(data, groupdq, 2 * one, 5 * one, pattern)
    assert np.flatnonzero(outcomes[0] == SCALAR).tolist() == [70, 150]
    assert np.flatnonzero(got.dq[0] != 256).tolist() == [150]
    np.testing.assert_allclose(got.rate, 20 / FRAME_TIME, rtol=1e-5)


@pytest.mark.parametrize("options", SEARCHES[:2])
def test_blocks_do_not_matter(options):
    rng = np.random.default_rng(7)
    pattern = make_pattern(6, rng)
    data, gain, readnoise = simulate(pattern, (5, 300), rng, jumps=0.3)
    groupdq = spoil(data, gain, readnoise, rng)
    whole = fit(data, groupdq, gain, readnoise, pattern, **options)
    cuts = [0, 1, 64, 128, 129, 193, 256, 300]
    for rows in (slice(0, 2), slice(2, 5)):
        for part in (slice(a, b) for a, b in itertools.pairwise(cuts)):
            got = fit(
                data[:, rows, part], groupdq[:, rows, part], gain[rows, part], readnoise[rows, part], pattern, **options
            )
            for name in RESULTS:
                np.testing.assert_array_equal(getattr(got, name), getattr(whole, name)[rows, part], err_msg=name)
