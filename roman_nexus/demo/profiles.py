"""Images of stars and galaxies as sums of Gaussians, integrated over pixels, with the flux conserved.

A star is a sum of round Gaussians: its integral over a pixel is a product of error functions, exact to rounding. A
galaxy is a Sersic profile, fitted by Gaussians of fixed widths with non-negative weights (the idea of Hogg & Lang 2013,
PASP 125, 719; the fit is made here), made elliptical and convolved with the star: sums of Gaussians stay sums of
Gaussians under both. Elliptical Gaussians are integrated by Gauss-Legendre points inside the pixel where they are
narrow, and by widening them by the pixel's own variance where they are wide.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_ellipses", "draw_stars", "psf_mixture", "sersic_mixture"]

Floats = NDArray[np.float64]

STAR_REACH = 5.5  #: standard deviations out to which the Gaussians of stars are drawn
GALAXY_REACH = 4.5
WIDE = 1.5  #: pixels; from this width on, a Gaussian is taken at pixel centres
PIXEL_VARIANCE = 1.0 / 12.0

#: share and width of the parts of a star's image, the width in units of the core's
STAR_PARTS = ((0.56, 1.0), (0.28, 2.2), (0.11, 6.0), (0.05, 18.0))
SERSIC_WIDTHS = np.geomspace(0.01, 6.0, 14)  # in half-light radii
SERSIC_EDGE = 8.0  # half-light radii


def psf_mixture(fwhm: float, pixel_scale: float) -> tuple[Floats, Floats]:
    """Return weights and standard deviations (pixels) of the Gaussians of a star's image.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum of the core, arcsec.
    pixel_scale : float
        Arcsec per pixel.

    Returns
    -------
    weight, sigma : (k,) float64 ndarray
        The weights add up to 1.
    """
    weight, ratio = np.array(STAR_PARTS).T
    core = fwhm / pixel_scale / (2 * math.sqrt(2 * math.log(2)))
    return weight, ratio * core


@lru_cache(maxsize=32)
def _sersic_mixture(index: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from scipy.optimize import nnls
    from scipy.special import gammaincinv

    shape = gammaincinv(2 * index, 0.5)  # makes r = 1 the half-light radius
    radius = np.geomspace(1e-3, SERSIC_EDGE, 400)
    profile = np.exp(-shape * (radius ** (1 / index) - 1))
    basis = np.exp(-0.5 * (radius[:, None] / SERSIC_WIDTHS) ** 2) / SERSIC_WIDTHS**2
    # equal errors in equal steps of log(radius) weigh by the flux there: r^2 I(r)
    weight, _ = nnls(basis * radius[:, None] ** 2, profile * radius**2)
    used = weight > 1e-6 * weight.sum()
    return tuple(weight[used] / weight[used].sum()), tuple(SERSIC_WIDTHS[used])


def sersic_mixture(index: float) -> tuple[Floats, Floats]:
    """Return weights and standard deviations (half-light radii) of the Gaussians of a Sersic profile.

    Parameters
    ----------
    index : float
        Sersic index: 1 is an exponential disc, 4 a de Vaucouleurs profile.

    Returns
    -------
    weight, sigma : (k,) float64 ndarray
        The weights add up to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.demo.profiles import sersic_mixture
    >>> weight, sigma = sersic_mixture(1.0)
    >>> abs(float(np.sum(weight * (1 - np.exp(-0.5 / sigma**2)))) - 0.5) < 0.01  # flux inside the half-light radius
    True
    """
    weight, sigma = _sersic_mixture(float(index))
    return np.array(weight), np.array(sigma)


@numba.njit(nogil=True, cache=True)
def draw_stars(image: NDArray[np.float32], x: Floats, y: Floats, flux: Floats, weight: Floats, sigma: Floats) -> None:
    """Add stars to an image, in place.

    Parameters
    ----------
    image : (ny, nx) float32 ndarray
    x, y : (n,) float64 ndarray
        Centres, pixels; pixel centres are at integers. Stars outside the frame contribute their wings.
    flux : (n,) float64 ndarray
        Total flux of each.
    weight, sigma : (k,) float64 ndarray
        From `psf_mixture`.
    """
    ny, nx = image.shape
    across = np.empty(nx)
    for star in range(x.size):
        for part in range(weight.size):
            reach = STAR_REACH * sigma[part]
            x0, x1 = max(0, math.floor(x[star] - reach)), min(nx, math.ceil(x[star] + reach) + 1)
            y0, y1 = max(0, math.floor(y[star] - reach)), min(ny, math.ceil(y[star] + reach) + 1)
            if x0 >= x1 or y0 >= y1:
                continue
            scale = 1.0 / (math.sqrt(2.0) * sigma[part])
            low = math.erf((x0 - 0.5 - x[star]) * scale)
            for i in range(x0, x1):
                high = math.erf((i + 0.5 - x[star]) * scale)
                across[i] = 0.5 * (high - low)
                low = high
            low = math.erf((y0 - 0.5 - y[star]) * scale)
            for j in range(y0, y1):
                high = math.erf((j + 0.5 - y[star]) * scale)
                down = 0.5 * (high - low) * flux[star] * weight[part]
                low = high
                for i in range(x0, x1):
                    image[j, i] += np.float32(down * across[i])


@numba.njit(nogil=True, cache=True)
def draw_ellipses(
    image: NDArray[np.float32], x: Floats, y: Floats, flux: Floats, cxx: Floats, cxy: Floats, cyy: Floats
) -> None:
    """Add elliptical Gaussians to an image, in place.

    Parameters
    ----------
    image : (ny, nx) float32 ndarray
    x, y, flux : (n,) float64 ndarray
        As for `draw_stars`.
    cxx, cxy, cyy : (n,) float64 ndarray
        Covariance, pixels2.
    """
    ny, nx = image.shape
    point = math.sqrt(0.6) / 2.0  # three-point Gauss-Legendre on the pixel
    nodes = np.array([-point, 0.0, point])
    share = np.array([5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0])
    for k in range(x.size):
        half = 0.5 * (cxx[k] + cyy[k])
        narrow = half - math.sqrt((0.5 * (cxx[k] - cyy[k])) ** 2 + cxy[k] ** 2)
        wide = narrow > WIDE**2
        extra = PIXEL_VARIANCE if wide else 0.0
        vxx, vyy, vxy = cxx[k] + extra, cyy[k] + extra, cxy[k]
        determinant = vxx * vyy - vxy * vxy
        a, b, c = 0.5 * vyy / determinant, -vxy / determinant, 0.5 * vxx / determinant
        peak = flux[k] / (2.0 * math.pi * math.sqrt(determinant))
        reach_x, reach_y = GALAXY_REACH * math.sqrt(vxx) + 0.5, GALAXY_REACH * math.sqrt(vyy) + 0.5
        x0, x1 = max(0, math.floor(x[k] - reach_x)), min(nx, math.ceil(x[k] + reach_x) + 1)
        y0, y1 = max(0, math.floor(y[k] - reach_y)), min(ny, math.ceil(y[k] + reach_y) + 1)
        for j in range(y0, y1):
            for i in range(x0, x1):
                dx, dy = i - x[k], j - y[k]
                if wide:
                    value = math.exp(-(a * dx * dx + b * dx * dy + c * dy * dy))
                else:
                    value = 0.0
                    for q in range(3):
                        ey = dy + nodes[q]
                        for p in range(3):
                            ex = dx + nodes[p]
                            value += share[p] * share[q] * math.exp(-(a * ex * ex + b * ex * ey + c * ey * ey))
                image[j, i] += np.float32(peak * value)
