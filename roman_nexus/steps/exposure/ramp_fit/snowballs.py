"""Snowballs: large charge deposits whose flagged regions are grown.

A snowball saturates its core and reaches further than the jump search sees. Regions of jumps that hold a newly
saturated core are reduced to ellipses and drawn again, larger; so are the cores. Geometry and order as in ``stcal``
1.20 `flag_large_events` (Regan 2023, JWST-STScI-008545, "Detection and flagging of showers and snowballs in
JWST"). Needs whole planes of flags; off by default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from roman_nexus.steps.exposure.ramp_fit.flags import JUMP_DET, SATURATED
from roman_nexus.steps.exposure.ramp_fit.options import RampFitOptions

__all__ = ["Ellipse", "SnowballRules", "expand_large_events", "find_ellipses", "make_rules"]

WIDEST = 200.0  # largest full axis of a drawn ellipse, pixels
Plane = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SnowballRules:
    """Options of the expansion, as in `RampFitOptions`; `sat_expand` is the growth of the full axes (pixels)."""

    min_sat_area: float
    min_jump_area: float
    expand_factor: float
    sat_required_snowball: bool
    min_sat_radius_extend: float
    sat_expand: float
    edge_size: int


def make_rules(options: RampFitOptions) -> SnowballRules:
    """Take the rules from the options; romancal passes twice `sat_expand`, for both ends of an axis."""
    names = [item.name for item in fields(SnowballRules)]
    rules = SnowballRules(**{name: getattr(options, name) for name in names})
    return replace(rules, sat_expand=2 * options.sat_expand)


@dataclass(frozen=True, slots=True)
class Ellipse:
    """A region reduced to an ellipse: centre (pixels), full axes across columns and rows (pixels), angle (degrees)."""

    x: float
    y: float
    x_axis: float
    y_axis: float
    angle: float

    def contains(self, x: float, y: float) -> bool:
        """Tell whether a point lies inside, the longer axis along the direction of `angle` from the x axis."""
        turn = np.radians(180 - self.angle)
        dx, dy = x - self.x, y - self.y
        along = dx * np.cos(turn) - dy * np.sin(turn)
        across = dx * np.sin(turn) + dy * np.cos(turn)
        major, minor = max(self.x_axis, self.y_axis) * 0.5, min(self.x_axis, self.y_axis) * 0.5
        with np.errstate(divide="ignore", invalid="ignore"):
            return bool(along**2 / np.float64(major) ** 2 + across**2 / np.float64(minor) ** 2 <= 1)


def find_ellipses(mask: NDArray[np.bool_], min_area: float) -> list[Ellipse]:
    """Reduce the 8-connected regions of a mask to ellipses of the same second moments, one pixel smaller.

    Parameters
    ----------
    mask : (ny, nx) bool ndarray
    min_area : float
        Least area of a region, its holes filled, pixels.

    Returns
    -------
    list of Ellipse
        In the order in which the regions begin, row by row.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.ramp_fit.snowballs import find_ellipses
    >>> mask = np.zeros((12, 12), dtype=bool)
    >>> mask[2:7, 3:8] = True
    >>> [(ellipse.x, ellipse.y) for ellipse in find_ellipses(mask, min_area=6)]
    [(5.0, 4.0)]
    """
    from scipy import ndimage
    from skimage.measure import regionprops

    if not mask.any():
        return []
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    # a region whose bounding box is too small cannot pass: most single-pixel jumps go without a closer look
    boxes = [(rows.stop - rows.start) * (cols.stop - cols.start) for rows, cols in ndimage.find_objects(labels)]
    keep = np.zeros(count + 1, dtype=labels.dtype)
    candidates = 1 + np.flatnonzero(np.array(boxes, dtype=float) >= min_area)
    keep[candidates] = candidates
    ellipses = []
    for region in regionprops(keep[labels]):  # type: ignore[no-untyped-call]
        if region.area_filled >= min_area:
            y, x = region.centroid
            x_axis, y_axis = region.axis_minor_length - 1, region.axis_major_length - 1
            ellipses.append(Ellipse(float(x), float(y), x_axis, y_axis, float(np.degrees(region.orientation))))
    return ellipses


def expand_large_events(groupdq: NDArray[np.uint8], rules: SnowballRules) -> int:
    """Grow the flags of snowballs, in place.

    Parameters
    ----------
    groupdq : (F, ny, nx) uint8 ndarray
        With JUMP_DET and SATURATED set; whole frame. Cores get the value SATURATED from their resultant
        on, rims JUMP_DET.
    rules : SnowballRules

    Returns
    -------
    int
        Snowballs found.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.ramp_fit.options import RampFitOptions
    >>> from roman_nexus.steps.exposure.ramp_fit.snowballs import expand_large_events, make_rules
    >>> groupdq = np.zeros((2, 30, 30), dtype=np.uint8)
    >>> groupdq[1, 10:19, 10:19] = 4  # a region of jumps ...
    >>> groupdq[1, 13:16, 13:16] = 2  # ... around a core
    >>> expand_large_events(groupdq, make_rules(RampFitOptions())), int(np.count_nonzero(groupdq)) > 150
    (1, True)
    """
    last = len(groupdq) - 1
    found = 0
    next_cores: list[Ellipse] = []
    for i in range(1, last + 1):
        saturated = (groupdq[i] & SATURATED) != 0
        cores = find_ellipses(saturated & ((groupdq[i - 1] & SATURATED) == 0), rules.min_sat_area)
        jumps = find_ellipses((groupdq[i] & JUMP_DET) != 0, rules.min_jump_area)
        if rules.sat_required_snowball:
            if i < last:
                next_cores = find_ellipses(((groupdq[i + 1] & SATURATED) != 0) & ~saturated, rules.min_sat_area)
            inner = cores + next_cores if i < last else cores
            jumps = [jump for jump in jumps if _near_edge(jump, groupdq.shape[1], rules) or _holds(jump, inner)]
            _extend_cores(groupdq, i, cores, rules)
        for jump in jumps:
            _extend_jump(groupdq[i], jump, rules)
        found += len(jumps)
    return found


def _near_edge(jump: Ellipse, size: int, rules: SnowballRules) -> bool:
    low, high = rules.edge_size, max(0, size - rules.edge_size)
    return not (low <= jump.x <= high and low <= jump.y <= high)


def _holds(jump: Ellipse, cores: list[Ellipse]) -> bool:
    return any(jump.contains(core.x, core.y) for core in cores)


def _extend_cores(groupdq: NDArray[np.uint8], resultant: int, cores: list[Ellipse], rules: SnowballRules) -> None:
    for core in cores:
        if min(core.x_axis, core.y_axis) > rules.min_sat_radius_extend:
            window, drawn = _draw(
                core, core.x_axis + rules.sat_expand, core.y_axis + rules.sat_expand, groupdq.shape[1:]
            )
            groupdq[resultant:, window[0], window[1]][:, drawn] = SATURATED


def _extend_jump(plane: Plane, jump: Ellipse, rules: SnowballRules) -> None:
    shorter = min(jump.x_axis, jump.y_axis)
    if jump.y_axis < jump.x_axis:
        x_axis, y_axis = jump.x_axis + (rules.expand_factor - 1.0) * shorter, shorter * rules.expand_factor
    else:
        x_axis, y_axis = shorter * rules.expand_factor, jump.y_axis + (rules.expand_factor - 1.0) * shorter
    window, drawn = _draw(jump, x_axis, y_axis, plane.shape)
    rim = plane[window]
    rim[drawn & ((rim & SATURATED) == 0)] |= JUMP_DET


def _draw(
    ellipse: Ellipse, x_axis: float, y_axis: float, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Rasterise an ellipse with whole-pixel centre and half axes; return its window and the pixels in it."""
    from skimage.draw import ellipse as ellipse_pixels

    x, y = round(ellipse.x), round(ellipse.y)
    x_half, y_half = round(min(x_axis, WIDEST) / 2), round(min(y_axis, WIDEST) / 2)
    reach = max(x_half, y_half) + 2
    x0, x1 = max(x - reach, 0), min(x + reach + 1, shape[1])
    y0, y1 = max(y - reach, 0), min(y + reach + 1, shape[0])
    drawn = np.zeros((y1 - y0, x1 - x0), dtype=np.bool_)
    if x_half and y_half:
        turn = math.radians(ellipse.angle)
        rows, columns = ellipse_pixels(  # type: ignore[no-untyped-call]
            y - y0, x - x0, y_half, x_half, drawn.shape, turn
        )
        drawn[rows, columns] = True
    return (slice(y0, y1), slice(x0, x1)), drawn
