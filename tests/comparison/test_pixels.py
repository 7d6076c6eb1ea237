from __future__ import annotations

import numpy as np
import pytest

from roman_nexus.comparison.pixels import NORMAL_MAD, PlaneTally, median_with_repeats


def tally(new, old, usable=None, error=None, *, rows=7, threshold=1.0):
    made = PlaneTally(
        "data", "DN/s", new.size, (new.dtype, old.dtype), in_errors=error is not None, threshold=threshold
    )
    usable = np.ones(new.shape, bool) if usable is None else usable
    for first in range(0, new.shape[0], rows):
        cut = slice(first, first + rows)
        made.add(new[cut], old[cut], usable[cut], None if error is None else error[cut], first)
    return made.finish()


def test_known_differences(image):
    old = image().data
    new = old.copy()
    new[2, 3] += 1.0
    new[9, 5] -= 0.25
    new[7, 7] = np.nan
    new[0, 0] = 5.0
    usable = np.ones(old.shape, bool)
    usable[0, 0] = False
    plane = tally(new, old, usable, np.full(old.shape, 0.5, np.float32))
    assert (plane.compared, plane.identical, plane.excluded_differing) == (318, 316, 1)
    assert (plane.nan_only_new, plane.nan_only_old, plane.nan_examples) == (1, 0, ((7, 7),))
    assert (plane.max_abs, plane.max_ulp) == (1.0, 2**23)
    assert (plane.median, plane.scatter) == (0.0, 0.0)
    assert (plane.error_compared, plane.error_max, plane.beyond_threshold) == (318, 2.0, 1)
    first, second = plane.worst
    assert (first.y, first.x, first.new, first.old, first.difference, first.in_errors) == (2, 3, 2.0, 1.0, 1.0, 2.0)
    assert (second.y, second.x, second.in_errors) == (9, 5, -0.5)
    assert not plane.same
    assert plane.identical_fraction == 316 / 318


def test_equal_planes_are_the_same_nan_and_infinity_included():
    values = np.array([[np.nan, np.inf, -0.0, 1.0]], np.float16)
    other = np.array([[np.nan, np.inf, 0.0, 1.0]], np.float16)
    plane = tally(values, other)
    assert plane.same
    assert (plane.compared, plane.identical, plane.max_ulp, plane.max_abs) == (3, 3, 0, 0.0)


def test_infinity_against_a_number_is_counted_and_kept_out_of_the_statistics():
    new = np.array([[np.inf, 1.0, 2.0]], np.float16)
    old = np.array([[65504.0, 1.0, 1.0]], np.float16)
    plane = tally(new, old)
    assert (plane.infinite_mismatch, plane.compared, plane.identical, plane.max_abs) == (1, 3, 1, 1.0)
    assert not plane.same


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("size", [(40, 25), (41, 25)])
def test_median_and_scatter_are_those_of_all_pixels(share, size):
    random = np.random.default_rng(3)
    old = random.normal(10, 1, size).astype(np.float32)
    changed = random.random(size) < share
    new = np.where(changed, old + random.normal(0.4, 0.2, size), old).astype(np.float32)
    error = random.uniform(0.1, 0.3, size).astype(np.float32)
    usable = random.random(size) < 0.9
    plane = tally(new, old, usable, error, threshold=2.5)
    difference = (new - old)[usable]
    pulls = difference / error[usable]
    for values, median, scatter in (
        (difference, plane.median, plane.scatter),
        (pulls, plane.error_median, plane.error_scatter),
    ):
        expected = np.median(values.astype(np.float64))
        assert median == pytest.approx(expected, abs=1e-7)
        assert scatter == pytest.approx(NORMAL_MAD * np.median(np.abs(values - expected)), abs=3e-7)
    assert plane.beyond_threshold == np.count_nonzero(np.abs(pulls) > 2.5)
    assert plane.max_abs == np.abs(difference).max()
    assert plane.identical == np.count_nonzero(difference == 0)


def test_worst_pixels_are_found_across_blocks():
    random = np.random.default_rng(4)
    old = np.zeros((50, 30), np.float32)
    new = random.normal(size=old.shape).astype(np.float32)
    order = np.argsort(-np.abs(new).ravel())[:3]
    plane = tally(new, old, rows=8)
    assert [(pixel.y, pixel.x) for pixel in plane.worst] == [divmod(int(flat), 30) for flat in order]
    assert all(pixel.in_errors is None for pixel in plane.worst)


def test_pixels_without_an_error_are_left_out_of_the_units_of_error_only():
    old = np.zeros((1, 5), np.float32)
    new = np.array([[1, 1, 1, 1, 0]], np.float32)
    error = np.array([[0.5, 0, np.nan, np.inf, 0.5]], np.float32)
    plane = tally(new, old, error=error)
    assert (plane.compared, plane.identical, plane.error_compared, plane.error_max) == (5, 1, 2, 2.0)
    assert plane.error_median == 1.0


def test_nothing_to_compare_gives_none_not_nan():
    old = np.zeros((4, 4), np.float32)
    plane = tally(old + 1, old, np.zeros(old.shape, bool), np.ones(old.shape, np.float32))
    assert (plane.compared, plane.median, plane.max_abs, plane.max_ulp, plane.error_max) == (0, None, None, None, None)
    assert plane.identical_fraction == 1.0
    assert plane.excluded_differing == 16
    assert not plane.same


def test_types_that_differ_are_compared_in_the_narrower_and_reported():
    old = np.array([[0.1, 0.2]], np.float32)
    plane = tally(old.astype(np.float16), old)
    assert (plane.dtype_new, plane.dtype_old, plane.max_ulp) == ("float16", "float32", 0)
    assert plane.max_abs == pytest.approx(np.abs(old.astype(np.float16).astype(np.float32) - old).max())
    assert not plane.same


def test_integers_have_no_units_in_the_last_place():
    plane = tally(np.array([[65535, 3]], np.uint16), np.array([[0, 3]], np.uint16))
    assert (plane.max_ulp, plane.max_abs, plane.identical) == (None, 65535.0, 1)


def test_huge_differences_do_not_become_infinite():
    new, old = np.array([[3e38, 1.0]], np.float32), np.array([[-3e38, 0.0]], np.float32)
    plane = tally(new, old, error=np.full((1, 2), 1e-7, np.float32))
    assert plane.infinite_mismatch == 1
    assert plane.max_abs == 1.0


@pytest.mark.parametrize(("count", "repeated"), [(0, 0.0), (1, 0.0), (4, 0.5), (5, -3.0), (40, 9.0)])
def test_median_with_repeats(count, repeated):
    values = np.random.default_rng(count).normal(size=11)
    expected = np.median(np.concatenate([values, np.full(count, repeated)]))
    assert median_with_repeats(values, repeated, count) == pytest.approx(expected, abs=1e-15)


def test_histogram_holds_every_pixel():
    random = np.random.default_rng(5)
    old = np.zeros((60, 40), np.float32)
    new = random.normal(size=old.shape).astype(np.float32)
    new[:20] = 0
    new[50, 3] = 1000
    made = PlaneTally("data", "DN", new.size, (new.dtype, old.dtype))
    made.add(new, old, np.ones(new.shape, bool))
    edges, counts = made.histogram(in_errors=False)
    assert counts.sum() == new.size
    assert counts[100] >= 800
    assert counts[-1] >= 1
    assert edges[0] == -edges[-1]
    inside = np.histogram(np.clip(new, edges[1], edges[-2] * 0.999999), edges)[0]
    assert np.abs(inside[2:-2] - counts[2:-2]).max() <= 1  # a value on an edge may go to either side
