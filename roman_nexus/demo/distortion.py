"""Made-up but realistic distortion of a detector, astropy-free, with an inverse.

Pixels of the science frame (0-based) go to the telescope frame (V2, V3, arcsec) by a polynomial of degree 3 around
the detector's centre: 0.11 arcsec per pixel, with a per cent of anisotropy, a small rotation, and curvature that moves
the corners of a full detector by about ten pixels. Orientation is that of the Roman SIAF (``V3IdlYAngle`` -60 degrees,
``VIdlParity`` -1 for all 18 detectors). A reduced frame is the middle of the detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roman_nexus.demo.fields import check_detector, stream
from roman_nexus.steps.step import BORDER
from roman_nexus.wcs import DetectorPlace, detector_place

__all__ = ["PIXEL_SCALE", "Distortion", "make_distortion"]

PIXEL_SCALE = 0.11  #: arcsec per pixel
FULL_SIZE = 4088
DEGREE = 3
INVERSE_DEGREE = 5
_PIXELS = 1000.0  # units in which the polynomials are well conditioned
_ARCSEC = 100.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Distortion:
    """Map between pixels of the science frame and (V2, V3).

    Attributes
    ----------
    v2_ref, v3_ref : float
        Where the centre of the frame looks, arcsec.
    x_ref, y_ref : float
        Centre of the frame, pixels.
    forward : (2, 4, 4) float64 ndarray
        Coefficients [axis, power of x, power of y]: kilopixels from the centre -> hundreds of arcsec.
    inverse : (2, 6, 6) float64 ndarray
        The other way, good to 1e-4 pixel; `to_pixel` refines it.
    """

    v2_ref: float
    v3_ref: float
    x_ref: float
    y_ref: float
    forward: Floats
    inverse: Floats

    def to_v2v3(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixels to V2, V3 in arcsec."""
        u, w = self._kilopixels(x, y)
        v2, v3 = (np.polynomial.polynomial.polyval2d(u, w, c) * _ARCSEC for c in self.forward)
        return v2 + self.v2_ref, v3 + self.v3_ref

    def to_pixel(self, v2: ArrayLike, v3: ArrayLike) -> tuple[Floats, Floats]:
        """V2, V3 in arcsec to pixels, good to 1e-9 pixel near the detector."""
        x_rough, y_rough = x, y = self._rough_pixel(v2, v3)
        for _ in range(3):
            x_again, y_again = self._rough_pixel(*self.to_v2v3(x, y))
            x, y = x + x_rough - x_again, y + y_rough - y_again
        return x, y

    def _rough_pixel(self, v2: ArrayLike, v3: ArrayLike) -> tuple[Floats, Floats]:
        p, q = (np.asarray(v2) - self.v2_ref) / _ARCSEC, (np.asarray(v3) - self.v3_ref) / _ARCSEC
        x, y = (np.polynomial.polynomial.polyval2d(p, q, c) * _PIXELS for c in self.inverse)
        return x + self.x_ref, y + self.y_ref

    def _kilopixels(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        x, y = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        return (x - self.x_ref) / _PIXELS, (y - self.y_ref) / _PIXELS

    def area(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Area of pixels on the sky, arcsec2."""
        u, w = self._kilopixels(x, y)
        derivative = np.polynomial.polynomial.polyder
        value = np.polynomial.polynomial.polyval2d
        (ax, ay), (bx, by) = ([value(u, w, derivative(c, axis=k)) for k in (0, 1)] for c in self.forward)
        _, v3 = self.to_v2v3(x, y)
        # V2 runs around the sphere: its arcsec shrink with the cosine of V3
        return np.abs(ax * by - ay * bx) * (_ARCSEC / _PIXELS) ** 2 * np.cos(np.radians(v3 / 3600.0))

    def area_map(self, shape: tuple[int, int], step: int = 64) -> NDArray[np.float32]:
        """Area of every pixel of a science frame, from a spline over a coarse grid, arcsec2.

        Returns
        -------
        (ny, nx) float32 ndarray
        """
        from scipy.interpolate import CubicSpline

        ny, nx = shape
        ys, xs = (np.linspace(0, size - 1, max(4, size // step)) for size in shape)
        grid = self.area(xs[None, :], ys[:, None])
        rows = CubicSpline(ys, grid, axis=0)(np.arange(ny))
        return np.asarray(CubicSpline(xs, rows.astype(np.float32), axis=1)(np.arange(nx)), dtype=np.float32)

    @property
    def nominal_area(self) -> float:
        """Area of the central pixel, arcsec2."""
        return float(self.area(self.x_ref, self.y_ref))

    def astropy_model(self) -> Any:
        """Return the map as the astropy model that a distortion reference file holds, with its inverse."""
        from astropy.modeling import models

        centre = models.Shift(-self.x_ref) & models.Shift(-self.y_ref)
        place = models.Shift(self.v2_ref) & models.Shift(self.v3_ref)
        kilopixel = models.Scale(1 / _PIXELS) & models.Scale(1 / _PIXELS)
        arcsec = models.Scale(_ARCSEC) & models.Scale(_ARCSEC)
        twice = models.Mapping((0, 1, 0, 1))
        forward = centre | kilopixel | twice | _polynomials(self.forward) | arcsec | place
        back = place.inverse | arcsec.inverse | twice | _polynomials(self.inverse) | kilopixel.inverse | centre.inverse
        forward.inverse = back
        return forward


@lru_cache(maxsize=64)
def make_distortion(detector: str, shape: tuple[int, int] = (4096, 4096), seed: int = 0) -> Distortion:
    """Make the distortion of a detector for a full frame of some shape.

    Parameters
    ----------
    detector : str
        "WFI01" to "WFI18".
    shape : tuple of int
        Full frame (ny, nx) including the border; it lies in the middle of the detector.
    seed : int

    Returns
    -------
    Distortion

    Examples
    --------
    >>> from roman_nexus.demo.distortion import make_distortion
    >>> distortion = make_distortion("WFI01", (512, 512))
    >>> v2, v3 = distortion.to_v2v3(251.5, 251.5)
    >>> round(float(v2), 3), round(float(v3), 3)
    (1312.949, -1040.785)
    """
    place = detector_place(detector)
    forward = _draw_coefficients(stream(seed, "distortion", check_detector(detector)), place)
    y_ref, x_ref = ((size - 2 * BORDER - 1) / 2.0 for size in shape)
    return Distortion(place.v2_ref, place.v3_ref, x_ref, y_ref, forward, _fit_inverse(forward))


def _draw_coefficients(rng: np.random.Generator, place: DetectorPlace) -> Floats:
    """Draw the polynomial in the detector's own axes, then turn it into V2 and V3."""
    own = np.zeros((2, DEGREE + 1, DEGREE + 1))
    scale = PIXEL_SCALE * _PIXELS / _ARCSEC
    turn = np.radians(rng.normal(0.0, 0.05))
    stretch_x, stretch_y = 1 + rng.normal(0.0, 0.006, 2)
    own[0, 1, 0], own[0, 0, 1] = scale * stretch_x * np.cos(turn), -scale * stretch_y * np.sin(turn)
    own[1, 1, 0], own[1, 0, 1] = scale * stretch_x * np.sin(turn), scale * stretch_y * np.cos(turn)
    for axis in (0, 1):
        for i in range(DEGREE + 1):
            for j in range(DEGREE + 1 - i):
                if i + j >= 2:
                    own[axis, i, j] = rng.normal(0.0, 1.5e-3 if i + j == 2 else 2e-4)
    angle = np.radians(place.v3_ideal_y_angle)
    v2 = place.parity * np.cos(angle) * own[0] + np.sin(angle) * own[1]
    v3 = -place.parity * np.sin(angle) * own[0] + np.cos(angle) * own[1]
    return np.stack([v2, v3])


def _fit_inverse(forward: Floats) -> Floats:
    """Fit the inverse polynomial over the whole detector and a little more."""
    half = 0.52 * FULL_SIZE / _PIXELS
    u, w = (axis.ravel() for axis in np.meshgrid(*[np.linspace(-half, half, 41)] * 2))
    p, q = (np.polynomial.polynomial.polyval2d(u, w, c) for c in forward)
    powers = [(i, j) for i in range(INVERSE_DEGREE + 1) for j in range(INVERSE_DEGREE + 1 - i)]
    design = np.stack([p**i * q**j for i, j in powers], axis=1)
    solution = np.linalg.lstsq(design, np.stack([u, w], axis=1), rcond=None)[0]
    inverse = np.zeros((2, INVERSE_DEGREE + 1, INVERSE_DEGREE + 1))
    for (i, j), pair in zip(powers, solution, strict=True):
        inverse[:, i, j] = pair
    return inverse


def _polynomials(coefficients: Floats) -> Any:
    """Return a pair of astropy polynomials with these coefficients."""
    from astropy.modeling.models import Polynomial2D

    degree = coefficients.shape[1] - 1
    pair = []
    for table in coefficients:
        values = {f"c{i}_{j}": float(table[i, j]) for i in range(degree + 1) for j in range(degree + 1 - i)}
        pair.append(Polynomial2D(degree, **values))
    return pair[0] & pair[1]
