"""What the mission's pipeline does with small frames: routing, saturated exposures, and whether it takes our products.

    python theirs_small.py make FOLDER        references and Level 1 files of 4 x 128 x 256
    python theirs_small.py route FOLDER       cal_step, or the error, of every variant
    python theirs_small.py accept ANSWER FILE...   open, validate, flux and resample Level 2 files

Two steps of romancal 1.1.0 take full frames only: refpix and dark_decay. For the routing, which is about the status of
the steps and not about numbers, the functions that do their arithmetic are replaced by ones that do nothing.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from theirs import load_runner

SHAPE = (4, 128, 256)
PATTERN = [[1], [2, 3], [4, 5], [6]]
TYPES = ("WFI_IMAGE", "WFI_SPECTRAL", "WFI_IM_DARK", "WFI_SP_DARK", "WFI_FLAT", "WFI_LOLO", "WFI_WFSC")
SKIPPABLE = ("saturation", "refpix", "dark_decay", "wfi18_transient", "linearity", "dark_current", "assign_wcs",
             "photom", "flat_field")  # fmt: skip


# ---------------------------------------------------------------------------------------------- inputs
def make_level1(path: Path, *, exposure_type: str = "WFI_IMAGE", detector: str = "WFI01", level: int = 0) -> None:
    """Write a small Level 1 file; `level` in DN is added to all counts."""
    from astropy.time import Time
    from roman_datamodels.datamodels import ScienceRawModel

    rng = np.random.default_rng([11, int(detector[3:])])
    times = np.array([np.mean(reads) for reads in PATTERN])[:, None, None]
    counts = 6000 + level + times * rng.exponential(60, SHAPE[1:]) + rng.normal(0, 5, SHAPE)
    model = ScienceRawModel.create_fake_data(shape=SHAPE)
    model.data = counts.clip(0, 65535).astype(np.uint16)
    model.amp33 = rng.integers(5990, 6010, (SHAPE[0], SHAPE[1], 128), dtype=np.uint16)
    meta = model.meta
    meta.exposure.type, meta.exposure.read_pattern, meta.exposure.frame_time = exposure_type, PATTERN, 3.16247
    meta.exposure.nresultants, meta.exposure.start_time = SHAPE[0], Time("2027-04-01T00:00:00")
    meta.exposure.ma_table_number = 901
    meta.instrument.detector, meta.instrument.optical_element = detector, "F158"
    for name, value in {"v2_ref": 1312.9, "v3_ref": -1040.8, "ra_ref": 10.0, "dec_ref": 60.0, "roll_ref": 33.0}.items():
        meta.wcsinfo[name] = value
    meta.velocity_aberration.scale_factor = 1.00002
    for name, value in {"xstart": 100, "xstop": 116, "ystart": 40, "ystop": 56}.items():
        meta.guide_star[f"window_{name}"] = value
    meta.filename = path.name
    model.save(path)


def make_references(folder: Path, detector: str) -> None:
    """Write small references of all types, named <type>_<detector>.asdf."""
    from astropy.modeling import models as am
    from roman_datamodels import datamodels as models

    rng = np.random.default_rng([12, int(detector[3:])])
    full, science = SHAPE[1:], (SHAPE[1] - 8, SHAPE[2] - 8)
    channels, bins = full[1] // 128, full[0] * 70 + 1
    smooth = 1 / (1 + (np.arange(bins) / 500.0) ** 2)
    curve = np.zeros((4, *full), np.float32)
    curve[1], curve[2] = 1, -5e-7
    table = {f"science_channel_{i:02d}": {"instrument_channel": i - 1, "correction": np.sin(np.arange(65536.0) / 900)}
             for i in range(1, 33)}  # fmt: skip
    rows = {name: {"photmjsr": 0.7, "uncertainty": 0.007, "pixelareasr": 2.8e-13, "collecting_area": 3.7,
                   "wavelength": np.ones(3, np.float32), "effective_area": np.ones(3, np.float32)}
            for name in ("F158", "F106")}  # fmt: skip
    shift = am.Shift(-127.5) & am.Shift(-63.5) | am.Scale(0.11) & am.Scale(0.11) | am.Shift(1312.9) & am.Shift(-1040.8)
    mask = np.where(rng.random(full) < 0.01, 1, 0).astype(np.uint32)
    made = {
        "mask": models.MaskRefModel.create_fake_data({"dq": mask}),
        "saturation": models.SaturationRefModel.create_fake_data(
            {"data": np.full(full, 55000, np.float32), "dq": np.zeros(full, np.uint32)}),
        "refpix": models.RefpixRefModel.create_fake_data(
            dict.fromkeys(("gamma", "zeta", "alpha"), (0.3 * smooth * np.ones((channels, 1))).astype(np.complex128))),
        "darkdecaysignal": models.DarkdecaysignalRefModel.create_fake_data(
            {"decay_table": {f"WFI{i:02d}": {"amplitude": 1.0, "time_constant": 20.0} for i in range(1, 19)}}),
        "linearity": models.LinearityRefModel.create_fake_data({"coeffs": curve, "dq": np.zeros(full, np.uint32)}),
        "inverselinearity": models.InverselinearityRefModel.create_fake_data(
            {"coeffs": curve * np.float32([1, 1, -1, 1])[:, None, None], "dq": np.zeros(full, np.uint32)}),
        "integralnonlinearity": models.IntegralnonlinearityRefModel.create_fake_data(
            {"value": np.arange(65536, dtype=np.uint16), "inl_table": table}),
        "gain": models.GainRefModel.create_fake_data({"data": np.full(full, 1.8, np.float32)}),
        "readnoise": models.ReadnoiseRefModel.create_fake_data({"data": np.full(full, 6, np.float32)}),
        "dark": models.DarkRefModel.create_fake_data(
            {"dark_slope": np.full(full, 0.01, np.float32), "dark_slope_error": np.full(full, 1e-3, np.float32),
             "dq": np.zeros(full, np.uint32)}),
        "distortion": models.DistortionRefModel.create_fake_data(),
        "photom": models.WfiImgPhotomRefModel.create_fake_data({"phot_table": rows}),
        "flat": models.FlatRefModel.create_fake_data(
            {"data": rng.normal(1, 0.02, science).astype(np.float32), "dq": np.zeros(science, np.uint32),
             "err": np.full(science, 1e-3, np.float32)}),
    }  # fmt: skip
    made["distortion"]["coordinate_distortion_transform"] = shift
    for reftype, model in made.items():
        describe(model, reftype, detector)
        model.save(folder / f"{reftype}_{detector}.asdf")


def describe(model: Any, reftype: str, detector: str) -> None:
    from astropy.time import Time

    meta = model.meta
    meta.reftype, meta.pedigree, meta.author, meta.telescope = reftype.upper(), "DUMMY", "roman_nexus", "ROMAN"
    meta.description, meta.useafter = "Synthetic, small.", Time("2020-01-01T00:00:00")
    meta.instrument = {"name": "WFI", "detector": detector}
    if reftype in ("flat", "dark", "distortion"):
        meta.instrument["optical_element"] = "F158"
    if reftype in ("readnoise", "dark", "refpix"):
        meta.exposure = {"type": "WFI_IMAGE", "p_exptype": "|".join(TYPES) + "|"}


def make(folder: Path) -> None:
    (folder / "references").mkdir(parents=True, exist_ok=True)
    for detector in ("WFI01", "WFI18"):
        make_references(folder / "references", detector)
    for name in TYPES:
        make_level1(folder / f"{name.lower()}_uncal.asdf", exposure_type=name)
    make_level1(folder / "wfi18_uncal.asdf", detector="WFI18")
    make_level1(folder / "saturated_uncal.asdf", level=55000)


# --------------------------------------------------------------------------------------------- routing
def reference_types() -> list[str]:
    return [reftype for types in load_runner().REFERENCES.values() for reftype in types]


def variants() -> dict[str, dict[str, Any]]:
    """Name -> file, detector, steps to skip, references to leave out."""
    found = {name: {"file": name.lower()} for name in TYPES}
    found["WFI18"] = {"file": "wfi18", "detector": "WFI18"}
    found["saturated"] = {"file": "saturated"}
    found.update({f"skip {step}": {"file": "wfi_image", "skip": [step]} for step in SKIPPABLE})
    found.update({f"no {reftype}": {"file": "wfi_image", "without": [reftype]} for reftype in reference_types()})
    return found


def without_arithmetic() -> None:
    """Make refpix and dark_decay do nothing: they take full frames only."""
    from romancal.dark_decay import dark_decay_step
    from romancal.refpix import refpix_step

    dark_decay_step.subtract_dark_decay = lambda *given, **how: None
    refpix_step.refpix.run_steps = lambda model, *given, **how: model


def route(folder: Path) -> None:
    runner = load_runner()
    without_arithmetic()
    runner.tell = lambda **event: None
    answers = {}
    for name, variant in variants().items():
        detector = variant.get("detector", "WFI01")
        references = {reftype: str(folder / "references" / f"{reftype}_{detector}.asdf")
                      for reftype in reference_types() if reftype not in variant.get("without", [])}  # fmt: skip
        request = {"input": str(folder / f"{variant['file']}_uncal.asdf"), "references": references,
                   "skip": variant.get("skip", []), "product": False}  # fmt: skip
        out = folder / "theirs" / name.replace(" ", "_")
        try:
            result = runner.run(request, out)
            answers[name] = {"cal_step": result["meta"]["cal_step"]}
        except Exception as error:  # an answer too
            answers[name] = {"error": f"{type(error).__name__}: {error}"}
    (folder / "route.theirs.json").write_text(json.dumps(answers, indent=1))


# ------------------------------------------------------------------------------------------ acceptance
def accept(path: Path) -> dict[str, str]:
    """Open and validate a Level 2 file, and run flux and resample on it."""
    from roman_datamodels import datamodels
    from romancal.datamodels.library import ModelLibrary
    from romancal.flux import FluxStep
    from romancal.resample import ResampleStep

    answer = {}
    try:
        with datamodels.open(path) as model:
            model.validate()
            answer["validate"] = type(model).__name__
            if not isinstance(model, datamodels.ImageModel) or model.meta.wcs is None:
                return answer
            library = FluxStep.call(ModelLibrary([model]), configure_log=False)
            answer["flux"] = "COMPLETE"
            mosaic = ResampleStep.call(library, resample_on_skycell=False, configure_log=False)
            covered = float(np.isfinite(mosaic.data).mean())
            answer["resample"] = f"{mosaic.data.shape[0]} x {mosaic.data.shape[1]}, {covered:.2f} covered"
    except Exception as error:  # an answer too
        answer["error"] = f"{type(error).__name__}: {str(error)[:300]}"
    return answer


def main(arguments: list[str]) -> int:
    task, folder = arguments[0], Path(arguments[1])
    where = folder if task != "accept" else folder.parent
    where.mkdir(parents=True, exist_ok=True)
    load_runner().go_offline(where / "crds")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    np.seterr(all="ignore")
    if task == "accept":
        folder.write_text(json.dumps({path: accept(Path(path)) for path in arguments[2:]}, indent=1))
    else:
        {"make": make, "route": route}[task](folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
