"""dq_init: from raw counts to a ramp."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roman_nexus.errors import InputError, OptionError, ShapeError
from roman_nexus.steps.exposure.dq_init import STEP, DqInitOptions, apply, check_guide_window, initial_amp33
from roman_nexus.steps.step import ExposureInfo, RampBlock, RawBlock

NY, NX = 10, 12
EXPOSURE = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16, shape=(NY, NX))


def raw_block(rows: slice = slice(0, NY), **arrays: np.ndarray) -> RawBlock:
    counts = np.arange(2 * NY * NX, dtype=np.uint16).reshape(2, NY, NX)
    return RawBlock(counts[:, rows], rows, slice(0, NX), **arrays)


def run(
    block: RawBlock, exposure: ExposureInfo = EXPOSURE, mask: np.ndarray | None = None, **options: int
) -> RampBlock:
    references = {} if mask is None else {"mask": {"dq": mask}}
    return apply(block, references, DqInitOptions(**options), exposure)


def test_counts_become_float32() -> None:
    ramp = run(raw_block())
    assert (ramp.data.dtype, ramp.groupdq.dtype, ramp.pixeldq.dtype) == (np.float32, np.uint8, np.uint32)
    np.testing.assert_array_equal(ramp.data.ravel(), np.arange(2 * NY * NX))
    assert not ramp.groupdq.any()
    assert not ramp.pixeldq.any()


def test_reference_read_and_offset() -> None:
    read = np.full((NY, NX), 65535, dtype=np.uint16)
    exposure = dataclasses.replace(EXPOSURE, data_encoding_offset=100)
    ramp = run(raw_block(reference_read=read), exposure)
    assert ramp.data[0, 0, :3].tolist() == [65435.0, 65436.0, 65437.0]  # beyond 16 bits, and not wrapped
    assert run(raw_block(), exposure).data[0, 0, 0] == -100.0


def test_resultantdq_is_copied() -> None:
    given_flags = np.full((2, NY, NX), 8, dtype=np.uint8)
    ramp = run(raw_block(resultantdq=given_flags))
    assert (ramp.groupdq == 8).all()
    ramp.groupdq[:] = 0
    assert (given_flags == 8).all()


def test_mask_is_joined_with_the_guide_window() -> None:
    mask = np.zeros((NY, NX), dtype=np.uint32)
    mask[3, 2] = 1 << 31
    exposure = dataclasses.replace(EXPOSURE, guide_window=(2, 4, 3, 5))
    dq = run(raw_block(), exposure, mask).pixeldq
    expected = np.zeros((NY, NX), dtype=np.uint32)
    expected[:, 2:4] = 16
    expected[3:5, 2:4] = 17
    expected[3, 2] = 17 | 1 << 31
    np.testing.assert_array_equal(dq, expected)


def test_growing_reaches_the_box_only() -> None:
    exposure = dataclasses.replace(EXPOSURE, guide_window=(2, 4, 0, 5))
    dq = run(raw_block(), exposure, expand_gw_flagging=1).pixeldq
    assert dq[0].tolist() == [0, 17, 17, 17, 17, 0, 0, 0, 0, 0, 0, 0]
    assert dq[6].tolist() == [0, 0, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("window", [None, (-999999,) * 4, (NX, NX + 4, 0, 4), (0, 4, NY, NY + 2), (-1, 4, 0, 4)])
def test_no_window_inside_the_frame(window: tuple[int, int, int, int] | None) -> None:
    assert not run(raw_block(), dataclasses.replace(EXPOSURE, guide_window=window)).pixeldq.any()


@given(
    window=st.tuples(*[st.integers(-3, 16)] * 4),
    grow=st.integers(0, 4),
    split=st.integers(1, NY),
)
def test_guide_window_by_definition_and_by_blocks(window: tuple[int, int, int, int], grow: int, split: int) -> None:
    exposure = dataclasses.replace(EXPOSURE, guide_window=window)
    xstart, xstop, ystart, ystop = window
    xstop, ystop = max(xstart, xstop), max(ystart, ystop)
    inside = 0 <= xstart < NX and 0 <= ystart < NY
    for first in range(0, NY, split):
        rows = slice(first, min(first + split, NY))
        dq = run(raw_block(rows), exposure, expand_gw_flagging=grow).pixeldq
        for y in range(rows.start, rows.stop):
            for x in range(NX):
                in_box = ystart - grow <= y < ystop + grow and xstart - grow <= x < xstop + grow
                expected = 16 * (inside and xstart <= x < xstop) | 17 * (inside and in_box)
                assert dq[y - rows.start, x] == expected


def test_window_warnings() -> None:
    def warn(*window: int) -> list[str]:
        return check_guide_window(dataclasses.replace(EXPOSURE, guide_window=window))

    assert check_guide_window(EXPOSURE) == []
    assert warn(-999999, -999999, -999999, -999999) == []
    assert warn(2, 4, 3, 5) == []
    assert warn(2, 40, 3, 5) == ["guide window reaches x = 40, beyond 12; it is clipped to the frame"]
    assert warn(2, 4, 3, -7) == ["guide window stops at y = -7 before it starts at y = 3; it is taken as empty"]
    assert warn(50, 60, 3, 5) == ["guide window starts at x = 50, outside 0 to 11; nothing is flagged"]
    assert len(warn(2, 1, 3, 99)) == 2


@pytest.mark.parametrize("name", ["resultantdq", "reference_read"])
def test_arrays_of_another_shape(name: str) -> None:
    with pytest.raises(ShapeError, match=name):
        run(raw_block(**{name: np.zeros((3, 3), dtype=np.uint16)}))


def test_mask_of_another_shape() -> None:
    with pytest.raises(ShapeError, match=r"mask reference dq has shape \(4, 4\); expected \(10, 12\)"):
        run(raw_block(), mask=np.zeros((4, 4), dtype=np.uint32))


@pytest.mark.parametrize("offset", [-1, 65536])
def test_offset_outside_16_bits(offset: int) -> None:
    exposure = dataclasses.replace(EXPOSURE, data_encoding_offset=offset)
    with pytest.raises(InputError, match=f"data_encoding_offset is {offset}"):
        run(raw_block(), exposure)
    with pytest.raises(InputError, match=f"data_encoding_offset is {offset}"):
        initial_amp33(np.zeros((1, 2, 2), dtype=np.uint16), None, offset)


# ------------------------------------------------------------------------------------------- amp33
def test_amp33_arithmetic() -> None:
    amp33 = np.array([[[60000, 10]], [[5, 300]]], dtype=np.uint16)
    read = np.array([[5000, 90]], dtype=np.uint16)
    np.testing.assert_array_equal(initial_amp33(amp33, read, 95), [[[64905, 5]], [[4910, 295]]])
    assert amp33[0, 0, 0] == 60000


@pytest.mark.parametrize(
    ("read", "offset", "message"),
    [
        (6000, 0, r"1 pixels of resultant 1, first at y = 0, x = 1: 60000 becomes 66000"),
        (0, 20, r"2 pixels of resultant 0, first at y = 0, x = 0: 10 becomes -10"),
    ],
)
def test_amp33_never_wraps(read: int, offset: int, message: str) -> None:
    amp33 = np.array([[[10, 10]], [[30, 60000]]], dtype=np.uint16)
    with pytest.raises(InputError, match=message):
        initial_amp33(amp33, np.full((1, 2), read, dtype=np.uint16), offset)


def test_amp33_of_another_shape() -> None:
    with pytest.raises(ShapeError, match="reference_amp33"):
        initial_amp33(np.zeros((2, 3, 4), dtype=np.uint16), np.zeros((3, 5), dtype=np.uint16), 0)


def test_declaration() -> None:
    assert (STEP.name, STEP.level, STEP.suffix, STEP.cal_step) == ("dq_init", "raw", "dqinit", "dq_init")
    with pytest.raises(OptionError, match="expand_gw_flagging is -1"):
        STEP.options(expand_gw_flagging=-1)
    with pytest.raises(OptionError, match="expected int"):
        STEP.options.from_dict({"expand_gw_flagging": 1.5})
