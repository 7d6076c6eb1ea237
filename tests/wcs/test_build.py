import asdf
import numpy as np
import pytest
from astropy.modeling.models import Identity, Mapping, Polynomial2D, Scale, Shift

from roman_nexus.errors import DataWarning, InputError, ReferenceMismatchError
from roman_nexus.wcs import build_wcs, level1_wcs

POINTING = {"v2_ref": 1312.949, "v3_ref": -1040.785, "ra_ref": 270.5, "dec_ref": 65.25, "roll_ref": 37.0}


def distortion():
    """Make a bent model like a real one: shift, polynomial, place in the focal plane."""
    v2 = Polynomial2D(2, c1_0=-0.055, c0_1=-0.094, c2_0=1e-7, c1_1=2e-7)
    v3 = Polynomial2D(2, c1_0=-0.095, c0_1=0.054, c0_2=-1e-7)
    place = Shift(POINTING["v2_ref"]) & Shift(POINTING["v3_ref"])
    return Shift(-2043.5) & Shift(-2043.5) | Mapping((0, 1, 0, 1)) | v2 & v3 | place


def limits(wcs):
    return wcs.bounding_box.bounding_box(order="F")


def rotation(axis, degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    if axis == "y":
        return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def matrix_sky(v2, v3, scale=1.0):
    """Telescope frame to sky by elementary matrices (specification of the mission's assign_wcs)."""
    v2, v3 = (scale * v + (1 - scale) * POINTING[name] for v, name in ((v2, "v2_ref"), (v3, "v3_ref")))
    lon, lat = np.deg2rad(v2 / 3600), np.deg2rad(v3 / 3600)
    vector = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    total = (
        rotation("z", -POINTING["ra_ref"])
        @ rotation("y", POINTING["dec_ref"])
        @ rotation("x", POINTING["roll_ref"])
        @ rotation("y", -POINTING["v3_ref"] / 3600)
        @ rotation("z", POINTING["v2_ref"] / 3600)
    )
    x, y, z = total @ vector
    return np.rad2deg(np.arctan2(y, x)) % 360, np.rad2deg(np.arcsin(z))


@pytest.mark.parametrize("scale", [None, 1.0, 1.0001])
def test_positions_follow_the_matrices(scale):
    wcs = build_wcs(distortion(), **POINTING, scale_factor=scale)
    x, y = np.random.default_rng(4).uniform(0, 4087, (2, 50))
    ra, dec = wcs(x, y)
    expected = matrix_sky(*distortion()(x, y), scale or 1.0)
    assert np.abs(ra - expected[0]).max() < 1e-11
    assert np.abs(dec - expected[1]).max() < 1e-11


def test_the_reference_point_lands_where_it_should():
    ra, dec = build_wcs(distortion(), **POINTING)(2043.5, 2043.5)
    assert (ra, dec) == pytest.approx((270.5, 65.25), abs=1e-10)


@pytest.mark.parametrize(("ra_ref", "dec_ref"), [(0.0, 0.0), (359.99999, 10.0), (180.0, 90.0), (12.0, -90.0)])
def test_right_ascension_is_between_0_and_360_everywhere(ra_ref, dec_ref):
    wcs = build_wcs(distortion(), **POINTING | {"ra_ref": ra_ref, "dec_ref": dec_ref})
    y, x = np.mgrid[0:4088:511, 0:4088:511]
    ra, dec = wcs(x, y)
    assert ((ra >= 0) & (ra <= 360)).all()
    assert (np.abs(dec) <= 90).all()


def test_frames():
    wcs = build_wcs(distortion(), **POINTING)
    assert wcs.available_frames == ["detector", "v2v3", "v2v3vacorr", "world"]
    assert wcs.output_frame.reference_frame.name == "icrs"
    assert [step.transform.name for step in wcs.pipeline[1:3]] == [None, "v23tosky"]
    assert isinstance(wcs.pipeline[1].transform, Identity)


def test_aberration_is_about_the_reference_point():
    wcs = build_wcs(distortion(), **POINTING, scale_factor=0.9999)
    assert wcs.pipeline[1].transform.name == "DVA_Correction"
    correction = wcs.get_transform("v2v3", "v2v3vacorr")
    reference = POINTING["v2_ref"], POINTING["v3_ref"]
    assert correction(*reference) == pytest.approx(reference, abs=1e-9)
    assert correction(reference[0] + 100, reference[1]) == pytest.approx((reference[0] + 99.99, reference[1]))


def test_aberration_about_the_origin_is_a_pure_scale():
    wcs = build_wcs(distortion(), **POINTING | {"v2_ref": 0.0, "v3_ref": 0.0}, scale_factor=1.1)
    assert wcs.get_transform("v2v3", "v2v3vacorr")(10.0, -20.0) == pytest.approx((11.0, -22.0))


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_a_senseless_scale_warns_and_counts_as_one(scale):
    with pytest.warns(DataWarning, match="scale factor"):
        wcs = build_wcs(distortion(), **POINTING, scale_factor=scale)
    assert wcs(5, 5) == pytest.approx(build_wcs(distortion(), **POINTING)(5, 5), abs=1e-12)


def test_bounding_box_comes_from_the_shape():
    assert limits(build_wcs(distortion(), **POINTING, shape=(20, 30))) == ((-0.5, 29.5), (-0.5, 19.5))


@pytest.mark.parametrize("order", ["C", "F"])
def test_bounding_box_of_the_distortion_wins(order):
    from astropy.modeling import bind_bounding_box

    model = distortion()
    x, y = (-0.5, 100.5), (3.5, 50.5)
    bind_bounding_box(model, (x, y) if order == "F" else (y, x), order=order)
    assert limits(build_wcs(model, **POINTING)) == (x, y)


def test_the_distortion_is_not_changed():
    model = distortion()
    inputs = model.inputs
    build_wcs(model, **POINTING)
    assert model.inputs == inputs
    with pytest.raises(NotImplementedError):
        _ = model.bounding_box


def test_level1_is_shifted_by_the_border():
    wcs = build_wcs(distortion(), **POINTING, scale_factor=1.0001)
    full_frame = level1_wcs(wcs)
    x, y = np.random.default_rng(5).uniform(0, 4087, (2, 20))
    for found, expected in zip(full_frame(x + 4, y + 4), wcs(x, y), strict=True):
        assert np.abs(found - expected).max() < 1e-12
    assert limits(full_frame) == ((-0.5, 4095.5), (-0.5, 4095.5))
    assert limits(wcs) == ((-0.5, 4087.5), (-0.5, 4087.5))
    assert full_frame.available_frames == wcs.available_frames


def test_the_file_opens_with_plain_gwcs(tmp_path):
    wcs = build_wcs(distortion(), **POINTING, scale_factor=1.0001)
    path = tmp_path / "wcs.asdf"
    asdf.AsdfFile({"wcs_l2": wcs, "wcs_l1": level1_wcs(wcs)}).write_to(path)
    with asdf.open(path) as file:
        again, full_frame = file["wcs_l2"], file["wcs_l1"]
        assert again(10, 20) == pytest.approx(wcs(10, 20), abs=1e-13)
        assert full_frame(14, 24) == pytest.approx(wcs(10, 20), abs=1e-13)
        assert limits(again) == limits(wcs)
        assert again.available_frames == wcs.available_frames


@pytest.mark.parametrize("name", list(POINTING))
@pytest.mark.parametrize("value", [None, np.nan, np.inf, -999999])
def test_a_bad_pointing_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name} = "):
        build_wcs(distortion(), **POINTING | {name: value})


@pytest.mark.parametrize("model", [Scale(1.0), Mapping((0, 1, 1), n_inputs=2), None, "tan"])
def test_a_distortion_that_is_none_is_refused(model):
    with pytest.raises(ReferenceMismatchError, match=r"expected a model from \(x, y\)"):
        build_wcs(model, **POINTING)
