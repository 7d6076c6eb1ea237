"""Our image steps on one synthetic case each; names and types of what is returned are those of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cases import Case
from ours import info, references, run_image_step

RUN: dict[str, Any] = {}


def dark_and_flat(case: Case, folder: Path) -> dict[str, Any]:
    image = {name: np.array(array) for name, array in case.ramp.items()}
    image = run_image_step("dark_current", image, references(case), {}, info(case))
    found = {f"dark {name}": image[name] for name in ("data", "dq")}
    image = run_image_step("flat_field", image, references(case), case.options, info(case))
    return {**found, **{f"flat {name}": array for name, array in image.items()}}


RUN["A19"] = dark_and_flat
