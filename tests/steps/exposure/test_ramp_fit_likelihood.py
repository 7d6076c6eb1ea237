"""The likelihood fit against an independent, slow reference: generalised least squares on simulated reads."""

import numpy as np
import pytest
from scipy.stats import chi2 as chi2_distribution

from roman_nexus.steps.exposure.ramp_fit import STEP, RampFitOptions
from roman_nexus.steps.exposure.ramp_fit.covariance import ramp_times
from roman_nexus.steps.exposure.ramp_fit.likelihood import make_detection
from roman_nexus.steps.exposure.ramp_fit.likelihood_exact import fit_lanes
from roman_nexus.steps.step import ExposureInfo, RampBlock

FRAME_TIME = 3.16247
GAIN, NOISE = 1.8, 6.0
SHORT = ((1,), (2, 3), (4, 5, 6, 7), (8, 9, 10, 11), (12, 13, 14, 15), (16,))
LONG = ((1,), (2, 3), *(tuple(range(4 * k, 4 * k + 4)) for k in range(1, 11)), (44,))
GAPS = ((5,), (7, 8, 9), (12, 13), (14, 15, 16), (21,), (22,))
PATTERNS = pytest.mark.parametrize("pattern", [SHORT, LONG, GAPS, SHORT[:4]], ids=["short", "long", "gaps", "four"])


# ------------------------------------------------------------------------------------------------ tools
def simulate(pattern, rate, n, seed, pedestal=100.0, jumps=()):
    """Ramps read by read: (F, 1, n). `jumps` are (probability, size) of a step in a random read."""
    rng = np.random.default_rng(seed)
    last = pattern[-1][-1]
    rates = np.broadcast_to(rate, n) * GAIN * FRAME_TIME
    charge = np.cumsum(rng.poisson(rates, (last, n)), axis=0) / GAIN + pedestal
    for probability, size in jumps:
        hit = rng.random(n) < probability
        when = rng.integers(1, last, n)
        charge += np.where(hit & (np.arange(last)[:, None] >= when), size, 0)
    reads = charge + rng.normal(0, NOISE, charge.shape)
    return np.array([reads[np.array(group) - 1].mean(axis=0) for group in pattern], dtype=np.float32)[:, None, :]


def fit(data, pattern, groupdq=None, pixeldq=None, gain=GAIN, noise=NOISE, rows=slice(0, 1), columns=None, **options):
    ny, nx = data.shape[1:]
    groupdq = np.zeros(data.shape, dtype=np.uint8) if groupdq is None else groupdq
    pixeldq = np.zeros((ny, nx), dtype=np.uint32) if pixeldq is None else pixeldq
    block = RampBlock(data, groupdq, pixeldq, rows, columns or slice(0, nx))
    references = {
        "gain": {"data": np.broadcast_to(np.float32(gain), (ny, nx))},
        "readnoise": {"data": np.broadcast_to(np.float32(noise), (ny, nx))},
    }
    exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", pattern, FRAME_TIME)
    return STEP.apply(block, references, RampFitOptions(**options), exposure, None)


def covariance(pattern, rate, gain=GAIN, noise=NOISE):
    """Covariance of the resultants, photon part and read part, from that of single reads."""
    reads = np.concatenate(pattern) * FRAME_TIME
    mean = np.zeros((len(pattern), reads.size))
    start = 0
    for i, group in enumerate(pattern):
        mean[i, start : start + len(group)] = 1 / len(group)
        start += len(group)
    photon = rate / gain * np.minimum.outer(reads, reads)
    return mean @ photon @ mean.T, noise**2 * mean @ mean.T


def least_squares(data, pattern, use, guess, gain=GAIN, noise=NOISE):
    """Rate, err, var_poisson, var_rnoise, chi2 from the usable differences, by dense linear algebra."""
    times = np.array([np.mean(group) for group in pattern]) * FRAME_TIME
    steps = np.diff(np.eye(len(pattern)), axis=0) / np.diff(times)[:, None]
    photon, read = ((steps @ part @ steps.T)[np.ix_(use, use)] for part in covariance(pattern, guess, gain, noise))
    d = (steps @ data.astype(float))[use]
    inverse = np.linalg.inv(photon + read)
    information = inverse.sum()
    weights = inverse.sum(axis=0) / information
    rate = weights @ d
    residual = d - rate
    return (
        rate,
        information**-0.5,
        weights @ photon @ weights,
        weights @ read @ weights,
        residual @ inverse @ residual,
    )


