"""The world coordinate system of one detector, as a gwcs.

::

    detector  --distortion-->  v2v3  --velocity aberration-->  v2v3vacorr  --rotation-->  world
    pixels                     arcsec                          arcsec                     ICRS, degrees

Pixels are those of the science frame, 0-based, (x, y). The frames, their names and the models are those of
``romancal`` 1.1 ``assign_wcs``, so that a WCS made here cannot be told from the mission's.
"""

from __future__ import annotations

import math
import warnings
from copy import deepcopy
from typing import Any

from roman_nexus.errors import DataWarning, InputError, ReferenceMismatchError

__all__ = ["build_wcs", "level1_wcs"]

BORDER = 4  #: reference pixels on each side, which Level 1 has and the science frame has not


def build_wcs(
    distortion: Any,
    *,
    v2_ref: float,
    v3_ref: float,
    ra_ref: float,
    dec_ref: float,
    roll_ref: float,
    scale_factor: float | None = None,
    shape: tuple[int, int] = (4088, 4088),
) -> Any:
    """Build the WCS of a detector.

    Parameters
    ----------
    distortion : astropy.modeling.Model
        From pixels (x, y) of the science frame to (v2, v3), arcsec. If it has a bounding box, the WCS takes it. The
        model is not changed.
    v2_ref, v3_ref : float
        Reference point in the telescope frame, arcsec.
    ra_ref, dec_ref, roll_ref : float
        That point on the sky (ICRS) and the position angle of V3 there, degrees.
    scale_factor : float or None, optional
        Apparent over true plate scale (velocity aberration); None means 1. A number that is not positive is taken as 1,
        with a warning.
    shape : tuple of int, optional
        (ny, nx) of the science frame, for the bounding box.

    Returns
    -------
    gwcs.WCS

    Raises
    ------
    InputError
        If a number of the pointing is missing, not finite or the placeholder -999999.
    ReferenceMismatchError
        If `distortion` does not take two numbers to two.

    Warns
    -----
    DataWarning
        If `scale_factor` is not a positive number.

    Examples
    --------
    >>> from astropy.modeling.models import Scale, Shift
    >>> from roman_nexus.wcs import build_wcs
    >>> distortion = Shift(-2043.5) & Shift(-2043.5) | Scale(0.11) & Scale(0.11)
    >>> wcs = build_wcs(distortion, v2_ref=0.0, v3_ref=0.0, ra_ref=10.0, dec_ref=20.0, roll_ref=0.0)
    >>> ra, dec = wcs(2043.5, 2043.5)
    >>> round(float(ra), 9), round(float(dec), 9)
    (10.0, 20.0)
    """
    pointing = {"v2_ref": v2_ref, "v3_ref": v3_ref, "ra_ref": ra_ref, "dec_ref": dec_ref, "roll_ref": roll_ref}
    for name, value in pointing.items():
        if value is None or not math.isfinite(value) or value == -999999:
            msg = f"the pointing has {name} = {value}; expected a finite number of degrees or arcsec (meta.wcsinfo)"
            raise InputError(msg)
    from gwcs.wcs import WCS, Step

    detector, v2v3, v2v3vacorr, world = _frames()
    aberration = _aberration(scale_factor, v2_ref, v3_ref)
    aberration.inputs, aberration.outputs = ("v2", "v3"), ("v2", "v3")
    to_sky = _to_sky(**pointing)
    to_sky.inputs, to_sky.outputs = ("v2", "v3"), ("ra", "dec")
    return WCS(
        [
            Step(detector, _bounded(distortion, shape)),
            Step(v2v3, aberration),
            Step(v2v3vacorr, to_sky),
            Step(world, None),
        ]
    )


