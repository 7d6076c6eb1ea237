"""A sky of stars and galaxies around a field centre, the same for every exposure that looks at it.

The sky is cut into cells of one arcminute in the tangent plane of the field centre. Each cell draws its sources from a
random stream of its own, so that a place on the sky holds the same sources whichever detector, dither or frame size
asks for it, and only the cells that are looked at are made.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roman_nexus.demo.bands import BANDS, Band, band
from roman_nexus.demo.distortion import PIXEL_SCALE
from roman_nexus.demo.fields import stream
from roman_nexus.demo.pointing import DetectorView
from roman_nexus.demo.profiles import draw_ellipses, draw_stars, psf_mixture, sersic_mixture
from roman_nexus.errors import InputError, OptionError

__all__ = ["SkyField", "Sources", "draw_sources"]

Floats = NDArray[np.float64]

AB_ZERO_NJY = 3.631e12  #: flux density of magnitude 0, nJy
STAR_MAGNITUDES = (15.5, 25.5)  #: AB in F158
GALAXY_MAGNITUDES = (18.5, 25.8)
STAR_SLOPE, GALAXY_SLOPE = 0.12, 0.28  #: d log10 N / d magnitude
SERSIC_INDICES = (1.0, 1.5, 2.0, 3.0, 4.0)
SERSIC_SHARES = (0.50, 0.20, 0.12, 0.10, 0.08)
EXTENT = 60.0  #: pixels beyond the frame from which light is drawn into it
_CELL_ORIGIN = 1 << 15  # keeps cell numbers positive
_MAX_DISTANCE = np.radians(60.0)


@dataclass(frozen=True)
class Sources:
    """Stars and galaxies, one array element each.

    Attributes
    ----------
    id : int64 ndarray
        Unique in the sky field.
    ra, dec : float64 ndarray
        ICRS, degrees.
    is_star : bool ndarray
    flux : float64 ndarray
        In F158, nJy (AB).
    slope : float64 ndarray
        Flux density goes as wavelength to this power.
    size : float64 ndarray
        Half-light radius along the major axis, arcsec; 0 for stars.
    sersic_index : float64 ndarray
        0 for stars.
    pa : float64 ndarray
        Position angle of the major axis, degrees east of north.
    ba : float64 ndarray
        Minor over major axis.
    """

    id: NDArray[np.int64]
    ra: Floats
    dec: Floats
    is_star: NDArray[np.bool_]
    flux: Floats
    slope: Floats
    size: Floats
    sersic_index: Floats
    pa: Floats
    ba: Floats

    def __len__(self) -> int:
        return int(self.ra.size)

    def select(self, which: Any) -> Sources:
        """Return some of the sources, by mask or index."""
        return Sources(*(getattr(self, item.name)[which] for item in dataclasses.fields(self)))

    def flux_in(self, optical_element: str | Band) -> Floats:
        """Return flux densities in a band, nJy."""
        item = optical_element if isinstance(optical_element, Band) else band(optical_element)
        return np.asarray(self.flux * (item.wavelength / BANDS["F158"].wavelength) ** self.slope)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the sources as named columns; ``type`` is "PSF" or "SER"."""
        columns = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        kinds = np.where(columns.pop("is_star"), "PSF", "SER")
        return {**{name: columns[name] for name in ("id", "ra", "dec")}, "type": kinds, **columns}

    def to_table(self) -> Any:
        """Return the sources as an astropy Table with units."""
        from astropy.table import Table

        table = Table(self.columns())
        for name, unit in (("ra", "deg"), ("dec", "deg"), ("flux", "nJy"), ("size", "arcsec"), ("pa", "deg")):
            table[name].unit = unit
        return table


