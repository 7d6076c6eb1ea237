"""Whole exposures: a calibration by hand finds the truth again, files are valid, equal requests are equal."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from roman_nexus.demo.attitude import Attitude
from roman_nexus.demo.exposure import SimulatedExposure, simulate
from roman_nexus.demo.pointing import TelescopePointing
from roman_nexus.demo.reference_files import write_references
from roman_nexus.demo.request import ExposureRequest
from roman_nexus.demo.sky import SkyField
from roman_nexus.dq import PixelFlag
from roman_nexus.errors import InputError, OptionError, OutputError, SchemaVersionError, ShapeError
from roman_nexus.steps.exposure.frame_timing import pixel_times

SMALL = (128, 128)
CLEAN = {"correlated_noise": False, "cosmic_ray_rate": 0.0}


@pytest.fixture(scope="module")
def exposure() -> SimulatedExposure:
    return simulate(detector="WFI05", shape=(256, 256), seed=1)


def inner(array):
    return array[..., 4:-4, 4:-4]


def linear_counts(exposure: SimulatedExposure) -> np.ndarray:
    """Undo dark decay and non-linearity of every resultant, by the references' own files; science frame."""
    request, references = exposure.request, exposure.references
    sca = int(request.detector[3:])
    row, column = pixel_times(request.frame_time, sca, request.shape)
    decay = references.contents("darkdecaysignal")["decay_table"][request.detector]
    amplitude, tau = decay["amplitude"], decay["time_constant"]
    start = amplitude * np.exp(-(row[:, None] + column) / tau)
    counts = exposure.data.astype(float)
    for frame, reads in zip(counts, request.table.pattern, strict=True):
        frame -= start * np.mean([np.exp(-(read - 1.5) * request.frame_time / tau) for read in reads])
    inl = references.contents("integralnonlinearity")
    for channel in range(counts.shape[2] // 128):
        block = counts[:, :, 128 * channel : 128 * (channel + 1)]
        table = inl["inl_table"][f"science_channel_{channel + 1:02d}"]["correction"]
        block += np.interp(block, inl["value"], table)
    linear = np.zeros_like(counts)
    for coefficient in references.contents("linearity")["coeffs"][::-1].astype(float):
        linear = linear * counts + coefficient
    return inner(linear)


def good_pixels(exposure: SimulatedExposure) -> np.ndarray:
    references = exposure.references
    bad = np.zeros(exposure.truth.rate.shape, bool)
    for reftype in ("mask", "linearity", "dark"):
        bad |= inner(references.contents(reftype)["dq"]) != 0
    bad |= references.contents("flat", "F158")["dq"] != 0
    bad |= exposure.truth.saturated | exposure.truth.cosmic_ray_mask()
    x0, x1, y0, y1 = exposure.request.guide_window
    bad[y0 - 4 : y1 - 4, x0 - 4 : x1 - 4] = True
    return ~bad


def test_calibrating_by_hand_finds_the_truth():
    exposure = simulate(detector="WFI06", shape=(384, 384), seed=5, ma_table=4, **CLEAN)
    counts, truth = linear_counts(exposure), exposure.truth
    seconds = exposure.request.frame_time * np.array([np.mean(reads) for reads in exposure.request.table.pattern])
    slope = (counts[-1] - counts[0]) / (seconds[-1] - seconds[0])
    references = exposure.references
    gain, noise = inner(references.gain()).astype(float), inner(references.read_noise()).astype(float)
    flat = references.contents("flat", "F158")["data"].astype(float)
    dark = inner(references.contents("dark")["dark_slope"])
    flat[flat == 0] = np.nan
    rate = (slope - dark) / flat
    # single reads at both ends: photon noise of the time between, read noise of two
    variance = (truth.rate * flat + dark) / gain / (seconds[-1] - seconds[0])
    variance = (variance + 2 * noise**2 / (seconds[-1] - seconds[0]) ** 2) / flat**2
    good = good_pixels(exposure) & np.isfinite(rate)  # a few pixels have no coefficients
    assert good.mean() > 0.98
    pull = ((rate - truth.rate) / np.sqrt(variance))[good]
    assert pull.mean() == pytest.approx(0, abs=4 / np.sqrt(pull.size))
    assert pull.std() == pytest.approx(1, abs=0.02)
    bright = good & (truth.rate > 20)
    assert bright.sum() > 50
    assert np.median((rate / truth.rate)[bright]) == pytest.approx(1, abs=3e-3)


def test_electrons_scatter_about_the_truth(exposure):
    references, truth = exposure.references, exposure.truth
    seconds = exposure.request.frame_time * exposure.request.table.pattern[-1][-1]
    flat = references.response("F158").astype(float)
    expected = (truth.rate * flat + inner(references.dark_rate())) * inner(references.gain()) * seconds
    good = good_pixels(exposure)
    pull = ((truth.electrons - expected) / np.sqrt(expected))[good]
    assert pull.mean() == pytest.approx(0, abs=4 / np.sqrt(pull.size))
    assert pull.var() == pytest.approx(1, abs=0.03)


def test_gain_follows_from_mean_and_variance_of_a_lamp():
    lamp = {"exposure_type": "WFI_FLAT", "shape": (256, 256), "defects": 0.0, **CLEAN}
    one, two = (simulate(seed=3, exposure=number, **lamp) for number in (1, 2))
    # between resultants: the reset level and fixed structure drop out
    differences = [(counts[-1] - counts[0]).ravel() for counts in map(linear_counts, (one, two))]
    noise = np.median(one.references.read_noise())
    variance = np.var(differences[0] - differences[1]) / 2 - 2 * noise**2 - 1 / 6
    gain = np.mean(differences) / variance
    assert gain == pytest.approx(1.8, rel=0.04)
    np.testing.assert_allclose(one.truth.rate, two.truth.rate)
    assert np.median(one.truth.rate) == pytest.approx(30.0, rel=0.05)


def test_equal_requests_are_equal_whatever_the_threads(exposure):
    again = simulate(exposure.request, threads=1)
    np.testing.assert_array_equal(again.data, exposure.data)
    np.testing.assert_array_equal(again.amp33, exposure.amp33)
    np.testing.assert_array_equal(again.truth.rate, exposure.truth.rate)
    np.testing.assert_array_equal(again.truth.electrons, exposure.truth.electrons)


def test_another_exposure_has_other_noise_and_the_same_truth(exposure):
    other = simulate(dataclasses.replace(exposure.request, exposure=2))
    np.testing.assert_array_equal(other.truth.rate, exposure.truth.rate)
    assert (other.data != exposure.data).mean() > 0.9
    assert (simulate(dataclasses.replace(exposure.request, seed=2)).truth.rate != exposure.truth.rate).mean() > 0.9


@pytest.mark.parametrize("schema", ["2.1.0", "newest"])
def test_level1_file_is_valid_and_complete(tmp_path, schema):
    from roman_datamodels import datamodels

    exposure = simulate(shape=SMALL, seed=1, detector="WFI09", reference_read=True, dropouts=2)
    path = exposure.write_l1(tmp_path, schema)
    assert path.name == "r0099101001001001001_0001_wfi09_f158_uncal.asdf"
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    with datamodels.open(path) as model:
        model.validate()
        assert schema == "newest" or model.tag.endswith(f"wfi_science_raw-{schema}")
        for name in ("data", "amp33", "resultantdq", "reference_read", "reference_amp33"):
            np.testing.assert_array_equal(model[name], getattr(exposure, name))
        meta = model.meta
        assert meta.filename == path.name
        assert meta.exposure.nresultants == len(meta.exposure.read_pattern) == model.data.shape[0]
        assert (meta.exposure.end_time - meta.exposure.start_time).sec == pytest.approx(
            meta.exposure.exposure_time, abs=1e-3
        )
        assert meta.observation.observation_id == "0099101001001001001" + "01" + "1" + "01" + "0001"
        assert (meta.observation.program, meta.observation["pass"], meta.observation.visit) == (991, 1, 1)
        assert meta.instrument.data_encoding_offset == 4000
        placeholders = {"?", -999999, "-999999"}
        flat = model.to_flat_dict(include_arrays=False)
        assert [key for key, value in flat.items() if value in placeholders] == []


def test_the_file_tells_where_the_sources_are(tmp_path, exposure):
    """From the file's numbers and the distortion reference alone: bright stars are at the catalog's places."""
    from roman_datamodels import datamodels

    level1 = exposure.write_l1(tmp_path)
    (reference,) = write_references(exposure.references, tmp_path, ["F158"], ["distortion"])
    with datamodels.open(level1) as model, datamodels.open(reference) as distortion:
        at, transform = model.meta.wcsinfo, distortion.coordinate_distortion_transform
        attitude = Attitude.at(at.ra_ref, at.dec_ref, at.roll_ref, at.v2_ref, at.v3_ref)
        k = model.meta.velocity_aberration.scale_factor
        corners = np.array(at.s_region.split()[2:], float).reshape(4, 2)

    image, catalog = exposure.truth.rate, exposure.truth.catalog()
    stars = catalog[(catalog["type"] == "PSF") & (catalog["rate"] > 5)]
    stars = stars[(np.abs(stars["x"] - 123.5) < 115) & (np.abs(stars["y"] - 123.5) < 115)]
    apart = np.hypot(stars["x"][:, None] - catalog["x"], stars["y"][:, None] - catalog["y"])
    alone = np.where((apart > 0) & (apart < 12), catalog["rate"], 0).sum(axis=1) < 0.005 * stars["rate"]
    stars = stars[alone]
    assert len(stars) >= 3
    for star in stars:
        x0, y0 = round(star["x"]), round(star["y"])
        cut = image[y0 - 3 : y0 + 4, x0 - 3 : x0 + 4] - np.median(image)
        rows, columns = np.indices(cut.shape)
        x, y = x0 - 3 + (cut * columns).sum() / cut.sum(), y0 - 3 + (cut * rows).sum() / cut.sum()
        v2, v3 = transform(x, y)
        ra, dec = attitude.to_sky(k * v2 + (1 - k) * at.v2_ref, k * v3 + (1 - k) * at.v3_ref)
        assert (ra - star["ra"]) * np.cos(np.radians(dec)) * 3600 == pytest.approx(0, abs=0.02)
        assert (dec - star["dec"]) * 3600 == pytest.approx(0, abs=0.02)
    assert corners[:, 1].min() < stars["dec"].min() < stars["dec"].max() < corners[:, 1].max()


def test_a_wrong_report_changes_only_what_the_file_says(tmp_path):
    from roman_nexus.products.files import read_meta

    right = simulate(shape=SMALL, seed=1)
    wrong = simulate(shape=SMALL, seed=1, reported_offset=(0.3, -0.4))
    np.testing.assert_array_equal(right.data, wrong.data)
    places = [read_meta(item.write_l1(tmp_path / f"{i}.asdf"))["wcsinfo"] for i, item in enumerate((right, wrong))]
    north = (places[1]["dec_ref"] - places[0]["dec_ref"]) * 3600
    east = (places[1]["ra_ref"] - places[0]["ra_ref"]) * 3600 * np.cos(np.radians(places[0]["dec_ref"]))
    assert np.hypot(north, east) == pytest.approx(0.5, abs=1e-3)


def test_total_flux_of_the_image_is_that_of_its_sources():
    field = SkyField(30.0, 40.0, seed=4, stars_per_arcmin2=80.0, galaxies_per_arcmin2=0.0)
    exposure = simulate(
        detector="WFI11", shape=(512, 512), seed=4, sky=field, pointing=_looking_at("WFI11", 30.0, 40.0)
    )
    truth = exposure.truth
    inside = (np.abs(truth.x - 251.5) < 200) & (np.abs(truth.y - 251.5) < 200)
    # away from the edge nearly nothing of a star is lost
    light = truth.rate - truth.rate.min()
    area = exposure.references.distortion.area_map(truth.rate.shape) / exposure.references.distortion.nominal_area
    brightest = np.argmax(np.where(inside, truth.source_rate, 0))
    x, y = round(truth.x[brightest]), round(truth.y[brightest])
    cut = (slice(y - 45, y + 46), slice(x - 45, x + 46))
    others = (np.abs(truth.x - x) < 45) & (np.abs(truth.y - y) < 45)
    found = (light * area)[cut].sum(dtype=float)
    assert found == pytest.approx(truth.source_rate[others].sum(), rel=0.02)


def _looking_at(detector: str, ra: float, dec: float) -> TelescopePointing:
    """Return the pointing that puts a detector near a place."""
    from roman_nexus.wcs import detector_place
    from roman_nexus.wcs.focal_plane import WFI_CENTRE

    place = detector_place(detector)
    return TelescopePointing(ra, dec, 0.0).moved(WFI_CENTRE[0] - place.v2_ref, WFI_CENTRE[1] - place.v3_ref)


def test_a_reference_read_is_taken_off_and_can_be_added_back():
    plain = simulate(shape=SMALL, seed=2)
    encoded = simulate(shape=SMALL, seed=2, reference_read=True, data_encoding_offset=3500)
    decoded = encoded.data.astype(int) + encoded.reference_read - 3500
    clipped = (encoded.data == 0) | (encoded.data == 65535)
    assert clipped.mean() < 1e-3
    np.testing.assert_array_equal(decoded[~clipped], plain.data[~clipped])
    np.testing.assert_array_equal(encoded.amp33.astype(int) + encoded.reference_amp33 - 3500, plain.amp33)
    assert np.median(encoded.data[0]) == pytest.approx(3500, abs=30)


def test_lost_blocks_are_flagged_and_empty():
    whole, lossy = simulate(shape=SMALL, seed=2), simulate(shape=SMALL, seed=2, dropouts=4)
    lost = lossy.resultantdq == 8
    assert lost.sum() > 0
    assert lost.sum() % (16 * 128) == 0
    assert not lossy.data[lost].any()
    np.testing.assert_array_equal(lossy.data[~lost], whole.data[~lost])
    assert whole.resultantdq is None


def test_a_saturated_exposure_exceeds_every_threshold():
    exposure = simulate(shape=SMALL, seed=2, saturated=True, defects=0.0)
    threshold = exposure.references.contents("saturation")["data"]
    assert (exposure.data >= threshold).all()
    assert exposure.truth.saturated.all()


def test_bright_stars_saturate_and_are_recorded():
    field = SkyField(270.0, 66.0, seed=0, stars_per_arcmin2=3000.0, galaxies_per_arcmin2=0.0)
    exposure = simulate(shape=SMALL, sky=field, seed=0, ma_table=4, pointing=_looking_at("WFI01", 270.0, 66.0), **CLEAN)
    threshold = inner(exposure.references.contents("saturation")["data"])
    first = exposure.truth.first_saturated
    assert 0 < exposure.truth.saturated.sum() < 0.2 * first.size
    last = inner(exposure.data)[-1]
    assert (last[first < 8] >= threshold[first < 8]).all()
    assert (last[~exposure.truth.saturated] < 1.011 * threshold[~exposure.truth.saturated]).all()


def test_cosmic_rays_are_where_the_truth_says():
    rays = simulate(shape=(256, 256), seed=6, cosmic_ray_rate=3.0, defects=0.0)
    none = simulate(shape=(256, 256), seed=6, cosmic_ray_rate=0.0, defects=0.0)
    difference = inner(rays.data[-1].astype(int) - none.data[-1])
    hit = rays.truth.cosmic_ray_mask()
    assert hit.sum() > 100
    assert not difference[~hit].any()
    events = rays.truth.cosmic_rays
    assert set(np.unique(rays.truth.cosmic_ray_resultant)) <= set(range(8))
    k = int(
        np.argmax(np.where((events.x > 4) & (events.x < 250) & (events.y > 4) & (events.y < 250), events.electrons, 0))
    )
    before = rays.data[:, events.y[k], events.x[k]].astype(int) - none.data[:, events.y[k], events.x[k]]
    assert not before[: rays.truth.cosmic_ray_resultant[k]].any() or (events.x == events.x[k]).sum() > 1
    assert before[-1] > 0.5 * events.electrons[k] / 1.9


def test_only_wfi18_has_its_transient_and_only_at_first():
    for detector, height in (("WFI18", 1.0), ("WFI17", 0.0)):
        exposure = simulate(detector=detector, shape=SMALL, seed=3, **CLEAN)
        counts = linear_counts(exposure).mean(axis=2)
        rows = slice(100, 120) if detector == "WFI17" else slice(0, 20)  # those that are read first
        # what the straight line of later resultants leaves in the first
        seconds = np.array([np.mean(reads) for reads in exposure.request.table.pattern])
        line = np.polynomial.polynomial.polyfit(seconds[1:], np.nanmean(counts[1:, rows], axis=1), 1)
        residual = np.nanmean(counts[0, rows]) - (line[0] + line[1] * seconds[0])
        times, _ = pixel_times(exposure.request.frame_time, int(detector[3:]), SMALL)
        t = times[4:-4][rows]
        expected = height * np.mean(66.0 * np.exp(-t / 0.25) - 6.0 * np.exp(-t / 0.9))
        assert residual == pytest.approx(expected, abs=1.0)


def test_the_guide_window_does_not_fill():
    exposure = simulate(shape=SMALL, seed=3, exposure_type="WFI_FLAT", **CLEAN)
    x0, x1, y0, y1 = exposure.request.guide_window
    growth = exposure.data[-1].astype(int) - exposure.data[0]
    assert np.abs(np.median(growth[y0:y1, x0:x1])) < 5
    assert np.median(growth) > 1000


@pytest.mark.parametrize(
    ("exposure_type", "element", "rate"),
    [("WFI_IM_DARK", "DARK", 0.0), ("WFI_SP_DARK", "F158", 0.0), ("WFI_FLAT", "F129", 30.0), ("WFI_LOLO", "F062", 0.2)],
)
def test_exposure_types_have_their_light(exposure_type, element, rate):
    exposure = simulate(shape=SMALL, seed=1, exposure_type=exposure_type, optical_element=element)
    assert np.median(exposure.truth.rate) == pytest.approx(rate, rel=0.1, abs=0.01)
    assert len(exposure.truth.sources) == 0 or exposure_type == "WFI_LOLO"


@pytest.mark.parametrize("element", ["GRISM", "PRISM"])
def test_spectra_are_spread_along_columns(element):
    exposure = simulate(shape=SMALL, seed=1, exposure_type="WFI_SPECTRAL", optical_element=element, defects=0.0)
    light = exposure.truth.rate / exposure.references.response(element)
    across, down = (np.median(light, axis=axis).std() for axis in (0, 1))
    assert across > 3 * down


def test_bad_pixels_behave_badly():
    exposure = simulate(shape=(512, 512), seed=8, defects=3.0, **CLEAN)
    mask = exposure.references.contents("mask")["dq"]
    dead = inner(mask & int(PixelFlag.DEAD)) != 0
    assert not (exposure.truth.electrons[dead] > 100).any()
    assert (exposure.truth.electrons[~dead] > 10).mean() > 0.9
    bad = (mask & int(PixelFlag.BAD_REF_PIXEL)) != 0
    good = mask == int(PixelFlag.REFERENCE_PIXEL)
    assert np.median(exposure.data[0][bad]) - np.median(exposure.data[0][good]) == pytest.approx(4000, abs=100)
    telegraph = inner(mask & int(PixelFlag.TELEGRAPH)) != 0
    scatter = np.diff(inner(exposure.data).astype(float), axis=0).std(axis=0)
    assert np.median(scatter[telegraph]) > 2 * np.median(scatter)


def test_truth_file_holds_the_truth(exposure, tmp_path):
    import asdf

    path = exposure.truth.write(tmp_path / "truth.asdf")
    with asdf.open(path) as tree:
        np.testing.assert_array_equal(tree["rate"], exposure.truth.rate)
        np.testing.assert_array_equal(tree["sources"]["x"], exposure.truth.x)
        assert tree["wcsinfo"]["ra_ref"] == exposure.truth.view.pointing.ra_ref


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"detector": "WFI19"}, InputError, "WFI19"),
        ({"shape": (500, 512)}, ShapeError, "multiples of 128"),
        ({"shape": 512}, ShapeError, "512"),
        ({"optical_element": "F999"}, OptionError, "F999"),
        ({"optical_element": "GRISM"}, OptionError, "does not go with exposure_type WFI_IMAGE"),
        ({"exposure_type": "WFI_SPECTRAL"}, OptionError, "does not go with"),
        ({"exposure_type": "WFI_GRISM"}, OptionError, "WFI_GRISM"),
        ({"ma_table": 77}, OptionError, "MA table 77"),
        ({"read_pattern": [[1], [1]]}, InputError, "ascending"),
        ({"read_pattern": [[1], []]}, InputError, "at least one"),
        ({"visit_id": "12"}, InputError, "19 digits"),
        ({"exposure": 0}, OptionError, "exposure is 0"),
        ({"cosmic_ray_rate": -1.0}, OptionError, "cosmic_ray_rate"),
        ({"start_time": "tomorrow"}, InputError, "start_time"),
        ({"colour": "red"}, OptionError, "colour"),
        ({"defects": -1.0}, OptionError, "defects"),
    ],
)
def test_nonsense_is_refused_before_any_work(fields, error, message):
    with pytest.raises(error, match=message):
        simulate(**fields)


def test_a_request_and_fields_do_not_mix():
    with pytest.raises(OptionError, match="not both"):
        simulate(ExposureRequest(), seed=1)


def test_a_failed_write_leaves_nothing(exposure, tmp_path):
    with pytest.raises(OutputError):
        exposure.write_l1(tmp_path / "nowhere" / "file.asdf")
    with pytest.raises(SchemaVersionError):
        exposure.write_l1(tmp_path, "9.9.9")
    assert not list(tmp_path.iterdir())