def reference_fit(data, pattern, use, find_jumps):
    """The whole algorithm for one pixel; returns results and final use. Jumps by refitting without each candidate."""
    times = np.array([np.mean(group) for group in pattern]) * FRAME_TIME
    guess = max(np.median(np.diff(data.astype(float)) / np.diff(times)), 0)
    use = use.copy()
    rate, *_, chi2 = least_squares(data, pattern, use, guess)
    one, two = 4.5**2, chi2_distribution.isf(2 * 3.3976731247300604e-06, 2)  # 4.5 sigma, one-sided tail of a normal
    for _ in range(len(use) if find_jumps else 0):
        candidates = []
        for j in np.flatnonzero(use):
            pairs = [(j,)] + ([(j, j + 1)] if j + 1 < len(use) and use[j + 1] and len(pattern[j + 1]) > 1 else [])
            for drop in pairs:
                rest = use.copy()
                rest[list(drop)] = False
                if rest.any():
                    new_rate, *_, new_chi2 = least_squares(data, pattern, rest, guess)
                    threshold = one if len(drop) == 1 else two
                    candidates.append((chi2 - new_chi2 - threshold, rest, new_rate, new_chi2))
        best = max(candidates, key=lambda item: item[0])
        if best[0] <= 0:
            break
        _, use, rate, chi2 = best
        if use.sum() <= 3:
            break
    return least_squares(data, pattern, use, max(rate, 0)), use


def results(block, x):
    return [float(getattr(block, name)[0, x]) for name in ("rate", "err", "var_poisson", "var_rnoise", "chisq")]


# ------------------------------------------------------------------------------------------------ numbers
def test_mission_values():
    """Printed by romancal 1.1 for the same ramps."""
    ramps = [[100, 130, 200, 305, 415, 470], [100, 130, 200, 905, 1015, 1070], [100, 130, 200, 305, 60000, 60000]]
    data = np.array(ramps, dtype=np.float32).T[:, None, :].copy()
    groupdq = np.zeros(data.shape, dtype=np.uint8)
    groupdq[4:, 0, 2] = 2
    got = fit(data, SHORT, groupdq, rows=slice(10, 11), columns=slice(20, 23))
    expected = [
        [7.991441849001194, 0.33487976706227734, 0.09811336305932193, 0.014031095328363247, 4.497077707531331],
        [7.101343708661313, 0.5400542841205415, 0.15413971690610906, 0.1375189128908415, 0.28159788667374885],
        [7.781296374742833, 0.4344713879662899, 0.1514250024111845, 0.037340384550169844, 1.9551480255572098],
    ]
    np.testing.assert_allclose([results(got, x) for x in range(3)], expected, rtol=1e-7)
    assert got.dq.tolist() == [[0, 4, 2]]
    assert got.jumps.tolist() == [[3, 10, 21], [4, 10, 21]]
    uniform = np.array([8.122028117876674, 26.539104473949756, 1604.439174128989])
    np.testing.assert_array_equal(got.dumo[0].astype("f2"), (uniform - got.rate[0]).astype("f2"))


@PATTERNS
def test_fit_is_generalised_least_squares(pattern):
    """Random rates and flags, no jump search: all five results of every pixel."""
    n = 60
    rng = np.random.default_rng(1)
    data = simulate(pattern, 10 ** rng.uniform(-2, 3, n), n, seed=2)
    groupdq = np.where(rng.random(data.shape) < 0.1, rng.choice([1, 2, 8, 64, 128], data.shape), 0).astype(np.uint8)
    got = fit(data, pattern, groupdq, jump_detection=False)
    good = groupdq[:, 0] == 0
    compared = 0
    for x in range(n):
        use = good[1:, x] & good[:-1, x]
        if not use.any():
            assert np.isnan(results(got, x)).all()
            continue
        expected, _ = reference_fit(data[:, 0, x], pattern, use, find_jumps=False)
        np.testing.assert_allclose(results(got, x)[:4], expected[:4], rtol=2e-6, atol=1e-9)
        np.testing.assert_allclose(results(got, x)[4], expected[4], rtol=1e-5, atol=1e-6)
        compared += 1
    assert compared > n / 2


@PATTERNS
def test_jumps_are_those_that_refitting_would_drop(pattern):
    n = 150
    data = simulate(pattern, 2.0, n, seed=3, jumps=[(0.5, 150.0), (0.3, 1000.0), (0.2, 30000.0)])
    got = fit(data, pattern)
    flagged = np.zeros((len(pattern), n), dtype=bool)
    flagged[got.jumps[:, 0], got.jumps[:, 2]] = True
    found = 0
    for x in range(n):
        expected, use = reference_fit(data[:, 0, x], pattern, np.ones(len(pattern) - 1, dtype=bool), find_jumps=True)
        if len(pattern) == 4 and not use.all():
            continue  # which of three differences to drop is decided by rounding
        np.testing.assert_array_equal(~flagged[1:, x], use)
        np.testing.assert_allclose(results(got, x)[:4], expected[:4], rtol=2e-6, atol=1e-9)
        found += not use.all()
    assert len(pattern) == 4 or found > n / 3
    assert not flagged[0].any()
    assert ((got.dq[0] == 4) == flagged.any(axis=0)).all()


