"""The orientation of the telescope: from the telescope frame (V2, V3) to the sky, for any point of the focal plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Attitude"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attitude:
    """The rotation from the telescope frame to the sky.

    Attributes
    ----------
    matrix : (3, 3) float64 ndarray
        Turns unit vectors of (V2, V3) into unit vectors of (ra, dec).
    """

    matrix: Floats

    @classmethod
    def at(cls, ra: float, dec: float, roll: float, v2: float, v3: float) -> Attitude:
        """Return the attitude in which the point (V2, V3) looks at (ra, dec).

        Parameters
        ----------
        ra, dec : float
            Degrees.
        roll : float
            Position angle of the V3 direction at that point, degrees east of north.
        v2, v3 : float
            Arcsec.

        Notes
        -----
        ``R = Rz(-ra) Ry(dec) Rx(roll) Ry(-V3) Rz(V2)``, the chain of the mission's WCS.
        """
        chain = (
            _rotation("z", -ra) @ _rotation("y", dec) @ _rotation("x", roll),
            _rotation("y", -v3 / 3600.0) @ _rotation("z", v2 / 3600.0),
        )
        return cls(chain[0] @ chain[1])

    def to_sky(self, v2: ArrayLike, v3: ArrayLike) -> tuple[Floats, Floats]:
        """Telescope frame (arcsec) to sky (degrees)."""
        ra, dec = _angles(_vectors(np.asarray(v2) / 3600.0, np.asarray(v3) / 3600.0) @ self.matrix.T)
        return np.mod(ra, 360.0), dec

    def to_telescope(self, ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
        """Sky (degrees) to telescope frame (arcsec)."""
        v2, v3 = _angles(_vectors(np.asarray(ra), np.asarray(dec)) @ self.matrix)
        return v2 * 3600.0, v3 * 3600.0

    def roll_at(self, v2: float, v3: float) -> float:
        """Return the position angle of the V3 direction at a point of the telescope frame, degrees in [0, 360)."""
        along_v3 = _north(v2 / 3600.0, v3 / 3600.0) @ self.matrix.T
        ra, dec = (float(angle) for angle in self.to_sky(v2, v3))
        east = np.array([-np.sin(np.radians(ra)), np.cos(np.radians(ra)), 0.0])
        return float(np.degrees(np.arctan2(along_v3 @ east, along_v3 @ _north(ra, dec))) % 360.0)


def _rotation(axis: str, degrees: float) -> Floats:
    """Return the matrix that turns the frame about an axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    if axis == "z":
        return np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    if axis == "y":
        return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    return np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]])


def _vectors(longitude: ArrayLike, latitude: ArrayLike) -> Floats:
    """Return unit vectors of angles in degrees, on the last axis."""
    lon, lat = np.radians(longitude), np.radians(latitude)
    return np.stack(np.broadcast_arrays(np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)), axis=-1)


def _angles(vectors: Floats) -> tuple[Floats, Floats]:
    """Longitude and latitude in degrees of unit vectors."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def _north(longitude: float, latitude: float) -> Floats:
    """Return the unit vector that points to larger latitude at a place."""
    lon, lat = np.radians(longitude), np.radians(latitude)
    return np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
