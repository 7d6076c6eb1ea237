"""Lists of steps, and which of them an exposure type takes.

This is the only place that names steps. A new step is one module and one line here. The order and the routing are
those of romancal 1.1.0 (``ExposurePipeline``): flat_field only for the imaging types, everything else for all.
"""

from __future__ import annotations

import importlib
from functools import cache

from roman_nexus.errors import InputError, StepError
from roman_nexus.steps.step import Step

__all__ = ["EXPOSURE", "EXPOSURE_TYPES", "RAMP_STEPS", "load_step", "routed_out", "step_names"]

#: Step name to the module that declares it, in order of execution.
EXPOSURE: dict[str, str] = {
    "dq_init": "roman_nexus.steps.exposure.dq_init",
    "saturation": "roman_nexus.steps.exposure.saturation",
    "refpix": "roman_nexus.steps.exposure.refpix",
    "dark_decay": "roman_nexus.steps.exposure.dark_decay",
    "wfi18_transient": "roman_nexus.steps.exposure.wfi18_transient",
    "linearity": "roman_nexus.steps.exposure.linearity",
    "ramp_fit": "roman_nexus.steps.exposure.ramp_fit",
    "dark_current": "roman_nexus.steps.exposure.dark_current",
    "assign_wcs": "roman_nexus.steps.exposure.assign_wcs",
    "photom": "roman_nexus.steps.exposure.photom",
    "flat_field": "roman_nexus.steps.exposure.flat_field",
}

#: The steps that leave a ramp, in order.
RAMP_STEPS = ("dq_init", "saturation", "refpix", "dark_decay", "wfi18_transient", "linearity")

#: Other names people use for a step (romancal attributes and aliases).
ALIASES = {"rampfit": "ramp_fit", "dark": "dark_current", "flatfield": "flat_field", "flat": "flat_field"}

EXPOSURE_TYPES = (
    "WFI_IMAGE",
    "WFI_SPECTRAL",
    "WFI_IM_DARK",
    "WFI_SP_DARK",
    "WFI_FLAT",
    "WFI_LOLO",
    "WFI_WFSC",
)

_FLAT_FIELDED = ("WFI_IMAGE", "WFI_LOLO", "WFI_WFSC")

#: The 16 keys of ``meta.cal_step`` of a Level 2 image (romancal 1.1.0).
CAL_STEPS = (
    "assign_wcs", "dark", "dark_decay", "dq_init", "flat_field", "flux", "linearity", "outlier_detection", "photom",
    "source_catalog", "ramp_fit", "refpix", "saturation", "skymatch", "tweakreg", "wfi18_transient",
)  # fmt: skip


#: Steps that follow this pipeline, and the exposure types that take them; for the others their status is SKIPPED.
LATER = {"source_catalog": ("WFI_IMAGE", "WFI_LOLO"), "tweakreg": ("WFI_IMAGE", "WFI_LOLO")}


def later_skipped(exposure_type: str) -> tuple[str, ...]:
    """Name the steps after this pipeline that an exposure type does not take."""
    return tuple(name for name, types in LATER.items() if exposure_type not in types)


def step_names() -> tuple[str, ...]:
    """Return the names of the exposure steps in order of execution."""
    return tuple(EXPOSURE)


def canonical(name: str) -> str:
    """Return the step's name for a name or an alias.

    Raises
    ------
    StepError
        If no step is called that.
    """
    found = ALIASES.get(name, name)
    if found not in EXPOSURE:
        msg = f"there is no step {name!r}; the steps are {', '.join(EXPOSURE)}"
        raise StepError(msg)
    return found


@cache
def load_step(name: str) -> Step:
    """Import a step and return its declaration."""
    step = importlib.import_module(EXPOSURE[canonical(name)]).STEP
    assert isinstance(step, Step)
    return step


def routed_out(name: str, exposure_type: str) -> str | None:
    """Say why an exposure type does not take a step, or return None where it does.

    Raises
    ------
    InputError
        If the exposure type is not one of the mission's.
    """
    if exposure_type not in EXPOSURE_TYPES:
        msg = f"exposure type {exposure_type!r} is unknown; the types are {', '.join(EXPOSURE_TYPES)}"
        raise InputError(msg)
    if name == "flat_field" and exposure_type not in _FLAT_FIELDED:
        return f"not for {exposure_type}"
    return None
