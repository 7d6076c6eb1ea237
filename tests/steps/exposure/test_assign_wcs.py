import numpy as np
import pytest
from astropy.modeling.models import Scale, Shift

from roman_nexus.errors import DataWarning, InputError
from roman_nexus.steps.exposure.assign_wcs import STEP, AssignWcsOptions, apply
from roman_nexus.steps.step import ExposureInfo, Pointing

DISTORTION = Shift(-3.5) & Shift(-3.5) | Scale(0.11) & Scale(0.11) | Shift(1000.0) & Shift(-500.0)


def exposure_of(**changes):
    pointing = {"v2_ref": 1000.0, "v3_ref": -500.0, "ra_ref": 80.0, "dec_ref": -30.0, "roll_ref": 15.0} | changes
    return ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16, shape=(16, 16), pointing=Pointing(**pointing))


def run(exposure, options=STEP.options()):  # noqa: B008 - options are frozen
    return apply(None, {"distortion": {"coordinate_distortion_transform": DISTORTION}}, options, exposure)


def test_wcs_and_s_region():
    found = run(exposure_of())
    assert list(found) == ["wcs", "wcsinfo.s_region"]
    ra, dec = found["wcs"](3.5, 3.5)  # the centre of 8 x 8 science pixels
    assert (ra, dec) == pytest.approx((80.0, -30.0), abs=1e-9)
    assert found["wcs"].bounding_box.bounding_box(order="F") == ((-0.5, 7.5), (-0.5, 7.5))
    numbers = np.array(found["wcsinfo.s_region"].removeprefix("POLYGON ICRS  ").split(" "), dtype=float)
    assert numbers[:2] == pytest.approx(found["wcs"](-0.5, -0.5), abs=1e-9)


def test_a_missing_pointing_is_refused():
    exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16)
    with pytest.raises(InputError, match=r"where the exposure looked .*allow_missing_pointing"):
        run(exposure)


def test_a_missing_pointing_may_be_allowed():
    exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16)
    assert run(exposure, AssignWcsOptions(allow_missing_pointing=True)) == {"wcs": None}


@pytest.mark.parametrize("name", ["v2_ref", "v3_ref", "ra_ref", "dec_ref", "roll_ref"])
@pytest.mark.parametrize("value", [np.nan, -999999, None])
def test_a_pointing_without_numbers_is_refused(name, value):
    with pytest.raises(InputError, match=name):
        run(exposure_of(**{name: value}))


def test_a_senseless_aberration_warns_and_counts_as_one():
    with pytest.warns(DataWarning, match="scale factor is 0"):
        found = run(exposure_of(scale_factor=0.0))
    assert found["wcs"](0, 0) == pytest.approx(run(exposure_of())["wcs"](0, 0), abs=1e-13)


def test_s_region_is_left_out_where_a_corner_has_no_position():
    nowhere = Scale(np.nan) & Scale(1.0)
    found = apply(None, {"distortion": {"coordinate_distortion_transform": nowhere}}, STEP.options(), exposure_of())
    assert list(found) == ["wcs"]
