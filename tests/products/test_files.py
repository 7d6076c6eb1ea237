"""Products open whatever their schema, and are written checked, migrated, validated, and whole or not at all."""

import errno
import gc
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import asdf
import numpy as np
import pytest
from astropy.modeling import models
from astropy.time import Time
from roman_datamodels import datamodels

from roman_nexus.errors import (
    FileFormatError,
    InputError,
    OptionError,
    OutputError,
    SchemaVersionError,
    SchemaVersionWarning,
    ShapeError,
)
from roman_nexus.products import files
from roman_nexus.products.arrays import ARRAYS, check_arrays
from roman_nexus.products.blocks import open_blocks
from roman_nexus.products.migrate import migrate_meta
from roman_nexus.products.tolerant import TolerantModel

TAGS = "asdf://stsci.edu/datamodels/roman/tags"
LENGTHS = {"J": 5, "C": 3, "F": 2, "Y": 48, "X": 56, "y": 40, "x": 48, "B": 4, "A": 8}
MODELS = {
    "science_raw": datamodels.ScienceRawModel,
    "ramp": datamodels.RampModel,
    "image": datamodels.ImageModel,
    "wcs": datamodels.WfiWcsModel,
}
PRODUCTS = {"science_raw": "wfi_science_raw", "ramp": "ramp", "image": "wfi_image", "wcs": "wfi_wcs"}
KINDS = list(PRODUCTS)
NEWEST_IS_2_2 = datamodels.ImageModel.create_minimal().tag.endswith("2.2.0")


