"""The metadata of a simulated Level 1 file: every group of the 2.1.0 schemas, with numbers that agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from roman_nexus.demo.pointing import DetectorView, Ephemeris, TelescopePointing, ephemeris, parse_utc, view
from roman_nexus.demo.request import ExposureRequest

__all__ = ["level1_meta"]

REFERENCE_KEYS = (
    "apcorr", "area", "dark", "darkdecaysignal", "distortion", "epsf", "flat", "gain", "integralnonlinearity",
    "inverselinearity", "linearity", "mask", "photom", "readnoise", "refpix", "saturation",
)  # fmt: skip


def level1_meta(request: ExposureRequest) -> dict[str, Any]:
    """Return ``roman.meta`` of a Level 1 file.

    Parameters
    ----------
    request : ExposureRequest

    Returns
    -------
    dict
        Plain values but for times, which are astropy Time objects.
    """
    reported = request.pointing.moved(*request.reported_offset)
    orbit = ephemeris(request.start_time)
    seen = view(request.detector, request.shape, reported, orbit, request.seed)
    meta = {
        **_basic(request),
        "coordinates": {"reference_frame": "ICRS"},
        "ephemeris": _ephemeris(orbit),
        "exposure": _exposure(request),
        "guide_star": _guide_star(request),
        "instrument": {
            "name": "WFI",
            "detector": request.detector,
            "optical_element": request.optical_element,
        },
        "observation": _observation(request),
        "pointing": _pointing(reported),
        "program": {
            "title": "A demonstration visit",
            "investigator_name": "Roman, Nancy G.",
            "category": "CAL",
            "subcategory": "CAL",
            "science_category": "None",
        },
        "rcs": {
            "active": request.exposure_type == "WFI_FLAT",
            "electronics": "A",
            "bank": "1",
            "led": "1",
            "counts": 0,
        },
        "ref_file": {**dict.fromkeys(REFERENCE_KEYS, "N/A"), "crds": {"version": "N/A", "context": "N/A"}},
        "velocity_aberration": {
            "ra_reference": seen.pointing.ra_ref,
            "dec_reference": seen.pointing.dec_ref,
            "scale_factor": seen.pointing.scale_factor,
        },
        "visit": _visit(request),
        "wcsinfo": _wcsinfo(request, seen),
    }
    if request.reference_read:
        meta["instrument"]["data_encoding_offset"] = request.data_encoding_offset
    return meta


def _basic(request: ExposureRequest) -> dict[str, Any]:
    return {
        "filename": str(request.name),
        "file_date": _time(request.start_time),
        "model_type": "ScienceRawModel",
        "product_type": "l1",
        "origin": "STSCI/SOC",
        "telescope": "ROMAN",
        "calibration_software_name": "roman_nexus.demo",
        "calibration_software_version": "1",
        "sdf_software_version": "0.0.0",
        "prd_version": "0.0.0",
    }


def _time(text: str, seconds: float = 0.0) -> Any:
    from astropy.time import Time

    moment = (parse_utc(text) + timedelta(seconds=seconds)).replace(tzinfo=None)
    return Time(moment.isoformat(timespec="milliseconds"), format="isot", scale="utc")


def _exposure(request: ExposureRequest) -> dict[str, Any]:
    table, seconds = request.table, request.frame_time
    duration = seconds * table.pattern[-1][-1]
    return {
        "type": request.exposure_type,
        "start_time": _time(request.start_time),
        "end_time": _time(request.start_time, duration),
        "engineering_quality": "OK",
        "ma_table_id": table.identifier,
        "ma_table_name": table.name,
        "ma_table_number": table.number,
        "nresultants": len(table.pattern),
        "read_pattern": [list(reads) for reads in table.pattern],
        "data_problem": None,
        "frame_time": seconds,
        "exposure_time": duration,
        "effective_exposure_time": seconds * float(np.mean(table.pattern[-1])),
        "truncated": False,
        "hga_move": False,
    }


def _guide_star(request: ExposureRequest) -> dict[str, Any]:
    x0, x1, y0, y1 = request.guide_window
    return {
        "guide_window_id": f"{request.visit_id}1",
        "guide_mode": "WSM-TRACK" if request.band.dispersed else "WIM-TRACK",
        "window_xstart": x0,
        "window_xstop": x1,
        "window_ystart": y0,
        "window_ystop": y1,
        "guide_star_id": f"DEMO{request.detector}",
        "epoch": "2016.0",
    }


def _observation(request: ExposureRequest) -> dict[str, Any]:
    name = request.name
    group, sequence, activity = 1, 1, "01"
    return {
        "observation_id": f"{request.visit_id}{group:02d}{sequence}{activity}{request.exposure:04d}",
        "visit_id": request.visit_id,
        "program": name.program,
        "execution_plan": name.execution_plan,
        "pass": name.pass_,
        "segment": name.segment,
        "observation": name.observation,
        "visit": name.visit,
        "visit_file_group": group,
        "visit_file_sequence": sequence,
        "visit_file_activity": activity,
        "exposure": request.exposure,
        "wfi_parallel": False,
    }


def _pointing(reported: TelescopePointing) -> dict[str, Any]:
    ra_v1, dec_v1 = (float(angle) for angle in reported.attitude.to_sky(0.0, 0.0))
    return {
        "pa_aperture": reported.pa_aperture,
        "pointing_engineering_source": "CALCULATED",
        "ra_v1": ra_v1,
        "dec_v1": dec_v1,
        "pa_v3": reported.attitude.roll_at(0.0, 0.0),
        "target_aperture": "WFI_CEN",
        "target_ra": reported.ra,
        "target_dec": reported.dec,
    }


def _visit(request: ExposureRequest) -> dict[str, Any]:
    return {
        "dither": {"primary_name": None, "subpixel_name": None, "executed_pattern": None},
        "type": "GENERAL_ENGINEERING",
        "start_time": _time(request.start_time),
        "nexposures": request.nexposures,
        "internal_target": request.dark or request.exposure_type == "WFI_FLAT",
    }


def _wcsinfo(request: ExposureRequest, seen: DetectorView) -> dict[str, Any]:
    at = seen.pointing
    return {
        "aperture_name": f"{request.detector}_FULL",
        "v2_ref": at.v2_ref,
        "v3_ref": at.v3_ref,
        "vparity": at.vparity,
        "v3yangle": at.v3yangle,
        "ra_ref": at.ra_ref,
        "dec_ref": at.dec_ref,
        "roll_ref": at.roll_ref,
        "s_region": seen.s_region,
    }


def _ephemeris(orbit: Ephemeris) -> dict[str, Any]:
    return {
        "ephemeris_reference_frame": "EME2000",
        "type": "PREDICTED",
        "time": orbit.mjd,
        **{f"spatial_{axis}": value for axis, value in zip("xyz", orbit.position, strict=True)},
        **{f"velocity_{axis}": value for axis, value in zip("xyz", orbit.velocity, strict=True)},
    }
