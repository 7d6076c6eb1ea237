"""Compare our products with what the mission's pipeline kept, array by array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.dq import PixelFlag
from roman_nexus.errors import RomanNexusError
from roman_nexus.verify.agreement import NOTHING, Agreement, compare_arrays
from roman_nexus.verify.mission import MissionRun
from roman_nexus.verify.tolerance import FLAGS, Tolerance, rate_tolerance, tolerance_for

__all__ = ["ArrayRow", "ValueRow", "compare_image", "compare_metadata", "compare_ramp"]

IMAGE_ARRAYS = ("data", "dq", "err", "var_poisson", "var_rnoise", "chisq", "dumo", "jump_indices", "amp33")
_BORDERS = tuple(f"border_ref_pix_{side}" for side in ("left", "right", "top", "bottom"))
BORDER_ARRAYS = (*_BORDERS, *(f"dq_{name}" for name in _BORDERS))

#: Statuses of steps that roman_nexus does not have yet say nothing about the others.
_NOT_OURS = ("source_catalog", "tweakreg")

_SKY_LIMIT_MAS = 0.001


@dataclass(frozen=True, slots=True)
class ArrayRow:
    """One array of one step on both sides.

    Attributes
    ----------
    step, array : str
    agreement : Agreement
    tolerance : str
        The criterion, for people.
    passed : bool
    note : str
    """

    step: str
    array: str
    agreement: Agreement
    tolerance: str
    passed: bool
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found = {"step": self.step, "array": self.array, "tolerance": self.tolerance, "passed": self.passed}
        return {**found, "note": self.note, **self.agreement.to_dict()}


@dataclass(frozen=True, slots=True)
class ValueRow:
    """One value of the metadata on both sides.

    Attributes
    ----------
    name : str
    ours, theirs : str
    passed : bool
    note : str
    """

    name: str
    ours: str
    theirs: str
    passed: bool
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"name": self.name, "ours": self.ours, "theirs": self.theirs, "passed": self.passed, "note": self.note}


def compare_ramp(step: str, arrays: Mapping[str, NDArray[Any]], mission: MissionRun) -> list[ArrayRow]:
    """Compare the arrays of a ramp that a step may change.

    Parameters
    ----------
    step : str
    arrays : mapping
        Ours, after the step.
    mission : MissionRun

    Returns
    -------
    list of ArrayRow
    """
    return [_row(step, name, arrays.get(name), mission.array(step, name), tolerance_for) for name in mission.kept(step)]


def compare_image(
    arrays: Mapping[str, NDArray[Any]], mission: MissionRun, read_pattern: Any, frame_time: float
) -> list[ArrayRow]:
    """Compare the arrays of a rate image with the mission's final product.

    The data are compared where the mission's image does not say DO_NOT_USE; everything else in all pixels.

    Parameters
    ----------
    arrays : mapping
        Ours.
    mission : MissionRun
    read_pattern : sequence of sequences of int
    frame_time : float
        Seconds per read.

    Returns
    -------
    list of ArrayRow
    """
    rate = rate_tolerance(read_pattern, frame_time)
    kept = mission.kept("final")
    good = (np.asarray(mission.array("final", "dq")) & np.uint32(PixelFlag.DO_NOT_USE)) == 0

    def tolerance(name: str, dtype: np.dtype[np.generic]) -> Tolerance:
        return tolerance_for(name, dtype, rate)

    rows = []
    for name in (*IMAGE_ARRAYS, *BORDER_ARRAYS):
        if name in kept:
            where = good if name == "data" else None
            rows.append(_row("image", name, arrays.get(name), mission.array("final", name), tolerance, where))
    return rows


def compare_metadata(meta: Mapping[str, Any], wcs: Any, mission: MissionRun) -> list[ValueRow]:
    """Compare the status of the steps, photometry, statistics and sky coordinates.

    Parameters
    ----------
    meta : mapping
        Ours, nested.
    wcs : gwcs.WCS or None
        Ours.
    mission : MissionRun

    Returns
    -------
    list of ValueRow
    """
    rows = []
    for name, theirs in mission.meta.get("cal_step", {}).items():
        ours = str(meta.get("cal_step", {}).get(name))
        known = name in _NOT_OURS
        rows.append(ValueRow(f"cal_step.{name}", ours, str(theirs), known or ours == str(theirs),
                             "not a step of this comparison" if known else ""))  # fmt: skip
    for group in ("photometry", "statistics"):
        for name, theirs in mission.meta.get(group, {}).items():
            value = meta.get(group, {}).get(name)
            rows.append(ValueRow(f"{group}.{name}", _text(value), _text(theirs), _same_number(value, theirs)))
    rows.append(_compare_wcs(wcs, mission.meta.get("wcs")))
    if wcs is not None:
        ours, theirs = (str(found.get("wcsinfo", {}).get("s_region")) for found in (meta, mission.meta))
        rows.append(ValueRow("wcsinfo.s_region", ours, theirs, ours == theirs))
    return rows


def _row(
    step: str, name: str, ours: Any, theirs: NDArray[Any], tolerance: Any, where: NDArray[np.bool_] | None = None
) -> ArrayRow:
    """Compare one array; what cannot be compared is a row that fails."""
    criterion: Tolerance = tolerance(name, theirs.dtype)
    if ours is None:
        return ArrayRow(step, name, NOTHING, criterion.text, False, "ours has no such array")
    if name == "jump_indices":
        return _jump_row(step, np.asarray(ours), np.asarray(theirs))
    try:
        agreement = compare_arrays(ours, theirs, flags="dq" in name, where=where, allowed=criterion.allowed)
    except RomanNexusError as error:
        return ArrayRow(step, name, NOTHING, criterion.text, False, str(error))
    return ArrayRow(step, name, agreement.labelled(name), criterion.text, criterion.judge(agreement))


def _jump_row(step: str, ours: NDArray[Any], theirs: NDArray[Any]) -> ArrayRow:
    """Compare two lists of jumps as sets; the lists may be of different length."""
    mine, other = ({tuple(item) for item in side.tolist()} for side in (ours, theirs))
    common, union = len(mine & other), len(mine | other)
    agreement = Agreement(union, common, common, 0 if common == union else 1, 0.0, 0, common)
    note = f"{len(mine - other)} only ours, {len(other - mine)} only theirs" if common != union else ""
    if not union:  # no jump on either side is agreement too
        return ArrayRow(step, "jump_indices", agreement, FLAGS.text, True, "no jumps on either side")
    return ArrayRow(step, "jump_indices", agreement, FLAGS.text, FLAGS.judge(agreement), note)


def _text(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _same_number(ours: Any, theirs: Any) -> bool:
    """Tell whether two numbers agree to float32, or two other values are equal."""
    if isinstance(ours, (int, float)) and isinstance(theirs, (int, float)):
        return bool(np.isclose(ours, theirs, rtol=1e-5, atol=0.0, equal_nan=True))
    return bool(ours == theirs)


def _compare_wcs(wcs: Any, theirs: Mapping[str, Any] | None) -> ValueRow:
    """Compare sky positions on a grid of pixels."""
    if wcs is None or theirs is None:
        ours = "none" if wcs is None else "a WCS"
        return ValueRow("wcs", ours, "none" if theirs is None else "a WCS", (wcs is None) == (theirs is None))
    x, y, ra, dec = (np.asarray(theirs[name], dtype=np.float64) for name in ("x", "y", "ra", "dec"))
    vectors = [_unit_vectors(*wcs(x, y, with_bounding_box=False)), _unit_vectors(ra, dec)]
    apart = np.degrees(np.linalg.norm(vectors[0] - vectors[1], axis=0)) * 3.6e6
    largest = float(apart.max())
    text = f"{largest:.2g} mas apart at most on {x.size} pixels"
    return ValueRow("wcs", text, "", bool(largest <= _SKY_LIMIT_MAS), f"allowed {_SKY_LIMIT_MAS} mas")


def _unit_vectors(ra: Any, dec: Any) -> NDArray[np.float64]:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
