"""FITS headers of a product: where its pixels lie on the sky, and the keywords that FITS readers expect.

A coordinate system of the pipeline (gwcs) has no exact FITS form. `wcs_header` fits TAN-SIP polynomials to it with
``gwcs.WCS.to_fits_sip`` and records the largest error; without a gwcs it falls back to the tangent plane that
``meta.wcsinfo`` describes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from roman_nexus.errors import DataWarning, InputError

__all__ = ["lookup", "primary_keywords", "wcs_header"]

SIP_ERROR_PIXELS = 1e-3  # aim of the fit; degree 5 reaches 1e-6 for the distortion of the WFI
POOR_SIP_PIXELS = 0.05
NOMINAL_SCALE_ARCSEC = 0.11
COMMENT_ROOM = 65  # characters for a text and its comment on a card of 80
_KEYWORDS = {
    "TELESCOP": ("telescope", "telescope"),
    "INSTRUME": ("instrument.name", "instrument"),
    "DETECTOR": ("instrument.detector", "detector"),
    "FILTER": ("instrument.optical_element", "optical element"),
    "EXP_TYPE": ("exposure.type", "type of exposure"),
    "DATE-BEG": ("exposure.start_time", "start of the exposure, UTC"),
    "DATE-END": ("exposure.end_time", "end of the exposure, UTC"),
    "EXPTIME": ("exposure.exposure_time", "[s] exposure time"),
    "EFFEXPTM": ("exposure.effective_exposure_time", "[s] effective exposure time"),
    "MATABLE": ("exposure.ma_table_id", "multi-accumulation table"),
    "PROGRAM": ("observation.program", "program"),
    "VISIT_ID": ("observation.visit_id", "visit"),
    "OBS_ID": ("observation.observation_id", "observation"),
    "SKYCELL": ("wcsinfo.skycell_name", "skycell of a mosaic"),
    "PHOTMJSR": ("photometry.conversion_megajanskys", "[MJy/sr] per DN/s"),
    "PIXAR_SR": ("photometry.pixel_area", "[sr] nominal pixel area"),
    "CAL_NAME": ("calibration_software_name", "calibration software"),
    "CAL_VER": ("calibration_software_version", "version of the calibration software"),
    "CRDS_CTX": ("ref_file.crds.context", "reference file context"),
    "ORIGIN": ("origin", "organisation"),
    "FILEASDF": ("filename", "product from which this file was made"),
    "DATEASDF": ("file_date", "date of that product, UTC"),
}


def lookup(meta: Any, path: str) -> Any:
    """Return one value of the metadata by dotted path, None if it is missing or the mission's mark for missing.

    Parameters
    ----------
    meta : mapping or object
        Keys or attributes.
    path : str

    Examples
    --------
    >>> lookup({"exposure": {"type": "WFI_IMAGE", "mid_time": "?"}}, "exposure.type")
    'WFI_IMAGE'
    >>> lookup({"exposure": {"type": "WFI_IMAGE", "mid_time": "?"}}, "exposure.mid_time") is None
    True
    """
    value = meta
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
        if value is None:
            return None
    missing = isinstance(value, (str, int, float)) and value in ("?", "", -999999)
    return None if missing or (isinstance(value, float) and not math.isfinite(value)) else value


def primary_keywords(meta: Any) -> list[tuple[str, Any, str]]:
    """List the keywords of the primary header that the metadata can fill: keyword, value, comment."""
    cards: list[tuple[str, Any, str]] = []
    for keyword, (path, comment) in _KEYWORDS.items():
        value = lookup(meta, path)
        if value is None:
            continue
        if hasattr(value, "isot"):
            value = str(value.isot)
        elif not isinstance(value, (bool, int, float)):
            value = str(value)
        fits_in = not isinstance(value, str) or len(value) + len(comment) <= COMMENT_ROOM
        cards.append((keyword, value, comment if fits_in else ""))
    return cards


def wcs_header(meta: Any, shape: tuple[int, ...], wcs: Any = None) -> Any:
    """Make the FITS keywords of the coordinates.

    Parameters
    ----------
    meta : mapping or object
        ``meta.wcs`` is used if `wcs` is not given, ``meta.wcsinfo`` if there is neither.
    shape : tuple of int
        (ny, nx).
    wcs : gwcs.WCS, optional

    Returns
    -------
    astropy.io.fits.Header
        Empty if nothing is known of the coordinates.

    Warns
    -----
    DataWarning
        If the polynomials do not describe the coordinate system, or no gwcs was there to describe.
    """
    from astropy.io import fits

    known = wcs if wcs is not None else lookup(meta, "wcs")
    if callable(getattr(known, "to_fits_sip", None)):
        return _sip_header(known, shape)
    header = _tangent_header(lookup(meta, "wcsinfo"), shape)
    if header is None:
        return fits.Header()
    message = "no coordinate system in the product: the FITS header has a plain tangent plane, without distortion"
    warnings.warn(message, DataWarning, stacklevel=4)
    return header


def _sip_header(wcs: Any, shape: tuple[int, ...]) -> Any:
    """Fit TAN-SIP polynomials over the whole image."""
    ny, nx = shape[-2:]
    box = ((-0.5, nx - 0.5), (-0.5, ny - 0.5))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error is checked below
            header = wcs.to_fits_sip(bounding_box=box, max_pix_error=SIP_ERROR_PIXELS, max_inv_pix_error=None)
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        msg = (
            f"no FITS header can be made of this coordinate system: {error}; give the image a gwcs from pixels to ICRS"
        )
        raise InputError(msg) from error
    worst = header.get("SIPMXERR", 0.0)
    if worst > POOR_SIP_PIXELS:
        message = f"the coordinates in the FITS header are off by up to {worst:.2g} pixels; use the ASDF file for work"
        warnings.warn(message, DataWarning, stacklevel=5)
    return header


def _tangent_header(info: Any, shape: tuple[int, ...]) -> Any:
    """Describe the tangent plane of ``meta.wcsinfo``, or return None if it does not say where it lies.

    At the reference point the detector's y axis has the position angle ``roll_ref - vparity * v3yangle``; `vparity` -1
    means that x runs against increasing right ascension when y points north (the convention of the SIAF, as in
    ``assign_wcs``).
    """
    from astropy.io import fits

    names = ("ra_ref", "dec_ref", "roll_ref")
    ra, dec, roll = (lookup(info, name) if info is not None else None for name in names)
    if ra is None or dec is None or roll is None:
        return None
    parity = lookup(info, "vparity") or -1
    angle = math.radians(roll - parity * (lookup(info, "v3yangle") or 0.0))
    scale = NOMINAL_SCALE_ARCSEC / 3600
    ny, nx = shape[-2:]
    header = fits.Header()
    for keyword, value in {
        "WCSAXES": 2, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRPIX1": (nx + 1) / 2, "CRPIX2": (ny + 1) / 2, "CRVAL1": ra, "CRVAL2": dec,
        "CD1_1": parity * scale * math.cos(angle), "CD1_2": scale * math.sin(angle),
        "CD2_1": -parity * scale * math.sin(angle), "CD2_2": scale * math.cos(angle), "RADESYS": "ICRS",
    }.items():  # fmt: skip
        header[keyword] = value
    header["COMMENT"] = "approximate: tangent plane at the reference point, no distortion"
    return header
