"""From where an observer points to where every pixel of a detector looks.

A pointing names the place on the sky of the WFI_CEN aperture and its position angle. Each detector's reference point
and roll follow by rotation of the sphere, so that all 18 lie correctly on the sky. The velocity aberration is that of
a circular orbit of 1.01 au around the Sun, good to a few per cent of its 20 arcsec.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roman_nexus.demo.attitude import Attitude
from roman_nexus.demo.distortion import Distortion, make_distortion
from roman_nexus.errors import InputError
from roman_nexus.steps.step import BORDER, Pointing
from roman_nexus.wcs.focal_plane import WFI_CENTRE, detector_place

__all__ = ["DetectorView", "Ephemeris", "TelescopePointing", "ephemeris", "parse_utc", "view"]

Floats = NDArray[np.float64]

APERTURE_Y_ANGLE = -60.0  #: degrees from V3 to the y axis of WFI_CEN
AU = 1.495978707e8  #: km
SPEED_OF_LIGHT = 299792.458  #: km/s
OBLIQUITY = 23.4393  #: degrees
ORBIT = 1.01  #: au; L2 is one per cent farther from the Sun than the Earth


@dataclass(frozen=True, slots=True)
class TelescopePointing:
    """Where the middle of the focal plane looks.

    Attributes
    ----------
    ra, dec : float
        WFI_CEN on the sky, ICRS, degrees.
    pa_aperture : float
        Position angle of the aperture's y axis, degrees east of north.
    """

    ra: float = 270.0
    dec: float = 66.0
    pa_aperture: float = 30.0

    def __post_init__(self) -> None:
        values = (self.ra, self.dec, self.pa_aperture)
        if not all(np.isfinite(values)) or not -90 <= self.dec <= 90:
            msg = f"pointing (ra, dec, pa_aperture) is {values}; expected finite degrees with dec from -90 to 90"
            raise InputError(msg)

    @property
    def attitude(self) -> Attitude:
        """Rotation from the telescope frame to the sky."""
        return Attitude.at(self.ra, self.dec, self.pa_aperture - APERTURE_Y_ANGLE, *WFI_CENTRE)

    def moved(self, dv2: float, dv3: float, turn: float = 0.0) -> TelescopePointing:
        """Return the pointing after a move in the telescope frame (arcsec) and a turn (degrees)."""
        attitude, (v2, v3) = self.attitude, WFI_CENTRE
        ra, dec = attitude.to_sky(v2 + dv2, v3 + dv3)
        pa = attitude.roll_at(v2 + dv2, v3 + dv3) + APERTURE_Y_ANGLE + turn
        return TelescopePointing(float(ra), float(dec), pa % 360.0)


@dataclass(frozen=True, slots=True)
class Ephemeris:
    """Place (km) and velocity (km/s) of the observatory, equatorial axes, from the Sun."""

    mjd: float
    position: tuple[float, float, float]
    velocity: tuple[float, float, float]

    def scale_factor(self, ra: float, dec: float) -> float:
        """Return the velocity aberration factor ``(1 + u.b) / sqrt(1 - b^2)`` in a direction."""
        beta = np.array(self.velocity) / SPEED_OF_LIGHT
        lon, lat = np.radians(ra), np.radians(dec)
        direction = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        return float((1 + direction @ beta) / np.sqrt(1 - beta @ beta))


def parse_utc(text: str) -> datetime:
    """Read an ISO 8601 time as UTC.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError as error:
        msg = f"start_time is {text!r}; expected ISO 8601 such as 2027-04-01T00:00:00"
        raise InputError(msg) from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def ephemeris(time: str) -> Ephemeris:
    """Return where the observatory is on a circular orbit in the ecliptic.

    Examples
    --------
    >>> from roman_nexus.demo.pointing import ephemeris
    >>> abs(ephemeris("2027-04-01T00:00:00").scale_factor(270.0, 66.0) - 1) < 1.1e-4
    True
    """
    days = (parse_utc(time) - datetime(2000, 1, 1, 12, tzinfo=UTC)).total_seconds() / 86400.0
    # mean longitude of the Sun and its daily motion; the observatory is on the other side
    longitude = np.radians(280.460 + 0.9856474 * days + 180.0)
    speed = 2 * np.pi * ORBIT * AU / (365.2564 * 86400.0)
    tilt = np.radians(OBLIQUITY)
    turn = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(tilt), -np.sin(tilt)], [0.0, np.sin(tilt), np.cos(tilt)]])
    position = turn @ (ORBIT * AU * np.array([np.cos(longitude), np.sin(longitude), 0.0]))
    velocity = turn @ (speed * np.array([-np.sin(longitude), np.cos(longitude), 0.0]))
    return Ephemeris(
        51544.5 + days,
        (float(position[0]), float(position[1]), float(position[2])),
        (float(velocity[0]), float(velocity[1]), float(velocity[2])),
    )


