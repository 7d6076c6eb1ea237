"""The response curve of the pixels and its inverse, as polynomials that belong together.

Ideal counts x become measured counts ``g(x) = x - a x u (1 + 0.3 u - 0.05 u^2)`` with ``u = x / 50000 DN``; the
curvature ``a``, about 0.035, differs from pixel to pixel. The inverse is a polynomial of degree `FORWARD_DEGREE`
whose coefficients are themselves polynomials in ``a``, fitted once.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CURVATURE_RANGE", "correcting_coefficients", "measured_counts", "measuring_coefficients"]

Floats = NDArray[np.float64]

SCALE = 50000.0  #: DN
CURVE = (1.0, 0.3, -0.05)
CURVATURE = 0.035
CURVATURE_RANGE = (0.015, 0.060)
HIGHEST = 75000.0  #: DN; the curve is fitted up to here
FORWARD_DEGREE = 5
FAMILY_DEGREE = 4


def measured_counts(ideal: ArrayLike, curvature: ArrayLike) -> Floats:
    """Return what a pixel of some curvature shows for ideal counts (both DN).

    Examples
    --------
    >>> from roman_nexus.demo.nonlinearity import measured_counts
    >>> float(measured_counts(50000.0, 0.04))
    47500.0
    """
    x = np.asarray(ideal, dtype=float)
    u = x / SCALE
    return np.asarray(x - curvature * x * u * (CURVE[0] + u * (CURVE[1] + u * CURVE[2])))


def measuring_coefficients(curvature: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the polynomial ideal -> measured: what an inverselinearity reference holds.

    Parameters
    ----------
    curvature : (ny, nx) float32 ndarray

    Returns
    -------
    (5, ny, nx) float32 ndarray
        Ascending powers of DN.
    """
    coefficients = np.zeros((5, *curvature.shape), dtype=np.float32)
    coefficients[1] = 1.0
    for power, factor in enumerate(CURVE, 2):
        coefficients[power] = curvature * np.float32(-factor / SCALE ** (power - 1))
    return coefficients


def correcting_coefficients(curvature: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the polynomial measured -> ideal: what a linearity reference holds.

    Parameters
    ----------
    curvature : (ny, nx) float32 ndarray

    Returns
    -------
    (6, ny, nx) float32 ndarray
        Ascending powers of DN.
    """
    coefficients = np.zeros((FORWARD_DEGREE + 1, *curvature.shape), dtype=np.float32)
    coefficients[1] = 1.0
    for power, family in enumerate(_family(), 2):
        coefficients[power] = np.polynomial.polynomial.polyval(curvature, family) / SCALE ** (power - 1)
    return coefficients


@lru_cache(maxsize=1)
def _family() -> Floats:
    """Coefficients, as polynomials in the curvature, of the powers 2 and up of ``L(m) / SCALE`` in ``m / SCALE``."""
    curvatures = np.linspace(*CURVATURE_RANGE, 25)
    ideal = np.linspace(0.0, HIGHEST, 1500)
    fits = []
    for curvature in curvatures:
        measured = measured_counts(ideal, curvature)
        powers = (measured[:, None] / SCALE) ** np.arange(2, FORWARD_DEGREE + 1)
        fits.append(np.linalg.lstsq(powers, (ideal - measured) / SCALE, rcond=None)[0])
    table = np.polynomial.polynomial.polyfit(curvatures, np.array(fits), FAMILY_DEGREE)
    return np.asarray(table.T)