@PATTERNS
def test_fast_and_exact_paths_agree(pattern):
    """To one unit in the last place of float32; and what the fast path keeps, the exact search leaves alone."""
    n = 4000
    rng = np.random.default_rng(5)
    data = simulate(pattern, 10 ** rng.uniform(-2, 3, n), n, seed=6, jumps=[(0.02, 500.0)])
    groupdq = np.where(rng.random(data.shape) < 0.03, 2, 0).astype(np.uint8)
    got = fit(data, pattern, groupdq)
    times = ramp_times(pattern, FRAME_TIME)
    differences = np.diff(data[:, 0], axis=0) / times.interval[:, None]
    usable = (groupdq[1:, 0] | groupdq[:-1, 0]) == 0
    exact = fit_lanes(
        differences,
        usable.astype(float),
        np.full(n, np.float32(GAIN), dtype=float),
        np.full(n, NOISE),
        np.maximum(np.median(differences, axis=0), 0),
        times,
        make_detection(RampFitOptions(), times),
    )
    np.testing.assert_array_equal(got.dq[0] & 4 != 0, exact.dropped.any(axis=0))
    for name in ("rate", "err", "var_poisson", "var_rnoise"):
        fast, slow = getattr(got, name)[0], getattr(exact, name).astype(np.float32)
        np.testing.assert_array_equal(np.isnan(fast), np.isnan(slow))
        known = ~np.isnan(fast)
        assert np.mean(fast[known] == slow[known]) > 0.999
        np.testing.assert_array_max_ulp(fast[known], slow[known], maxulp=1)
    np.testing.assert_allclose(got.chisq[0], exact.chisq, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------------------ properties
def test_scaling_the_counts_scales_the_rates():
    data = simulate(SHORT, 5.0, 500, seed=7, jumps=[(0.2, 400.0)])
    one, two = fit(data, SHORT), fit(2 * data, SHORT, gain=GAIN / 2, noise=2 * NOISE)
    np.testing.assert_allclose(two.rate, 2 * one.rate, rtol=1e-6)
    np.testing.assert_allclose(two.err, 2 * one.err, rtol=1e-6)
    np.testing.assert_allclose(two.var_poisson, 4 * one.var_poisson, rtol=1e-6)
    np.testing.assert_allclose(two.chisq, one.chisq, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(two.jumps, one.jumps)


def test_a_pedestal_changes_nothing():
    data = np.round(simulate(SHORT, 5.0, 500, seed=8, jumps=[(0.2, 400.0)]))  # whole counts: differences stay exact
    one, two = fit(data, SHORT), fit(data + np.float32(4096), SHORT)
    for name in ("rate", "err", "var_poisson", "var_rnoise", "chisq", "dq", "jumps"):
        np.testing.assert_array_equal(getattr(two, name), getattr(one, name))


def test_blocks_do_not_matter():
    ny, nx = 6, 150
    data = simulate(SHORT, 5.0, ny * nx, seed=9, jumps=[(0.2, 400.0)]).reshape(-1, ny, nx)
    groupdq = np.where(np.random.default_rng(9).random(data.shape) < 0.05, 2, 0).astype(np.uint8)
    whole = fit(data, SHORT, groupdq, rows=slice(0, ny))
    jumps = []
    for rows in (slice(0, 1), slice(1, 6)):
        for columns in (slice(0, 70), slice(70, 71), slice(71, 150)):
            cut = (slice(None), rows, columns)
            part = fit(data[cut].copy(), SHORT, groupdq[cut].copy(), rows=rows, columns=columns)
            jumps.append(part.jumps)
            for name in ("rate", "err", "var_poisson", "var_rnoise", "chisq", "dumo", "dq"):
                np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[rows, columns])
    joined = np.concatenate(jumps)
    assert joined.dtype == whole.jumps.dtype == np.int16
    assert len(joined) > 100
    order = np.lexsort((joined[:, 2], joined[:, 1], joined[:, 0]))
    np.testing.assert_array_equal(joined[order], whole.jumps)


def test_input_is_left_alone():
    data = simulate(SHORT, 5.0, 100, seed=10, jumps=[(0.5, 400.0)])
    groupdq, pixeldq = np.zeros(data.shape, np.uint8), np.full((1, 100), 32, np.uint32)
    copy = data.copy()
    got = fit(data, SHORT, groupdq, pixeldq)
    assert got.jumps.size
    np.testing.assert_array_equal(data, copy)
    assert not groupdq.any()
    assert (pixeldq == 32).all()
    assert (got.dq & 32 == 32).all()


@pytest.mark.parametrize("rate", [0.5, 50.0])
def test_pulls(rate):
    """No bias, errors that are what they claim, and a chi-square with M - 1 degrees of freedom."""
    n = 20000
    got = fit(simulate(SHORT, rate, n, seed=11), SHORT)
    kept = got.dq[0] == 0
    pulls = (got.rate[0] - rate)[kept] / got.err[0, kept]
    assert kept.mean() > 0.9995
    assert abs(np.mean(got.rate[0, kept]) - rate) < 4 * np.median(got.err) / np.sqrt(n)
    assert abs(pulls.std() - 1) < 0.03
    assert abs(got.chisq[0, kept].mean() - 4) < 0.15
    np.testing.assert_allclose(got.err**2, got.var_poisson + got.var_rnoise, rtol=1e-5)


# ------------------------------------------------------------------------------------------------ odd pixels
def test_flags_of_the_image():
    """Columns: flags of the four resultants, expected dq, whether there is a rate."""
    cases = [
        ([0, 0, 0, 0], 0, True),
        ([64, 0, 0, 0], 0, True),
        ([128, 0, 0, 0], 0, True),
        ([0, 0, 0, 2], 2, True),
        ([0, 0, 2, 2], 2, True),
        ([0, 2, 2, 2], 2 + 1, False),
        ([2, 2, 2, 2], 2 + 1, False),
        ([1, 1, 1, 1], 1, False),
        ([1, 1, 1, 0], 1, False),
        ([65, 65, 0, 0], 0, True),
        ([0, 1, 0, 1], 0, False),  # good resultants without good neighbours: no rate, and the mission says nothing
        ([64, 64, 64, 64], 0, False),
        ([0, 4, 0, 0], 4, True),
    ]
    groupdq = np.array([case[0] for case in cases], dtype=np.uint8).T[:, None, :].copy()
    data = np.broadcast_to(np.float32([0, 10, 20, 30])[:, None, None], groupdq.shape).copy()
    got = fit(data, ((1,), (2,), (3,), (4,)), groupdq)
    assert got.dq[0].tolist() == [case[1] for case in cases]
    assert np.isfinite(got.rate[0]).tolist() == [case[2] for case in cases]
    np.testing.assert_allclose(got.rate[0][np.isfinite(got.rate[0])], 10 / FRAME_TIME, rtol=1e-6)
    assert got.jumps.tolist() == [[1, 0, len(cases) - 1]]  # known before, still listed


@pytest.mark.parametrize("first_bad", [0, 2, 5])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("flag", [0, 1])
def test_non_finite_data(first_bad, value, flag):
    """One bad resultant spoils a ramp even when it is flagged, as in the mission; not its neighbours, though."""
    data = simulate(SHORT, 5.0, 9, seed=12)
    clean = fit(data, SHORT)
    data[first_bad, 0, 4] = value
    groupdq = np.zeros(data.shape, dtype=np.uint8)
    groupdq[first_bad, 0, 4] = flag
    got = fit(data, SHORT, groupdq)
    assert np.isnan(results(got, 4)).all()
    assert got.dq[0, 4] == 0
    others = np.arange(9) != 4
    np.testing.assert_array_equal(got.rate[0, others], clean.rate[0, others])


@pytest.mark.parametrize(
    ("gain", "noise", "fitted"),
    [
        (np.nan, NOISE, False),
        (GAIN, np.nan, False),
        (GAIN, np.inf, False),
        (0.0, NOISE, False),
        (np.inf, NOISE, True),
        (GAIN, 0.0, True),
        (GAIN, -NOISE, True),
    ],
)
def test_odd_references(gain, noise, fitted):
    data = simulate(SHORT, 5.0, 20, seed=13)
    got = fit(data, SHORT, gain=gain, noise=noise, jump_detection=False)
    assert (got.dq == 0).all()
    assert np.isfinite(got.rate).all() == fitted
    if fitted:
        expected = [reference_fit_with(data[:, 0, x], gain, noise) for x in range(20)]
        np.testing.assert_allclose([results(got, x)[:4] for x in range(20)], expected, rtol=1e-5, atol=1e-9)


def reference_fit_with(data, gain, noise):
    use = np.ones(5, dtype=bool)
    times = np.array([np.mean(group) for group in SHORT]) * FRAME_TIME
    guess = np.median(np.diff(data.astype(float)) / np.diff(times))
    for _ in range(2):
        guess, *others, _ = least_squares(data, SHORT, use, guess, gain, noise)
    return [guess, *others]


def test_negative_rate_has_no_photon_noise():
    data = simulate(SHORT, 0.0, 50, seed=14) - 20 * np.arange(6, dtype=np.float32)[:, None, None]
    got = fit(data, SHORT)
    assert (got.rate < 0).all()
    assert (got.var_poisson == 0).all()
    assert (got.var_rnoise > 0).all()
