from __future__ import annotations

import numpy as np
import pytest

from roman_nexus.comparison.flags import FlagTally
from roman_nexus.comparison.jumps import compare_jumps
from roman_nexus.errors import ShapeError


def test_gained_and_lost_by_flag():
    old = np.zeros((6, 5), np.uint32)
    old[0, :3] = 4
    new = old.copy()
    new[0, 0] = 0
    new[1, :] = 1 | 1 << 31
    new[2, 2] = 1 << 14
    tally = FlagTally("dq")
    tally.add(new[:3], old[:3])
    tally.add(new[3:], old[3:])
    found = tally.finish()
    assert (found.compared, found.differing, found.same) == (30, 7, False)
    assert [(change.name, change.bit, change.gained, change.lost) for change in found.changes] == [
        ("DO_NOT_USE", 0, 5, 0),
        ("JUMP_DET", 2, 0, 1),
        ("bit 14", 14, 1, 0),
        ("REFERENCE_PIXEL", 31, 5, 0),
    ]


def test_bit_seven_of_a_resultant_is_not_that_of_a_pixel():
    old, new = np.zeros((2, 2), np.uint8), np.full((2, 2), 128, np.uint8)
    for name, expected in (("groupdq", "WFI18_TRANSIENT"), ("dq", "OUTLIER")):
        tally = FlagTally(name)
        tally.add(new, old)
        assert tally.finish().changes[0].name == expected


def test_equal_flags():
    tally = FlagTally("dq")
    tally.add(np.full((3, 3), 7, np.uint32), np.full((3, 3), 7, np.uint32))
    assert tally.finish().same
    assert tally.finish().changes == ()


def test_jumps_in_one_and_in_both():
    old = np.array([[1, 4, 5], [1, 4, 6], [2, 0, 0]], np.int16)
    new = np.array([[1, 4, 6], [2, 0, 0], [2, 9, 9], [7, 4000, 4087]], np.int16)
    found = compare_jumps(new, old, slice(0, 4088))
    assert (found.new, found.old, found.common, found.only_new, found.only_old) == (4, 3, 2, 2, 1)
    assert not found.same
    some = compare_jumps(new, old, slice(4, 10))
    assert (some.new, some.old, some.common) == (2, 2, 1)


def test_order_of_jumps_matters():
    old = np.array([[1, 4, 5], [2, 0, 0]], np.int16)
    found = compare_jumps(old[::-1], old, slice(0, 10))
    assert (found.common, found.only_new, found.same) == (2, 0, False)
    assert compare_jumps(old, old, slice(0, 10)).same


def test_a_list_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"jump_indices of the archive has shape \(3, 2\)"):
        compare_jumps(np.zeros((1, 3), np.int16), np.zeros((3, 2), np.int16), slice(0, 9))
