import numpy as np
import pytest
from astropy.modeling.models import Scale, Shift

from roman_nexus.errors import InputError
from roman_nexus.wcs import build_wcs, footprint, s_region

ORIGIN = {"v2_ref": 0.0, "v3_ref": 0.0, "ra_ref": 0.0, "dec_ref": 0.0, "roll_ref": 0.0}
#: One degree a pixel, pixel (1, 1) at the origin.
DEGREES = Shift(-1.0) & Shift(-1.0) | Scale(3600.0) & Scale(3600.0)


def test_corners_go_round_from_the_lower_left():
    # without a rotation v2, v3 are ra, dec; the box is (-0.5, 3.5) x (-0.5, 1.5)
    corners = footprint(build_wcs(DEGREES, **ORIGIN, shape=(2, 4)))
    expected = [[358.5, -1.5], [358.5, 0.5], [2.5, 0.5], [2.5, -1.5]]
    assert corners == pytest.approx(np.array(expected), abs=1e-9)


def test_text_form():
    text = s_region(build_wcs(DEGREES, **ORIGIN | {"ra_ref": 100.25}, shape=(2, 4)))
    assert text == (
        "POLYGON ICRS  98.750000000 -1.500000000 98.750000000 0.500000000 "
        "102.750000000 0.500000000 102.750000000 -1.500000000"
    )


def test_corners_beyond_the_box_are_still_evaluated():
    wcs = build_wcs(DEGREES, **ORIGIN, shape=(2, 4))
    assert np.isnan(wcs(-0.6, 0.0)[0])  # outside: gwcs says NaN
    assert np.isfinite(footprint(wcs)).all()


def test_no_text_without_positions():
    assert s_region(build_wcs(Scale(np.nan) & Scale(1.0), **ORIGIN)) is None


def test_a_wcs_without_limits_is_refused():
    wcs = build_wcs(DEGREES, **ORIGIN)
    wcs.bounding_box = None
    with pytest.raises(InputError, match="no bounding box"):
        footprint(wcs)
