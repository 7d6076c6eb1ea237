"""What a reference gives to a step."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from roman_nexus.errors import FileFormatError, ReferenceMismatchError
from roman_nexus.references import Reference, make_reference


@pytest.fixture
def open_reference(library: Path, request: pytest.FixtureRequest):
    def open_one(reftype: str) -> Reference:
        reference = make_reference(reftype, library / f"{reftype}_WFI01.asdf")
        request.addfinalizer(reference.close)
        return reference

    return open_one


def test_arrays_are_read_by_pieces(open_reference) -> None:
    linearity = open_reference("linearity")
    coeffs = linearity.array("coeffs")
    assert (coeffs.shape, coeffs.dtype) == ((3, 256, 256), np.float32)
    piece = coeffs[..., 10:12, 100:104]
    assert piece.shape == (3, 2, 4)
    np.testing.assert_array_equal(piece[:, 0, 0], np.array([0, 1, 1e-6], np.float32))


def test_tables_are_plain_dictionaries_with_whole_arrays(open_reference) -> None:
    inl = open_reference("integralnonlinearity")
    table = inl.value("inl_table")
    assert list(table) == ["science_channel_01", "science_channel_02"]
    assert isinstance(table["science_channel_02"]["correction"], np.ndarray)
    np.testing.assert_array_equal(table["science_channel_02"]["correction"], 2 * np.sin(np.arange(64.0)))
    assert isinstance(inl.value("value"), np.ndarray)
    assert inl.array("inl_table.science_channel_01.correction").shape == (64,)
    assert open_reference("photom").value("phot_table.F158.photmjsr") == 0.6
    assert open_reference("darkdecaysignal").value("decay_table")["WFI01"] == {"amplitude": 0.6, "time_constant": 16.0}


def test_the_distortion_is_a_model_that_outlives_its_file(open_reference) -> None:
    reference = open_reference("distortion")
    transform = reference.value("coordinate_distortion_transform")
    reference.close()
    assert transform(1.0, 1.0) == (4.0, -1.0)
    assert reference.value("coordinate_distortion_transform") is transform


def test_the_distortion_of_a_newer_schema_or_of_an_unknown_kind(library: Path, tmp_path: Path) -> None:
    content = (library / "distortion_WFI01.asdf").read_bytes()
    newer = tmp_path / "newer.asdf"
    newer.write_bytes(content.replace(b"/distortion-2.0.0", b"/distortion-9.0.0"))
    reference = make_reference("distortion", newer)
    assert reference.value("coordinate_distortion_transform")(0.0, 0.0) == (3.0, -2.0)
    assert reference.tag == "distortion"
    reference.close()
    unknown = tmp_path / "unknown.asdf"
    unknown.write_bytes(content.replace(b"!transform/concatenate-1", b"!transform/concaternal-1"))
    reference = make_reference("distortion", unknown)
    with pytest.raises(FileFormatError, match=r"unknown\.asdf: coordinate_distortion_transform is .* not a model"):
        reference.value("coordinate_distortion_transform")
    reference.close()


def test_the_header_is_plain(open_reference) -> None:
    header = open_reference("dark").header
    assert header["reftype"] == "DARK"
    assert header["instrument"]["detector"] == "WFI01"
    assert header["useafter"].startswith("2020-01-01T00:00:00")


def test_the_digest_is_that_of_the_file(open_reference, library: Path) -> None:
    content = (library / "mask_WFI01.asdf").read_bytes()
    assert open_reference("mask").digest == "sha256:" + hashlib.sha256(content).hexdigest()


def test_what_is_not_there_is_named_with_what_is(open_reference) -> None:
    gain = open_reference("gain")
    with pytest.raises(ReferenceMismatchError, match=r"gain_WFI01\.asdf has no array 'dq'; it has data"):
        gain.array("dq")
    with pytest.raises(ReferenceMismatchError, match="has no 'phot_table'"):
        gain.value("phot_table")
    with pytest.raises(ReferenceMismatchError, match="has no array 'inl_table'"):
        open_reference("integralnonlinearity").array("inl_table")
    assert gain.has("data")
    assert not gain.has("dq")


def test_many_threads_read_at_once(open_reference) -> None:
    linearity = open_reference("linearity")

    def read(row: int) -> float:
        return float(linearity.array("coeffs")[1, row].sum())

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(256))) == {256.0}


def test_it_can_be_closed_and_used_again(open_reference) -> None:
    gain = open_reference("gain")
    assert gain.array("data")[0, 0] == np.float32(1.8)
    gain.close()
    assert gain.array("data")[0, 0] == np.float32(1.8)


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "flat.asdf"
    path.write_bytes(b"#ASDF 1.0.0\nnot really")
    broken = make_reference("flat", path)
    with pytest.raises(FileFormatError, match=r"flat\.asdf"):
        broken.array("data")


def test_a_reference_cannot_be_changed() -> None:
    reference = make_reference("gain", np.ones((4, 4)))
    with pytest.raises(FrozenInstanceError):
        reference.name = "other"  # type: ignore[misc]
