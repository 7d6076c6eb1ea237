"""Options of ramp_fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from roman_nexus.errors import OptionError
from roman_nexus.steps.step import Options

__all__ = ["MISSION_THRESHOLD", "RampFitOptions"]

MISSION_THRESHOLD = 4.5  #: sigma; what romancal 1.1 always uses


def _option(default: Any, doc: str, unit: str = "") -> Any:
    return field(default=default, metadata={"doc": doc, "unit": unit})


@dataclass(frozen=True, slots=True, kw_only=True)
class RampFitOptions(Options):
    """Options of `ramp_fit`; names and defaults are those of romancal 1.1 where it has them.

    All numbers must be finite and not negative.
    """

    algorithm: Literal["likelihood", "ols_cas22"] = _option(
        "likelihood", "likelihood: full covariance, needs 4 resultants; ols_cas22: power-law weights, needs 2"
    )
    jump_detection: bool = _option(True, "likelihood: search for jumps and leave them out")
    rejection_threshold: float | None = _option(
        None, "likelihood: significance a jump must exceed; None is the mission's fixed 4.5", "sigma"
    )
    one_omission_rule: Literal["romancal", "reads"] = _option(
        "romancal",
        "likelihood: which single differences may be dropped; romancal: all; reads: the first, the last, "
        "and those between two single-read resultants",
    )
    first_guess: Literal["all", "usable"] = _option(
        "all", "likelihood: differences whose median starts the jump search; all includes flagged ones, as in romancal"
    )
    flag_unfitted: bool = _option(
        False, "likelihood: set DO_NOT_USE where no rate comes out, NO_GAIN_VALUE where the gain is not positive"
    )
    use_ramp_jump_detection: bool = _option(True, "ols_cas22: search for jumps")
    threshold_intercept: float | None = _option(
        None, "ols_cas22: significance a jump must exceed at a slope of 1 electron/s; None is 5.5", "sigma"
    )
    threshold_constant: float | None = _option(
        None, "ols_cas22: by how much the threshold falls per decade of slope; None is 1/3", "sigma"
    )
    include_var_rnoise: bool = _option(False, "write var_rnoise to the product")
    record_jumps: bool = _option(True, "likelihood: list resultant, y, x of every jump")
    expand_large_events: bool = _option(False, "likelihood: grow the flags of snowballs; needs an extra pass")
    min_sat_area: float = _option(1.0, "snowballs: least area of a saturated core", "pixel2")
    min_jump_area: float = _option(6.0, "snowballs: least area of a region of jumps", "pixel2")
    expand_factor: float = _option(1.9, "snowballs: factor on the shorter axis of a region of jumps")
    sat_required_snowball: bool = _option(True, "snowballs: only regions with a saturated core count")
    min_sat_radius_extend: float = _option(0.5, "snowballs: shorter axis a core must exceed to be grown", "pixel")
    sat_expand: int = _option(2, "snowballs: growth of the radius of a core", "pixel")
    edge_size: int = _option(0, "snowballs: distance from the edge within which no core is required", "pixel")

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, (int, float)) and not (math.isfinite(value) and value >= 0):
                unit = item.metadata["unit"]
                msg = (
                    f"RampFitOptions.{item.name} is {value!r} {unit}".rstrip() + "; expected a finite number, 0 or more"
                )
                raise OptionError(msg)
