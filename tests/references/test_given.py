"""References made from what users give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roman_nexus.errors import FileFormatError, OptionError, ReferenceNotFoundError
from roman_nexus.references import Reference, make_reference

SHAPE = (12, 16)


def test_a_bare_array_is_the_main_array_and_the_rest_is_zero() -> None:
    values = np.linspace(0.5, 1.5, 192).reshape(SHAPE)
    flat = make_reference("flat", values)
    assert (flat.name, flat.path, flat.origin, flat.header) == ("memory://flat", None, "override", {})
    np.testing.assert_array_equal(flat.array("data"), values.astype(np.float32))
    for name, dtype in (("data", "f4"), ("err", "f4"), ("dq", "u4")):
        assert flat.array(name).shape == SHAPE
        assert flat.array(name).dtype == dtype
    assert not flat.array("err").any()
    assert not flat.array("dq").any()


def test_a_polynomial_gets_a_quality_image() -> None:
    linearity = make_reference("linearity", np.ones((3, *SHAPE), np.float32))
    assert linearity.array("coeffs").shape == (3, *SHAPE)
    assert linearity.array("dq").shape == SHAPE


def test_a_mapping_of_arrays() -> None:
    dark = make_reference("dark", {"dark_slope": np.ones(SHAPE), "dq": np.full(SHAPE, 5, np.int64)})
    assert dark.array("dq").dtype == np.uint32
    assert int(dark.array("dq")[0, 0]) == 5
    assert not dark.array("dark_slope_error").any()
    table = make_reference("darkdecaysignal", {"decay_table": {"WFI01": {"amplitude": 1, "time_constant": 2.5}}})
    assert table.value("decay_table.WFI01.time_constant") == 2.5


def test_the_given_array_is_not_copied_when_it_fits() -> None:
    values = np.ones(SHAPE, np.float32)
    assert np.shares_memory(make_reference("gain", values).array("data"), values)


@pytest.mark.parametrize("as_tree", [False, True])
def test_a_model_or_a_tree(as_tree: bool) -> None:
    import asdf
    import roman_datamodels.datamodels as rdm

    model = rdm.FlatRefModel.create_fake_data(shape=SHAPE)
    model.data += 2
    model.meta.instrument.detector = "WFI07"
    given = asdf.AsdfFile({"roman": model._instance}) if as_tree else model
    flat = make_reference("flat", given)
    assert float(flat.array("data")[3, 3]) == float(model.data[3, 3])
    assert flat.header["instrument"]["detector"] == "WFI07"
    assert flat.header["useafter"] == "2020-01-01T00:00:00.000"
    assert flat.tag == "flat"


def test_an_astropy_model_stays_a_model() -> None:
    from astropy.modeling.models import Shift

    transform = Shift(2.0) & Shift(3.0)
    distortion = make_reference("distortion", {"coordinate_distortion_transform": transform})
    assert distortion.value("coordinate_distortion_transform")(1.0, 1.0) == (3.0, 4.0)
    other = make_reference("distortion", {"coordinate_distortion_transform": Shift(2.5) & Shift(3.0)})
    again = make_reference("distortion", {"coordinate_distortion_transform": Shift(2.0) & Shift(3.0)})
    assert distortion.digest == again.digest != other.digest


@pytest.mark.parametrize("cut", [100, 2880, 3000])
def test_a_truncated_fits_file_is_refused(tmp_path: Path, cut: int) -> None:
    from astropy.io import fits

    fits.PrimaryHDU(np.ones((40, 40))).writeto(tmp_path / "flat.fits")
    whole = (tmp_path / "flat.fits").read_bytes()
    (tmp_path / "flat.fits").write_bytes(whole[:cut])
    with pytest.raises(FileFormatError, match=r"flat\.fits"):
        make_reference("flat", tmp_path / "flat.fits")


def test_a_compressed_fits_file(tmp_path: Path) -> None:
    from astropy.io import fits

    fits.PrimaryHDU(np.full(SHAPE, 3.0)).writeto(tmp_path / "gain.fits.gz")
    assert float(make_reference("gain", tmp_path / "gain.fits.gz").array("data")[0, 0]) == 3.0


@pytest.mark.parametrize("named", [False, True])
def test_a_fits_image(tmp_path: Path, named: bool) -> None:
    from astropy.io import fits

    values, dq = np.full(SHAPE, 1.25, ">f8"), np.full(SHAPE, 7, np.int32)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(values, name="SCI"), fits.ImageHDU(dq, name="DQ")]
    fits.HDUList(hdus if named else [fits.PrimaryHDU(values)]).writeto(tmp_path / "flat.fits")
    flat = make_reference("flat", tmp_path / "flat.fits")
    assert flat.name == str(tmp_path / "flat.fits")
    assert flat.array("data").dtype == np.dtype(np.float32)
    assert flat.array("data").dtype.isnative
    assert float(flat.array("data")[1, 1]) == 1.25
    assert int(flat.array("dq")[1, 1]) == (7 if named else 0)
    assert flat.digest.startswith("sha256:")


def test_a_path_a_crds_name_and_a_reference(library: Path) -> None:
    path = library / "gain_WFI01.asdf"
    by_path = make_reference("gain", str(path))
    assert (by_path.name, by_path.path) == (str(path), path)
    by_name = make_reference("gain", "crds://gain_WFI01.asdf", locate=lambda name: path)
    assert (by_name.name, by_name.path) == ("crds://gain_WFI01.asdf", path)
    assert make_reference("gain", by_path) is by_path
    with pytest.raises(OptionError, match="is a gain reference"):
        make_reference("flat", by_path)
    by_path.close()


@pytest.mark.parametrize("word", ["skip", "N/A", " n/a "])
def test_skip(word: str) -> None:
    record = make_reference("dark", word)
    assert (record.name, record.applies, record.digest, record.header) == ("N/A", False, "", {})


@pytest.mark.parametrize(
    ("reftype", "given", "complaint"),
    [
        ("flat", {"flat": np.ones(SHAPE)}, "has flat; a flat reference holds data, err, dq"),
        ("flat", {"err": np.ones(SHAPE)}, "has no 'data'"),
        ("flat", np.ones(SHAPE, complex), "complex128, which cannot become float32"),
        ("flat", np.array([["a", "b"]]), "cannot become float32"),
        ("flat", {"data": [[1.0], [1.0, 2.0]]}, "data is no array"),
        ("mask", np.full(SHAPE, -1), "values from -1 to -1"),
        ("mask", np.full(SHAPE, 0.5), "float64, which cannot become uint32"),
        ("flat", np.ma.MaskedArray(np.ones(SHAPE), mask=True), "masked array"),
        ("refpix", np.ones((2, 10)), "needs gamma, zeta, alpha; give a mapping"),
        ("photom", np.ones(3), "needs phot_table"),
        ("photom", {}, "has no phot_table"),
        ("flat", 3.0, "float; expected a path"),
        ("flt", np.ones(SHAPE), "'flt' is not a reference type"),
    ],
)
def test_what_cannot_be_a_reference_is_refused(reftype: str, given: Any, complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        make_reference(reftype, given)


def test_a_quantity_is_refused_because_its_unit_would_be_lost() -> None:
    from astropy import units

    with pytest.raises(OptionError, match="has the unit electron"):
        make_reference("gain", np.ones(SHAPE) * units.electron)


def test_files_that_are_not_there_or_not_references(tmp_path: Path) -> None:
    with pytest.raises(ReferenceNotFoundError, match=r"nowhere\.asdf does not exist"):
        make_reference("flat", tmp_path / "nowhere.asdf")
    with pytest.raises(ReferenceNotFoundError, match="is a folder"):
        make_reference("flat", tmp_path)
    with pytest.raises(ReferenceNotFoundError, match=r"crds://gone\.asdf cannot be found"):
        make_reference("flat", "crds://gone.asdf", locate=lambda name: None)
    text = tmp_path / "flat.txt"
    text.write_text("1 2 3")
    with pytest.raises(FileFormatError, match="neither ASDF nor FITS"):
        make_reference("flat", text)
    text.write_bytes(b"SIMPLE  =                    T" + b"\0" * 100)
    with pytest.raises(FileFormatError, match=r"flat\.txt"):
        make_reference("flat", text)


def test_a_fits_file_without_an_image(tmp_path: Path) -> None:
    from astropy.io import fits

    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "empty.fits")
    with pytest.raises(FileFormatError, match="no FITS image"):
        make_reference("flat", tmp_path / "empty.fits")


def test_digests_follow_the_values_only() -> None:
    first: Reference = make_reference("dark", {"dark_slope": np.ones(SHAPE), "dq": np.zeros(SHAPE, np.uint32)})
    same = make_reference("dark", {"dq": np.zeros(SHAPE, np.uint32), "dark_slope": np.ones(SHAPE, np.float32)})
    other = make_reference("dark", np.zeros(SHAPE))
    assert first.digest == same.digest
    assert first.digest.startswith("sha256:")
    with pytest.raises(OptionError):
        make_reference("dark", {"dark_slope": None})
    assert other.digest != first.digest
