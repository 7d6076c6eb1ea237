"""Our image steps on one synthetic case each; names and types of what is returned are those of theirs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case
from ours import Given, bound_references, info, references, run_image_step

from roman_nexus.engine.pipelines import load_step

#: Pixels at which world coordinates are compared; the same as in theirs_image.
GRID = np.linspace(-10, 4100, 12)

PLACEHOLDER = -999999


def dark_and_flat(case: Case, folder: Path) -> dict[str, Any]:
    image = {name: np.array(array) for name, array in case.ramp.items()}
    image = run_image_step("dark_current", image, references(case), {}, info(case))
    found = {f"dark {name}": image[name] for name in ("data", "dq")}
    image = run_image_step("flat_field", image, references(case), case.options, info(case))
    return {**found, **{f"flat {name}": array for name, array in image.items()}}


def read_distortion(folder: Path, boxed: bool) -> Given:
    """Read the distortion file that theirs wrote, with plain asdf."""
    import asdf

    with asdf.open(folder / f"distortion_{'boxed' if boxed else 'plain'}.asdf") as file:
        transform = file["roman"]["coordinate_distortion_transform"]
        return Given({"coordinate_distortion_transform": transform.copy()})


def reopened(wcs: Any, x: np.ndarray, y: np.ndarray) -> bool:
    """Tell whether a saved WCS gives the same positions when it is read with nothing but asdf and gwcs."""
    import asdf

    stream = io.BytesIO()
    asdf.AsdfFile({"wcs": wcs}).write_to(stream)
    stream.seek(0)
    with asdf.open(stream) as file:
        again = file["wcs"](x, y, with_bounding_box=False)
    return bool(np.allclose(again, wcs(x, y, with_bounding_box=False), rtol=0, atol=1e-12, equal_nan=True))


def box(wcs: Any) -> list[list[float]]:
    return [list(map(float, axis)) for axis in wcs.bounding_box.bounding_box(order="F")]


def world_coordinates(case: Case, folder: Path) -> dict[str, Any]:
    from roman_nexus.wcs.build import level1_wcs

    step, exposure = load_step("assign_wcs"), info(case)
    given = {"distortion": read_distortion(folder, case.extra["boxed"])}
    meta = step.apply(None, bound_references(step, given, exposure), step.options(), exposure, None)
    wcs = meta["wcs"]
    x, y = np.meshgrid(GRID, GRID)
    found = dict(zip(("ra", "dec"), wcs(x, y, with_bounding_box=False), strict=True))
    shifted = level1_wcs(wcs)
    found.update(zip(("level 1 ra", "level 1 dec"), shifted(x + 4, y + 4, with_bounding_box=False), strict=True))
    about = {
        "s_region": meta.get("wcsinfo.s_region"),
        "frames": list(wcs.available_frames),
        "bounding_box": box(wcs),
        "level 1 bounding_box": box(shifted),
        "reopened": reopened(wcs, x, y),
    }
    return {**found, "about": about}


def photom(case: Case, folder: Path) -> dict[str, Any]:
    step, exposure = load_step("photom"), info(case)
    found = step.apply(None, bound_references(step, references(case), exposure), step.options(), exposure, None)
    keys = ("conversion_megajanskys", "conversion_megajanskys_uncertainty", "pixel_area")
    return {"about": {"photometry": {key: found.get(f"photometry.{key}", PLACEHOLDER) for key in keys}}}


def statistics(case: Case, folder: Path) -> dict[str, Any]:
    from roman_nexus.steps.statistics import image_statistics

    found = image_statistics(case.ramp["data"], case.ramp["dq"], case.ramp["err"])
    return {"about": {"statistics": {name.removeprefix("statistics."): float(value) for name, value in found.items()}}}


RUN = {"A19": dark_and_flat, "A21": world_coordinates, "A23": photom, "A27": statistics}