@dataclass(frozen=True)
class DetectorView:
    """The WCS of one exposure of one detector, as the simulator draws with it.

    Attributes
    ----------
    pointing : Pointing
        The numbers of ``meta.wcsinfo``.
    distortion : Distortion
    shape : tuple of int
        Science frame (ny, nx).
    """

    pointing: Pointing
    distortion: Distortion
    shape: tuple[int, int]

    @property
    def _attitude(self) -> Attitude:
        at = self.pointing
        return Attitude.at(at.ra_ref, at.dec_ref, at.roll_ref, at.v2_ref, at.v3_ref)

    def pixel_to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Pixels of the science frame to ra, dec in degrees."""
        at, k = self.pointing, self.pointing.scale_factor or 1.0
        v2, v3 = self.distortion.to_v2v3(x, y)
        return self._attitude.to_sky(k * v2 + (1 - k) * at.v2_ref, k * v3 + (1 - k) * at.v3_ref)

    def sky_to_pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
        """ra, dec in degrees to pixels of the science frame; meaningful near the detector only."""
        at, k = self.pointing, self.pointing.scale_factor or 1.0
        v2, v3 = self._attitude.to_telescope(ra, dec)
        return self.distortion.to_pixel((v2 - (1 - k) * at.v2_ref) / k, (v3 - (1 - k) * at.v3_ref) / k)

    def contains(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """Tell which pixel positions lie on the frame."""
        (ny, nx), x, y = self.shape, np.asarray(x), np.asarray(y)
        return np.asarray((x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5))

    def corners(self, margin: float = 0.0) -> Floats:
        """Return ra, dec of the corners of the frame, widened by some pixels: the order of ``s_region``.

        Returns
        -------
        (4, 2) float64 ndarray
        """
        ny, nx = self.shape
        low, high_x, high_y = -0.5 - margin, nx - 0.5 + margin, ny - 0.5 + margin
        x, y = np.array([low, low, high_x, high_x]), np.array([low, high_y, high_y, low])
        return np.stack(self.pixel_to_sky(x, y), axis=1)

    @property
    def s_region(self) -> str:
        """Outline on the sky, in the archive's spelling."""
        return "POLYGON ICRS  " + " ".join(f"{value:.9f}" for value in self.corners().ravel())


def view(
    detector: str, shape: tuple[int, int], pointing: TelescopePointing, orbit: Ephemeris | None = None, seed: int = 0
) -> DetectorView:
    """Return what a detector sees from a pointing.

    Parameters
    ----------
    detector : str
    shape : tuple of int
        Full frame (ny, nx) including the border.
    pointing : TelescopePointing
    orbit : Ephemeris or None
        None means no velocity aberration.
    seed : int
        Of the distortion.
    """
    place = detector_place(detector)
    v2, v3 = place.v2_ref, place.v3_ref
    attitude = pointing.attitude
    ra, dec = (float(angle) for angle in attitude.to_sky(v2, v3))
    numbers = Pointing(
        v2_ref=v2,
        v3_ref=v3,
        ra_ref=ra,
        dec_ref=dec,
        roll_ref=attitude.roll_at(v2, v3),
        vparity=place.parity,
        v3yangle=place.v3_ideal_y_angle,
        scale_factor=orbit.scale_factor(ra, dec) if orbit else 1.0,
    )
    science = (shape[0] - 2 * BORDER, shape[1] - 2 * BORDER)
    return DetectorView(numbers, make_distortion(detector, shape, seed), science)
