"""Each way in which a reference may not fit, produced on purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roman_nexus.errors import OptionError, ReferenceMismatchError
from roman_nexus.references import FIELDS, REFERENCE_TYPES, check, make_reference, require
from roman_nexus.references.compatibility import STRUCTURE
from roman_nexus.steps.step import ExposureInfo

SHAPE, SCIENCE = (256, 256), (248, 248)
ONES = np.ones(SHAPE, np.float32)
DQ = np.zeros(SHAPE, np.uint32)
NOT_WRITTEN = ("area", "epsf", "apcorr", "abvegaoffset", "matable", "skycells")  # only the catalog pipeline reads them


def fields(reference: Any, exposure: ExposureInfo, waive: tuple[str, ...] = ()) -> list[str]:
    try:
        return [item.field for item in check(reference, exposure, waive=waive)]
    finally:
        reference.close()


@pytest.mark.parametrize("reftype", [name for name in REFERENCE_TYPES if name not in NOT_WRITTEN])
def test_good_references_fit(library: Path, exposure: ExposureInfo, reftype: str) -> None:
    assert fields(make_reference(reftype, library / f"{reftype}_WFI01.asdf"), exposure) == []


@pytest.mark.parametrize(
    ("reftype", "change", "expected"),
    [
        ("flat", {"detector": "WFI02"}, ["detector"]),
        ("flat", {"optical_element": "F129"}, ["optical_element"]),
        ("dark", {"optical_element": "F129"}, []),  # darks do not depend on it, although their files state one
        ("dark", {"exposure_type": "WFI_FLAT"}, ["exposure_type"]),
        ("gain", {"exposure_type": "WFI_FLAT"}, []),
        ("gain", {"start_time": "2019-12-31T23:59:59"}, ["useafter"]),
        ("gain", {"start_time": "2020-01-01T00:00:00"}, []),
        ("gain", {"start_time": ""}, []),
        ("gain", {"shape": (264, 256)}, ["shape"]),
        ("flat", {"shape": (512, 256)}, ["shape"] * 3),
        ("linearity", {"shape": (512, 256)}, ["shape"] * 2),
        ("refpix", {"shape": (512, 256)}, ["channels"] * 3),
        ("refpix", {"shape": (256, 512)}, ["channels"] * 3),
        ("integralnonlinearity", {"shape": (256, 384)}, ["channels"]),
        ("darkdecaysignal", {"detector": "WFI02"}, ["table"]),
        ("photom", {"optical_element": "GRISM"}, []),
    ],
)
def test_other_exposures(
    library: Path, exposure: ExposureInfo, reftype: str, change: dict[str, Any], expected: list[str]
) -> None:
    assert fields(make_reference(reftype, library / f"{reftype}_WFI01.asdf"), replace(exposure, **change)) == expected


@pytest.mark.parametrize("shape", [SHAPE, SCIENCE])
def test_a_flat_may_have_the_full_or_the_science_frame(exposure: ExposureInfo, shape: tuple[int, int]) -> None:
    assert fields(make_reference("flat", np.ones(shape)), exposure) == []


@pytest.mark.parametrize("n_terms", [1, 4, 11])
def test_a_polynomial_may_have_any_number_of_terms(exposure: ExposureInfo, n_terms: int) -> None:
    assert fields(make_reference("linearity", np.ones((n_terms, *SHAPE))), exposure) == []


NAN = np.full(SHAPE, np.nan)
ONE_GOOD = np.where(np.arange(256) == 255, 1.0, np.nan) * ONES
SPARSE = np.zeros(SHAPE)
SPARSE[250] = 1.5


@pytest.mark.parametrize(
    ("reftype", "given", "expected"),
    [
        ("gain", NAN, ["content"]),
        ("gain", np.zeros(SHAPE), ["content"]),
        ("gain", SPARSE, []),  # not a row that is sampled first
        ("gain", ONE_GOOD, []),
        ("readnoise", np.zeros(SHAPE), ["content"]),
        ("flat", np.zeros(SCIENCE), ["content"]),
        ("flat", np.full(SCIENCE, np.inf), ["content"]),
        ("flat", {"data": np.ones(SCIENCE), "dq": DQ}, ["shape"]),
        ("dark", np.zeros(SHAPE), []),
        ("dark", NAN, ["content"]),
        ("mask", DQ, []),
        ("saturation", np.zeros(SHAPE), ["content"]),
        ("linearity", np.zeros((3, *SHAPE)), ["content"]),
        ("linearity", np.ones(SHAPE), ["shape"]),
        ("gain", np.array(2.0), ["shape"]),
        ("gain", np.ones((0, 0)), ["shape"]),
        ("gain", np.ones((2, *SHAPE)), ["shape"]),
    ],
)
def test_arrays(exposure: ExposureInfo, reftype: str, given: Any, expected: list[str]) -> None:
    assert fields(make_reference(reftype, given), exposure) == expected


COEFFICIENTS = np.ones((2, 17921), complex)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("alpha", np.ones((32, 17921), complex), ["channels", "shape"]),
        ("alpha", np.ones((2, 17920), complex), ["channels", "shape"]),
        ("gamma", COEFFICIENTS * np.nan, ["content"]),
        ("gamma", COEFFICIENTS * 0, []),
    ],
)
def test_reference_pixel_coefficients(exposure: ExposureInfo, name: str, value: Any, expected: list[str]) -> None:
    arrays = dict.fromkeys(("gamma", "zeta", "alpha"), COEFFICIENTS) | {name: value}
    assert fields(make_reference("refpix", arrays), exposure) == expected


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"amplitude": None, "time_constant": 3.0}, "amplitude is null"),
        ({"amplitude": 1.0, "time_constant": 0.0}, "time_constant is 0.0; expected seconds above 0"),
        ({"amplitude": 1.0, "time_constant": -3}, "time_constant is -3"),
        ({"amplitude": 1.0, "time_constant": float("nan")}, "time_constant is nan"),
        ({"amplitude": 1.0}, "time_constant is null"),
        (None, "decay_table has no WFI01"),
    ],
)
def test_dark_decay_entries(exposure: ExposureInfo, entry: Any, complaint: str) -> None:
    table = {"WFI01": entry, "WFI02": {"amplitude": 1.0, "time_constant": 20.0}}
    (found,) = check(make_reference("darkdecaysignal", {"decay_table": table}), exposure)
    assert (found.field, found.waivable) == ("table", False)
    assert complaint in found.text


INL = {"science_channel_01": {"correction": np.ones(8)}, "science_channel_02": {"correction": np.ones(8)}}


@pytest.mark.parametrize(
    ("value", "change", "expected"),
    [
        (np.arange(8), {}, []),
        (np.array([0, 1, 2, 2, 3, 4, 5, 6]), {}, ["table"]),
        (np.arange(8)[::-1], {}, ["table"]),
        (np.arange(9), {}, ["channels"]),
        (np.arange(8), {"science_channel_02": {"correction": None}}, ["channels"]),
        (np.arange(8), {"science_channel_02": None}, ["channels"]),
    ],
)
def test_integral_non_linearity(exposure: ExposureInfo, value: Any, change: Any, expected: list[str]) -> None:
    given = {"value": value.astype(np.uint16), "inl_table": INL | change}
    assert fields(make_reference("integralnonlinearity", given), exposure) == expected


def test_files_of_another_type(library: Path, exposure: ExposureInfo, write: Any, tmp_path: Path) -> None:
    gain = make_reference("readnoise", library / "gain_WFI01.asdf")
    found = check(gain, exposure)
    gain.close()
    assert [item.field for item in found] == ["type"]
    assert "is a GAIN reference, not READNOISE" in found[0].text
    import roman_datamodels.datamodels as rdm

    path = tmp_path / "cal.asdf"
    model = rdm.ImageModel.create_fake_data(shape=SCIENCE)
    model.save(path)
    image = make_reference("flat", path)
    texts = " ".join(item.text for item in check(image, exposure))
    image.close()
    assert "is no reference file (a wfi_image without meta.reftype)" in texts


def test_files_with_the_wrong_data_type_telescope_or_table(exposure: ExposureInfo, write: Any, tmp_path: Path) -> None:
    double = write(tmp_path, "gain", raw=True, name="a.asdf", data=np.ones(SHAPE))
    assert fields(make_reference("gain", double), exposure) == ["dtype"]
    webb = write(tmp_path, "gain", raw=True, name="b.asdf", meta={"telescope": "JWST"})
    assert fields(make_reference("gain", webb), exposure) == ["telescope"]
    table = {"exposure": {"type": "WFI_IMAGE", "p_exptype": "WFI_IMAGE|", "ma_table_number": 3}}
    other = write(tmp_path, "dark", raw=True, name="c.asdf", meta=table)
    assert fields(make_reference("dark", other), exposure) == ["ma_table"]
    assert fields(make_reference("dark", other), replace(exposure, ma_table_number=3)) == []
    lacking = write(tmp_path, "gain", raw=True, name="d.asdf", data=None)
    assert fields(make_reference("gain", lacking), exposure) == ["shape"]


def test_a_sound_array_is_not_read_in_full(library: Path, exposure: ExposureInfo, monkeypatch: Any) -> None:
    from roman_nexus.products.blocks import BlockArray

    read: list[int] = []
    original = BlockArray.__getitem__

    def counted(self: BlockArray, key: Any) -> Any:
        piece = original(self, key)
        read.append(piece.size)
        return piece

    monkeypatch.setattr(BlockArray, "__getitem__", counted)
    assert fields(make_reference("linearity", library / "linearity_WFI01.asdf"), exposure) == []
    assert sum(read) <= 4 * 256


def test_waivers(library: Path, exposure: ExposureInfo) -> None:
    other = replace(exposure, detector="WFI02", optical_element="F129")
    flat = make_reference("flat", library / "flat_WFI01.asdf")
    assert fields(flat, other, ("detector",)) == ["optical_element"]
    assert fields(flat, other, ("detector", "optical_element")) == []
    with pytest.raises(ReferenceMismatchError) as caught:
        require(flat, other, ["detector"])
    message = str(caught.value)
    assert "optical_element: is for optical element F158; the exposure has F129" in message
    assert "waive={'flat': ['optical_element']}" in message
    assert "WFI02" not in message
    assert [item.field for item in require(flat, other, ["detector", "optical_element"])] == [
        "detector",
        "optical_element",
    ]
    flat.close()


@pytest.mark.parametrize("waive", [("detectr",), ("shape",), ("table", "detector"), "detector"])
def test_waivers_that_make_no_sense(exposure: ExposureInfo, waive: Any) -> None:
    with pytest.raises(OptionError, match="waive"):
        check(make_reference("gain", ONES), exposure, waive=waive)


def test_what_cannot_be_waived_says_so(exposure: ExposureInfo) -> None:
    with pytest.raises(ReferenceMismatchError, match="shape cannot be waived: give another reference"):
        require(make_reference("gain", np.ones((3, 3))), exposure)
    assert set(STRUCTURE) < set(FIELDS)


def test_not_applicable_fits_everything(exposure: ExposureInfo) -> None:
    assert check(make_reference("dark", "skip"), exposure) == []
