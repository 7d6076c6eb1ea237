"""How far the coordinates moved: the same pixels through both coordinate systems.

Positions are compared as unit vectors, so the pole and the meridian 0h/24h are nothing special. The shift of a pixel
is split into east and north at the archive's position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAME_MAS", "WcsDifference", "compare_wcs"]

SAME_MAS = 1e-3  #: shifts up to this are rounding
GRID = 9
_MAS = np.degrees(1.0) * 3.6e6  # milliarcseconds per radian
Corners = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class WcsDifference:
    """The coordinates of two images.

    Attributes
    ----------
    note : str
        Why nothing was compared; empty if it was.
    points : int
        Pixels of the grid that have a position in both.
    one_sided : int
        Pixels of the grid that have a position in one only.
    median_mas, max_mas : float or None
        Length of the shift, rerun minus archive, mas.
    mean_east_mas, mean_north_mas : float or None
        Mean shift towards east (right ascension times the cosine of the declination) and north, mas.
    corner_max_mas : float or None
        Largest shift of the four outer corners, mas.
    footprint_new, footprint_old : tuple of (float, float)
        (ra, dec) in degrees of the outer corners of the array, from (x, y) = (-0.5, -0.5) along x first.
    """

    note: str = ""
    points: int = 0
    one_sided: int = 0
    median_mas: float | None = None
    max_mas: float | None = None
    mean_east_mas: float | None = None
    mean_north_mas: float | None = None
    corner_max_mas: float | None = None
    footprint_new: Corners = ()
    footprint_old: Corners = ()
    both_absent: bool = False

    @property
    def same(self) -> bool:
        """Whether all pixels compared lie within 0.001 mas, or neither product has coordinates."""
        return self.both_absent or (self.max_mas is not None and self.max_mas <= SAME_MAS and not self.one_sided)


def compare_wcs(new: Any, old: Any, shape: tuple[int, int]) -> WcsDifference:
    """Compare two coordinate systems on a 9 x 9 grid over an array.

    Parameters
    ----------
    new, old : gwcs.WCS, other object with ``pixel_to_world_values``, or None
    shape : (ny, nx)

    Returns
    -------
    WcsDifference
    """
    lacking = [label for label, wcs in (("rerun", new), ("archive's product", old)) if wcs is None]
    if len(lacking) == 2:
        return WcsDifference(note="neither product has coordinates", both_absent=True)
    if lacking:
        return WcsDifference(note=f"the {lacking[0]} has no coordinates (assign_wcs did not run)")
    unusable = [label for label, wcs in (("rerun", new), ("archive's product", old)) if not _usable(wcs)]
    if unusable:
        return WcsDifference(note=f"meta.wcs of the {unusable[0]} is no coordinate system that can be evaluated")
    ny, nx = shape
    y, x = (grid.ravel() for grid in np.meshgrid(np.linspace(0, ny - 1, GRID), np.linspace(0, nx - 1, GRID)))
    corner_x, corner_y = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5]), np.array([-0.5, -0.5, ny - 0.5, ny - 0.5])
    east, north, length = _shift(_sky(new, x, y), _sky(old, x, y))
    corners = _sky(new, corner_x, corner_y), _sky(old, corner_x, corner_y)
    corner_length = _shift(*corners)[2]
    one_sided = np.isfinite(_sky(new, x, y)[0]) ^ np.isfinite(_sky(old, x, y)[0])
    found = np.isfinite(length)
    if not found.any():
        return WcsDifference(
            note="no pixel of the grid has a position in both products", one_sided=int(one_sided.sum())
        )
    return WcsDifference(
        points=int(found.sum()),
        one_sided=int(one_sided.sum()),
        median_mas=float(np.median(length[found])),
        max_mas=float(length[found].max()),
        mean_east_mas=float(east[found].mean()),
        mean_north_mas=float(north[found].mean()),
        corner_max_mas=float(corner_length.max()) if np.isfinite(corner_length).all() else None,
        footprint_new=_pairs(corners[0]),
        footprint_old=_pairs(corners[1]),
    )


def _usable(wcs: Any) -> bool:
    return callable(getattr(wcs, "pixel_to_world_values", None))


def _sky(wcs: Any, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return right ascension and declination in degrees."""
    ra, dec = wcs.pixel_to_world_values(x, y)
    return np.asarray(ra, np.float64), np.asarray(dec, np.float64)


def _shift(
    new: tuple[NDArray[Any], NDArray[Any]], old: tuple[NDArray[Any], NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the shift towards east and north and its length, mas."""
    ra, dec = np.radians(old[0]), np.radians(old[1])
    step = _vector(*new) - _vector(*old)
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)])
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    # the angle from the chord is exact for small shifts, where the arc cosine of the scalar product is not
    length = 2 * np.arcsin(np.clip(0.5 * np.sqrt((step * step).sum(axis=0)), 0, 1))
    return (step * east).sum(axis=0) * _MAS, (step * north).sum(axis=0) * _MAS, length * _MAS


def _vector(ra_deg: NDArray[Any], dec_deg: NDArray[Any]) -> NDArray[Any]:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _pairs(corners: tuple[NDArray[Any], NDArray[Any]]) -> Corners:
    if not np.isfinite(corners).all():
        return ()
    return tuple((float(ra), float(dec)) for ra, dec in zip(*corners, strict=True))
