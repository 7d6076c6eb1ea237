"""What the demo archive lists: one row a product, in the columns of the archive's own search.

The columns and the metadata that fills them are those of MAST's Roman search (``rad`` archive destinations). Columns
that the archive makes itself (access, numbering) are filled as it does; ``path``, ``size`` and ``digest`` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roman_nexus.products.digests import file_digest
from roman_nexus.products.names import DetectorName, ReferenceName

__all__ = ["COLUMNS", "product_row", "reference_row", "search_columns"]

#: Search column and the metadata it shows, as a path below ``meta``.
COLUMNS = {
    "instrument_name": "instrument.name",
    "detector": "instrument.detector",
    "optical_element": "instrument.optical_element",
    "exposure_type": "exposure.type",
    "exposure_start_time": "exposure.start_time",
    "exposure_end_time": "exposure.end_time",
    "exposure_time": "exposure.exposure_time",
    "effective_exposure_time": "exposure.effective_exposure_time",
    "exposure_frame_time": "exposure.frame_time",
    "exposure_nresultants": "exposure.nresultants",
    "exposure_truncated": "exposure.truncated",
    "exposure_data_problem": "exposure.data_problem",
    "engineering_quality": "exposure.engineering_quality",
    "ma_table_name": "exposure.ma_table_name",
    "ma_table_number": "exposure.ma_table_number",
    "ma_table_id": "exposure.ma_table_id",
    "read_pattern": "exposure.read_pattern",
    "program": "observation.program",
    "execution_plan": "observation.execution_plan",
    "pass": "observation.pass",
    "segment": "observation.segment",
    "observation": "observation.observation",
    "visit": "observation.visit",
    "visit_id": "observation.visit_id",
    "observation_id": "observation.observation_id",
    "visit_file_group": "observation.visit_file_group",
    "visit_file_sequence": "observation.visit_file_sequence",
    "visit_file_activity": "observation.visit_file_activity",
    "visit_nexposures": "visit.nexposures",
    "visit_start_time": "visit.start_time",
    "visit_type": "visit.type",
    "program_title": "program.title",
    "program_category": "program.category",
    "program_subcategory": "program.subcategory",
    "science_category": "program.science_category",
    "investigator_name": "program.investigator_name",
    "guide_mode": "guide_star.guide_mode",
    "guide_star_id": "guide_star.guide_star_id",
    "guide_window_id": "guide_star.guide_window_id",
    "ra": "wcsinfo.ra_ref",
    "dec": "wcsinfo.dec_ref",
    "roll_ref": "wcsinfo.roll_ref",
    "v2_ref": "wcsinfo.v2_ref",
    "v3_ref": "wcsinfo.v3_ref",
    "s_region": "wcsinfo.s_region",
    "aperture_name": "wcsinfo.aperture_name",
    "pa_aperture": "pointing.pa_aperture",
    "pa_v3": "pointing.pa_v3",
    "ra_v1": "pointing.ra_v1",
    "dec_v1": "pointing.dec_v1",
    "target_ra": "pointing.target_ra",
    "target_dec": "pointing.target_dec",
    "target_aperture": "pointing.target_aperture",
    "pointing_engineering_source": "pointing.pointing_engineering_source",
    "ra_reference": "velocity_aberration.ra_reference",
    "dec_reference": "velocity_aberration.dec_reference",
    "scale_factor": "velocity_aberration.scale_factor",
    "telescope": "telescope",
    "origin": "origin",
    "reference_frame": "coordinates.reference_frame",
    "calibration_software_name": "calibration_software_name",
    "calibration_software_version": "calibration_software_version",
    "sdf_software_version": "sdf_software_version",
    "prd_version": "prd_version",
    "crds_context": "ref_file.crds.context",
    "crds_version": "ref_file.crds.version",
    "filedate": "file_date",
}
_PRODUCT_TYPES = {1: "l1", 2: "l2", 4: "l4"}


def search_columns(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the search columns that metadata fill; ``meta`` is ``roman.meta`` of an exposure."""
    return {column: _plain(_look_up(meta, where)) for column, where in COLUMNS.items()}


def product_row(path: Path, folder: Path, columns: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the row of a product.

    Parameters
    ----------
    path : Path
        The file; its name must be a mission name.
    folder : Path
        Of the archive; the row names the file relative to it.
    columns : mapping
        From `search_columns`.
    number : int
        The archive's running number of the file.

    Raises
    ------
    FileNameError
        If the name is not that of a product of one detector.
    """
    name = DetectorName.parse(path)
    level = name.level
    return {
        "fileSetName": str(name.fileset),
        "filename": path.name,
        "path": path.relative_to(folder).as_posix(),
        "suffix": name.suffix,
        "size": path.stat().st_size,
        "digest": file_digest(path),
        "dataset_category": "detector",
        "productLevel": "" if level is None else str(level),
        "product_type": _PRODUCT_TYPES.get(level or 0, str(name.suffix)),
        "access": "PUBLIC",
        "ArchiveFileID": number,
        **columns,
    }


def reference_row(path: Path, folder: Path, optical_element: str | None = None) -> dict[str, Any]:
    """Return the row of a reference file: what it is for, where it is."""
    name = ReferenceName.parse(path)
    return {
        "filename": path.name,
        "path": path.relative_to(folder).as_posix(),
        "reftype": name.reftype,
        "detector": f"WFI{name.serial % 100:02d}" if name.reftype != "darkdecaysignal" else None,
        "optical_element": optical_element,
        "size": path.stat().st_size,
        "digest": file_digest(path),
    }


def _look_up(meta: Mapping[str, Any], where: str) -> Any:
    value: Any = meta
    for part in where.split("."):
        value = value[part]
    return value


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: times as ISO 8601, lists as text."""
    if isinstance(value, list):
        return str(value)
    return getattr(value, "isot", value)
