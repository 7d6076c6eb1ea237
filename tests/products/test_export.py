"""FITS and PNG say the same as the product: pixels, coordinates, units, flags, orientation."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy import coordinates, units
from astropy.io import fits
from astropy.modeling import models
from astropy.wcs import WCS
from gwcs import coordinate_frames
from gwcs import wcs as gwcs_wcs
from PIL import Image

from roman_nexus.dq import PixelFlag
from roman_nexus.errors import DataWarning, InputError, OptionError, OutputError, ShapeError
from roman_nexus.products.export import to_fits, to_png

SHAPE = (60, 80)


def sky(position_angle: float, *, distortion: float = 0.0) -> Any:
    """A tangent plane of 0.11 arcsec a pixel whose y axis has this position angle; east is to the left of north."""
    scale, angle = 0.11 / 3600, np.radians(position_angle)
    matrix = scale * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = models.Shift(-39.5) & models.Shift(-29.5)
    bend = models.Mapping((0, 1, 0, 1)) | models.Polynomial2D(2, c1_0=1, c2_0=distortion, c0_2=distortion) & (
        models.Polynomial2D(2, c0_1=1, c1_1=distortion)
    )
    plane = models.AffineTransformation2D(matrix, translation=[0, 0])
    sphere = models.Pix2Sky_TAN() | models.RotateNative2Celestial(10.0, 66.0, 180.0)
    detector = coordinate_frames.Frame2D(name="detector", unit=(units.pix, units.pix))
    world = coordinate_frames.CelestialFrame(name="world", reference_frame=coordinates.ICRS())
    return gwcs_wcs.WCS([(detector, center | bend | plane | sphere), (world, None)])


def image(**changes: Any) -> SimpleNamespace:
    rng = np.random.default_rng(3)
    meta = {
        "filename": "r0000101001001001001_0001_wfi01_f158_cal.asdf",
        "telescope": "ROMAN",
        "instrument": {"detector": "WFI01", "optical_element": "F158", "name": "?"},
        "exposure": {"exposure_time": 139.1, "effective_exposure_time": -999999.0},
        "cal_step": {"flux": "INCOMPLETE"},
        "wcs": sky(30.0),
    }
    values = {
        "data": rng.normal(1, 0.1, SHAPE).astype(np.float32),
        "err": rng.uniform(0, 1, SHAPE).astype(np.float16),
        "dq": rng.integers(0, 2**32, SHAPE).astype(np.uint32),
        "meta": meta,
    }
    return SimpleNamespace(**(values | changes))


def test_fits_holds_the_pixels_units_and_keywords(tmp_path: Path) -> None:
    source = image()
    path = to_fits(source, tmp_path / "x.fits")
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "ERR", "DQ", "DQ_DEF"]
        np.testing.assert_array_equal(hdus["SCI"].data, source.data)
        np.testing.assert_array_equal(hdus["ERR"].data, source.err.astype(np.float32))
        assert hdus["DQ"].data.dtype == np.uint32
        np.testing.assert_array_equal(hdus["DQ"].data, source.dq)
        assert hdus["SCI"].header["BUNIT"] == hdus["ERR"].header["BUNIT"] == "DN/s"
        header = hdus[0].header
        assert (header["DETECTOR"], header["EXPTIME"]) == ("WFI01", 139.1)
        assert "INSTRUME" not in header
        assert "EFFEXPTM" not in header
        names = dict(zip(hdus["DQ_DEF"].data["VALUE"], hdus["DQ_DEF"].data["NAME"], strict=True))
        assert names == {int(flag): flag.name for flag in PixelFlag if int(flag)}
        assert (2.0 ** hdus["DQ_DEF"].data["BIT"] == hdus["DQ_DEF"].data["VALUE"]).all()


@pytest.mark.parametrize("distortion", [0.0, 2e-5])
def test_fits_coordinates_agree_with_the_gwcs(distortion: float, tmp_path: Path) -> None:
    exact = sky(123.0, distortion=distortion)
    source = image(meta={"wcs": exact})
    with fits.open(to_fits(source, tmp_path / "x.fits")) as hdus:
        x, y = np.random.default_rng(1).uniform(0, [[79], [59]], (2, 200))
        for name in ("SCI", "ERR", "DQ"):
            ra, dec = WCS(hdus[name].header).all_pix2world(x, y, 0)
            true_ra, true_dec = exact(x, y)
            offset = np.hypot((ra - true_ra) * np.cos(np.radians(66)), dec - true_dec) * 3600 / 0.11
            assert offset.max() < 1e-3


def test_without_a_gwcs_the_header_is_a_tangent_plane_with_a_warning(tmp_path: Path) -> None:
    info = {"ra_ref": 10.0, "dec_ref": 66.0, "roll_ref": 40.0, "v3yangle": -60.0, "vparity": -1}
    with pytest.warns(DataWarning, match="plain tangent plane"):
        path = to_fits(image(meta={"wcs": None, "wcsinfo": info}), tmp_path / "x.fits")
    header = fits.getheader(path, "SCI")
    center = WCS(header).all_pix2world([39.5, 39.5], [29.5, 30.5], 0)
    assert (center[0][0], center[1][0]) == pytest.approx((10.0, 66.0))
    east = (center[0][1] - center[0][0]) * np.cos(np.radians(66))
    north = center[1][1] - center[1][0]
    # roll 40 and an angle of -60 between V3 and y, read clockwise: y points 20 deg west of north
    assert np.degrees(np.arctan2(east, north)) == pytest.approx(-20.0, abs=0.01)
    matrix = WCS(header).pixel_scale_matrix
    assert np.linalg.det(matrix) == pytest.approx(-((0.11 / 3600) ** 2))


def test_without_any_coordinates_there_is_no_wcs_in_the_header(tmp_path: Path) -> None:
    path = to_fits(image(meta={}, err=None, dq=None), tmp_path / "x.fits")
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI"]
        assert "CTYPE1" not in hdus["SCI"].header


def test_units_after_the_flux_step_and_of_mosaics(tmp_path: Path) -> None:
    for number, meta in enumerate([{"cal_step": {"flux": "COMPLETE"}}, {"coadd_info": {"exposure_time": 1.0}}]):
        path = to_fits(image(meta=meta), tmp_path / f"{number}.fits")
        assert fits.getheader(path, "SCI")["BUNIT"] == "MJy/sr"


def test_a_coordinate_system_that_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    bad = SimpleNamespace(to_fits_sip=lambda **_: (_ for _ in ()).throw(ValueError("no celestial frame")))
    with pytest.raises(InputError, match="no celestial frame"):
        to_fits(image(meta={"wcs": bad}), tmp_path / "x.fits")
    assert list(tmp_path.iterdir()) == []


def test_a_poor_fit_is_told(tmp_path: Path) -> None:
    header = fits.Header({"SIPMXERR": 0.3})
    with pytest.warns(DataWarning, match=r"up to 0\.3 pixels"):
        to_fits(image(meta={"wcs": SimpleNamespace(to_fits_sip=lambda **_: header)}), tmp_path / "x.fits")


# ------------------------------------------------------------------------------------------------------- picture
def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.mode == "L"
        return np.array(picture)


def test_picture_is_upright_and_brighter_where_the_sky_is(tmp_path: Path) -> None:
    data = np.zeros(SHAPE, np.float32)
    data[:10, :10] = 100  # lower left
    shown = pixels(to_png(image(data=data, dq=None), tmp_path / "x.png", stretch="linear"))
    assert shown.shape == SHAPE
    assert (shown[-10:, :10] == 255).all()
    assert (shown[:-10] == 0).all()


def test_picture_leaves_bad_pixels_out(tmp_path: Path) -> None:
    data = np.random.default_rng(0).uniform(1, 2, SHAPE).astype(np.float32)
    dq = np.zeros(SHAPE, np.uint32)
    data[7, 7], dq[7, 7] = 1e9, PixelFlag.DO_NOT_USE
    data[8, 8] = np.inf
    data[20:24, 20:24] = np.nan
    shown = pixels(to_png(image(data=data, dq=dq), tmp_path / "x.png", stretch="linear", size=20))
    assert shown.shape == (15, 20)
    assert shown[-1 - 5, 5] == 0
    assert 0 < shown[-2, 1] < 255
    assert shown.max() == 255


@pytest.mark.parametrize("stretch", ["asinh", "zscale", "linear"])
def test_every_stretch_keeps_the_order_of_values(stretch: str, tmp_path: Path) -> None:
    data = np.linspace(-1, 50, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    shown = pixels(to_png(image(data=data, dq=None), tmp_path / "x.png", stretch=stretch))[::-1]  # type: ignore[arg-type]
    assert (np.diff(shown.reshape(-1).astype(int)) >= 0).all()
    assert (shown.min(), shown.max()) == (0, 255)


@pytest.mark.parametrize("value", [np.nan, 5.0])
def test_an_empty_or_flat_image_is_black(value: float, tmp_path: Path) -> None:
    for stretch in ("asinh", "zscale"):
        path = to_png(
            image(data=np.full(SHAPE, value, np.float32), dq=None), tmp_path / f"{stretch}.png", stretch=stretch
        )
        assert not pixels(path).any()


@pytest.mark.parametrize("angle", [0.0, 30.0, 200.0])
def test_orientation_is_stated(angle: float, tmp_path: Path) -> None:
    path = to_png(image(meta={"wcs": sky(angle)}), tmp_path / "x.png")
    with Image.open(path) as picture:
        text = picture.text["Orientation"]
    # y lies `angle` east of north and east is to the left, so north is that much clockwise from up
    assert f"north is {(-angle) % 360:.1f} deg counter-clockwise from up" in text
    assert "east is to the left" in text
    assert "lower left" in text


# ------------------------------------------------------------------------------------------------ input and output
def test_a_path_is_opened(tmp_path: Path) -> None:
    from roman_datamodels import datamodels

    model = datamodels.ImageModel.create_fake_data(shape=(30, 40))
    model.meta.filename = "made_cal.asdf"
    model.save(tmp_path / "made_cal.asdf")
    path = to_fits(tmp_path / "made_cal.asdf", tmp_path / "x.fits")
    with fits.open(path) as hdus:
        assert hdus["SCI"].data.shape == (30, 40)
        assert hdus[0].header["FILEASDF"] == "made_cal.asdf"
    assert pixels(to_png(str(tmp_path / "made_cal.asdf"), tmp_path / "x.png")).shape == (30, 40)


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    for function in (to_fits, to_png):
        with pytest.raises(InputError, match="an image product with data and meta is needed"):
            function(object(), tmp_path / "x")
        with pytest.raises(ShapeError, match=r"\(ny, nx\)"):
            function(image(data=np.zeros((2, 3, 4), np.float32)), tmp_path / "x")
        with pytest.raises(ShapeError, match="dq has shape"):
            function(image(dq=np.zeros((3, 4), np.uint32)), tmp_path / "x")
        (tmp_path / "there").write_bytes(b"mine")
        with pytest.raises(OutputError, match="overwrite=True"):
            function(image(), tmp_path / "there")
        with pytest.raises(OutputError, match="cannot write"):
            function(image(), tmp_path / "missing" / "x")
        assert (tmp_path / "there").read_bytes() == b"mine"
        function(image(), tmp_path / "there", overwrite=True)
        (tmp_path / "there").unlink()
    with pytest.raises(OptionError, match="'asinh', 'zscale' or 'linear'"):
        to_png(image(), tmp_path / "x", stretch="log")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="size 0"):
        to_png(image(), tmp_path / "x", size=0)
    assert list(tmp_path.iterdir()) == []
