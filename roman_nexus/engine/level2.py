"""Metadata of what a run makes: calibration status, references used, provenance.

The keys are those that romancal 1.1.0 writes; ours go into ``meta.nexus``, which the schema lets through.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from roman_nexus.engine.events import Event
from roman_nexus.engine.pipelines import CAL_STEPS, LATER, later_skipped, step_names
from roman_nexus.engine.plan import Plan

__all__ = ["NAME", "calibration_status", "product_metadata", "provenance"]

NAME = "roman_nexus"
PLACEHOLDER = -999999
RECORD_VERSION = 1
_STATUS = {"run": "COMPLETE", "cached": "COMPLETE", "skip": "SKIPPED", "n/a": "N/A"}


def calibration_status(
    plan: Plan, before: Mapping[str, Any], *, without: Sequence[str] = (), saturated: bool = False
) -> dict[str, str]:
    """Return ``meta.cal_step``.

    Parameters
    ----------
    plan : Plan
    before : mapping
        ``cal_step`` of the input.
    without : sequence of str
        Steps that ran but found no reference (dq_init without mask).
    saturated : bool
        The exposure is fully saturated: what follows saturation is skipped.
    """
    status = {name: str(before.get(name, "INCOMPLETE")) for name in CAL_STEPS}
    reached = True
    for step in plan.steps:
        if step.status != "done":
            status[step.cal_step] = "SKIPPED" if step.name in without else _STATUS[step.status]
        if saturated and not reached:
            status[step.cal_step] = "SKIPPED"
        if step.name == "saturation":
            reached = False
    if saturated:
        status |= dict.fromkeys(LATER, "SKIPPED")
    elif plan.steps[-1].name == step_names()[-1]:
        status |= dict.fromkeys(later_skipped(plan.exposure_type), "SKIPPED")
    return status


def provenance(plan: Plan, before: Any, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Return ``meta.nexus``: what was done to which input with which references, added to what was there.

    Parameters
    ----------
    plan : Plan
    before : mapping or None
        ``meta.nexus`` of the input.
    seconds : mapping
        Measured time of each step.
    """
    history = list(before.get("history") or []) if isinstance(before, Mapping) else []
    software = {name: version(package) for name, package in (
        ("roman_nexus", "roman-nexus"), ("numpy", "numpy"), ("scipy", "scipy"), ("numba", "numba"), ("gwcs", "gwcs"),
        ("asdf", "asdf"), ("roman_datamodels", "roman-datamodels"))}  # fmt: skip
    steps = [
        {
            "name": step.name,
            "status": step.status,
            "why": step.why,
            "key": step.key,
            "options": dict(step.options),
            "references": {reftype: dict(record) for reftype, record in step.references.items()},
        }
        for step in plan.steps
        if step.status != "done"
    ]
    history.append(
        {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "input": {"name": plan.input_name, "digest": plan.input_digest, "kind": plan.input_kind},
            "steps": steps,
            "software": software | {"python": platform.python_version()},
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
        }
    )
    return {"record_version": RECORD_VERSION, "history": history}


def product_metadata(
    meta: dict[str, Any],
    plan: Plan,
    *,
    kind: str,
    status: Mapping[str, str],
    references: Mapping[str, str],
    updates: Mapping[str, Any],
    log: Sequence[Event],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Turn the metadata of the input into those of the product; changes and returns `meta`.

    Parameters
    ----------
    meta : dict
        Nested, a copy of the input's.
    plan : Plan
    kind : {"ramp", "image"}
    status : mapping
        ``cal_step``.
    references : mapping of str to str
        Reference type to the name to record.
    updates : mapping
        Dotted path below ``meta`` to value, from the metadata steps and the statistics.
    log : sequence of Event
    seconds : mapping
    """
    meta["calibration_software_name"] = NAME
    meta["calibration_software_version"] = version("roman-nexus")
    meta["model_type"] = "ImageModel" if kind == "image" else "RampModel"
    meta["product_type"] = "l2" if kind == "image" else "ramp"
    meta["cal_step"] = dict(status)
    meta["ref_file"] = {**(meta.get("ref_file") or {}), **references}
    problem = (meta.get("exposure") or {}).get("data_problem")
    if isinstance(problem, bool):
        meta["exposure"]["data_problem"] = "True" if problem else None
    if kind == "image":
        meta.setdefault(
            "photometry",
            dict.fromkeys(("conversion_megajanskys", "conversion_megajanskys_uncertainty", "pixel_area"), PLACEHOLDER),
        )
        meta.setdefault("wcs", None)
        meta["cal_logs"] = [*map(str, meta.get("cal_logs") or []), *map(_log_line, log)]
    for dotted, value in updates.items():
        _set(meta, dotted, value)
    meta["nexus"] = provenance(plan, meta.get("nexus"), seconds)
    return meta


def _set(meta: dict[str, Any], dotted: str, value: Any) -> None:
    *groups, last = dotted.split(".")
    node = meta
    for group in groups:
        node = node.setdefault(group, {})
    node[last] = value


def _log_line(event: Event) -> str:
    moment = datetime.fromtimestamp(event.time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    level = "WARNING" if event.kind == "warning" else "INFO"
    return f"{moment}Z :: roman_nexus.engine :: {level} :: {event.text}"
