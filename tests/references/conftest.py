"""Small reference files of every type of the exposure pipeline, as roman_datamodels writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roman_nexus.references.types import REFERENCE_TYPES
from roman_nexus.steps.step import ExposureInfo

SHAPE = (256, 256)
SCIENCE = (248, 248)
MODES = 256 * 140 // 2 + 1
PIPELINE_TYPES = (
    "mask",
    "saturation",
    "refpix",
    "darkdecaysignal",
    "linearity",
    "inverselinearity",
    "integralnonlinearity",
    "gain",
    "readnoise",
    "dark",
    "distortion",
    "photom",
    "flat",
)
Writer = Callable[..., Path]


def _content(reftype: str) -> dict[str, Any]:
    """Arrays and tables that make sense for a 256 x 256 detector of two channels."""
    dq = np.zeros(SHAPE, np.uint32)
    ones = np.ones(SHAPE, np.float32)
    coeffs = np.stack([0 * ones, ones, 1e-6 * ones])
    coefficients = np.full((2, MODES), 0.5 + 0.1j)
    if reftype == "distortion":
        from astropy.modeling.models import Shift

        return {"coordinate_distortion_transform": Shift(3.0) & Shift(-2.0)}
    correction = np.sin(np.arange(64.0))
    channels = {f"science_channel_{i:02d}": {"instrument_channel": i - 1, "correction": correction * i} for i in (1, 2)}
    element = {"collecting_area": 3.76, "effective_area": ones[0], "wavelength": ones[0]}
    return {
        "mask": {"dq": dq + 1},
        "saturation": {"data": 5e4 * ones, "dq": dq},
        "refpix": dict.fromkeys(("gamma", "zeta", "alpha"), coefficients),
        "darkdecaysignal": {"decay_table": {"WFI01": {"amplitude": 0.6, "time_constant": 16.0}}},
        "linearity": {"coeffs": coeffs, "dq": dq},
        "inverselinearity": {"coeffs": coeffs, "dq": dq},
        "integralnonlinearity": {"value": np.arange(64, dtype=np.uint16), "inl_table": channels},
        "gain": {"data": 1.8 * ones},
        "readnoise": {"data": 6.0 * ones},
        "dark": {"dark_slope": 0.01 * ones, "dark_slope_error": 0 * ones, "dq": dq},
        "photom": {"phot_table": {"F158": element | {"photmjsr": 0.6, "uncertainty": 0.01, "pixelareasr": 2.8e-13}}},
        "flat": {name: np.ones(SCIENCE, dtype) for name, dtype in (("data", "f4"), ("err", "f4"), ("dq", "u4"))},
    }[reftype]


def write_reference(
    folder: Path,
    reftype: str,
    *,
    name: str = "",
    detector: str = "WFI01",
    element: str = "F158",
    types: str = "WFI_IMAGE|",
    useafter: str = "2020-01-01T00:00:00",
    meta: dict[str, Any] | None = None,
    raw: bool = False,
    **content: Any,
) -> Path:
    """Write a valid reference file; `content` replaces entries, `raw` skips the schema so that they may be wrong."""
    import asdf
    import roman_datamodels.datamodels as rdm
    from astropy.time import Time

    model = getattr(rdm, REFERENCE_TYPES[reftype].model).create_fake_data()
    for key, value in (_content(reftype) | content).items():
        model[key] = value
    model.meta.instrument.detector = detector
    model.meta.useafter = Time(useafter)
    if "optical_element" in model.meta.instrument:
        model.meta.instrument.optical_element = element
    if "exposure" in model.meta:
        model.meta.exposure.p_exptype = types
    model.meta.update(meta or {})
    path = folder / (name or f"{reftype}_{detector}.asdf")
    path.parent.mkdir(parents=True, exist_ok=True)
    if raw:
        plain = dict(model.items()) | {"meta": dict(model.meta.items())}
        plain["meta"]["instrument"] = dict(model.meta.instrument.items())
        if "exposure" in model.meta:
            plain["meta"]["exposure"] = dict(model.meta.exposure.items())
        asdf.AsdfFile({"roman": plain}).write_to(path)
    else:
        model.save(path)
    return path


@pytest.fixture
def write() -> Writer:
    return write_reference


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good reference of each type. Do not write into it."""
    folder = tmp_path_factory.mktemp("library")
    for reftype in PIPELINE_TYPES:
        write_reference(folder, reftype)
    return folder


@pytest.fixture(scope="session")
def exposure() -> ExposureInfo:
    return ExposureInfo(
        detector="WFI01",
        optical_element="F158",
        exposure_type="WFI_IMAGE",
        read_pattern=((1,), (2, 3)),
        frame_time=3.16,
        start_time="2027-04-01T00:00:00.000",
        shape=SHAPE,
        ma_table_number=4,
    )
