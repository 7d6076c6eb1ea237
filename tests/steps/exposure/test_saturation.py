"""saturation: flags of the end of the range, of the converter's floor, and of averages that hide saturation."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roman_nexus.errors import InputError, OptionError, ReferenceMismatchError
from roman_nexus.steps.exposure.saturation import STEP, SaturationOptions, apply, prepare
from roman_nexus.steps.step import ExposureInfo, RampBlock

NO_SAT_CHECK = 1 << 21
Reads = tuple[tuple[int, ...], ...]


def exposure_of(reads: Reads, shape: tuple[int, int] = (1, 1)) -> ExposureInfo:
    return ExposureInfo("WFI01", "F158", "WFI_IMAGE", reads, 3.16, shape=shape)


class Frame:
    """A ramp in memory, handed out in row blocks."""

    def __init__(self, data: NDArray[np.float32], split: int) -> None:
        self.data, self.split, self.shape = data, split, data.shape

    def row_blocks(self) -> Iterator[RampBlock]:
        _, ny, nx = self.shape
        for first in range(0, ny, self.split):
            rows = slice(first, min(first + self.split, ny))
            data = self.data[:, rows].copy()
            dq = np.zeros((data.shape[1], nx), dtype=np.uint32)
            yield RampBlock(data, np.zeros(data.shape, dtype=np.uint8), dq, rows, slice(0, nx))


def flag(
    data: NDArray[np.float32], threshold: NDArray[np.float32], dq: NDArray[np.uint32], reads: Reads, split: int = 99,
    **options: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:  # fmt: skip
    """Run the step over a whole frame, block by block."""
    exposure = exposure_of(reads, data.shape[1:])
    chosen = SaturationOptions(**options)
    frame = Frame(data, split)
    references = {"saturation": {"data": threshold, "dq": dq}}
    state = prepare(frame, references, chosen, exposure) if STEP.needs_prepare(chosen, exposure) else None
    groupdq, pixeldq = np.empty(data.shape, dtype=np.uint8), np.empty(data.shape[1:], dtype=np.uint32)
    for block in frame.row_blocks():
        cut = {"saturation": {"data": threshold[block.rows], "dq": dq[block.rows]}}
        apply(block, cut, chosen, exposure, state)
        groupdq[:, block.rows], pixeldq[block.rows] = block.groupdq, block.pixeldq
    return groupdq, pixeldq


def flag_pixel(
    values: list[float], threshold: float, reads: Reads, dq: int = 0, **options: int
) -> tuple[list[int], int]:
    """Run the step on one pixel."""
    data = np.array(values, dtype=np.float32).reshape(-1, 1, 1)
    groupdq, pixeldq = flag(
        data, np.full((1, 1), threshold, np.float32), np.full((1, 1), dq, np.uint32), reads, **options
    )
    return groupdq.ravel().tolist(), int(pixeldq[0, 0])


SINGLE: Reads = ((1,), (2,), (3,), (4,))
MIXED: Reads = ((1,), (2, 3), (4, 5, 6, 7), (8, 9, 10, 11))


# ------------------------------------------------------------------------------------ pixel by pixel
def test_saturated_from_the_first_crossing_on() -> None:
    assert flag_pixel([10, 1000, 900, 20], 1000, SINGLE)[0] == [0, 2, 2, 2]


def test_floor_flags_one_resultant() -> None:
    assert flag_pixel([0, 5, -1, 1000], 1000, SINGLE)[0] == [65, 0, 65, 2]


def test_average_that_hides_saturation() -> None:
    # resultant 2 averages reads 4 to 7: its limit is 1000 * 5.5 / 7 = 785.7 DN
    assert flag_pixel([100, 250, 786, 1000], 1000, MIXED)[0] == [0, 0, 1, 2]
    assert flag_pixel([100, 250, 785, 1000], 1000, MIXED)[0] == [0, 0, 0, 2]
    # not without saturation after it
    assert flag_pixel([100, 250, 786, 900], 1000, MIXED)[0] == [0, 0, 0, 0]
    # a single read hides nothing
    assert flag_pixel([100, 250, 999, 1000], 1000, SINGLE)[0] == [0, 0, 0, 2]


def test_step_in_the_second_resultant() -> None:
    # resultant 1 lies below its own limit 1000 * 2.5 / 3 = 833.3, but rose by more than (1000 - 100) / 2
    assert flag_pixel([100, 551, 1000, 1000], 1000, MIXED)[0] == [0, 1, 2, 2]
    assert flag_pixel([100, 550, 1000, 1000], 1000, MIXED)[0] == [0, 0, 2, 2]
    # announced by the first: 143 / 1 * 7 > 1000
    assert flag_pixel([143, 600, 1000, 1000], 1000, MIXED)[0] == [0, 0, 2, 2]
    # the pass needs three resultants
    assert flag_pixel([100, 551], 1000, MIXED[:2])[0] == [0, 0]


@pytest.mark.parametrize(("threshold", "dq"), [(float("nan"), 0), (500.0, NO_SAT_CHECK)])
def test_pixel_without_threshold(threshold: float, dq: int) -> None:
    groupdq, pixeldq = flag_pixel([10, 20000, 65535, 65535], threshold, MIXED, dq)
    assert groupdq == [0, 0, 0, 0]
    assert pixeldq == NO_SAT_CHECK
    # only a reference read added back can bring counts beyond 16 bits
    assert flag_pixel([10, 20000, 65536, 65536], threshold, MIXED, dq)[0] == [0, 0, 2, 2]


def test_reference_flags_are_joined() -> None:
    data = np.full((2, 1, 1), 5, dtype=np.float32)
    block = RampBlock(data, np.full((2, 1, 1), 8, np.uint8), np.full((1, 1), 16, np.uint32), slice(0, 1), slice(0, 1))
    limits = {"data": np.full((1, 1), 4, np.float32), "dq": np.full((1, 1), 1, np.uint32)}
    apply(block, {"saturation": limits}, SaturationOptions(), exposure_of(((1,), (2,))))
    assert block.groupdq.ravel().tolist() == [10, 10]
    assert block.pixeldq[0, 0] == 17
    assert limits["dq"][0, 0] == 1


def test_backup_reaches_resultants_of_several_reads() -> None:
    values = [10.0, 20.0, 30.0, 1000.0]
    assert flag_pixel(values, 1000, MIXED, backup=1)[0] == [0, 0, 2, 2]
    assert flag_pixel(values, 1000, MIXED, backup=2)[0] == [0, 2, 2, 2]
    assert flag_pixel(values, 1000, MIXED, backup=3)[0] == [0, 2, 2, 2]  # the first is a single read
    assert flag_pixel(values, 1000, SINGLE, backup=3)[0] == [0, 0, 0, 2]


def by_definition(values: list[float], threshold: float, unchecked: bool, reads: Reads) -> list[int]:
    """The three passes for one pixel, in plain Python; float32 where the data are."""
    value = [np.float32(item) for item in values]
    limit = np.float32(65536.0 if unchecked else threshold)
    count = len(value)
    crossed = next((i for i in range(count) if value[i] >= limit), count)
    flags = [(2 if i >= crossed else 0) | (65 if value[i] <= 0 else 0) for i in range(count)]
    for i in range(count - 1):
        dilution = float(np.mean(reads[i])) / reads[i][-1]
        high = float(value[i]) >= float(limit) * (1.0 if unchecked else dilution)
        if dilution != 1 and high and not flags[i] & 3 and flags[i + 1] & 2:
            flags[i] |= 1
    if count > 2 and flags[2] & 2 and not flags[1] & 2:
        quiet = float(value[0]) / float(np.mean(reads[0])) * reads[2][-1] < float(limit)
        if quiet and value[1] - value[0] > (limit - value[0]) / np.float32(len(reads[1])):
            flags[1] |= 1
    return flags


@st.composite
def read_patterns(draw: st.DrawFn) -> Reads:
    reads, number = [], 0
    for length in draw(st.lists(st.integers(1, 4), min_size=2, max_size=5)):
        number += draw(st.integers(0, 2))
        reads.append(tuple(range(number + 1, number + length + 1)))
        number += length
    return tuple(reads)


@settings(max_examples=300)
@given(reads=read_patterns(), draw=st.data())
def test_against_the_definition(reads: Reads, draw: st.DataObject) -> None:
    level = st.one_of(st.sampled_from([0.0, 550.0, 785.75, 833.5, 1000.0]), st.floats(-20, 1200, width=32))
    values = draw.draw(st.lists(level, min_size=len(reads), max_size=len(reads)))
    threshold = draw.draw(st.sampled_from([1000.0, 550.0, 999.9]))
    unchecked = draw.draw(st.booleans())
    found, _ = flag_pixel(values, threshold, reads, NO_SAT_CHECK * unchecked)
    assert found == by_definition(values, threshold, unchecked, reads)


# ----------------------------------------------------------------------------------------- growing
def plane(shape: tuple[int, int], value: float) -> NDArray[np.float32]:
    return np.full(shape, value, dtype=np.float32)


@pytest.mark.parametrize("split", [1, 2, 5, 7])
def test_growing_in_every_resultant_across_blocks(split: int) -> None:
    data = np.full((3, 7, 6), 10, dtype=np.float32)
    data[1, 0, 5] = 1000  # a corner
    data[2, 4, 2] = 1000
    data[0, 6, 0] = 0  # the floor does not grow
    groupdq, _ = flag(
        data, plane((7, 6), 1000), np.zeros((7, 6), np.uint32), ((1,), (2,), (3,)), split, n_pix_grow_sat=1
    )
    expected = np.zeros((3, 7, 6), dtype=np.uint8)
    expected[1:, 0:2, 4:6] = 2
    expected[2, 3:6, 1:4] = 2
    expected[0, 6, 0] = 65
    np.testing.assert_array_equal(groupdq, expected)


@pytest.mark.parametrize("split", [1, 3, 9])
def test_partial_saturation_grows_but_the_second_pass_does_not(split: int) -> None:
    data = np.full((4, 9, 9), 100, dtype=np.float32)
    data[:, 2, 2] = 100, 250, 800, 1000  # resultant 2 is partially saturated
    data[:, 6, 6] = 100, 551, 1000, 1000  # resultant 1 stepped
    groupdq, _ = flag(data, plane((9, 9), 1000), np.zeros((9, 9), np.uint32), MIXED, split, n_pix_grow_sat=1)
    expected = np.zeros((4, 9, 9), dtype=np.uint8)
    expected[3, 1:4, 1:4] = 2
    expected[2, 1:4, 1:4] = 1
    expected[2:, 5:8, 5:8] = 2
    expected[1, 6, 6] = 1
    np.testing.assert_array_equal(groupdq, expected)


@pytest.mark.parametrize("grow", [0, 2])
def test_row_splits_do_not_matter(grow: int) -> None:
    rng = np.random.default_rng(5)
    ramps = np.array([[10, 20, 30, 40], [100, 250, 800, 1000], [100, 551, 1000, 1000], [0, 20, 30, 40]], np.float32)
    chosen = rng.choice(4, p=[0.85, 0.05, 0.05, 0.05], size=(23, 19))
    data = np.ascontiguousarray(np.moveaxis(ramps[chosen], -1, 0))
    threshold = rng.choice([900, 1000, np.nan], p=[0.45, 0.45, 0.1], size=(23, 19)).astype(np.float32)
    dq = rng.choice([0, NO_SAT_CHECK, 1], size=(23, 19)).astype(np.uint32)
    whole = flag(data, threshold, dq, MIXED, n_pix_grow_sat=grow, backup=1)
    assert {0, 2, 3, 65} <= set(np.unique(whole[0]).tolist())
    for split in (1, 4, 22):
        parts = flag(data, threshold, dq, MIXED, split, n_pix_grow_sat=grow, backup=1)
        np.testing.assert_array_equal(parts[0], whole[0])
        np.testing.assert_array_equal(parts[1], whole[1])


# ------------------------------------------------------------------------------------------ errors
def test_reference_of_another_shape() -> None:
    data = np.ones((2, 3, 4), dtype=np.float32)
    with pytest.raises(
        ReferenceMismatchError, match=r"saturation reference data has shape \(2, 4\); expected \(3, 4\)"
    ):
        flag(data, plane((2, 4), 1), np.zeros((3, 4), np.uint32), ((1,), (2,)))


@pytest.mark.parametrize("grow", [0, 1])
def test_read_pattern_of_another_length(grow: int) -> None:
    data = np.ones((2, 3, 4), dtype=np.float32)
    with pytest.raises(InputError, match="read_pattern lists 3 resultants, but the ramp has 2"):
        flag(data, plane((3, 4), 1), np.zeros((3, 4), np.uint32), ((1,), (2,), (3,)), n_pix_grow_sat=grow)


@pytest.mark.parametrize("name", ["n_pix_grow_sat", "backup"])
def test_options_are_not_negative(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} is -1"):
        STEP.options(**{name: -1})


def test_declaration() -> None:
    exposure = exposure_of(SINGLE)
    assert STEP.needs_prepare is not None
    assert not STEP.needs_prepare(STEP.options(), exposure)
    assert STEP.needs_prepare(STEP.options(n_pix_grow_sat=1), exposure)
    assert STEP.couples == "pixel"
