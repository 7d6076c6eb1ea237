"""The mission's image steps on one synthetic case each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cases import Case
from cases_image import distortion
from theirs import Node, ramp_model, reference

#: Pixels at which world coordinates are compared: inside, on the edges, and beyond them.
GRID = np.linspace(-10, 4100, 12)


def dark_and_flat(case: Case, folder: Path) -> dict[str, Any]:
    from romancal.dark_current.dark_current_step import subtract_dark_current
    from romancal.flatfield.flat_field import do_flat_field

    model = ramp_model(case)
    names = list(case.ramp)
    subtract_dark_current(model, reference(case, "dark"))
    found = {f"dark {name}": np.array(model[name]) for name in ("data", "dq")}
    do_flat_field(model, reference(case, "flat"), **case.options)
    if case.options["include_var_flat"]:
        names.append("var_flat")
    found.update({f"flat {name}": np.array(model[name]) for name in names})
    return {**found, "about": {"status": model.meta.cal_step.flat_field}}


def write_distortion(folder: Path, boxed: bool) -> Path:
    """Write the distortion reference file that both sides read."""
    from astropy.modeling import bind_bounding_box, models
    from roman_datamodels.datamodels import DistortionRefModel

    path = folder / f"distortion_{'boxed' if boxed else 'plain'}.asdf"
    if path.exists():
        return path
    axes = []
    for table in distortion(1.0).values():
        values = {f"c{i}_{j}": value for j, row in enumerate(table) for i, value in enumerate(row) if i + j <= 2}
        axes.append(models.Polynomial2D(2, **values))
    centre = models.Shift(-2043.5) & models.Shift(-2043.5)
    transform = centre | models.Scale(1e-3) & models.Scale(1e-3) | models.Mapping((0, 1, 0, 1)) | axes[0] & axes[1]
    if boxed:
        bind_bounding_box(transform, ((-0.5, 4087.5), (3.5, 4000.5)), order="F")
    model = DistortionRefModel.create_fake_data()
    model["coordinate_distortion_transform"] = transform
    model.meta.instrument = {"name": "WFI", "detector": "WFI01", "optical_element": "F158"}
    model.save(path)
    return path


def world_coordinates(case: Case, folder: Path) -> dict[str, Any]:
    from gwcs import WCS
    from roman_datamodels.datamodels import ImageModel, WfiWcsModel
    from romancal.assign_wcs.assign_wcs import load_wcs

    given = dict(case.exposure["pointing"])
    scale = given.pop("scale_factor")
    model = Node(data=np.broadcast_to(np.float32(0), (4088, 4088)), shape=(4088, 4088))
    model.meta = Node(wcsinfo=Node(given), velocity_aberration=Node(scale_factor=scale), cal_step=Node())
    load_wcs(model, {"distortion": str(write_distortion(folder, case.extra["boxed"]))})
    wcs: WCS = model.meta.wcs
    x, y = np.meshgrid(GRID, GRID)
    found = dict(zip(("ra", "dec"), wcs(x, y, with_bounding_box=False), strict=True))
    image = ImageModel()
    image.meta = {"wcs": wcs}
    both = WfiWcsModel.from_model_with_wcs(image)
    shifted = both.wcs_l1(x + 4, y + 4, with_bounding_box=False)
    found.update(zip(("level 1 ra", "level 1 dec"), shifted, strict=True))
    about = {
        "s_region": model.meta.wcsinfo.s_region,
        "frames": list(wcs.available_frames),
        "bounding_box": [list(map(float, axis)) for axis in wcs.bounding_box.bounding_box(order="F")],
        "level 1 bounding_box": [list(map(float, axis)) for axis in both.wcs_l1.bounding_box.bounding_box(order="F")],
    }
    return {**found, "about": about}


def photom(case: Case, folder: Path) -> dict[str, Any]:
    from romancal.photom.photom import apply_photom

    keys = ("conversion_megajanskys", "conversion_megajanskys_uncertainty", "pixel_area")
    model = ramp_model(case)
    model.meta.photometry = Node(dict.fromkeys(keys, -999999))
    apply_photom(model, reference(case, "photom"))
    return {"about": {"photometry": dict(model.meta.photometry)}}


def statistics(case: Case, folder: Path) -> dict[str, Any]:
    from romancal.lib.statistics import populate_statistics

    model = ramp_model(case)
    populate_statistics(model)
    return {"about": {"statistics": {name: float(value) for name, value in model.meta.statistics.items()}}}


RUN = {"A19": dark_and_flat, "A21": world_coordinates, "A23": photom, "A27": statistics}
