"""The mission's ramp steps and ramp fits on one synthetic case each."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case
from theirs import Node, ramp_model, reference

BORDERS = [f"{kind}_{side}" for kind in ("border_ref_pix", "dq_border_ref_pix")
           for side in ("left", "right", "top", "bottom")]  # fmt: skip


@contextmanager
def replaced(module: Any, **values: Any) -> Any:
    """Replace names of a module for a while."""
    before = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def dq_init(case: Case, folder: Path) -> dict[str, Any]:
    from roman_datamodels import datamodels
    from romancal.dq_init.dq_initialization import do_dqinit

    nresultants, ny, nx = case.ramp["data"].shape
    model = datamodels.ScienceRawModel.create_fake_data(shape=(nresultants, ny, nx))
    for name, array in case.ramp.items():
        model[name] = array.copy()
    window = case.exposure["guide_window"]
    for name, value in zip(("xstart", "xstop", "ystart", "ystop"), window, strict=True):
        model.meta.guide_star[f"window_{name}"] = value
    model.meta.instrument["data_encoding_offset"] = case.exposure.get("data_encoding_offset", 0)
    model.meta.exposure.read_pattern = case.pattern
    ramp = do_dqinit(model, reference(case, "mask"), **case.options)
    found = {name: np.asarray(ramp[name]) for name in ("data", "groupdq", "pixeldq", "amp33", *BORDERS)}
    return {**found, "about": {"status": str(ramp.meta.cal_step.dq_init)}}


def saturation(case: Case, folder: Path) -> dict[str, Any]:
    from romancal.saturation.saturation import flag_saturation

    model = ramp_model(case)
    flag_saturation(model, reference(case, "saturation"), **case.options)
    return {"groupdq": model.groupdq, "pixeldq": model.pixeldq}


def refpix(case: Case, folder: Path) -> dict[str, Any]:
    from romancal.refpix.refpix import run_steps

    model = ramp_model(case)
    run_steps(model, reference(case, "refpix"))
    names = ("data", "amp33", "border_ref_pix_left", "border_ref_pix_right")
    return {name: np.ascontiguousarray(model[name]) for name in names}


def dark_decay(case: Case, folder: Path) -> dict[str, Any]:
    from romancal.dark_decay.dark_decay import subtract_dark_decay

    data = case.ramp["data"].copy()
    decay = case.references["darkdecaysignal"]
    sca = int(case.exposure["detector"][3:])
    subtract_dark_decay(
        data, decay["amplitude"], decay["time_constant"], case.exposure["frame_time"], case.pattern, sca
    )
    return {"data": data}


def pixel_times(case: Case, folder: Path) -> dict[str, Any]:
    from romancal.lib.basic_utils import frame_read_times

    times = frame_read_times(case.exposure["frame_time"], int(case.exposure["detector"][3:]))
    return {"some rows": times[::16].copy(), "some columns": times[:, ::16].copy()}


def wfi18(case: Case, folder: Path) -> dict[str, Any]:
    from romancal.wfi18_transient import wfi18_transient as module

    fits: list[Any] = []
    fit = module.optimize.curve_fit

    def remember(*arguments: Any, **options: Any) -> Any:
        fits.append(fit(*arguments, **options))
        return fits[-1]

    model = ramp_model(case)
    before = model.data[1:].copy()
    with replaced(module.optimize, curve_fit=remember):
        module.correct_anomaly(model, **case.options)
    untouched = bool(np.array_equal(before, model.data[1:], equal_nan=True))
    found = {"first resultant": model.data[0].copy(), "groupdq": model.groupdq}
    if fits:
        found["parameters"] = np.asarray(fits[0][0])
    return {**found, "about": {"others untouched": untouched}}


def linearity(case: Case, folder: Path) -> dict[str, Any]:
    from romancal.linearity import linearity_step as module

    model = ramp_model(case)
    given = case.references
    integral = given.get("integralnonlinearity")
    table = Node()
    if integral:
        for number, correction in enumerate(integral["corrections"], start=1):
            table[f"science_channel_{number:02d}"] = Node(correction=correction)
    files = Node(
        LinearityRefModel=lambda *name, **how: reference(case, "linearity"),
        InverselinearityRefModel=lambda *name, **how: reference(case, "inverselinearity"),
        open=lambda name: Node(value=integral["value"], inl_table=table),
    )
    step = module.LinearityStep()
    step.get_reference_file = lambda model, reftype: reftype if reftype in given else "N/A"
    with replaced(module, rdd=files, open_dataset=lambda dataset, **how: dataset):
        step.process(model)
    return {"data": np.ascontiguousarray(model.data), "groupdq": model.groupdq, "pixeldq": model.pixeldq}


def ramp_fit(case: Case, folder: Path) -> dict[str, Any]:
    from romancal.ramp_fitting import ramp_fit_step as module

    seen: dict[str, Any] = {}

    def keep(model: Any, info: dict[str, Any], include_var_rnoise: bool = False) -> Node:
        seen.update(info)
        seen["dumo"] = (module.slopes_uniform_weights(model) - info["slope"]).astype(np.float16)
        return Node(meta=Node(cal_step=Node()))

    model = ramp_model(case)
    options = dict(case.options)
    options.pop("include_var_rnoise", None)
    detector = reference(case, "readnoise"), reference(case, "gain")
    with replaced(module, _create_image_model=keep):
        if options.pop("algorithm", "likely") == "ols_cas22":
            names = {"use_ramp_jump_detection": "use_jump"}
            image = module.ols_cas22(model, *detector, **{names.get(key, key): value for key, value in options.items()})
        else:
            image = module.likely(model, *detector, jump_kw=options)
    renamed = {"slope": "rate", "chisq": "chisq"}
    found = {renamed.get(name, name): np.asarray(array) for name, array in seen.items() if array is not None}
    if "jump_indices" in image:
        found["jump_indices"] = image["jump_indices"]
        found["groupdq"] = model.groupdq[0]
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
