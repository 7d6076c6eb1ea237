from __future__ import annotations

import numpy as np
import pytest

from roman_nexus.comparison import ulp_distance
from roman_nexus.errors import InputError, ShapeError


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_neighbours_are_one_apart(dtype):
    values = np.array([0.0, 1.0, -1.0, 6e-8, 1000.0, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal], dtype)
    with np.errstate(over="ignore"):
        after = np.nextafter(values, dtype(np.inf))
    assert ulp_distance(values, after).tolist() == [1] * values.size
    assert ulp_distance(after, values).tolist() == [1] * values.size
    assert ulp_distance(values, values).tolist() == [0] * values.size


def test_known_distances():
    first = np.array([1.0, -0.0, -1.0, np.inf], np.float32)
    second = np.array([2.0, 0.0, 1.0, np.inf], np.float32)
    assert ulp_distance(first, second).tolist() == [2**23, 0, 2 * 127 * 2**23, 0]
    assert ulp_distance(np.array([1.0], np.float16), np.array([2.0], np.float16)).tolist() == [2**10]


def test_counts_all_half_precision_numbers_between_two():
    """The distance is the number of steps of nextafter: every pair of a sample, walked."""
    random = np.random.default_rng(1)
    for start in random.normal(0, 1e-6, 20).astype(np.float16):
        value, steps = start, int(random.integers(1, 40))
        for _ in range(steps):
            value = np.nextafter(value, np.float16(np.inf))
        expected = steps
        assert ulp_distance(np.array([start]), np.array([value])).tolist() == [expected]


def test_other_byte_order():
    first, second = np.array([1.0], ">f4"), np.array([np.nextafter(np.float32(1), np.float32(2))], "<f4")
    assert ulp_distance(first, second).tolist() == [1]


def test_whole_range_of_double_does_not_overflow():
    largest = np.finfo(np.float64).max
    distance = ulp_distance(np.array([-largest]), np.array([largest]))
    assert int(distance[0]) == 2 * int(np.float64(largest).view(np.uint64))


def test_refuses_what_cannot_be_measured():
    with pytest.raises(InputError, match="float16 and float32"):
        ulp_distance(np.zeros(2, np.float16), np.zeros(2, np.float32))
    with pytest.raises(InputError, match="int32"):
        ulp_distance(np.zeros(2, np.int32), np.zeros(2, np.int32))
    with pytest.raises(ShapeError, match=r"\(2,\) and \(3,\)"):
        ulp_distance(np.zeros(2), np.zeros(3))
