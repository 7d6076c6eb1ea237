"""Pointing, distortion and the WCS of the simulator."""

from __future__ import annotations

import numpy as np
import pytest

from roman_nexus.demo.attitude import Attitude
from roman_nexus.demo.distortion import make_distortion
from roman_nexus.demo.pointing import TelescopePointing, ephemeris, view
from roman_nexus.errors import InputError
from roman_nexus.wcs import DETECTORS

# Rows of MAST's Roman search, as printed by the public tutorial spacetelescope/mast_notebooks
# (browse_roman_observations): target, V2, V3 -> ra, dec, roll of the detector, and the telescope's axis.
ARCHIVE_ROWS = [
    # target ra, dec, pa_aperture, v2_ref, v3_ref, ra_ref, dec_ref, roll_ref
    (270.0, 66.00, 0.0, 995.1385139, -1984.9455333, 269.1664931735, 65.9786605477, 59.2375463711),
    (270.0, 66.01, 0.0, 1756.0509091, 394.6333952, 270.8375325615, 66.1361076470, 60.7656308264),
    (270.0, 66.01, 0.0, 536.0144398, -1718.7477566, 269.1619855452, 66.1360655717, 59.2322224255),
    (270.0, 66.01, 0.0, 2622.2926187, -99.4639522, 270.8320285422, 65.8591029074, 60.7604305644),
]


@pytest.mark.parametrize(("ra", "dec", "pa", "v2", "v3", "ra_ref", "dec_ref", "roll_ref"), ARCHIVE_ROWS)
def test_pointing_gives_the_reference_points_of_real_products(ra, dec, pa, v2, v3, ra_ref, dec_ref, roll_ref):
    attitude = TelescopePointing(ra, dec, pa).attitude
    found = attitude.to_sky(v2, v3)
    # the archive's WFI_CEN has more digits than ours: 1e-3 arcsec
    np.testing.assert_allclose(found, (ra_ref, dec_ref), rtol=0, atol=6e-7)
    assert attitude.roll_at(v2, v3) == pytest.approx(roll_ref, abs=6e-7)
    v1 = attitude.to_sky(0.0, 0.0)
    np.testing.assert_allclose(v1, (269.9999798, dec + 0.49600017), rtol=0, atol=2e-7)


@pytest.mark.parametrize(("ra", "dec"), [(10.0, 20.0), (359.9999, -45.0), (0.0001, 0.0), (123.0, 89.9), (5.0, -89.99)])
def test_separations_and_angles_agree_with_astropy(ra, dec):
    from astropy.coordinates import SkyCoord

    attitude = Attitude.at(ra, dec, 37.0, 1312.949, -1040.785)
    at = SkyCoord(*attitude.to_sky(1312.949, -1040.785), unit="deg")
    up = SkyCoord(*attitude.to_sky(1312.949, -940.785), unit="deg")
    aside = SkyCoord(*attitude.to_sky(1412.949, -1040.785), unit="deg")
    assert at.separation(SkyCoord(ra, dec, unit="deg")).arcsec == pytest.approx(0, abs=1e-8)
    assert at.separation(up).arcsec == pytest.approx(100, abs=1e-6)
    assert at.position_angle(up).deg == pytest.approx(37.0, abs=1e-7)
    # V2 grows to the east of V3, and its arcsec shrink with the cosine of V3
    assert at.separation(aside).arcsec == pytest.approx(100 * np.cos(np.radians(1040.785 / 3600)), rel=1e-7)
    assert at.position_angle(aside).deg == pytest.approx(37.0 + 90.0, abs=0.02)
    back = attitude.to_telescope(at.ra.deg, at.dec.deg)
    np.testing.assert_allclose(back, (1312.949, -1040.785), atol=1e-7)


def test_the_focal_plane_lies_on_the_sky_without_overlap():
    from astropy.coordinates import SkyCoord

    pointing, frames = TelescopePointing(10.0, 86.0, 12.0), []
    for detector in DETECTORS:
        seen = view(detector, (4096, 4096), pointing, ephemeris("2027-04-01"))
        frames.append(SkyCoord(*seen.pixel_to_sky(2043.5, 2043.5), unit="deg"))
    centres = SkyCoord(frames)
    distance = centres[:, None].separation(centres[None, :]).arcsec
    planned = np.array([(place.v2_ref, place.v3_ref) for place in DETECTORS.values()])
    expected = np.hypot(*(planned[:, None] - planned[None, :]).transpose(2, 0, 1))
    np.testing.assert_allclose(distance, expected, rtol=2e-4, atol=1e-6)
    assert distance[distance > 0].min() > 4088 * 0.109


def test_distortion_follows_the_instrument_aperture_file():
    # local derivatives of WFI01_FULL at its centre, arcsec per pixel, from the SIAF (pysiaf 0.29)
    distortion = make_distortion("WFI01")
    for seed in range(3):
        distortion = make_distortion("WFI01", seed=seed)
        low, high = (np.array(distortion.to_v2v3(2043.5 + d, 2043.5)) for d in (-0.5, 0.5))
        np.testing.assert_allclose(high - low, (-0.0554, -0.0954), atol=2e-3)
        low, high = (np.array(distortion.to_v2v3(2043.5, 2043.5 + d)) for d in (-0.5, 0.5))
        np.testing.assert_allclose(high - low, (-0.0939, 0.0538), atol=2.5e-3)


