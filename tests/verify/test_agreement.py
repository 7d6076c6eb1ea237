from __future__ import annotations

import numpy as np
import pytest

from roman_nexus.errors import InputError, ShapeError
from roman_nexus.verify import agreement
from roman_nexus.verify.agreement import combine, compare_arrays, ulp_distance


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_distance_counts_the_numbers_in_between(dtype):
    value = dtype(1.5)
    steps = [value]
    for _ in range(5):
        steps.append(np.nextafter(steps[-1], dtype(np.inf)))
    found = ulp_distance(np.full(6, value), np.array(steps))
    assert found.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_distance_crosses_zero_and_powers_of_two(dtype):
    tiny = np.nextafter(dtype(0), dtype(1))
    below_two = np.nextafter(dtype(2), dtype(0))
    ours = np.array([-tiny, -0.0, below_two, np.finfo(dtype).max], dtype=dtype)
    theirs = np.array([tiny, 0.0, np.nextafter(dtype(2), dtype(3)), np.inf], dtype=dtype)
    assert ulp_distance(ours, theirs).tolist() == [2, 0, 2, 1]


def test_distance_of_opposite_ends_does_not_overflow():
    largest = np.finfo(np.float64).max
    found = ulp_distance(np.array([-largest]), np.array([largest]))
    assert found[0] == 2 * (np.array([largest]).view(np.uint64)[0])


def test_nan_on_one_side_is_never_hidden():
    ours = np.array([1.0, np.nan, np.nan, 4.0], dtype=np.float32)
    theirs = np.array([1.0, np.nan, 3.0, np.nan], dtype=np.float32)
    found = compare_arrays(ours, theirs)
    assert (found.compared, found.identical, found.nan_mismatch, found.max_ulp) == (4, 2, 2, 0)
    assert sorted(item.index for item in found.worst) == [(2,), (3,)]
    assert all(item.distance == np.inf for item in found.worst)
    assert found.within_one == found.close == 2


def test_the_worst_three_are_found_with_their_places():
    rng = np.random.default_rng(1)
    theirs = rng.normal(size=(40, 50)).astype(np.float32)
    ours = theirs.copy()
    ours[7, 8] += 5
    ours[30, 2] *= 1.01
    ours[0, 0] = np.nextafter(ours[0, 0], np.float32(9))
    ours[39, 49] *= 1.5
    found = compare_arrays(ours, theirs)
    by_distance = sorted(ulp_distance(ours, theirs).ravel())[-3:]
    assert [item.distance for item in found.worst] == by_distance[::-1]
    assert {item.index for item in found.worst} <= {(7, 8), (39, 49), (30, 2)}
    assert len({item.index for item in found.worst}) == 3
    assert found.identical == 2000 - 4
    assert found.within_one == 2000 - 3
    assert found.max_difference == pytest.approx(5)


@pytest.mark.parametrize("shape", [(7,), (5, 11), (3, 4, 5), (2, 40, 3)])
def test_pieces_give_the_same_as_the_whole(monkeypatch, shape):
    rng = np.random.default_rng(2)
    theirs = rng.normal(size=shape).astype(np.float32)
    ours = np.where(rng.random(shape) < 0.3, theirs * np.float32(1.001), theirs)
    ours.reshape(-1)[-1] = np.nan
    whole = compare_arrays(ours, theirs, allowed=(0.0, 1e-4))
    monkeypatch.setattr(agreement, "_PIECE", 6)
    pieces = compare_arrays(ours, theirs, allowed=(0.0, 1e-4))
    counts = ("compared", "identical", "within_one", "max_ulp", "nan_mismatch", "close", "max_difference")
    assert [getattr(pieces, name) for name in counts] == [getattr(whole, name) for name in counts]
    assert pieces.worst[0].index == whole.worst[0].index
    assert whole.worst[0].index == tuple(n - 1 for n in shape)


def test_flags_differ_by_bits_and_counts_by_ones():
    ours, theirs = np.array([0, 6, 7], dtype=np.uint32), np.array([0, 1, 6], dtype=np.uint32)
    assert compare_arrays(ours, theirs, flags=True).max_ulp == 3
    assert compare_arrays(ours, theirs).max_ulp == 5
    assert compare_arrays(theirs, ours).max_ulp == 5
    small = np.array([0, 255], dtype=np.uint8)
    assert compare_arrays(small, small[::-1].copy()).max_ulp == 255


def test_only_what_is_asked_for_is_compared():
    ours, theirs = np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3)
    ours[0, 0] = np.nan
    where = np.ones((2, 3), dtype=bool)
    where[0, 0] = False
    found = compare_arrays(ours, theirs, where=where)
    assert (found.compared, found.identical, found.nan_mismatch) == (5, 5, 0)


def test_close_is_what_the_caller_allows():
    theirs = np.array([100.0, 100.0, 0.0, np.inf, np.inf, np.nan])
    ours = np.array([100.1, 101.0, 0.05, np.inf, 1.0, np.nan])
    found = compare_arrays(ours, theirs, allowed=(1e-3, 0.1))
    assert found.close == 4
    assert found.close_fraction == pytest.approx(4 / 6)
    assert found.max_difference == pytest.approx(1.0)


def test_counts_add_up():
    one = compare_arrays(np.float32([1, 2]), np.float32([1, 3])).labelled("first")
    two = compare_arrays(np.float32([1, 2, 3]), np.float32([1, 2, np.nan])).labelled("second")
    total = combine([one, two])
    assert (total.compared, total.identical, total.nan_mismatch) == (5, 3, 1)
    assert total.worst[0].label == "second"
    assert "second [2] ours 3 theirs nan" in str(total.worst[0])
    assert combine([]).compared == 0


def test_byte_order_does_not_matter():
    theirs = np.array([1.5, -2.25, 9.0], dtype=">f4")
    assert compare_arrays(theirs.astype("<f4"), theirs).identical == 3


def test_memory_maps_are_compared(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.save(tmp_path / "a.npy", array)
    assert compare_arrays(array, np.load(tmp_path / "a.npy", mmap_mode="r")).identical == 24


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ShapeError, match=r"\(2,\) \(ours\) and \(3,\) \(theirs\)"):
        compare_arrays(np.zeros(2), np.zeros(3))
    with pytest.raises(InputError, match="float64 .* float32"):
        compare_arrays(np.zeros(2), np.zeros(2, dtype=np.float32))
    with pytest.raises(InputError, match="complex128"):
        compare_arrays(np.zeros(2, complex), np.zeros(2, complex))
