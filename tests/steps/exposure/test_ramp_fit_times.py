"""Times, covariance coefficients, uniform slope, median."""

import numpy as np
import pytest

from roman_nexus.errors import InputError
from roman_nexus.steps.exposure.ramp_fit.covariance import ramp_times
from roman_nexus.steps.exposure.ramp_fit.median import median_network, take_median
from roman_nexus.steps.exposure.ramp_fit.uniform import fit_saturated, round_to_odd, uniform_minus_rate
from roman_nexus.steps.step import RampBlock

PATTERN = ((1,), (2, 3), (4, 5, 6, 7), (8, 9, 10, 11), (12, 13, 14, 15), (16,))
FRAME_TIME = 3.16247


def test_coefficients_of_the_mission():
    """Values printed by stcal 1.20 for this read pattern."""
    times = ramp_times(PATTERN, FRAME_TIME)
    close = {"rtol": 1e-14, "atol": 0}
    np.testing.assert_allclose(times.mean_time, [3.16247, 7.906175, 17.393585, 30.043465, 42.693345, 50.59952], **close)
    np.testing.assert_allclose(
        times.noise_time, [3.16247, 7.1155575, 15.41704125, 28.06692125, 40.71680125, 50.59952], **close
    )
    np.testing.assert_allclose(
        times.read_diagonal,
        [0.06665855764712961, 0.0083323197058912, 0.0031246198897092, 0.0031246198897092, 0.0199975672941389],
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        times.read_coupling,
        [-0.01110975960785494, -0.0020830799264728, -0.0015623099448546, -0.00249969591176736],
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        times.photon_diagonal,
        [0.175671407335265, 0.07466034811748763, 0.05434834164434766, 0.05434834164434768, 0.09486255996104317],
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        times.photon_coupling,
        [0.01756714073352649, 0.01646919443768111, 0.01235189582826081, 0.01976303332521729],
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        times.uniform_weights,
        [
            -0.00730836363336233,
            -0.01169338181337973,
            -0.01169338181337973,
            0.00389779393779324,
            0.01948896968896623,
            0.00730836363336233,
        ],
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    ("pattern", "frame_time", "words"),
    [
        (PATTERN, 0.0, "frame_time is 0.0"),
        (PATTERN, float("nan"), "frame_time is nan"),
        (((1,),), 3.0, "at least 2"),
        (((1,), ()), 3.0, "resultant 1"),
        (((1,), (3, 2)), 3.0, "resultant 1"),
        (((1,), (2, 2)), 3.0, "resultant 1"),
        (((2,), (1, 3)), 3.0, "ascend in time"),
    ],
)
def test_impossible_patterns(pattern, frame_time, words):
    with pytest.raises(InputError, match=words):
        ramp_times(pattern, frame_time)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9, 15, 16, 33])
def test_median_network(size):
    rng = np.random.default_rng(size)
    values = np.concatenate([rng.normal(size=(size, 300)), rng.integers(0, 3, (size, 300))], axis=1)
    values[0, 0] = np.inf
    expected, median = np.median(values, axis=0), np.empty(600)
    take_median(values, median_network(size), 600, median)
    np.testing.assert_array_equal(median, expected)


def test_uniform_slope_is_weighted_least_squares():
    """A straight line through the resultants, each weighted with its number of reads, by NumPy."""
    rng = np.random.default_rng(3)
    data = rng.normal(1000, 100, (6, 1, 7)).astype(np.float32)
    times = [np.mean(group) * FRAME_TIME for group in PATTERN]
    root_weights = np.sqrt([len(group) for group in PATTERN])
    slopes = np.polyfit(times, data[:, 0].astype(float), 1, w=root_weights)[0]
    rate = np.full((1, 7), 0.25, dtype=np.float32)
    dumo = uniform_minus_rate(data, ramp_times(PATTERN, FRAME_TIME).uniform_weights, rate)
    np.testing.assert_allclose(dumo[0], slopes - 0.25, rtol=1e-6, atol=1e-6)


def test_uniform_slopes_of_the_mission():
    ramps = [[100, 130, 200, 305, 415, 470], [100, 130, 200, 905, 1015, 1070], [100, 130, 200, 305, 60000, 60000]]
    data = np.array(ramps, dtype=np.float32).T[:, None, :].copy()
    slopes = uniform_minus_rate(data, ramp_times(PATTERN, FRAME_TIME).uniform_weights, np.zeros((1, 3), np.float32))
    np.testing.assert_allclose(slopes[0], [8.122028117876674, 26.539104473949756, 1604.439174128989], rtol=1e-6)


def test_odd_rounding_then_half_precision_is_direct_rounding():
    rng = np.random.default_rng(4)
    halves = rng.integers(0, 0x7BFF, 4000).astype(np.uint16).view(np.float16).astype(float)
    above = np.nextafter(halves.astype(np.float16), np.float16(np.inf)).astype(float)
    middles = 0.5 * (halves + above)  # where rounding twice can go wrong
    values = np.concatenate(
        [
            rng.normal(0, 1, 4000) * 10.0 ** rng.uniform(-9, 5.5, 4000),
            *(middles * (1 + tiny) for tiny in (0, 2.0**-30, -(2.0**-30), 2.0**-50, -(2.0**-50))),
            [0.0, -0.0, np.inf, -np.inf, np.nan, 65519.99999999, 65520.0, 1e39, -1e39, 5e-324],
        ]
    )
    values = np.concatenate([values, -values])
    with np.errstate(over="ignore"):
        direct, twice = values.astype(np.float16), values.astype(np.float32).astype(np.float16)
        odd = round_to_odd(values).astype(np.float16)
    np.testing.assert_array_equal(odd.view(np.uint16)[~np.isnan(values)], direct.view(np.uint16)[~np.isnan(values)])
    assert np.isnan(odd[np.isnan(values)]).all()
    assert (twice != direct)[~np.isnan(values)].any()  # the plain way does go wrong


def test_saturated_exposure():
    data = np.arange(12, dtype=np.float32).reshape(3, 2, 2) * 1000
    groupdq = np.full((3, 2, 2), 2, dtype=np.uint8)
    groupdq[0, 0, 0] |= 8
    pixeldq = np.full((2, 2), 1024, dtype=np.uint32)
    block = RampBlock(data, groupdq, pixeldq, slice(0, 2), slice(0, 2))
    fit = fit_saturated(block, ramp_times(((1,), (2,), (3,)), 2.0).uniform_weights)
    assert fit.rate.max() == fit.err.max() == fit.var_poisson.max() == fit.chisq.max() == 0
    assert fit.dq.tolist() == [[1024 + 8 + 2, 1024 + 2], [1024 + 2, 1024 + 2]]
    np.testing.assert_allclose(fit.dumo, 2000, rtol=1e-6)