def arrays_for(kind: str, *, optional: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    made = {}
    for name, rule in ARRAYS[kind].items():
        if rule.required or optional:
            shape = tuple(LENGTHS[letter] for letter in rule.axes)
            made[name] = rng.integers(0, 200, shape).astype(rule.dtype)
    return made


def fake_file(kind: str, version: str, path: Path) -> Path:
    """Let the mission's library write a file of its own under some version of the schemas."""
    tag = f"{TAGS}/{PRODUCTS[kind]}-{version}"
    model = MODELS[kind].create_fake_data(tag=tag, shape=(24, 24) if kind == "image" else (2, 24, 24))
    model.save(path)
    return path


@pytest.fixture(scope="module")
def raw_meta(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return files.read_meta(fake_file("science_raw", "2.1.0", tmp_path_factory.mktemp("raw") / "raw_uncal.asdf"))


def history(path: Path) -> list[str]:
    with asdf.open(path, ignore_missing_extensions=True, ignore_unrecognized_tag=True) as file:
        return [entry["description"] for entry in file.get_history_entries()]


# ---------------------------------------------------------------------------------------------------------- writing
@pytest.mark.parametrize("schema", ["newest", "2.1.0"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_valid_and_reads_back_equal(
    kind: str, schema: str, raw_meta: dict[str, Any], tmp_path: Path
) -> None:
    arrays = arrays_for(kind, optional=True)
    path = files.write_product(kind, arrays, raw_meta, tmp_path / "r1_out.asdf", schema=schema)
    assert [item.name for item in tmp_path.iterdir()] == ["r1_out.asdf"]
    newest = MODELS[kind].create_minimal().tag
    expected = newest if schema == "newest" else f"{TAGS}/{PRODUCTS[kind]}-2.1.0"
    assert files.schema_version(path).tag == expected
    with files.open(path, mode="strict") as model:
        assert type(model) is MODELS[kind]
        assert model.meta.filename == "r1_out.asdf"
        assert abs((model.meta.file_date - Time.now()).to_value("s")) < 600
        for name, array in arrays.items():
            assert model[name].dtype == array.dtype
            np.testing.assert_array_equal(model[name], array)
    with open_blocks(path) as blocks:
        for name, array in arrays.items():
            np.testing.assert_array_equal(blocks.array(f"roman.{name}")[...], array)


def test_the_newest_schema_gets_what_it_requires_and_the_history_says_so(
    raw_meta: dict[str, Any], tmp_path: Path
) -> None:
    if not NEWEST_IS_2_2:
        pytest.skip("the installed roman_datamodels has no schema 2.2.0")
    before = repr(raw_meta)
    arrays = arrays_for("image")
    path = files.write_product("image", arrays, raw_meta, tmp_path / "x_cal.asdf")
    assert repr(raw_meta) == before
    with files.open(path, mode="strict") as model:
        assert model.dq2.shape == model.dq.shape
        assert not model.dq2.any()
        assert model.meta.ref_file.bam == "N/A"
        assert model.meta.visit.wfi_acm_z_defocus_size is None
        assert model.meta.wcs is None
    entries = history(path)
    assert entries[0] == "written under wfi_image-2.2.0"
    for part in ("dq2 filled with zeros", "meta.ref_file.bam set to 'N/A'", "meta.visit.wfi_acm_z_defocus_size"):
        assert sum(part in entry for entry in entries) == 1
    older = files.write_product("image", arrays, raw_meta, tmp_path / "y_cal.asdf", schema="2.1.0")
    assert not any("dq2" in entry or "bam" in entry for entry in history(older))
    assert "dq2" not in files.peek(older)
    assert "bam" not in files.peek(older)["meta"]["ref_file"]


@pytest.mark.parametrize(
    ("kind", "version"),
    [("science_raw", "1.3.0"), ("ramp", "1.1.0"), ("ramp", "2.0.0"), ("image", "1.5.0"), ("wcs", "1.1.0")],
)
def test_metadata_of_old_schemas_are_brought_up_to_date(kind: str, version: str, tmp_path: Path) -> None:
    old = fake_file(kind, version, tmp_path / "old.asdf")
    meta = files.read_meta(old)
    assert type(meta["file_date"]) is Time
    assert type(meta["telescope"]) is str
    path = files.write_product(kind, arrays_for(kind), meta, tmp_path / "new.asdf")
    files.open(path, mode="strict").close()
    notes = history(path)
    if NEWEST_IS_2_2:
        assert any("wfi_acm_z_defocus_size" in note for note in notes)
    assert any("hga_move" in note for note in notes) == (version < "2")


def test_the_oldest_flag_for_data_problems_becomes_text(raw_meta: dict[str, Any]) -> None:
    for flag, text in [(True, "not specified"), (False, None)]:
        meta = {"exposure": {"data_problem": flag, "ma_table_number": 4}}
        notes = migrate_meta("science_raw", meta, (2, 2, 0))
        assert meta["exposure"]["data_problem"] == text
        assert meta["exposure"]["ma_table_id"] == "SCI0004"
        assert any("data_problem" in note for note in notes)
    assert raw_meta["exposure"]["data_problem"] is None or isinstance(raw_meta["exposure"]["data_problem"], str)


def test_as_input_keeps_the_schemas_of_the_input(tmp_path: Path) -> None:
    for version in ("2.0.0", "2.1.0"):
        raw = fake_file("science_raw", version, tmp_path / "raw.asdf")
        tag = files.schema_version(raw).tag
        path = files.write_product(
            "ramp", arrays_for("ramp"), files.read_meta(raw), tmp_path / "x.asdf", schema="as-input", input_tag=tag
        )
        assert str(files.schema_version(path)) == f"ramp-{version}"
        files.open(path, mode="strict").close()


@pytest.mark.parametrize(
    ("schema", "input_tag", "words"),
    [
        ("as-input", None, "needs input_tag"),
        ("as-input", f"{TAGS}/wfi_science_raw-9.9.9", "not installed; choose"),
        ("as-input", f"{TAGS}/wfi_science_raw-1.3.0", "those written here"),
        ("1.4.0", None, "those written here are 2.0.0, 2.1.0"),
        ("newer", None, "'newest', 'as-input' or one of 2.0.0"),
    ],
)
def test_schemas_that_cannot_be_written(
    schema: str, input_tag: str | None, words: str, raw_meta: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(SchemaVersionError, match=words):
        files.write_product(
            "ramp", arrays_for("ramp"), raw_meta, tmp_path / "x.asdf", schema=schema, input_tag=input_tag
        )


def test_extra_keys_ride_along_and_old_ones_are_kept(raw_meta: dict[str, Any], tmp_path: Path) -> None:
    jumps = np.array([[1, 2, 3]], dtype=np.int16)
    extra = {"meta.nexus": {"steps": ["dq_init"]}, "meta.exposure.note": 2.5, "jump_indices": jumps}
    meta = {**raw_meta, "odd": {"kept": [1, {"a": None}]}}
    path = files.write_product("image", arrays_for("image"), meta, tmp_path / "x_cal.asdf", extra=extra)
    tree = files.peek(path)
    assert tree["meta"]["nexus"] == {"steps": ["dq_init"]}
    assert tree["meta"]["exposure"]["note"] == 2.5
    assert tree["meta"]["odd"] == {"kept": [1, {"a": None}]}
    with files.open(path, mode="strict") as model:
        np.testing.assert_array_equal(model.jump_indices, jumps)
    with pytest.raises(InputError, match="'telescope' is not a group"):
        files.write_product("image", arrays_for("image"), meta, path, extra={"meta.telescope.x": 1})


def test_times_given_as_text_become_times(raw_meta: dict[str, Any], tmp_path: Path) -> None:
    plain = files.peek(fake_file("science_raw", "2.1.0", tmp_path / "raw.asdf"))["meta"]
    assert isinstance(plain["exposure"]["start_time"], str)
    path = files.write_product("science_raw", arrays_for("science_raw"), plain, tmp_path / "x.asdf")
    with files.open(path, mode="strict") as model:
        assert model.meta.exposure.start_time == raw_meta["exposure"]["start_time"]
    plain["exposure"]["start_time"] = "2027-99-01T00:00:00"
    with pytest.raises(InputError, match=r"meta\.exposure\.start_time"):
        files.write_product("science_raw", arrays_for("science_raw"), plain, path)


@pytest.mark.parametrize("compression", ["lz4", None])
def test_compression_is_as_asked_and_views_do_not_drag_their_base(
    compression: str | None, raw_meta: dict[str, Any], tmp_path: Path
) -> None:
    arrays = arrays_for("ramp")
    whole = np.zeros((2, 480, 56), np.float32)
    arrays["data"] = whole[:, 100:148]
    arrays["border_ref_pix_left"] = np.asfortranarray(arrays["border_ref_pix_left"])
    path = files.write_product("ramp", arrays, raw_meta, tmp_path / "x.asdf", compression=compression)
    assert path.stat().st_size < whole.nbytes
    with open_blocks(path) as blocks:
        stored = {array.compression for array in blocks.arrays().values() if hasattr(array, "compression")}
        assert stored == {compression or ""}
        np.testing.assert_array_equal(blocks.array("roman.border_ref_pix_left")[...], arrays["border_ref_pix_left"])


@pytest.mark.parametrize("count", [0, 2, 200])
def test_any_number_of_jumps_can_be_written(count: int, raw_meta: dict[str, Any], tmp_path: Path) -> None:
    jumps = np.arange(3 * count, dtype=np.int16).reshape(count, 3)
    arrays = {**arrays_for("image"), "jump_indices": jumps}
    path = files.write_product("image", arrays, raw_meta, tmp_path / "x_cal.asdf")
    with files.open(path, mode="strict") as model, open_blocks(path) as blocks:
        for read in (model.jump_indices, blocks.array("roman.jump_indices")[...]):
            assert read.dtype == np.int16
            np.testing.assert_array_equal(read, jumps)


def test_lazy_arrays_of_another_file_can_be_written(raw_meta: dict[str, Any], tmp_path: Path) -> None:
    arrays = arrays_for("science_raw")
    first = files.write_product("science_raw", arrays, raw_meta, tmp_path / "a.asdf")
    with open_blocks(first) as blocks:
        lazy = {name: blocks.array(f"roman.{name}") for name in arrays}
        second = files.write_product("science_raw", lazy, raw_meta, tmp_path / "b.asdf")
    with open_blocks(second) as blocks:
        np.testing.assert_array_equal(blocks.array("roman.data")[...], arrays["data"])


def test_writing_raw_does_not_copy_the_arrays(raw_meta: dict[str, Any], tmp_path: Path) -> None:
    arrays = arrays_for("science_raw")
    files.write_product("science_raw", arrays, raw_meta, tmp_path / "warm.asdf")
    arrays["data"] = np.zeros((2, 2000, 1000), np.uint16)
    arrays["amp33"] = np.zeros((2, 2000, 8), np.uint16)
    tracemalloc.start()
    try:
        files.write_product("science_raw", arrays, raw_meta, tmp_path / "x.asdf", compression=None)
        assert tracemalloc.get_traced_memory()[1] < arrays["data"].nbytes
    finally:
        tracemalloc.stop()


# -------------------------------------------------------------------------------------------------- refused writing
def test_invalid_metadata_are_refused_with_their_place(raw_meta: dict[str, Any], tmp_path: Path) -> None:
    for change, words in [
        ({"telescope": "HUBBLE"}, "telescope"),
        ({"exposure": {**raw_meta["exposure"], "nresultants": "nine"}}, "nresultants"),
        ({"pointing": {}}, "pointing"),
        ({"wcs": 5}, "wcs"),
    ]:
        with pytest.raises(InputError, match=words):
            files.write_product("image", arrays_for("image"), {**raw_meta, **change}, tmp_path / "x.asdf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"err": None}, "needs also err"),
        ({"extra": np.zeros(3)}, "has no array extra"),
        ({"err": np.zeros((40, 48), np.float32)}, "err is float32; the schema wants float16"),
        ({"dq": np.zeros((40, 47), np.uint32)}, "x is 48"),
        ({"data": np.zeros((2, 40, 48), np.float32)}, "expected 2 axes"),
        ({"amp33": np.zeros((3, 48, 8), np.uint16)}, "which does not fit"),
        ({"amp33": np.zeros((0, 48, 8), np.uint16)}, "shape"),
    ],
)
def test_arrays_that_do_not_fit(change: dict, words: str, raw_meta: dict[str, Any], tmp_path: Path) -> None:
    arrays = {name: array for name, array in {**arrays_for("image"), **change}.items() if array is not None}
    with pytest.raises(ShapeError, match=words):
        files.write_product("image", arrays, raw_meta, tmp_path / "x.asdf")
    assert list(tmp_path.iterdir()) == []


def test_an_image_must_be_its_frame_without_the_border() -> None:
    arrays = arrays_for("image")
    wrong = {name: array[:-2] if ARRAYS["image"][name].axes == "yx" else array for name, array in arrays.items()}
    with pytest.raises(ShapeError, match="the frame must have 46"):
        check_arrays("image", wrong)
    check_arrays("image", {name: array.astype(array.dtype.newbyteorder(">")) for name, array in arrays.items()})


def test_places_that_cannot_be_written(raw_meta: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "missing" / "x.asdf", tmp_path / "file" / "x.asdf"):
        with pytest.raises(OutputError, match="cannot write"):
            files.write_product("science_raw", arrays_for("science_raw"), raw_meta, path)
    with pytest.raises(OutputError, match=r"ends in \.asdf"):
        files.write_product("science_raw", arrays_for("science_raw"), raw_meta, tmp_path / "x.fits")
    with pytest.raises(InputError, match="science_raw, ramp, image, wcs"):
        files.write_product("mosaic", {}, raw_meta, tmp_path / "x.asdf")  # type: ignore[arg-type]
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_file_alone(
    raw_meta: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write_product("science_raw", arrays_for("science_raw"), raw_meta, tmp_path / "x.asdf")
    before = path.read_bytes()

    def fill(_self: Any, file: Any, **_options: Any) -> None:
        file.write(b"#ASDF 1.0.0\n half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(asdf.AsdfFile, "write_to", fill)
    with pytest.raises(OutputError, match="No space left on device"):
        files.write_product("science_raw", arrays_for("science_raw"), raw_meta, path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["x.asdf"]


# ---------------------------------------------------------------------------------------------------------- reading
@pytest.mark.parametrize(
    ("kind", "version"), [("science_raw", "1.3.0"), ("ramp", "1.8.0"), ("image", "1.6.0"), ("image", "2.1.0")]
)
def test_files_of_all_versions_open(kind: str, version: str, tmp_path: Path) -> None:
    path = fake_file(kind, version, tmp_path / "x.asdf")
    assert files.schema_version(path) == (PRODUCTS[kind], version, f"{TAGS}/{PRODUCTS[kind]}-{version}")
    for mode in ("auto", "strict"):
        with files.open(path, mode=mode) as model:
            assert type(model) is MODELS[kind]
            assert model.meta.instrument.name == "WFI"
            assert model.data.shape[-2:] == (24, 24)
    with files.open(path, mode="tolerant") as model:
        assert type(model) is TolerantModel
        assert model.meta.instrument.name == "WFI"
        assert model.data.shape[-2:] == (24, 24)


@pytest.fixture
def future_file(raw_meta: dict[str, Any], tmp_path: Path) -> Path:
    path = files.write_product("image", arrays_for("image"), {**raw_meta, "novelty": {"a": 1}}, tmp_path / "x_cal.asdf")
    version = files.schema_version(path)
    old, new = str(version).encode(), f"{version.product}-9.9.9".encode()
    path.write_bytes(path.read_bytes().replace(old, new))
    return path


def test_a_newer_schema_opens_tolerantly_with_one_warning(future_file: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = files.open(future_file)
    assert [item.category for item in caught] == [SchemaVersionWarning]
    assert "wfi_image-9.9.9" in str(caught[0].message)
    assert caught[0].filename == __file__
    with model:
        assert model.tag.endswith("wfi_image-9.9.9")
        assert model.meta.novelty.a == 1
        assert model["meta"]["exposure"]["type"] == model.meta.exposure.type
        assert isinstance(model.meta.exposure.start_time, Time)
        np.testing.assert_array_equal(model.err, arrays_for("image")["err"])
        assert "data" in model
        with pytest.raises(AttributeError, match="no 'nothing' here"):
            model.meta.nothing  # noqa: B018
        with pytest.raises(SchemaVersionError, match="update roman_datamodels"):
            model.validate()
        copy = model.save(tmp_path / "copy.asdf")
    assert str(files.schema_version(copy)) == "wfi_image-9.9.9"
    assert files.peek(copy)["meta"]["novelty"] == {"a": 1}
    with open_blocks(copy) as blocks:
        np.testing.assert_array_equal(blocks.array("roman.err")[...], arrays_for("image")["err"])
    assert files.read_meta(copy)["novelty"] == {"a": 1}


def test_strict_refuses_newer_schemas_and_invalid_files(future_file: Path, tmp_path: Path) -> None:
    with pytest.raises(SchemaVersionError, match=r"wfi_image-9\.9\.9.*open it in mode 'auto'"):
        files.open(future_file, mode="strict")
    invalid = fake_file("science_raw", "2.1.0", tmp_path / "bad.asdf")
    content = invalid.read_bytes()
    invalid.write_bytes(content.replace(b"telescope: ROMAN", b"telescope: HUBBL"))
    with pytest.raises(FileFormatError, match=r"bad\.asdf is not valid under its own schema: .*telescope"):
        files.open(invalid, mode="strict")
    files.open(invalid).close()
    with pytest.raises(OptionError, match="'auto', 'strict' or 'tolerant'"):
        files.open(invalid, mode="lax")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["auto", "tolerant"])
def test_arrays_outlive_their_model(mode: str, raw_meta: dict[str, Any], tmp_path: Path) -> None:
    arrays = arrays_for("image")
    path = files.write_product("image", arrays, raw_meta, tmp_path / "x_cal.asdf")
    err = files.open(path, mode=mode).err  # type: ignore[arg-type]
    gc.collect()
    np.testing.assert_array_equal(err, arrays["err"])


def test_another_file_name_does_not_warn_and_is_not_hidden(raw_meta: dict[str, Any], tmp_path: Path) -> None:
    path = files.write_product("science_raw", arrays_for("science_raw"), raw_meta, tmp_path / "x.asdf")
    moved = path.rename(tmp_path / "with space # and %20.asdf")
    with files.open(moved) as model:
        assert model.meta.filename == "x.asdf"
        assert model.data.shape == (2, 48, 56)


def test_read_meta_keeps_real_objects_after_the_file_is_closed(raw_meta: dict[str, Any], tmp_path: Path) -> None:
    transform = models.Polynomial2D(3, c0_0=1.0, c1_0=2.0, c0_1=3.0)
    extra = {"meta.transform": transform, "meta.table": np.arange(500.0)}
    path = files.write_product("image", arrays_for("image"), raw_meta, tmp_path / "x_cal.asdf", extra=extra)
    meta = files.read_meta(path)
    gc.collect()
    assert meta["transform"](1, 1) == 6.0
    assert meta["table"].sum() == np.arange(500.0).sum()
    assert type(meta) is type(meta["exposure"]) is dict
    assert type(meta["exposure"]["read_pattern"]) is list
    assert isinstance(meta["exposure"]["start_time"], Time)


def test_files_that_are_no_products(tmp_path: Path) -> None:
    other = tmp_path / "other.asdf"
    asdf.AsdfFile({"mine": 1}).write_to(other)
    text = tmp_path / "text.asdf"
    text.write_text("hello")
    for reader in (files.open, files.read_meta, files.schema_version, files.peek):
        with pytest.raises(FileFormatError, match="no 'roman' tree"):
            reader(other)
        with pytest.raises(FileFormatError, match="is not an ASDF file"):
            reader(text)
        with pytest.raises(FileFormatError, match="No such file"):
            reader(tmp_path / "missing.asdf")
    asdf.AsdfFile({"roman": {"data": 1}}).write_to(other)
    with pytest.raises(FileFormatError, match="without 'meta'"):
        files.read_meta(other)
    with pytest.raises(SchemaVersionError, match="tag of its 'roman' tree is None"):
        files.schema_version(other)
    with pytest.warns(SchemaVersionWarning, match="no schema"):
        files.open(other).close()


def test_truncated_files_are_refused_wherever_they_end(raw_meta: dict[str, Any], tmp_path: Path) -> None:
    path = files.write_product("science_raw", arrays_for("science_raw"), raw_meta, tmp_path / "x.asdf")
    content = path.read_bytes()
    first, index = content.index(b"\xd3BLK"), content.rindex(b"#ASDF BLOCK INDEX")
    for end in (100, first - 5, first + 10, first + 100, index - 1):
        path.write_bytes(content[:end])
        for reader in (files.open, files.read_meta):
            with pytest.raises(FileFormatError, match=r"x\.asdf"):
                reader(path)
