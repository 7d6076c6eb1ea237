from __future__ import annotations

import numpy as np
import pytest

from roman_nexus.comparison.coordinates import compare_wcs
from roman_nexus.wcs.build import build_wcs


def detector_wcs(shift_x_pixels=0.0, **pointing):
    """A detector of 0.11 arcsec pixels, moved by so many pixels along x."""
    from astropy.modeling.models import Scale, Shift

    distortion = Shift(-99.5 + shift_x_pixels) & Shift(-99.5) | Scale(0.11) & Scale(0.11)
    values = {"v2_ref": 0.0, "v3_ref": 0.0, "ra_ref": 10.0, "dec_ref": 20.0, "roll_ref": 0.0} | pointing
    return build_wcs(distortion, shape=(200, 200), **values)


class Sky:
    """Straight lines on the sky."""

    def __init__(self, ra, dec, step=1e-5):
        self.ra, self.dec, self.step = ra, dec, step

    def pixel_to_world_values(self, x, y):
        return (self.ra + self.step * x) % 360, self.dec + self.step * y


def test_a_shift_of_a_tenth_of_a_pixel():
    found = compare_wcs(detector_wcs(0.1), detector_wcs(), (200, 200))
    assert found.points == 81
    assert found.median_mas == pytest.approx(11.0, rel=1e-6)
    assert found.max_mas == pytest.approx(11.0, rel=1e-6)
    assert found.mean_east_mas == pytest.approx(11.0, rel=1e-5)
    assert found.mean_north_mas == pytest.approx(0.0, abs=1e-3)
    assert found.corner_max_mas == pytest.approx(11.0, rel=1e-6)
    assert len(found.footprint_new) == 4
    assert not found.same


def test_a_shift_to_the_north():
    found = compare_wcs(detector_wcs(dec_ref=20 + 5 / 3.6e6), detector_wcs(), (200, 200))
    assert found.mean_north_mas == pytest.approx(5.0, rel=1e-5)
    assert found.mean_east_mas == pytest.approx(0.0, abs=1e-3)


def test_length_agrees_with_astropy_over_the_whole_field():
    from astropy.coordinates import angular_separation

    new, old = detector_wcs(roll_ref=0.05, dec_ref=89.999), detector_wcs(dec_ref=89.999)
    found = compare_wcs(new, old, (200, 200))
    y, x = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 199, 9), np.linspace(0, 199, 9)))
    positions = [np.radians(wcs.pixel_to_world_values(x, y)) for wcs in (new, old)]
    length = np.degrees(angular_separation(*positions[0], *positions[1])) * 3.6e6
    assert found.median_mas == pytest.approx(np.median(length), rel=1e-9)
    assert found.max_mas == pytest.approx(length.max(), rel=1e-9)


def test_across_the_meridian():
    found = compare_wcs(Sky(1e-7, 60.0, 0.0), Sky(360 - 1e-7, 60.0, 0.0), (10, 10))
    assert found.mean_east_mas == pytest.approx(2e-7 * 3.6e6 * 0.5, rel=1e-6)
    assert found.max_mas == pytest.approx(found.mean_east_mas, rel=1e-6)


def test_the_same_system_and_rounding():
    assert compare_wcs(detector_wcs(), detector_wcs(), (200, 200)).same
    assert compare_wcs(Sky(200.0, 10.0), Sky(200.0 + 6e-14, 10.0), (50, 50)).same
    assert not compare_wcs(Sky(200.0, 10.0), Sky(200.0 + 1e-9, 10.0), (50, 50)).same


def test_missing_systems_are_said_not_raised():
    neither = compare_wcs(None, None, (5, 5))
    assert (neither.note, neither.same) == ("neither product has coordinates", True)
    one = compare_wcs(Sky(1, 2), None, (5, 5))
    assert "archive's product has no coordinates" in one.note
    assert not one.same
    odd = compare_wcs({"steps": []}, Sky(1, 2), (5, 5))
    assert "rerun is no coordinate system" in odd.note
    assert not odd.same


def test_positions_on_one_side_only():
    class Half(Sky):
        def pixel_to_world_values(self, x, y):
            ra, dec = super().pixel_to_world_values(x, y)
            return np.where(x > 4.5, np.nan, ra), np.where(x > 4.5, np.nan, dec)

    found = compare_wcs(Half(1.0, 2.0), Sky(1.0, 2.0), (9, 9))
    assert (found.points, found.one_sided) == (45, 36)
    assert not found.same
    assert found.footprint_new == ()
    assert found.corner_max_mas is None
