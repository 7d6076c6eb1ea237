"""refpix: correlated read-out noise, measured on reference pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from roman_nexus.errors import InputError, OptionError, ReferenceMismatchError, ShapeError
from roman_nexus.steps.exposure.refpix import STEP, RefpixOptions, RefpixState, apply, prepare
from roman_nexus.steps.step import ExposureInfo, RampBlock

BAD = 1 << 17
Coefficients = dict[str, NDArray[np.complex128]]


@dataclass
class Frame:
    """A ramp in memory, of which pieces can be cut."""

    data: NDArray[np.float32]
    pixeldq: NDArray[np.uint32]
    amp33: NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    def cut(self, rows: slice, columns: slice) -> RampBlock:
        data = self.data[:, rows, columns].copy()
        return RampBlock(data, np.zeros(data.shape, np.uint8), self.pixeldq[rows, columns].copy(), rows, columns)

    def map(self, function: Any, items: Any) -> list[Any]:
        return [function(item) for item in items]


def no_coefficients(ny: int, nx: int) -> Coefficients:
    return {name: np.zeros((nx // 128, ny * 70 + 1), dtype=complex) for name in ("gamma", "zeta", "alpha")}


def some_frame(nresultants: int = 3, ny: int = 10, nx: int = 256, seed: int = 1) -> tuple[Frame, Coefficients]:
    """A noisy frame with bad reference pixels, gaps in amp33 and coefficients of all frequencies."""
    rng = np.random.default_rng(seed)
    data = np.round(rng.normal(5000, 300, (ny, nx)) + rng.normal(0, 20, (nresultants, ny, nx))).astype(np.float32)
    amp33 = np.round(rng.normal(20000, 30, (nresultants, ny, 128))).astype(np.uint16)
    amp33[:, rng.random((ny, 128)) < 0.05] = 0
    pixeldq = np.zeros((ny, nx), dtype=np.uint32)
    pixeldq[[1, 5, ny - 1, 6], [60, 2, 200, nx - 1]] = BAD | 1
    coefficients = no_coefficients(ny, nx)
    for values in coefficients.values():
        values[:] = rng.normal(0, 0.3, values.shape) + 1j * rng.normal(0, 0.3, values.shape)
    return Frame(data, pixeldq, amp33), coefficients


def exposure_of(frame: Frame) -> ExposureInfo:
    reads = tuple((number + 1,) for number in range(frame.shape[0]))
    return ExposureInfo("WFI01", "F158", "WFI_IMAGE", reads, 3.16, shape=frame.shape[1:])


def correct(frame: Frame, coefficients: Coefficients, **options: object) -> NDArray[np.float32]:
    """Run the step over all channels; ``frame.amp33`` is replaced."""
    chosen = RefpixOptions(**options)
    exposure = exposure_of(frame)
    state = prepare(frame, {"refpix": coefficients}, chosen, exposure)
    corrected = np.empty_like(frame.data)
    for channel in reversed(range(frame.shape[2] // 128)):  # in any order
        block = frame.cut(slice(0, frame.shape[1]), slice(128 * channel, 128 * channel + 128))
        own = {name: values[channel] for name, values in coefficients.items()}
        apply(block, {"refpix": own}, chosen, exposure, state)
        corrected[:, :, block.columns] = block.data
    return corrected


def by_definition(
    frame: Frame, coefficients: Coefficients, skip: str = "", scale: int = 2
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corrected data and amp33 in float64, from the published equations with FFTs, line by line."""
    nresultants, ny, nx = frame.shape
    length, nchannels = ny * 140, nx // 128
    data = frame.data.astype(np.float64)
    if skip != "zero_bad_ref_pix":
        data[:, (frame.pixeldq & BAD) != 0] = 0
    data = np.concatenate([data, frame.amp33.astype(np.float64)], axis=2)
    offset = data.mean(axis=0) if skip != "remove_offset" else np.zeros(data.shape[1:])
    data = data - offset

    series = np.zeros((nchannels + 1, nresultants, ny, 140))
    for channel in range(nchannels + 1):
        part = data[:, :, 128 * channel : 128 * channel + 128]
        series[channel, :, :, :128] = part[:, :, ::-1] if channel % 2 and channel < nchannels else part
    time = np.arange(length).reshape(ny, 140) - (length - 1) / 2
    edges = [0, 1, 2, 3, ny - 4, ny - 3, ny - 2, ny - 1]
    for channel in range(nchannels + 1):
        for i in range(nresultants):
            plane = series[channel, i]
            used = plane != 0
            if skip != "remove_trends":
                m, b = np.polyfit(time[edges][used[edges]], plane[edges][used[edges]], 1)
                plane[used] -= m * time[used] + b
    weights = np.sin(np.arange(1, 33) * np.pi / 32)
    for plane in series[-1]:
        flat = plane.reshape(-1)
        if skip != "cosine_interpolate":
            present = (flat != 0).astype(float)
            filled = np.convolve(flat, weights, "same") / np.convolve(present, weights, "same")
            flat[present == 0] = filled[present == 0]
        for _ in range(3 if skip != "fft_interpolate" else 0):
            low = np.fft.rfft(flat) * (1 + np.cos(2 * np.pi * np.arange(length // 2 + 1) / length)) / 2
            plane[:, 128:] = np.fft.irfft(low, length).reshape(ny, 140)[:, 128:]

    left, right = np.zeros((2, nresultants, ny, 140))
    left[:, :, :4] = series[0, :, :, :4]
    right[:, :, :4] = series[nchannels - 1, :, :, :4]
    spectra = [
        np.fft.rfft(part.reshape(nresultants, length)) / length * factor
        for part, factor in ((left, 35), (right, 35), (series[-1], 1))
    ]
    for channel in range(nchannels):
        total = sum(
            spectrum * coefficients[name][channel]
            for spectrum, name in zip(spectra, ("gamma", "zeta", "alpha"), strict=True)
        )
        series[channel] -= np.fft.irfft(total * (length + scale), length).reshape(nresultants, ny, 140)
    for channel in range(nchannels + 1):
        part = series[channel, :, :, :128]
        data[:, :, 128 * channel : 128 * channel + 128] = (
            part[:, :, ::-1] if channel in range(1, nchannels, 2) else part
        )
    data += offset
    return data[:, :, :nx], data[:, :, nx:]


# ---------------------------------------------------------------------------------------- equations
@pytest.mark.parametrize(
    "skip",
    ["", "zero_bad_ref_pix", "remove_offset", "remove_trends", "cosine_interpolate", "fft_interpolate"],
)
def test_against_the_published_equations(skip: str) -> None:
    frame, coefficients = some_frame()
    expected, expected_amp33 = by_definition(frame, coefficients, skip)
    before = frame.data.copy()
    corrected = correct(frame, coefficients, **({skip: False} if skip else {}))
    assert np.abs(expected - before).max() > 20  # there is something to correct
    # float32 at 5000 DN, and at 20000 DN in spectra where the offset stays
    np.testing.assert_allclose(corrected, expected, rtol=0, atol=0.02 if skip == "remove_offset" else 0.003)
    np.testing.assert_allclose(frame.amp33, np.abs(expected_amp33), rtol=0, atol=1.01)
    np.testing.assert_array_equal(frame.data, before)


def test_every_switch_matters() -> None:
    names = ("zero_bad_ref_pix", "remove_offset", "remove_trends", "cosine_interpolate", "fft_interpolate")
    results = [correct(*some_frame(), **{name: False}) for name in names]
    results.append(correct(*some_frame()))
    for position, result in enumerate(results):
        for other in results[position + 1 :]:
            assert not np.array_equal(result, other)


def test_inverse_scale() -> None:
    frame, coefficients = some_frame()
    length = frame.shape[1] * 140
    mission = correct(some_frame()[0], coefficients)
    exact = correct(some_frame()[0], coefficients, inverse_scale="exact")
    unchanged = correct(frame, no_coefficients(*frame.shape[1:]))
    # where the correction is large, its ratio shows
    large = np.abs(unchanged - exact) > 100
    ratio = (unchanged - mission)[large].sum(dtype=float) / (unchanged - exact)[large].sum(dtype=float)
    assert large.sum() > 10
    assert ratio == pytest.approx((length + 2) / length, abs=2e-5)


# ------------------------------------------------------------------------------------------ meaning
def test_a_constant_ramp_stays() -> None:
    frame = Frame(
        np.full((2, 8, 256), 1000, np.float32), np.zeros((8, 256), np.uint32), np.full((2, 8, 128), 7, np.uint16)
    )
    corrected = correct(frame, no_coefficients(8, 256))
    np.testing.assert_array_equal(corrected, 1000)
    np.testing.assert_array_equal(frame.amp33, 7)


def test_a_drift_in_time_is_removed() -> None:
    ny, nx = 12, 384
    place = np.arange(128)
    rows = np.arange(ny)[:, None] * 140
    drift = np.concatenate([rows + place, rows + place[::-1], rows + place], axis=1) - (ny * 140 - 1) / 2
    scene = np.random.default_rng(0).integers(500, 900, size=(ny, nx))
    data = np.stack([scene + 0.125 * drift, scene - 0.125 * drift]).astype(np.float32)
    frame = Frame(data, np.zeros((ny, nx), np.uint32), np.full((2, ny, 128), 9, np.uint16))
    corrected = correct(frame, no_coefficients(ny, nx))
    np.testing.assert_allclose(corrected, np.stack([scene, scene]), atol=2e-4)


def common_noise(nresultants: int, ny: int, nx: int) -> NDArray[np.float64]:
    """Slow noise that all outputs share at the same time, (F, ny, nx + 128)."""
    rng = np.random.default_rng(4)
    time = np.arange(ny * 140) / (ny * 140)
    phases, heights = rng.uniform(0, 1, (6, nresultants, 1)), rng.uniform(20, 60, (6, nresultants, 1))
    noise = sum(heights[k] * np.cos(2 * np.pi * (time * (k + 2) + phases[k])) for k in range(6))
    noise = (noise - noise.mean(axis=0)).reshape(nresultants, ny, 140)[:, :, :128]
    flipped = [noise[:, :, ::-1] if channel % 2 and channel < nx // 128 else noise for channel in range(nx // 128 + 1)]
    return np.concatenate(flipped, axis=2)


@pytest.mark.parametrize("name", ["alpha", "gamma", "zeta"])
def test_each_reference_takes_out_common_noise(name: str) -> None:
    nresultants, ny, nx = 4, 64, 512
    noise = common_noise(nresultants, ny, nx)
    data = (3000 + noise[:, :, :nx]).astype(np.float32)
    amp33 = np.round(20000 + noise[:, :, nx:]).astype(np.uint16)
    coefficients = no_coefficients(ny, nx)
    coefficients[name][:, :20] = 1  # the slow frequencies only: four columns do not show the fast ones
    options = {"remove_trends": False}  # six waves in a short series are no straight line
    before = np.std(data - 3000)
    corrected = correct(Frame(data, np.zeros((ny, nx), np.uint32), amp33), coefficients, **options)
    assert before > 50
    assert np.std(corrected - 3000) < 0.01 * before


def test_bad_reference_pixels_do_not_count() -> None:
    frame, coefficients = some_frame()
    expected = correct(frame, coefficients)
    spoilt, _ = some_frame()
    bad = (spoilt.pixeldq & BAD) != 0
    spoilt.data[:, bad] = 60000
    corrected = correct(spoilt, coefficients)
    np.testing.assert_array_equal(corrected, expected)
    # they hold nothing but the correction, which is small against what they held
    assert np.abs(corrected[:, bad]).max() < 300


def test_science_pixels_do_not_feel_each_other() -> None:
    frame, coefficients = some_frame(ny=16)
    expected = correct(frame, coefficients)
    changed, _ = some_frame(ny=16)
    changed.data[:, 7, 100] += np.array([0, 4000, 9000], dtype=np.float32)
    difference = correct(changed, coefficients) != expected
    assert difference[1:, 7, 100].all()
    assert difference.sum() == 2 + difference[0, 7, 100]  # its own offset moved, so even resultant 0 may round anew


def test_amp33_is_stored_as_truncated_absolute_value() -> None:
    frame = Frame(
        np.full((2, 8, 128), 100, np.float32), np.zeros((8, 128), np.uint32), np.full((2, 8, 128), 10, np.uint16)
    )
    frame.amp33[0, 4, 5] = 13  # mean 11.5, so 1.5 above it, and no trend in the outer rows
    correct(frame, no_coefficients(8, 128), remove_trends=False)
    assert frame.amp33.dtype == np.uint16
    assert frame.amp33[:, 4, 5].tolist() == [13, 10]
    assert (np.delete(frame.amp33[0], 4, axis=0) == 10).all()


def test_state_is_small_and_lean() -> None:
    frame, coefficients = some_frame()
    state = prepare(frame, {"refpix": coefficients}, RefpixOptions(), exposure_of(frame))
    assert isinstance(state, RefpixState)
    for spectrum in (state.left, state.right, state.amp33):
        assert (spectrum.shape, spectrum.dtype) == ((3, 701), np.complex64)
    assert state.slope.shape == state.intercept.shape == (2, 3)


def test_without_trends_nothing_is_fitted() -> None:
    frame, coefficients = some_frame()
    state = prepare(frame, {"refpix": coefficients}, RefpixOptions(remove_trends=False), exposure_of(frame))
    assert not state.slope.any()
    assert not state.intercept.any()


# ------------------------------------------------------------------------------------------- errors
def test_one_resultant_is_not_enough() -> None:
    frame, coefficients = some_frame(nresultants=1)
    with pytest.raises(InputError, match="1 resultant; it needs at least 2"):
        correct(frame, coefficients)


@pytest.mark.parametrize(("ny", "nx"), [(7, 128), (8, 100), (8, 200)])
def test_frames_without_channels(ny: int, nx: int) -> None:
    frame = Frame(np.ones((2, ny, nx), np.float32), np.zeros((ny, nx), np.uint32), np.ones((2, ny, 128), np.uint16))
    with pytest.raises(ShapeError, match=f"frame of {ny} x {nx}"):
        correct(frame, no_coefficients(ny, nx))


def test_amp33_of_another_shape() -> None:
    frame, coefficients = some_frame()
    frame.amp33 = frame.amp33[:, :-1]
    with pytest.raises(ShapeError, match=r"amp33 has shape \(3, 9, 128\); expected \(3, 10, 128\)"):
        correct(frame, coefficients)


@pytest.mark.parametrize("cut", [np.s_[:1], np.s_[:, :-1]])
def test_coefficients_of_another_frame(cut: object) -> None:
    frame, coefficients = some_frame()
    coefficients["zeta"] = coefficients["zeta"][cut]
    with pytest.raises(ReferenceMismatchError, match=r"refpix reference zeta has shape .* needs \(2, 701\)"):
        correct(frame, coefficients)


@pytest.mark.parametrize(("y", "x"), [(0, 100), (9, 201), (5, 1), (5, 255)])
def test_reference_pixels_that_are_not_finite(y: int, x: int) -> None:
    frame, coefficients = some_frame()
    frame.data[1, y, x] = np.nan
    with pytest.raises(InputError, match="not finite"):
        correct(frame, coefficients)


@pytest.mark.parametrize("columns", [slice(0, 256), slice(64, 192)])
def test_block_that_is_no_channel(columns: slice) -> None:
    frame, coefficients = some_frame()
    exposure = exposure_of(frame)
    state = prepare(frame, {"refpix": coefficients}, RefpixOptions(), exposure)
    block = frame.cut(slice(0, 10), columns)
    own = {name: values[0] for name, values in coefficients.items()}
    with pytest.raises(ShapeError, match="one read-out channel"):
        apply(block, {"refpix": own}, RefpixOptions(), exposure, state)


def test_declaration() -> None:
    assert STEP.couples == "channel"
    assert STEP.references[0].channels == ("gamma", "zeta", "alpha")
    assert STEP.references[0].missing == "skip"
    with pytest.raises(OptionError, match="inverse_scale is 'double'; accepted are 'romancal', 'exact'"):
        STEP.options.from_dict({"inverse_scale": "double"})
