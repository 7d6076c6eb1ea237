"""The references: complete, valid, consistent with each other, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from roman_nexus.demo import correlated_noise
from roman_nexus.demo.correlated_noise import ChannelNoise, make_coupling
from roman_nexus.demo.nonlinearity import correcting_coefficients, measured_counts, measuring_coefficients
from roman_nexus.demo.reference_files import reference_model, reference_name, reference_paths, write_references
from roman_nexus.demo.references import REFERENCE_TYPES, ReferenceSet
from roman_nexus.dq import PixelFlag
from roman_nexus.errors import InputError, OptionError, OutputError, ShapeError

SHAPE = (128, 256)


@pytest.fixture(scope="module")
def references() -> ReferenceSet:
    return ReferenceSet("WFI06", SHAPE, seed=11)


@pytest.mark.parametrize("reftype", REFERENCE_TYPES)
def test_every_type_is_valid_and_has_the_right_shape(references, reftype, tmp_path):
    from roman_datamodels import datamodels

    (path,) = write_references(references, tmp_path, ["F129"], [reftype])
    assert path.name == reference_name(reftype, "WFI06", "F129")
    with datamodels.open(path) as model:
        model.validate()
        assert model.meta.reftype == reftype.upper()
        assert model.tag.endswith("-2.0.0")
        for name in ("data", "dq", "err", "dark_slope", "dark_slope_error"):
            if name in model:
                assert model[name].shape == ((120, 248) if reftype == "flat" else SHAPE)
        if "coeffs" in model:
            assert model.coeffs.shape[1:] == SHAPE
        if reftype == "refpix":
            assert {model[name].shape for name in ("gamma", "zeta", "alpha")} == {(2, 128 * 140 // 2 + 1)}
        if reftype == "integralnonlinearity":
            assert sorted(model.inl_table) == ["science_channel_01", "science_channel_02"]
        if reftype == "darkdecaysignal":
            assert len(model.decay_table) == 18
        elif reftype != "photom":
            assert model.meta.instrument.detector == "WFI06"
        if reftype in ("flat", "distortion"):
            assert model.meta.instrument.optical_element == "F129"


def test_a_set_is_found_again_and_complete(references, tmp_path):
    write_references(references, tmp_path, ["F129", "GRISM"])
    assert list(reference_paths(tmp_path, "WFI06", "F129")) == list(REFERENCE_TYPES)
    assert set(REFERENCE_TYPES) - set(reference_paths(tmp_path, "WFI06", "GRISM")) == {"flat"}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write_references(references, tmp_path, ["F129"], overwrite=False)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_equal_sets_are_equal_and_others_differ(references):
    again = ReferenceSet("wfi06", SHAPE, seed=11)
    for reftype, name in (("gain", "data"), ("mask", "dq"), ("refpix", "alpha"), ("linearity", "coeffs")):
        np.testing.assert_array_equal(references.contents(reftype)[name], again.contents(reftype)[name])
    for other in (ReferenceSet("WFI06", SHAPE, seed=12), ReferenceSet("WFI07", SHAPE, seed=11)):
        assert not np.array_equal(references.gain(), other.gain())
        assert not np.array_equal(references.contents("mask")["dq"], other.contents("mask")["dq"])


def test_arrays_vary_in_every_way(references):
    gain = ReferenceSet("WFI06", (512, 512), seed=11).gain().astype(float)
    pixel = np.diff(gain, axis=0).std() / np.sqrt(2) / gain.mean()
    assert pixel == pytest.approx(0.002, rel=0.05)
    blocks = gain.reshape(4, 128, 512).mean(axis=1)
    assert blocks.std(axis=0).mean() / gain.mean() > 5 * pixel / np.sqrt(128)  # smooth structure
    step = np.abs(np.diff(gain.mean(axis=0)))
    assert step[[127, 255, 383]].max() > 5 * np.median(step)  # channels


def test_linearity_undoes_inverse_linearity(references):
    curvature = references.curvature()
    ideal = np.linspace(0, 60000, 40)[:, None, None] * np.ones((1, 8, 8))
    coefficients = [
        part.astype(float)[:, :8, :8]
        for part in (measuring_coefficients(curvature), correcting_coefficients(curvature))
    ]
    measured = sum(c * ideal**k for k, c in enumerate(coefficients[0]))
    np.testing.assert_allclose(measured, measured_counts(ideal, curvature[:8, :8]), atol=2e-3)
    assert (ideal - measured)[-1].min() > 1000  # there is something to correct
    corrected = sum(c * measured**k for k, c in enumerate(coefficients[1]))
    np.testing.assert_allclose(corrected, ideal, atol=0.3)


def test_bad_pixels_of_every_kind_are_flagged():
    references = ReferenceSet("WFI02", (512, 512), seed=4, defects=3.0)
    flags = np.uint32(0)
    for reftype in ("mask", "saturation", "linearity", "dark", "flat"):
        flags |= np.bitwise_or.reduce(references.contents(reftype, "F158")["dq"], axis=None)
    wanted = (
        "DO_NOT_USE DEAD HOT WARM LOW_QE TELEGRAPH BAD_REF_PIXEL NO_FLAT_FIELD NO_GAIN_VALUE NO_LIN_CORR NO_SAT_CHECK "
        "UNRELIABLE_DARK UNRELIABLE_FLAT OTHER_BAD_PIXEL REFERENCE_PIXEL"
    )
    assert [name for name in wanted.split() if not flags & np.uint32(PixelFlag[name])] == []
    gain, flat = references.contents("gain")["data"], references.contents("flat", "F158")
    mask = references.contents("mask")["dq"]
    assert np.isnan(gain).any()
    assert (mask[np.isnan(gain)] & PixelFlag.NO_GAIN_VALUE).all()
    unknown = ~(flat["data"] > 0)
    assert unknown.any()
    assert (flat["dq"][unknown] & np.uint32(PixelFlag.NO_FLAT_FIELD)).all()
    coefficients = references.contents("linearity")["coeffs"]
    np.testing.assert_array_equal(
        np.isnan(coefficients), np.isnan(references.contents("inverselinearity")["coeffs"])[[0] * 6]
    )
    assert np.isnan(coefficients).any()


def test_a_detector_can_be_perfect():
    references = ReferenceSet("WFI02", SHAPE, seed=4, defects=0.0)
    assert set(np.unique(references.contents("mask")["dq"])) == {0, int(PixelFlag.REFERENCE_PIXEL)}
    for reftype in ("saturation", "linearity", "flat"):
        assert not references.contents(reftype, "F158")["dq"].any()
    assert np.isfinite(references.contents("linearity")["coeffs"]).all()
    assert (references.contents("flat", "F158")["data"] > 0.8).all()


def test_photometry_turns_counts_into_the_flux_of_the_catalog(references):
    row = references.contents("photom")["phot_table"]["F158"]
    # one electron per second in one pixel, as a rate of the mean gain
    surface_brightness = row["photmjsr"] / 1.8
    flux = surface_brightness * row["pixelareasr"] * 1e15  # nJy
    assert flux == pytest.approx(references.unit_flux("F158"), rel=1e-12)
    assert row["pixelareasr"] == pytest.approx((0.11 * np.pi / 180 / 3600) ** 2, rel=0.05)
    assert flux == pytest.approx(102.3, rel=0.1)


def test_references_remove_the_noise_they_belong_to(monkeypatch):
    """The mission's correction, in Fourier space and without pixel noise: ``x - L gamma - R zeta - A alpha``."""
    rows, frames = 512, 6
    coupling = make_coupling("WFI08", 512, seed=3)
    noise = ChannelNoise(coupling, rows, (1,) * frames, 3, "test")
    tables = coupling.coefficients(rows)
    channels = [noise.channel(c) for c in range(4)]
    monkeypatch.setattr(correlated_noise, "REFERENCE_OUTPUT_NOISE", 0.0)
    output = noise.reference_output()

    def spectrum(block, backwards):
        series = np.zeros((frames, rows, 140))
        series[:, :, :128] = block[:, :, ::-1] if backwards else block
        return np.fft.rfft(series.reshape(frames, -1))

    def reference_columns(block, backwards):
        series = np.zeros((frames, rows, 140))
        series[:, :, :4] = (block[:, :, ::-1] if backwards else block)[:, :, :4]
        return np.fft.rfft(series.reshape(frames, -1)) * 35

    left, right = reference_columns(channels[0], False), reference_columns(channels[3], True)
    filled = np.fft.rfft(_fill_idle_clocks(output).reshape(frames, -1))
    for c in (1, 2):
        corrected = spectrum(channels[c], c % 2 == 1) - (
            left * tables["gamma"][c] + right * tables["zeta"][c] + filled * tables["alpha"][c]
        )
        series = np.fft.irfft(corrected, rows * 140).reshape(frames, rows, 140)[:, :, :128]
        assert channels[c].std() > 2.5
        assert series.std() < 0.2 * channels[c].std()


