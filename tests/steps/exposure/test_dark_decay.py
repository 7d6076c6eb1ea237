"""dark_decay: the signal that fades after reset."""

import dataclasses
import math

import numpy as np
import pytest

from roman_nexus.errors import InputError, ReferenceMismatchError
from roman_nexus.steps.exposure.dark_decay import STEP, DarkDecayOptions, DarkDecayState, apply, prepare
from roman_nexus.steps.step import ExposureInfo, RampBlock

NY, NX = 300, 256
FRAME_TIME = 3.16247
READS = ((1,), (2, 3), (5, 6, 7))


def exposure_of(sca: int) -> ExposureInfo:
    return ExposureInfo(f"WFI{sca:02d}", "F158", "WFI_IMAGE", READS, FRAME_TIME, shape=(NY, NX))


class Frame:
    """Only the shape is asked for."""

    shape = (len(READS), NY, NX)


def table(detector: str, amplitude: object = 2.0, time_constant: object = 25.0) -> dict[str, object]:
    entry = {"amplitude": amplitude, "time_constant": time_constant}
    return {"darkdecaysignal": {"decay_table": {detector: entry}}}


def block_of(rows: slice = slice(0, NY), columns: slice = slice(0, NX), value: float = 100.0) -> RampBlock:
    shape = (len(READS), rows.stop - rows.start, columns.stop - columns.start)
    data = np.full(shape, value, dtype=np.float32)
    return RampBlock(data, np.zeros(shape, np.uint8), np.zeros(shape[1:], np.uint32), rows, columns)


def state_of(sca: int, **numbers: object) -> DarkDecayState:
    exposure = exposure_of(sca)
    return prepare(Frame(), table(exposure.detector, **numbers), DarkDecayOptions(), exposure)


@pytest.mark.parametrize("sca", [1, 3, 18])
def test_pixel_by_pixel(sca: int) -> None:
    block = block_of()
    apply(block, {}, DarkDecayOptions(), exposure_of(sca), state_of(sca))
    last = 127 + 142 * (NY - 1)
    guide = (FRAME_TIME / 4.915263e-6 - last) / 2 * 1.5  # 300 rows make two groups
    for y, x in [(0, 0), (299, 255), (150, 128), (20, 127), (270, 3)]:
        q, across = (y, NX - 1 - x) if sca % 3 == 0 else (NY - 1 - y, x)
        p = across % 128 if across < 128 else 127 - across % 128
        start = FRAME_TIME * (p + 142 * q + guide * (q // 256)) / (last + 2 * guide)
        for i, reads in enumerate(READS):
            decays = [2.0 * math.exp(-(start + (read - 1.5) * FRAME_TIME) / 25.0) for read in reads]
            expected = np.float32(100.0 - sum(decays) / len(decays))
            assert block.data[i, y, x] == pytest.approx(expected, abs=8e-6)  # one ulp at 100


def test_no_decay_is_a_constant() -> None:
    block = block_of()
    apply(block, {}, DarkDecayOptions(), exposure_of(2), state_of(2, amplitude=0.5, time_constant=1e30))
    assert (block.data == 99.5).all()


def test_one_rounding() -> None:
    block = block_of(value=0.1)
    state = DarkDecayState(np.full((3, NY), 0.3), np.full(NX, 1 / 3))
    apply(block, {}, DarkDecayOptions(), exposure_of(1), state)
    assert block.data[0, 0, 0] == np.float32(float(np.float32(0.1)) - 0.3 * (1 / 3))


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(0, 37), slice(0, NX)), (slice(37, NY), slice(0, NX)), (slice(0, NY), slice(128, 256))],
)
def test_blocks_do_not_matter(rows: slice, columns: slice) -> None:
    whole, part, state = block_of(), block_of(rows, columns), state_of(3)
    for block in (whole, part):
        apply(block, {}, DarkDecayOptions(), exposure_of(3), state)
    np.testing.assert_array_equal(part.data, whole.data[:, rows, columns])


def test_fast_decay_leaves_nothing_to_later_reads() -> None:
    block = block_of()
    apply(block, {}, DarkDecayOptions(), exposure_of(1), state_of(1, time_constant=0.03))
    assert np.isfinite(block.data).all()
    assert block.data[0].min() < 0
    np.testing.assert_array_equal(block.data[1:], 100)


# ------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    "numbers",
    [
        {"amplitude": None},
        {"time_constant": None},
        {"amplitude": math.nan},
        {"time_constant": 0.0},
        {"time_constant": -4},
        {"time_constant": math.inf},
    ],
)
def test_table_without_usable_numbers(numbers: dict[str, object]) -> None:
    with pytest.raises(ReferenceMismatchError, match=r"for WFI01 \(nan: empty\); expected finite numbers"):
        state_of(1, **numbers)


def test_decay_that_is_too_fast() -> None:
    with pytest.raises(ReferenceMismatchError, match=r"time constant 0.001 s for WFI01: with frames of 3.16247 s"):
        state_of(1, time_constant=1e-3)


def test_detector_not_in_the_table() -> None:
    with pytest.raises(ReferenceMismatchError, match="no entry for WFI05; it lists WFI01"):
        prepare(Frame(), table("WFI01"), DarkDecayOptions(), exposure_of(5))


def test_read_pattern_of_another_length() -> None:
    exposure = dataclasses.replace(exposure_of(1), read_pattern=((1,), (2,)))
    with pytest.raises(InputError, match="read_pattern lists 2 resultants, but the ramp has 3"):
        prepare(Frame(), table("WFI01"), DarkDecayOptions(), exposure)


def test_declaration() -> None:
    assert STEP.couples == "pixel"
    assert STEP.references[0].whole == ("decay_table",)
    assert STEP.references[0].missing == "error"
