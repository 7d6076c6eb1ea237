"""The sky: profiles conserve flux, sources are where the catalog says, and the same for everyone who looks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gammainc, gammaincinv

from roman_nexus.demo.pointing import TelescopePointing, view
from roman_nexus.demo.profiles import draw_ellipses, draw_stars, psf_mixture, sersic_mixture
from roman_nexus.demo.sky import SkyField, Sources, draw_sources
from roman_nexus.errors import InputError, OptionError

ONE = np.array([1.0])


def one_source(**values: float | bool) -> Sources:
    defaults = {"id": 1, "ra": 0.0, "dec": 0.0, "is_star": True, "flux": 1000.0, "slope": 0.0}
    defaults |= {"size": 0.0, "sersic_index": 0.0, "pa": 0.0, "ba": 1.0}
    return Sources(**{name: np.array([value]) for name, value in (defaults | values).items()})


@pytest.mark.parametrize(("x", "y"), [(100.0, 100.0), (100.5, 99.7), (99.62, 100.31)])
def test_star_conserves_flux_and_place(x, y):
    image = np.zeros((201, 201), np.float32)
    weight, sigma = psf_mixture(0.128, 0.11)
    draw_stars(image, np.array([x]), np.array([y]), 1e4 * ONE, weight, sigma)
    assert image.sum(dtype=float) == pytest.approx(1e4, rel=1e-5)
    rows, columns = np.indices(image.shape)
    assert (image * columns).sum(dtype=float) / 1e4 == pytest.approx(x, abs=2e-3)
    assert (image * rows).sum(dtype=float) / 1e4 == pytest.approx(y, abs=2e-3)


def test_star_is_integrated_over_pixels():
    # brute force: 51 x 51 points in every pixel
    image = np.zeros((15, 15), np.float32)
    weight, sigma = psf_mixture(0.128, 0.11)
    draw_stars(image, 7.3 * ONE, 6.8 * ONE, ONE, weight, sigma)
    fine = (np.arange(15 * 51) + 0.5) / 51 - 0.5
    radius2 = (fine[None, :] - 7.3) ** 2 + (fine[:, None] - 6.8) ** 2
    parts = sum(w * np.exp(-0.5 * radius2 / s**2) / (2 * np.pi * s**2) for w, s in zip(weight, sigma, strict=True))
    expected = parts.reshape(15, 51, 15, 51).mean(axis=(1, 3))
    np.testing.assert_allclose(image, expected, atol=1e-4 * expected.max())


def test_stars_beyond_the_edge_bring_their_wings():
    image = np.zeros((40, 40), np.float32)
    whole = np.zeros((200, 200), np.float32)
    mixture = psf_mixture(0.128, 0.11)
    draw_stars(image, -3.0 * ONE, 20.0 * ONE, ONE, *mixture)
    draw_stars(whole, 97.0 * ONE, 120.0 * ONE, ONE, *mixture)
    np.testing.assert_array_equal(image, whole[100:140, 100:140])
    assert image.sum() > 0.01


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.49, 1.51, 4.0])
def test_round_ellipse_is_a_star(sigma):
    star, ellipse = np.zeros((61, 61), np.float32), np.zeros((61, 61), np.float32)
    variance = sigma**2 * ONE
    draw_stars(star, 30.2 * ONE, 29.6 * ONE, ONE, ONE, sigma * ONE)
    draw_ellipses(ellipse, 30.2 * ONE, 29.6 * ONE, ONE, variance, 0 * ONE, variance)
    np.testing.assert_allclose(ellipse, star, atol=5e-4 * star.max())
    assert ellipse.sum(dtype=float) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("index", "accuracy"), [(1.0, 1e-3), (1.5, 2e-3), (2.0, 1e-3), (3.0, 8e-3), (4.0, 2e-2)])
def test_sersic_mixture_has_the_curve_of_growth_of_its_profile(index, accuracy):
    weight, sigma = sersic_mixture(index)
    radius = np.array([0.1, 0.3, 1.0, 2.0, 4.0])
    found = np.sum(weight * (1 - np.exp(-0.5 * (radius[:, None] / sigma) ** 2)), axis=1)
    shape = gammaincinv(2 * index, 0.5)
    expected = gammainc(2 * index, shape * radius ** (1 / index))
    np.testing.assert_allclose(found, expected, atol=accuracy)


@pytest.mark.parametrize("kind", ["star", "galaxy"])
def test_drawn_flux_is_the_catalog_flux(kind):
    seen = view("WFI02", (512, 512), TelescopePointing(20.0, 10.0, 70.0), seed=1)
    ra, dec = (float(value) for value in seen.pixel_to_sky(251.2, 250.6))
    galaxy = {"is_star": False, "size": 0.5, "sersic_index": 1.0, "pa": 30.0, "ba": 0.6}
    source = one_source(ra=ra, dec=dec, **(galaxy if kind == "galaxy" else {}))
    image, x, y = draw_sources(source, seen, "F158")
    assert (x[0], y[0]) == pytest.approx((251.2, 250.6), abs=1e-6)
    assert image.sum(dtype=float) == pytest.approx(1000.0, rel=2e-4)
    rows, columns = np.indices(image.shape)
    assert (image * columns).sum(dtype=float) / image.sum(dtype=float) == pytest.approx(251.2, abs=0.02)
    assert (image * rows).sum(dtype=float) / image.sum(dtype=float) == pytest.approx(250.6, abs=0.02)


@pytest.mark.parametrize("pa", [0.0, 55.0, 130.0])
def test_galaxy_has_its_position_angle_and_axis_ratio_on_the_sky(pa):
    seen = view("WFI14", (512, 512), TelescopePointing(100.0, -70.0, 20.0), seed=3)
    ra, dec = (float(value) for value in seen.pixel_to_sky(251.5, 251.5))
    source = one_source(ra=ra, dec=dec, is_star=False, size=1.2, sersic_index=1.0, pa=pa, ba=0.3)
    image, _, _ = draw_sources(source, seen, "F062")
    rows, columns = np.indices(image.shape)
    sky_ra, sky_dec = seen.pixel_to_sky(columns, rows)
    east, north = (sky_ra - ra) * np.cos(np.radians(dec)) * 3600, (sky_dec - dec) * 3600
    moments = np.cov(np.stack([east.ravel(), north.ravel()]), aweights=image.ravel())
    values, vectors = np.linalg.eigh(moments)
    angle = np.degrees(np.arctan2(vectors[0, 1], vectors[1, 1])) % 180
    assert (angle - pa + 90) % 180 - 90 == pytest.approx(0, abs=1.0)
    # the wings of the star's image, 9 pixels of the F158 width at 5 %, make it rounder
    blur = 0.0121 * np.sum(np.prod(np.array(psf_mixture(0.058, 0.11)) ** [[1], [2]], axis=0))
    assert np.sqrt((values[0] - blur) / (values[1] - blur)) == pytest.approx(0.3, abs=0.02)


def test_two_frames_see_the_same_sources_where_they_overlap():
    field = SkyField(0.0, 45.0, seed=9)  # across RA 0
    wide = field.sources_within(0.0, 45.0, 100.0)
    narrow = field.sources_within(0.01, 45.005, 40.0)
    assert len(narrow) > 50
    assert np.isin(narrow.id, wide.id).all()
    position = dict(zip(wide.id, zip(wide.ra, wide.dec, wide.flux, strict=True), strict=True))
    assert all(
        position[key] == (ra, dec, f)
        for key, ra, dec, f in zip(narrow.id, narrow.ra, narrow.dec, narrow.flux, strict=True)
    )
    assert np.unique(wide.id).size == len(wide)
    assert (narrow.ra > 359).any()
    assert (narrow.ra < 1).any()


def test_numbers_and_magnitudes_are_as_asked():
    field = SkyField(120.0, -30.0, seed=2, stars_per_arcmin2=30.0, galaxies_per_arcmin2=50.0)
    found = field.sources_within(120.0, -30.0, 600.0)
    area = np.pi * 10**2
    assert found.is_star.sum() == pytest.approx(30 * area, abs=5 * np.sqrt(30 * area))
    assert (~found.is_star).sum() == pytest.approx(50 * area, abs=5 * np.sqrt(50 * area))
    magnitude = -2.5 * np.log10(found.flux[found.is_star] / 3.631e12)
    bright, faint = (((magnitude > low) & (magnitude < low + 2)).sum() for low in (20, 23))
    assert np.log10(faint / bright) / 3 == pytest.approx(0.12, abs=0.01)
    galaxies = found.select(~found.is_star)
    assert (galaxies.size > 0).all()
    assert ((galaxies.ba >= 0.25) & (galaxies.ba <= 1)).all()


def test_table_has_the_catalog_columns():
    table = SkyField().catalog([(270.0, 66.0), (270.01, 66.01)])
    assert {"ra", "dec", "type", "flux", "size", "pa", "ba"} <= set(table.colnames)
    assert set(table["type"]) == {"PSF", "SER"}
    assert str(table["flux"].unit) == "nJy"


def test_colours_change_the_flux():
    source = one_source(slope=2.0)
    assert source.flux_in("F158")[0] == pytest.approx(1000.0)
    assert source.flux_in("F062")[0] == pytest.approx(1000.0 * (0.620 / 1.577) ** 2)


def test_sky_refuses_nonsense():
    with pytest.raises(InputError, match="60 degrees"):
        SkyField(10.0, 0.0).sources_within(190.0, 0.0, 10.0)
    with pytest.raises(OptionError, match="stars_per_arcmin2 is -1"):
        SkyField(stars_per_arcmin2=-1)