def _fill_idle_clocks(block):
    """Bridge the 12 clocks between two rows by a straight line."""
    frames, rows, _ = block.shape
    series = np.zeros((frames, rows, 140))
    series[:, :, :128] = block
    following = np.concatenate([block[:, 1:, 0], block[:, -1:, -1]], axis=1)
    share = np.arange(1, 13) / 13
    series[:, :, 128:] = block[:, :, -1:] * (1 - share) + following[:, :, None] * share
    return series


def test_averaged_reads_have_less_noise():
    coupling = make_coupling("WFI08", 128, seed=3)
    one, nine = (ChannelNoise(coupling, 512, (n,) * 30, 3, "test") for n in (1, 9))
    assert one.channel(0).std() / nine.channel(0).std() == pytest.approx(3, rel=1e-4)
    assert one.reference_output().std() == pytest.approx(np.hypot(3.0, 2.5), rel=0.05)


def test_nonsense_is_refused(references, tmp_path):
    with pytest.raises(InputError, match="WFI19"):
        ReferenceSet("WFI19")
    with pytest.raises(ShapeError, match=r"\(100, 128\)"):
        ReferenceSet("WFI01", (100, 128))
    with pytest.raises(OptionError, match="'bias'"):
        references.contents("bias")
    with pytest.raises(OptionError, match="not for 'PRISM'"):
        references.contents("flat", "PRISM")
    with pytest.raises(OptionError, match="F999"):
        reference_model(references, "flat", "F999")
    with pytest.raises(OutputError, match="nowhere"):
        write_references(references, tmp_path / "nowhere", ["F158"], ["gain"])
