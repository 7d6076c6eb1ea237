"""What newer schemas require and older files lack: one rule per key.

`roman_datamodels` opens old files but does not bring them up to date: an old file copied into the newest schema is
invalid. Each rule here fills one key if it is missing, with a value that says "not known" as far as the schema lets it,
and says so in words for the history of the file. The rules were found by validating, under the newest schema, a file
made under each older one (science_raw, ramp, wfi_image 1.0.0 to 2.1.0; wfi_wcs 1.0.0 to 2.1.0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.products.arrays import Kind

__all__ = ["ARRAY_RULES", "RULES", "MetaRule", "migrate_arrays", "migrate_meta"]

Version = tuple[int, int, int]
MISSING_NUMBER = -999999.0  # the mission's own mark in its fake data
CAL_STEPS = (
    "assign_wcs", "dark", "dark_decay", "dq_init", "flat_field", "flux", "linearity", "outlier_detection", "photom",
    "ramp_fit", "refpix", "saturation", "skymatch", "source_catalog", "tweakreg", "wfi18_transient",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MetaRule:
    """One key of ``meta`` that older files lack.

    Attributes
    ----------
    path : str
        Dotted path below ``meta``.
    value : callable
        ``value(meta, kind)``.
    since : tuple of int
        First schema manifest that requires the key; (0, 0, 0) when every one we write does.
    kinds : tuple of str
    reason : str
        For the history.
    """

    path: str
    value: Callable[[Mapping[str, Any], Kind], Any]
    since: Version = (0, 0, 0)
    kinds: tuple[Kind, ...] = ("science_raw", "ramp", "image", "wcs")
    reason: str = "not in older schemas, not known"


def _always(value: Any) -> Callable[[Mapping[str, Any], Kind], Any]:
    return lambda _meta, _kind: value


def _ma_table_id(meta: Mapping[str, Any], _kind: Kind) -> str:
    number = meta.get("exposure", {}).get("ma_table_number")
    return f"SCI{number:04d}" if isinstance(number, int) and 0 <= number <= 9999 else "?"


_DATA: tuple[Kind, ...] = ("science_raw", "ramp", "image")
_PRODUCT_TYPES = {"science_raw": "l1", "ramp": "ramp", "image": "l2", "wcs": "l2"}

#: The rules for metadata, in the order in which they are applied.
RULES: tuple[MetaRule, ...] = (
    MetaRule("product_type", lambda _meta, kind: _PRODUCT_TYPES[kind], reason="required since schema 1.4"),
    MetaRule("exposure.engineering_quality", _always("?")),
    MetaRule("exposure.ma_table_id", _ma_table_id, reason="not in the oldest schemas, made from ma_table_number"),
    MetaRule("exposure.data_problem", _always(None)),
    MetaRule("exposure.hga_move", _always(False), reason="required since schema 1.8, not known, taken as False"),
    MetaRule("observation.wfi_parallel", _always(False), reason="required since 1.6, not known, taken as False"),
    MetaRule("pointing.pa_aperture", _always(MISSING_NUMBER)),
    *(
        MetaRule(f"ref_file.{name}", _always("N/A"), kinds=_DATA, reason="reference type not in older schemas")
        for name in ("darkdecaysignal", "inverselinearity", "integralnonlinearity")
    ),
    MetaRule("ref_file.bam", _always("N/A"), (2, 2, 0), _DATA, "reference type required since schema 2.2"),
    MetaRule("visit.wfi_acm_z_defocus_size", _always(None), (2, 2, 0), reason="required since schema 2.2, not known"),
    *(
        MetaRule(f"cal_step.{name}", _always("INCOMPLETE"), kinds=("ramp", "image"), reason="step not run")
        for name in CAL_STEPS
    ),
    *(
        MetaRule(f"photometry.{name}", _always(None), kinds=("image",), reason="photom not run")
        for name in ("conversion_megajanskys", "conversion_megajanskys_uncertainty", "pixel_area")
    ),
    MetaRule("wcs", _always(None), kinds=("image",), reason="assign_wcs not run"),
)

#: Array that newer schemas require, the array whose shape it has, and since when.
ARRAY_RULES: dict[Kind, tuple[str, str, Version]] = {
    "ramp": ("pixeldq2", "pixeldq", (2, 2, 0)),
    "image": ("dq2", "dq", (2, 2, 0)),
}


def migrate_meta(kind: Kind, meta: dict[str, Any], manifest: Version) -> list[str]:
    """Fill in place what the schemas of `manifest` require and `meta` lacks.

    Parameters
    ----------
    kind : {"science_raw", "ramp", "image", "wcs"}
    meta : dict
        ``roman.meta`` as plain dicts; changed in place.
    manifest : tuple of int
        Version of the schema manifest, for example (2, 2, 0).

    Returns
    -------
    list of str
        What was done, one sentence a key.

    Examples
    --------
    >>> meta = {"visit": {}}
    >>> notes = migrate_meta("wcs", meta, (2, 2, 0))
    >>> [note for note in notes if "wfi_acm" in note]
    ['meta.visit.wfi_acm_z_defocus_size set to None: required since schema 2.2, not known']
    """
    notes = []
    for rule in RULES:
        if kind in rule.kinds and manifest >= rule.since and _fill(meta, rule, kind):
            value = _at(meta, rule.path)
            notes.append(f"meta.{rule.path} set to {value!r}: {rule.reason}")
    exposure = meta.get("exposure")
    if isinstance(exposure, dict) and isinstance(exposure.get("data_problem"), bool):
        exposure["data_problem"] = "not specified" if exposure["data_problem"] else None
        notes.append(f"meta.exposure.data_problem set to {exposure['data_problem']!r}: it was a flag in schema 1.0")
    return notes


def migrate_arrays(kind: Kind, arrays: dict[str, NDArray[Any]], manifest: Version) -> list[str]:
    """Add in place the arrays that the schemas of `manifest` require and nobody makes yet; returns what was done."""
    if kind not in ARRAY_RULES:
        return []
    name, like, since = ARRAY_RULES[kind]
    if name in arrays or manifest < since:
        return []
    arrays[name] = np.zeros(arrays[like].shape, np.uint32)
    return [f"{name} filled with zeros: required since schema {since[0]}.{since[1]}, no reference carries such flags"]


def _fill(meta: dict[str, Any], rule: MetaRule, kind: Kind) -> bool:
    """Set the key of a rule if it is missing; says whether it did."""
    *groups, last = rule.path.split(".")
    place = meta
    for group in groups:
        place = place.setdefault(group, {})
        if not isinstance(place, dict):
            return False  # validation will say what is wrong with it
    if last in place:
        return False
    place[last] = rule.value(meta, kind)
    return True


def _at(meta: Mapping[str, Any], path: str) -> Any:
    value: Any = meta
    for key in path.split("."):
        value = value[key]
    return value
