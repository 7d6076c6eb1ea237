"""Where the 18 detectors look, and where an observer points them.

Positions and angles are those of the Roman SIAF of January 2022 (``pysiaf`` 0.29: ``WFInn_FULL``, ``WFI_CEN``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roman_nexus.demo.fields import check_detector

__all__ = [
    "APERTURE_V2V3",
    "DETECTORS",
    "V3_Y_ANGLE",
    "VPARITY",
    "Attitude",
    "detector_v2v3",
]

VPARITY = -1
V3_Y_ANGLE = -60.0  #: degrees, ``V3IdlYAngle`` of all detectors and of WFI_CEN
APERTURE_V2V3 = (1546.385, -892.792)  #: arcsec, WFI_CEN

_V2V3 = (
    (1312.949, -1040.785),
    (1769.430, -1304.002),
    (2177.850, -1539.221),
    (984.272, -1414.951),
    (1441.449, -1679.194),
    (1848.907, -1913.775),
    (536.014, -1718.748),
    (995.139, -1984.946),
    (1397.070, -2221.324),
    (1557.340, -617.416),
    (2013.739, -880.918),
    (2421.763, -1116.823),
    (1717.075, -145.628),
    (2174.723, -409.269),
    (2581.781, -644.617),
    (1756.051, 394.633),
    (2216.380, 130.234),
    (2622.293, -99.464),
)

#: Centre of each detector in the telescope frame, arcsec.
DETECTORS: Mapping[str, tuple[float, float]] = MappingProxyType({f"WFI{i:02d}": xy for i, xy in enumerate(_V2V3, 1)})

Floats = NDArray[np.float64]


def detector_v2v3(detector: str) -> tuple[float, float]:
    """Return the centre of a detector in the telescope frame, arcsec.

    Examples
    --------
    >>> from roman_nexus.demo.focal_plane import detector_v2v3
    >>> detector_v2v3("WFI18")
    (2622.293, -99.464)
    """
    return DETECTORS[f"WFI{check_detector(detector):02d}"]


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
