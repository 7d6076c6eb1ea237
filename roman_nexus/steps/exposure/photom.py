"""photom: look up what a count is worth.

No array changes: the factor from DN/s to MJy/sr, its uncertainty and the mean solid angle of a pixel are looked up for
the optical element and noted in ``meta.photometry`` (``romancal`` 1.1 ``apply_photom``). They are null for the grism,
the prism and the dark slide. For an element that the table does not list the metadata stay as they are, that is -999999
after ramp_fit, and the step counts as complete all the same; `STEP.check` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from roman_nexus.errors import ReferenceMismatchError
from roman_nexus.steps.step import ExposureInfo, Needs, Options, References, Step

__all__ = ["STEP", "PhotomOptions", "apply"]

#: Metadata path to column of the table.
_COLUMNS = {
    "photometry.pixel_area": "pixelareasr",
    "photometry.conversion_megajanskys": "photmjsr",
    "photometry.conversion_megajanskys_uncertainty": "uncertainty",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotomOptions(Options):
    """`photom` has no options."""


def apply(
    block: None, references: References, options: PhotomOptions, exposure: ExposureInfo, state: None = None
) -> dict[str, Any]:
    """Look up the photometric calibration.

    Parameters
    ----------
    block : None
    references : mapping
        ``references["photom"]``: ``phot_table``, a mapping of optical element to a mapping with ``photmjsr``
        ((MJy/sr) / (DN/s)), ``uncertainty`` (same) and ``pixelareasr`` (sr).
    options : PhotomOptions
    exposure : ExposureInfo
    state : None

    Returns
    -------
    dict
        ``photometry.conversion_megajanskys``, ``photometry.conversion_megajanskys_uncertainty`` and
        ``photometry.pixel_area``, each a float or None; empty for an unknown element.

    Raises
    ------
    ReferenceMismatchError
        If the table's row lacks a column, or holds something else than numbers.

    Examples
    --------
    >>> from roman_nexus.steps.exposure.photom import STEP
    >>> from roman_nexus.steps.step import ExposureInfo
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16)
    >>> table = {"F158": {"photmjsr": 0.7, "uncertainty": 0.007, "pixelareasr": 2.8e-13}}
    >>> STEP.apply(None, {"photom": {"phot_table": table}}, STEP.options(), exposure, None)["photometry.pixel_area"]
    2.8e-13
    """
    table = references["photom"]["phot_table"]
    element = exposure.optical_element.upper()
    if element not in table:
        return {}
    row = table[element]
    missing = [column for column in _COLUMNS.values() if column not in (row or ())]
    if missing:
        msg = f"the photom reference lists {element} without {', '.join(missing)}; expected a number or null"
        raise ReferenceMismatchError(msg)
    return {path: _number(row[column], element, column) for path, column in _COLUMNS.items()}


def _check(references: References, options: PhotomOptions, exposure: ExposureInfo) -> list[str]:
    """Say so where the table does not list the optical element; refuse a row that `apply` could not read."""
    table = references["photom"]["phot_table"]
    element = exposure.optical_element.upper()
    if element in table:
        apply(None, references, options, exposure)
        return []
    return [
        f"the photom reference does not list {element}, only {', '.join(sorted(table))}; "
        "meta.photometry keeps its placeholders, give another photom reference"
    ]


def _number(value: Any, element: str, column: str) -> float | None:
    """Return a table entry as a plain float, or None where it is null."""
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        msg = f"the photom reference has {column} = {value!r} for {element}; expected a number or null"
        raise ReferenceMismatchError(msg) from None


STEP = Step(
    name="photom",
    level="meta",
    options=PhotomOptions,
    apply=apply,
    check=_check,
    references=(Needs("photom", whole=("phot_table",), missing="skip"),),
    title="Look up what a count is worth",
    quirks={"unknown element": "an optical element that the table does not list still leaves the status COMPLETE"},
)
