"""assign_wcs: tell where on the sky each pixel lies.

The distortion reference takes pixels to the telescope frame; velocity aberration and the pointing of the exposure take
that to the sky (see `roman_nexus.wcs.build`). No array changes. Grism and prism exposures get the same direct-imaging
chain, without dispersion, as in ``romancal`` 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from roman_nexus.errors import InputError
from roman_nexus.steps.step import ExposureInfo, Needs, Options, References, Step
from roman_nexus.wcs.build import build_wcs
from roman_nexus.wcs.footprint import s_region

__all__ = ["STEP", "AssignWcsOptions", "apply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignWcsOptions(Options):
    """Options of `assign_wcs`."""

    allow_missing_pointing: bool = field(
        default=False,
        metadata={"doc": "write no WCS, instead of refusing, where the file does not say where it looked", "unit": ""},
    )


def apply(
    block: None, references: References, options: AssignWcsOptions, exposure: ExposureInfo, state: None = None
) -> dict[str, Any]:
    """Build the WCS.

    Parameters
    ----------
    block : None
    references : mapping
        ``references["distortion"]``: ``coordinate_distortion_transform``, an astropy model from (x, y), 0-based
        pixels of the science frame, to (v2, v3), arcsec.
    options : AssignWcsOptions
    exposure : ExposureInfo
        Its pointing and the shape of the science frame are used.
    state : None

    Returns
    -------
    dict
        ``wcs``: gwcs.WCS, or None without a pointing; ``wcsinfo.s_region``: str, left out if a corner has no position.

    Raises
    ------
    InputError
        If the pointing is missing or is not finite, unless ``allow_missing_pointing``.
    ReferenceMismatchError
        If the distortion is not a model from two numbers to two.

    Warns
    -----
    DataWarning
        If the velocity aberration is not a positive number.

    Examples
    --------
    >>> from astropy.modeling.models import Scale
    >>> from roman_nexus.steps.exposure.assign_wcs import STEP
    >>> from roman_nexus.steps.step import ExposureInfo, Pointing
    >>> pointing = Pointing(v2_ref=0.0, v3_ref=0.0, ra_ref=10.0, dec_ref=0.0, roll_ref=0.0)
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16, shape=(12, 12), pointing=pointing)
    >>> distortion = {"coordinate_distortion_transform": Scale(3600.0) & Scale(3600.0)}
    >>> found = STEP.apply(None, {"distortion": distortion}, STEP.options(), exposure, None)
    >>> found["wcsinfo.s_region"][:38]
    'POLYGON ICRS  9.500000000 -0.500000000'
    """
    _check(references, options, exposure)
    pointing = exposure.pointing
    if pointing is None:
        return {"wcs": None}
    wcs = build_wcs(
        references["distortion"]["coordinate_distortion_transform"],
        v2_ref=pointing.v2_ref,
        v3_ref=pointing.v3_ref,
        ra_ref=pointing.ra_ref,
        dec_ref=pointing.dec_ref,
        roll_ref=pointing.roll_ref,
        scale_factor=pointing.scale_factor,
        shape=exposure.science_shape,
    )
    found: dict[str, Any] = {"wcs": wcs}
    region = s_region(wcs)
    if region is not None:
        found["wcsinfo.s_region"] = region
    return found


def _check(references: References, options: AssignWcsOptions, exposure: ExposureInfo) -> tuple[str, ...]:
    """Refuse an exposure without a pointing, unless that is allowed."""
    if exposure.pointing is None and not options.allow_missing_pointing:
        msg = (
            "the file does not say where the exposure looked (meta.wcsinfo lacks v2_ref, v3_ref, ra_ref, dec_ref or "
            "roll_ref); fill them in, skip assign_wcs, or set its option allow_missing_pointing to write no WCS"
        )
        raise InputError(msg)
    return ()


STEP = Step(
    name="assign_wcs",
    level="meta",
    options=AssignWcsOptions,
    apply=apply,
    check=_check,
    references=(Needs("distortion", whole=("coordinate_distortion_transform",), missing="skip"),),
    suffix="assignwcs",
    title="Tell where on the sky each pixel lies",
)