@dataclass(frozen=True)
class SkyField:
    """A deterministic sky.

    Attributes
    ----------
    ra, dec : float
        Field centre, degrees.
    seed : int
    stars_per_arcmin2, galaxies_per_arcmin2 : float
        Mean numbers down to the faint limits.

    Examples
    --------
    >>> from roman_nexus.demo.sky import SkyField
    >>> field = SkyField(270.0, 66.0, seed=1)
    >>> sources = field.sources_within(270.0, 66.0, radius_arcsec=30.0)
    >>> len(sources) > 20 and len(sources) == len(field.sources_within(270.0, 66.0, radius_arcsec=30.0))
    True
    """

    ra: float = 270.0
    dec: float = 66.0
    seed: int = 0
    stars_per_arcmin2: float = 60.0
    galaxies_per_arcmin2: float = 60.0

    def __post_init__(self) -> None:
        for name in ("stars_per_arcmin2", "galaxies_per_arcmin2"):
            value = getattr(self, name)
            if not 0 <= value <= 1e4:
                msg = f"{name} is {value!r}; expected 0 to 10000"
                raise OptionError(msg)

    def sources_around(self, corners: ArrayLike) -> Sources:
        """Return every source of the cells that meet the box around some places.

        Parameters
        ----------
        corners : (n, 2) array-like
            ra, dec in degrees, for example `DetectorView.corners`.
        """
        places = np.asarray(corners, dtype=float)
        xi, eta = self._to_plane(places[:, 0], places[:, 1])
        low = [int(np.floor(axis.min())) for axis in (xi, eta)]
        high = [int(np.floor(axis.max())) for axis in (xi, eta)]
        cells = [(i, j) for j in range(low[1], high[1] + 1) for i in range(low[0], high[0] + 1)]
        parts = [self._cell(i, j) for i, j in cells]
        return Sources(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def sources_within(self, ra: float, dec: float, radius_arcsec: float) -> Sources:
        """Return the sources of a circle."""
        half = radius_arcsec / 3600.0
        wide = half / max(np.cos(np.radians(min(abs(dec) + half, 89.9))), 1e-3)
        box = [(ra + sx * wide, dec + sy * half) for sx in (-1, 0, 1) for sy in (-1, 0, 1)]
        found = self.sources_around(np.array(box))
        return found.select(_distance(found.ra, found.dec, ra, dec) <= np.radians(half))

    def catalog(self, corners: ArrayLike) -> Any:
        """Return `sources_around` as an astropy Table."""
        return self.sources_around(corners).to_table()

    def _to_plane(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Gnomonic projection about the field centre, arcmin."""
        if np.any(~(_distance(ra, dec, self.ra, self.dec) < _MAX_DISTANCE)):
            msg = (
                f"a place is more than 60 degrees from the field centre ({self.ra}, {self.dec}); make a SkyField there"
            )
            raise InputError(msg)
        a, d, d0 = np.radians(ra - self.ra), np.radians(dec), np.radians(self.dec)
        along = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
        arcmin = np.degrees(1.0) * 60.0 / along
        return arcmin * np.cos(d) * np.sin(a), arcmin * (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a))

    def _from_plane(self, xi: Floats, eta: Floats) -> tuple[Floats, Floats]:
        x, y, d0 = np.radians(xi / 60.0), np.radians(eta / 60.0), np.radians(self.dec)
        down = np.cos(d0) - y * np.sin(d0)
        ra = self.ra + np.degrees(np.arctan2(x, down))
        return np.mod(ra, 360.0), np.degrees(np.arctan2(np.sin(d0) + y * np.cos(d0), np.hypot(x, down)))

    def _cell(self, i: int, j: int) -> tuple[NDArray[Any], ...]:
        """Draw the sources of one cell, in the order of the fields of `Sources`."""
        rng = stream(self.seed, "sky", i + _CELL_ORIGIN, j + _CELL_ORIGIN)
        n_star = int(rng.poisson(self.stars_per_arcmin2))
        n_galaxy = int(rng.poisson(self.galaxies_per_arcmin2))
        n = n_star + n_galaxy
        ra, dec = self._from_plane(i + rng.random(n), j + rng.random(n))
        is_star = np.arange(n) < n_star
        magnitude = np.concatenate(
            [
                _magnitudes(rng, n_star, STAR_MAGNITUDES, STAR_SLOPE),
                _magnitudes(rng, n_galaxy, GALAXY_MAGNITUDES, GALAXY_SLOPE),
            ]
        )
        size = np.clip(10 ** rng.normal(-0.55 - 0.06 * (magnitude - 22), 0.18), 0.06, 1.2)
        index = rng.choice(SERSIC_INDICES, n, p=SERSIC_SHARES)
        number = ((i + _CELL_ORIGIN) << 32) + ((j + _CELL_ORIGIN) << 16) + np.arange(n, dtype=np.int64)
        return (
            number,
            ra,
            dec,
            is_star,
            AB_ZERO_NJY * 10 ** (-0.4 * magnitude),
            np.where(is_star, rng.normal(-0.5, 0.7, n), rng.normal(0.7, 0.7, n)),
            np.where(is_star, 0.0, size),
            np.where(is_star, 0.0, index),
            np.where(is_star, 0.0, rng.uniform(0.0, 180.0, n)),
            np.where(is_star, 1.0, rng.uniform(0.25, 1.0, n)),
        )


def draw_sources(
    sources: Sources, view: DetectorView, optical_element: str
) -> tuple[NDArray[np.float32], Floats, Floats]:
    """Draw sources on the science frame of a detector.

    Parameters
    ----------
    sources : Sources
    view : DetectorView
    optical_element : str

    Returns
    -------
    image : (ny, nx) float32 ndarray
        Flux that falls into each pixel, nJy.
    x, y : float64 ndarray
        Where every source was drawn, pixels (0-based); far outside the frame for sources that were left out.
    """
    element = band(optical_element)
    ny, nx = view.shape
    x, y = view.sky_to_pixel(sources.ra, sources.dec)
    near = (np.abs(x - 0.5 * nx) < 0.5 * nx + EXTENT) & (np.abs(y - 0.5 * ny) < 0.5 * ny + EXTENT)
    flux = sources.flux_in(element)
    weight, sigma = psf_mixture(element.fwhm, PIXEL_SCALE)
    image = np.zeros(view.shape, dtype=np.float32)
    stars = near & sources.is_star
    draw_stars(image, x[stars], y[stars], flux[stars], weight, sigma)
    for index in SERSIC_INDICES:
        some = near & ~sources.is_star & (sources.sersic_index == index)
        if some.any():
            shape = _covariances(sources.select(some), view, x[some], y[some])
            draw_ellipses(image, *_galaxy_parts(x[some], y[some], flux[some], shape, index, weight, sigma))
    return image, x, y


def _covariances(sources: Sources, view: DetectorView, x: Floats, y: Floats) -> Floats:
    """Second moments of galaxies of unit width (half-light radius), pixels2, as (3, n): xx, xy, yy."""
    arcsec = 1.0 / 3600.0
    east = view.sky_to_pixel(sources.ra + arcsec / np.cos(np.radians(sources.dec)), sources.dec)
    north = view.sky_to_pixel(sources.ra, sources.dec + arcsec)
    jacobian = np.array([[east[0] - x, north[0] - x], [east[1] - y, north[1] - y]])  # pixel per arcsec
    angle = np.radians(sources.pa)
    along = np.array([np.sin(angle), np.cos(angle)]) * sources.size
    across = np.array([np.cos(angle), -np.sin(angle)]) * sources.size * sources.ba
    a, b = (np.einsum("ijn,jn->in", jacobian, axis) for axis in (along, across))
    return np.stack([a[0] ** 2 + b[0] ** 2, a[0] * a[1] + b[0] * b[1], a[1] ** 2 + b[1] ** 2])


def _galaxy_parts(
    x: Floats, y: Floats, flux: Floats, shape: Floats, index: float, weight: Floats, sigma: Floats
) -> tuple[Floats, ...]:
    """Return every Gaussian of galaxies of one Sersic index, convolved with the star's image."""
    share, width = sersic_mixture(index)
    parts = np.multiply.outer(share, weight).ravel()
    spread = np.repeat(width**2, weight.size)
    blur = np.tile(sigma**2, share.size)
    xx, xy, yy = (np.multiply.outer(axis, spread) for axis in shape)
    place = (np.repeat(axis, parts.size) for axis in (x, y))
    return (*place, np.multiply.outer(flux, parts).ravel(), (xx + blur).ravel(), xy.ravel(), (yy + blur).ravel())


def _magnitudes(rng: np.random.Generator, n: int, limits: tuple[float, float], slope: float) -> Floats:
    """Draw magnitudes whose numbers grow as 10**(slope * magnitude)."""
    low, high = (10 ** (slope * limit) for limit in limits)
    return np.asarray(np.log10(low + rng.random(n) * (high - low)) / slope)


def _distance(ra: ArrayLike, dec: ArrayLike, ra0: float, dec0: float) -> Floats:
    """Great-circle distance, radians (haversine)."""
    d, d0 = np.radians(dec), np.radians(dec0)
    half_a, half_d = 0.5 * np.radians(np.asarray(ra) - ra0), 0.5 * (d - d0)
    return np.asarray(2 * np.arcsin(np.sqrt(np.sin(half_d) ** 2 + np.cos(d) * np.cos(d0) * np.sin(half_a) ** 2)))
