"""wfi18_transient: the transient in the first resultant of WFI18."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from roman_nexus.dq import ResultantFlag
from roman_nexus.errors import InputError, OptionError, ShapeError
from roman_nexus.steps.exposure.frame_timing import pixel_times
from roman_nexus.steps.exposure.wfi18_transient import (
    STEP,
    TransientFit,
    Wfi18TransientOptions,
    apply,
    double_exponential,
    fit_transient,
    prepare,
)
from roman_nexus.steps.step import ExposureInfo, RampBlock

SIZE = 256
READS = ((1,), (2, 3), (5,), (6, 7, 8), (9,))
FRAME_TIME = 0.2
TRUTH = {"a": 80.0, "b": -15.0, "tau_a": 0.015, "tau_b": 0.07}
EXPOSURE = ExposureInfo("WFI18", "F158", "WFI_IMAGE", READS, FRAME_TIME, shape=(SIZE, SIZE))


class Frame:
    """A ramp in memory, handed out in row blocks."""

    def __init__(self, data: NDArray[np.float32], split: int = 32) -> None:
        self.data, self.split, self.shape = data, split, data.shape

    def row_blocks(self) -> Iterator[RampBlock]:
        _, ny, nx = self.shape
        for first in range(0, ny, self.split):
            rows = slice(first, min(first + self.split, ny))
            data = self.data[:, rows].copy()
            dq = np.zeros((data.shape[1], nx), np.uint32)
            yield RampBlock(data, np.zeros(data.shape, np.uint8), dq, rows, slice(0, nx))


def transient(shape: tuple[int, int] = (SIZE, SIZE)) -> NDArray[np.float64]:
    row, column = pixel_times(FRAME_TIME, 18, shape)
    return double_exponential(np.add.outer(row, column), **TRUTH)


def ramp(noise: float = 0.0, shape: tuple[int, int] = (SIZE, SIZE)) -> NDArray[np.float32]:
    """Ramps of constant rate with the transient in the first resultant; a twentieth of the pixels is bright."""
    rng = np.random.default_rng(18)
    rate = rng.uniform(0, 4, shape)
    rate[rng.random(shape) < 0.05] *= 300
    times = np.array([np.mean(reads) for reads in READS]) * FRAME_TIME
    data = 500 + rate * times[:, None, None] + rng.normal(0, 1, (len(READS), *shape)) * noise
    data[0] += transient(shape)
    return data.astype(np.float32)


def run(
    data: NDArray[np.float32], options: Wfi18TransientOptions | None = None, split: int = 32
) -> tuple[NDArray[np.float32], NDArray[np.uint8], TransientFit]:
    chosen = options or Wfi18TransientOptions()
    frame = Frame(data, split)
    exposure = dataclasses.replace(EXPOSURE, read_pattern=READS[: data.shape[0]], shape=data.shape[1:])
    state = prepare(frame, {}, chosen, exposure)
    corrected, groupdq = np.empty_like(data), np.empty(data.shape, np.uint8)
    for block in frame.row_blocks():
        apply(block, {}, chosen, exposure, state)
        corrected[:, block.rows], groupdq[:, block.rows] = block.data, block.groupdq
    return corrected, groupdq, state


# --------------------------------------------------------------------------------------------- fit
def test_the_transient_is_found_and_removed() -> None:
    data = ramp()
    corrected, groupdq, fit = run(data)
    assert fit.fallback == ""
    # the fit sees one time a row, so it is as good as the transient is straight along a row
    found = [*fit.amplitudes, *fit.time_constants]
    np.testing.assert_allclose(found, list(TRUTH.values()), rtol=0.01)
    inner = np.s_[4:-4, 4:-4]
    expected = data[0].astype(np.float64) - transient()
    np.testing.assert_allclose(corrected[0][inner], expected[inner], atol=0.02)
    assert not groupdq.any()


def test_noise_and_bright_pixels_do_not_disturb() -> None:
    data = ramp(noise=5)
    corrected, _, _ = run(data)
    left_over = (corrected[0] - (data[0] - transient()))[4:-4, 4:-4]
    assert np.abs(left_over.mean(axis=1)).max() < 2  # of 65 DN


def test_border_and_other_resultants_stay() -> None:
    data = ramp()
    corrected, _, _ = run(data)
    np.testing.assert_array_equal(corrected[1:], data[1:])
    for edge in (np.s_[:4], np.s_[-4:], np.s_[:, :4], np.s_[:, -4:]):
        np.testing.assert_array_equal(corrected[0][edge], data[0][edge])
    assert (corrected[0][4:30, 4:-4] < data[0][4:30, 4:-4]).all()


@pytest.mark.parametrize("split", [1, 50, SIZE])
def test_row_splits_do_not_matter(split: int) -> None:
    data = ramp(noise=5)
    expected, _, fit = run(data)
    corrected, _, other = run(data, split=split)
    assert other == fit
    np.testing.assert_array_equal(corrected, expected)


def test_columns_can_be_cut_too() -> None:
    data = ramp()
    expected, _, fit = run(data)
    columns = slice(0, 128)
    part = data[:, :, columns].copy()
    dq = np.zeros((SIZE, 128), np.uint32)
    block = RampBlock(part, np.zeros(part.shape, np.uint8), dq, slice(0, SIZE), columns)
    apply(block, {}, Wfi18TransientOptions(), EXPOSURE, fit)
    np.testing.assert_array_equal(part, expected[:, :, columns])


def test_correction_by_definition() -> None:
    fit = TransientFit((7.0, -3.0), (0.05, 0.4))
    block = next(Frame(np.zeros((5, SIZE, SIZE), np.float32), SIZE).row_blocks())
    apply(block, {}, Wfi18TransientOptions(), EXPOSURE, fit)
    row, column = pixel_times(FRAME_TIME, 18, (SIZE, SIZE))
    for y, x in [(4, 4), (100, 130), (251, 251)]:
        time = row[y] + column[x]
        expected = -(7.0 * np.exp(-time / 0.05) - 3.0 * np.exp(-time / 0.4))
        assert block.data[0, y, x] == pytest.approx(np.float32(expected), rel=2e-7)


def test_which_median_a_pixel_is_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows differ in brightness: against the medians of other rows, most of a bright row is masked."""
    seen = {}

    def keep(times: NDArray[np.float64], levels: NDArray[np.float64]) -> TransientFit:
        seen["levels"] = levels
        return TransientFit()

    monkeypatch.setattr("roman_nexus.steps.exposure.wfi18_transient.fit_transient", keep)
    data = np.zeros((5, SIZE, SIZE), dtype=np.float32)
    y, x = np.mgrid[:SIZE, :SIZE]
    data[4] = np.where(y < SIZE // 2, 10, 20)  # D4 - D3: a faint half and a bright half
    data[0] = x  # the excess tells which columns were averaged
    prepare(Frame(data), {}, Wfi18TransientOptions(row_median_axis="rows"), EXPOSURE)
    all_columns = np.arange(4, SIZE - 4).mean()
    np.testing.assert_allclose(seen["levels"], all_columns)

    prepare(Frame(data), {}, Wfi18TransientOptions(), EXPOSURE)
    faint, bright = seen["levels"][: SIZE // 2 - 4], seen["levels"][SIZE // 2 - 4 :]
    np.testing.assert_allclose(faint, all_columns)
    # columns of faint rows' numbers have the limit 10: bright pixels there are masked
    np.testing.assert_allclose(bright, np.arange(SIZE // 2, SIZE - 4).mean())


def test_extrapolation_uses_mean_reads() -> None:
    """A bright uniform scene: a wrong gap between resultants would leave hundreds of DN."""
    times = np.array([np.mean(reads) for reads in READS]) * FRAME_TIME
    data = np.broadcast_to((500 + 5000 * times)[:, None, None], (5, SIZE, SIZE)).astype(np.float32)
    data[0] += transient().astype(np.float32)
    _, _, fit = run(data)
    np.testing.assert_allclose([*fit.amplitudes, *fit.time_constants], list(TRUTH.values()), rtol=0.01)


# ---------------------------------------------------------------------------------------- fallback
MASK = int(ResultantFlag.DO_NOT_USE | ResultantFlag.WFI18_TRANSIENT)


def assert_masked(data: NDArray[np.float32], corrected: NDArray[np.float32], groupdq: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(corrected, data)
    assert (groupdq[0] == MASK).all()
    assert not groupdq[1:].any()


def test_few_resultants_are_masked() -> None:
    data = ramp()[:4]
    corrected, groupdq, fit = run(data)
    assert fit.fallback == "4 resultants are fewer than the 5 a fit needs"
    assert_masked(data, corrected, groupdq)


def test_masked_on_request() -> None:
    data = ramp()
    corrected, groupdq, fit = run(data, Wfi18TransientOptions(mask_rows=True))
    assert fit.fallback == "mask_rows was asked for"
    assert_masked(data, corrected, groupdq)


def test_masked_when_the_fit_fails() -> None:
    data = ramp()
    data[0, 70] = np.nan
    corrected, groupdq, fit = run(data)
    assert fit.fallback.startswith("the fit failed")
    assert_masked(data, corrected, groupdq)


@pytest.mark.parametrize("state", [None, TransientFit(fallback="no fit")])
def test_rows_0_to_999_of_the_full_frame(state: TransientFit | None) -> None:
    masked = []
    exposure = dataclasses.replace(EXPOSURE, shape=(1100, 128))
    for first in range(0, 1100, 300):
        rows = slice(first, min(first + 300, 1100))
        shape = (2, rows.stop - rows.start, 3)
        flags = np.full(shape, 2, np.uint8)
        block = RampBlock(np.zeros(shape, np.float32), flags, np.zeros(shape[1:], np.uint32), rows, slice(0, 3))
        apply(block, {}, Wfi18TransientOptions(), exposure, state)
        masked.append(block.groupdq)
    groupdq = np.concatenate(masked, axis=1)
    assert (groupdq[0, :1000] == MASK | 2).all()
    assert (groupdq[0, 1000:] == 2).all()
    assert (groupdq[1] == 2).all()


def test_a_flat_excess_does_not_stop_the_run() -> None:
    fit = fit_transient(np.linspace(0, 3, 100), np.zeros(100))
    assert fit.fallback or np.isfinite([*fit.amplitudes]).all()


# ------------------------------------------------------------------------------------------- errors
def test_frame_that_is_not_square() -> None:
    data = ramp(shape=(64, 128))
    with pytest.raises(ShapeError, match=r"64 x 128 pixels is not square; set the option row_median_axis"):
        run(data)
    _, _, fit = run(data, Wfi18TransientOptions(row_median_axis="rows"))
    assert isinstance(fit, TransientFit)


def test_read_pattern_of_another_length() -> None:
    with pytest.raises(InputError, match="read_pattern lists 5 resultants, but the ramp has 6"):
        prepare(Frame(np.zeros((6, 16, 128), np.float32)), {}, Wfi18TransientOptions(), EXPOSURE)


def test_declaration() -> None:
    assert STEP.applies is not None
    assert STEP.applies(EXPOSURE)
    assert not STEP.applies(dataclasses.replace(EXPOSURE, detector="WFI17"))
    assert STEP.needs_prepare is not None
    assert STEP.needs_prepare(STEP.options(), EXPOSURE)
    assert not STEP.needs_prepare(STEP.options(mask_rows=True), EXPOSURE)
    assert not STEP.needs_prepare(STEP.options(), dataclasses.replace(EXPOSURE, read_pattern=READS[:4]))
    with pytest.raises(OptionError, match="row_median_axis is 'columns'"):
        STEP.options.from_dict({"row_median_axis": "columns"})
