"""Time series of reference pixels: lines, missing samples, spectra."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roman_nexus.steps.exposure.reference_series import (
    border_spectrum,
    detrend,
    fill_missing,
    fill_missing_single,
    fit_lines,
    fit_offset,
    read_order,
    sample_times,
    smooth_pauses,
    smooth_pauses_single,
    spectrum_of,
)


def test_sample_numbers_follow_the_read_out() -> None:
    ny = 3
    places = read_order(np.arange(128, 256))  # an odd channel: read from the right
    times = sample_times(np.arange(ny), places, ny)
    assert times[0, 127] == -(3 * 140 - 1) / 2  # the rightmost pixel of the first row comes first
    assert times[1, 127] - times[0, 127] == 140
    assert times[0, 0] - times[0, 127] == 127


@pytest.mark.parametrize("nresultants", [2, 3, 10])
def test_offset_is_the_mean(nresultants: int) -> None:
    rng = np.random.default_rng(nresultants)
    data = rng.integers(0, 65536, size=(nresultants, 4, 5)).astype(np.float32)
    offset = np.empty((4, 5), dtype=np.float32)
    fit_offset(data, offset)
    np.testing.assert_allclose(offset, data.mean(axis=0, dtype=np.float64), rtol=2e-7)


def test_offset_rounds_to_float32_after_every_operation() -> None:
    # 16777216 + 1 is lost in float32; the sum of squared indices of three resultants is 2, so the divisor 6
    data = np.array([16777216.0, 1.0, 1.0], dtype=np.float32).reshape(3, 1, 1)
    offset = np.empty((1, 1), dtype=np.float32)
    fit_offset(data, offset)
    assert offset[0, 0] == np.float32(np.float32(16777216.0 * 2) / np.float32(6))


# -------------------------------------------------------------------------------------------- lines
@given(seed=st.integers(0, 1000), missing=st.floats(0, 0.9))
def test_lines_are_those_of_polyfit(seed: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(-3e5, 3e5, size=40))
    values = rng.normal(3, 20, size=(2, 40)).astype(np.float32)
    values[rng.random(values.shape) < missing] = 0
    values[:, :2] = 7, -5  # at least two points
    slope, intercept = fit_lines(times, values)
    for row in range(2):
        used = values[row] != 0
        expected = np.polyfit(times[used], values[row, used].astype(np.float64), 1)
        np.testing.assert_allclose([slope[row] * 3e5, intercept[row]], expected * [3e5, 1], rtol=1e-9, atol=1e-9)


def test_lines_with_few_points() -> None:
    times = np.array([-4.0, 5.0])
    slope, intercept = fit_lines(times, np.array([[0, 0], [8, 0]], dtype=np.float32))
    assert (slope[0], intercept[0]) == (0.0, 0.0)
    assert slope[1] * -4 + intercept[1] == 8.0
    assert intercept[1] == 4.0  # of all lines through the point, that of least norm in scaled time


def test_detrending_leaves_missing_samples() -> None:
    values = np.array([[0, 7], [9, 0]], dtype=np.float32)
    times = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert detrend(values, times, 2.0, 5.0).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert detrend(values, times, 0.0, 5.0).tolist() == [[0.0, 2.0], [4.0, 0.0]]


# ---------------------------------------------------------------------------------- missing samples
def test_filling_is_the_normalised_convolution() -> None:
    rng = np.random.default_rng(3)
    series = rng.normal(0, 20, size=560).astype(np.float32)
    series[rng.random(560) < 0.3] = 0
    series[200:212] = 0
    weights = np.sin(np.arange(1, 33) * np.pi / 32)
    present = (series != 0).astype(float)
    expected = np.convolve(series.astype(float), weights, "same") / np.convolve(present, weights, "same")
    expected = np.where(present, series, expected)
    fill_missing(series)
    np.testing.assert_allclose(series, expected, rtol=1e-4, atol=1e-4)
    assert series.dtype == np.float32


def test_filling_where_nothing_is_near() -> None:
    series = np.zeros(100, dtype=np.float32)
    series[0] = 6
    fill_missing(series)
    # sample 15 reaches 16 back, to a weight that is not quite zero; none sees it further on
    assert series[14] == pytest.approx(6)
    assert not series[17:].any()


def test_not_a_number_and_infinity_are_made_finite() -> None:
    series = np.array([np.nan, np.inf, 1.0], dtype=np.float32)
    fill_missing(series)
    assert np.isfinite(series).all()
    assert series[2] == 1.0


def test_pauses_are_smoothed_like_the_apodised_spectrum() -> None:
    rng = np.random.default_rng(8)
    series = rng.normal(0, 15, size=7 * 140).astype(np.float32)
    expected = series.astype(np.float64)
    length = expected.size
    pause = np.arange(length) % 140 >= 128
    for _ in range(3):  # the published form
        spectrum = np.fft.rfft(expected) * (1 + np.cos(2 * np.pi * np.arange(length // 2 + 1) / length)) / 2
        expected[pause] = np.fft.irfft(spectrum, length)[pause]
    before = series.copy()
    smooth_pauses(series)
    np.testing.assert_allclose(series, expected, atol=1e-5)
    np.testing.assert_array_equal(series[~pause], before[~pause])


# ------------------------------------------------------------------------------------------ spectra
def test_border_spectrum_of_a_constant() -> None:
    spectrum = border_spectrum(np.full((8, 4), 3, dtype=np.float32), np.arange(4))
    # four samples of 140 are there, and scaled up to 140: the mean comes out right
    assert spectrum.shape == (8 * 70 + 1,)
    assert spectrum.dtype == np.complex64
    assert spectrum[0] == pytest.approx(3, rel=1e-6)


def test_border_spectrum_knows_where_the_columns_are() -> None:
    values = np.zeros((8, 4), dtype=np.float32)
    values[0, 1] = 1
    series = np.zeros(8 * 140)
    series[2] = 35 / series.size
    np.testing.assert_allclose(border_spectrum(values, np.array([3, 2, 1, 0])), np.fft.rfft(series), atol=1e-8)


def test_spectrum_is_divided_by_the_length() -> None:
    t = np.arange(280)
    series = (5 * np.cos(2 * np.pi * 10 * t / 280)).astype(np.float32)
    spectrum = spectrum_of(series)
    assert spectrum[10] == pytest.approx(2.5, abs=1e-5)
    assert np.abs(np.delete(spectrum, 10)).max() < 1e-5


# ------------------------------------------------------------------------------ both kinds of arithmetic
def test_both_kinds_of_arithmetic_agree_to_single_precision() -> None:
    rng = np.random.default_rng(5)
    series = rng.normal(0, 20, (64, 140)).astype(np.float32)
    series[:, 128:] = 0
    series[rng.random(series.shape) < 0.1] = 0
    exact, single = series.ravel().copy(), series.ravel().copy()
    fill_missing(exact)
    fill_missing_single(single)
    assert np.count_nonzero(exact) == np.count_nonzero(single)
    np.testing.assert_allclose(single, exact, atol=2e-5)
    smooth_pauses(exact)
    smooth_pauses_single(single)
    np.testing.assert_allclose(single, exact, atol=5e-5)
    assert (single != exact).any()
