"""Our ramp steps and ramp fits on one synthetic case each; names and types of what is returned are those of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from cases import Case
from ours import info, ramp_block, references, row_slices, run_fit, run_ramp_step

from roman_nexus.engine.pipelines import load_step
from roman_nexus.engine.stream import sorted_jumps
from roman_nexus.steps.exposure.dq_init import initial_amp33
from roman_nexus.steps.exposure.frame_timing import pixel_times as time_vectors
from roman_nexus.steps.step import BORDER, RawBlock


def dq_init(case: Case, folder: Path) -> dict[str, Any]:
    step, exposure = load_step("dq_init"), info(case)
    options = step.options.from_dict(case.options)
    raw, given = case.ramp, references(case)
    pieces = []
    for rows in row_slices(raw["data"].shape[1]):
        columns = slice(0, raw["data"].shape[2])
        initial = raw["resultantdq"][:, rows] if "resultantdq" in raw else None
        read = raw["reference_read"][rows] if "reference_read" in raw else None
        block = RawBlock(raw["data"][:, rows], rows, columns, initial, read)
        mask = given["mask"].array("dq")
        whole = mask.shape != raw["data"].shape[1:]
        arrays = {"mask": {"dq": mask if whole else mask[rows]}}
        pieces.append(step.apply(block, arrays, options, exposure, None))
    ramp = {
        "data": np.concatenate([piece.data for piece in pieces], axis=1),
        "groupdq": np.concatenate([piece.groupdq for piece in pieces], axis=1),
        "pixeldq": np.concatenate([piece.pixeldq for piece in pieces], axis=0),
        "amp33": initial_amp33(raw["amp33"], raw.get("reference_amp33"), exposure.data_encoding_offset),
    }
    return {**ramp, "about": {"status": "COMPLETE"}}


def saturation(case: Case, folder: Path) -> dict[str, Any]:
    ramp = ramp_block(case)
    run_ramp_step("saturation", ramp, references(case), case.options, info(case))
    return {"groupdq": ramp.groupdq, "pixeldq": ramp.pixeldq}


def refpix(case: Case, folder: Path) -> dict[str, Any]:
    ramp = ramp_block(case)
    amp33, _ = run_ramp_step("refpix", ramp, references(case), case.options, info(case), np.array(case.ramp["amp33"]))
    return {
        "data": ramp.data,
        "amp33": np.asarray(amp33),
        "border_ref_pix_left": ramp.data[:, :, :BORDER].copy(),
        "border_ref_pix_right": ramp.data[:, :, -BORDER:].copy(),
    }


def dark_decay(case: Case, folder: Path) -> dict[str, Any]:
    ramp = ramp_block(case)
    run_ramp_step("dark_decay", ramp, references(case), case.options, info(case), heights=(256,))
    return {"data": ramp.data}


def pixel_times(case: Case, folder: Path) -> dict[str, Any]:
    exposure = info(case)
    row, column = time_vectors(exposure.frame_time, exposure.sca, exposure.shape)
    return {"some rows": row[::16, None] + column, "some columns": row[:, None] + column[::16]}


def wfi18(case: Case, folder: Path) -> dict[str, Any]:
    ramp = ramp_block(case)
    _, state = run_ramp_step("wfi18_transient", ramp, {}, case.options, info(case), heights=(128,))
    untouched = bool(np.array_equal(case.ramp["data"][1:], ramp.data[1:], equal_nan=True))
    found = {"first resultant": ramp.data[0], "groupdq": ramp.groupdq}
    if state is not None and not state.fallback:
        found["parameters"] = np.array([*state.amplitudes, *state.time_constants])
    return {**found, "about": {"others untouched": untouched}}


def linearity(case: Case, folder: Path) -> dict[str, Any]:
    ramp = ramp_block(case)
    run_ramp_step("linearity", ramp, references(case), case.options, info(case))
    return {"data": ramp.data, "groupdq": ramp.groupdq, "pixeldq": ramp.pixeldq}


def ramp_fit(case: Case, folder: Path) -> dict[str, Any]:
    ramp, exposure = ramp_block(case), info(case)
    fits = list(run_fit(ramp, references(case), case.options, exposure))
    names = ("rate", "err", "var_poisson", "var_rnoise", "chisq", "dumo", "dq")
    found = {name: np.concatenate([getattr(fit, name) for fit in fits]) for name in names}
    with np.errstate(all="ignore"):
        found["dumo"] = found["dumo"].astype(np.float16)
    jumps = [fit.jumps for fit in fits if fit.jumps is not None]
    if jumps:
        y, x = (np.concatenate(jumps)[:, axis] for axis in (1, 2))
        ny, nx = exposure.shape
        inside = (y >= BORDER) & (y < ny - BORDER) & (x >= BORDER) & (x < nx - BORDER)
        found["jump_indices"] = sorted_jumps([np.concatenate(jumps)[inside] - np.array([0, BORDER, BORDER], np.int16)])
    if case.options.get("algorithm") == "ols_cas22":
        del found["chisq"]
    return found


RUN = {
    "A1": dq_init,
    "A2": dq_init,
    "A3": saturation,
    "A4": refpix,
    "A5": refpix,
    "A6": refpix,
    "A7": dark_decay,
    "A8": pixel_times,
    "A9": wfi18,
    "A10": wfi18,
    "A11": linearity,
    "A12": ramp_fit,
    "A13": ramp_fit,
    "A14": ramp_fit,
    "A17": ramp_fit,
    "A18": ramp_fit,
}