def level1_wcs(wcs: Any, border: int = BORDER) -> Any:
    """Make the WCS of the full frame, reference border included, from that of the science frame.

    A shift by the border comes first, and the upper limits of the bounding box grow by two borders (the lower ones
    stay, as in ``roman_datamodels``).

    Parameters
    ----------
    wcs : gwcs.WCS
        Of the science frame; not changed.
    border : int, optional
        Width of the border, pixels.

    Returns
    -------
    gwcs.WCS
    """
    from astropy.modeling.models import Shift

    full_frame = deepcopy(wcs)
    full_frame.insert_transform("detector", Shift(-border) & Shift(-border), after=True)
    if wcs.bounding_box is not None:
        (x0, x1), (y0, y1) = wcs.bounding_box.bounding_box(order="F")
        full_frame.bounding_box = ((x0, x1 + 2 * border), (y0, y1 + 2 * border))
    return full_frame


def _frames() -> tuple[Any, Any, Any, Any]:
    """Return the four coordinate frames."""
    from astropy import units as u
    from astropy.coordinates import ICRS
    from gwcs.coordinate_frames import CelestialFrame, Frame2D

    arcsec = {"axes_order": (0, 1), "axes_names": ("v2", "v3"), "unit": (u.arcsec, u.arcsec)}
    return (
        Frame2D(name="detector", axes_order=(0, 1), unit=(u.pix, u.pix)),
        Frame2D(name="v2v3", **arcsec),
        Frame2D(name="v2v3vacorr", **arcsec),
        CelestialFrame(name="world", reference_frame=ICRS()),
    )


def _bounded(distortion: Any, shape: tuple[int, int]) -> Any:
    """Copy the distortion model, name its axes, and give it a bounding box if it has none."""
    from astropy.modeling import bind_bounding_box

    if (getattr(distortion, "n_inputs", None), getattr(distortion, "n_outputs", None)) != (2, 2):
        msg = f"the distortion is {type(distortion).__name__}; expected a model from (x, y) to (v2, v3)"
        raise ReferenceMismatchError(msg)
    try:
        box = distortion.bounding_box.bounding_box(order="F")
    except NotImplementedError:  # astropy's way to say that there is none
        box = ((-0.5, shape[1] - 0.5), (-0.5, shape[0] - 0.5))
    model = distortion.copy()
    bind_bounding_box(model, box, order="F")
    model.inputs, model.outputs = ("x", "y"), ("v2", "v3")
    return model


def _aberration(scale: float | None, v2_ref: float, v3_ref: float) -> Any:
    """Return the model of the differential velocity aberration, v' = k v + (1 - k) v_ref."""
    from astropy.modeling.models import Identity, Scale, Shift

    if scale is None or scale == 1:
        return Identity(2)
    if not (scale > 0 and math.isfinite(scale)):
        warnings.warn(
            f"the velocity aberration scale factor is {scale}; expected a positive number close to 1, using 1",
            DataWarning,
            stacklevel=3,
        )
        scale = 1.0
    model = Scale(scale, name="dva_scale_v2") & Scale(scale, name="dva_scale_v3")
    if v2_ref == 0 and v3_ref == 0:
        return model
    model |= Shift((1 - scale) * v2_ref, name="dva_v2_shift") & Shift((1 - scale) * v3_ref, name="dva_v3_shift")
    model.name = "DVA_Correction"
    return model


def _to_sky(v2_ref: float, v3_ref: float, ra_ref: float, dec_ref: float, roll_ref: float) -> Any:
    """Return the rotation from (v2, v3), arcsec, to (ra, dec), degrees: Euler angles about z, y, x, y, z."""
    from astropy.modeling.models import RotationSequence3D, Scale
    from gwcs.geometry import CartesianToSpherical, SphericalToCartesian

    angles = [v2_ref / 3600, -v3_ref / 3600, roll_ref, dec_ref, -ra_ref]
    model = (
        (Scale(1 / 3600) & Scale(1 / 3600))
        | SphericalToCartesian(wrap_lon_at=180)
        | RotationSequence3D(angles, axes_order="zyxyz")
        | CartesianToSpherical(wrap_lon_at=360)
    )
    model.name = "v23tosky"
    return model