def test_distortion_inverts_and_equals_its_astropy_model():
    distortion = make_distortion("WFI13", (4096, 4096), seed=5)
    x, y = np.meshgrid(np.linspace(-0.5, 4087.5, 23), np.linspace(-0.5, 4087.5, 23))
    v2, v3 = distortion.to_v2v3(x, y)
    np.testing.assert_allclose(distortion.to_pixel(v2, v3), (x, y), atol=1e-9)
    model = distortion.astropy_model()
    np.testing.assert_allclose(model(x, y), (v2, v3), atol=1e-9)
    np.testing.assert_allclose(model.inverse(v2, v3), (x, y), atol=1e-3)
    curved = np.hypot(
        *(np.array(distortion.to_v2v3(0, 0)) + distortion.to_v2v3(4087, 4087) - 2 * np.array([v2[11, 11], v3[11, 11]]))
    )
    assert 0.05 < curved < 10


def test_a_reduced_frame_is_the_middle_of_the_detector():
    full, small = make_distortion("WFI07", (4096, 4096)), make_distortion("WFI07", (256, 512))
    np.testing.assert_allclose(small.to_v2v3(10.0, 20.0), full.to_v2v3(10.0 + 1792, 20.0 + 1920), atol=1e-9)


def test_area_is_the_solid_angle_of_a_pixel():
    from astropy.coordinates import SkyCoord

    seen = view("WFI09", (1024, 1024), TelescopePointing(30.0, -60.0, 80.0))
    area = seen.distortion.area_map(seen.shape)
    for x, y in [(0, 0), (700, 300), (1015, 1015)]:
        corners = [
            SkyCoord(*seen.pixel_to_sky(x + dx, y + dy), unit="deg")
            for dx, dy in [(-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)]
        ]
        along = corners[0].separation(corners[1]).arcsec * corners[2].separation(corners[3]).arcsec
        turn = corners[2].position_angle(corners[3]) - corners[0].position_angle(corners[1])
        assert area[y, x] == pytest.approx(along * abs(np.sin(turn.rad)), rel=2e-5)


@pytest.mark.parametrize(
    "pointing", [(0.0, 0.0, 0.0), (359.99, 45.0, 200.0), (77.0, 89.95, 10.0), (200.0, -89.99, 300.0)]
)
def test_view_goes_to_the_sky_and_back(pointing):
    seen = view("WFI18", (512, 512), TelescopePointing(*pointing), ephemeris("2027-09-01"), seed=2)
    x, y = np.meshgrid(np.linspace(-20, 520, 7), np.linspace(-20, 520, 7))
    np.testing.assert_allclose(seen.sky_to_pixel(*seen.pixel_to_sky(x, y)), (x, y), atol=1e-6)
    assert seen.s_region.startswith("POLYGON ICRS  ")
    assert len(seen.s_region.split()) == 10


def test_view_agrees_with_the_gwcs_of_its_numbers():
    from roman_nexus.wcs import build_wcs

    seen = view("WFI12", (512, 512), TelescopePointing(150.0, 2.0, 250.0), ephemeris("2027-12-15"), seed=4)
    at = seen.pointing
    assert abs(at.scale_factor - 1) > 1e-5
    wcs = build_wcs(
        seen.distortion.astropy_model(),
        **{name: getattr(at, name) for name in ("v2_ref", "v3_ref", "ra_ref", "dec_ref", "roll_ref", "scale_factor")},
        shape=seen.shape,
    )
    x, y = np.meshgrid(np.linspace(0, 503, 5), np.linspace(0, 503, 5))
    np.testing.assert_allclose(seen.pixel_to_sky(x, y), wcs(x, y), atol=1e-11)


def test_a_moved_pointing_moves_every_detector():
    pointing = TelescopePointing(40.0, 80.0, 10.0)
    moved = pointing.moved(12.0, -5.0)
    for detector in ("WFI01", "WFI07", "WFI18"):
        place = DETECTORS[detector]
        before = pointing.attitude.to_sky(place.v2_ref + 12.0, place.v3_ref - 5.0)
        after = moved.attitude.to_sky(place.v2_ref, place.v3_ref)
        np.testing.assert_allclose(after, before, atol=1e-2 / 3600 / np.cos(np.radians(80)))


def test_velocity_aberration_has_the_size_of_the_orbit():
    factors = [ephemeris(f"2027-{month:02d}-01").scale_factor(0.0, 0.0) for month in range(1, 13)]
    # 29.9 km/s over the speed of light, both ways along the ecliptic
    assert max(factors) - 1 == pytest.approx(0.9e-4, abs=0.15e-4)
    assert min(factors) - 1 == pytest.approx(-0.9e-4, abs=0.15e-4)
    # at the September equinox the Sun is at ra 180, the Earth on the other side, moving towards ra 90
    assert ephemeris("2027-09-23").scale_factor(90.0, 23.4) > 1 + 0.9e-4


def test_pointing_refuses_nonsense():
    with pytest.raises(InputError, match="dec from -90 to 90"):
        TelescopePointing(10.0, 91.0, 0.0)
    with pytest.raises(InputError, match="start_time is 'soon'"):
        ephemeris("soon")
