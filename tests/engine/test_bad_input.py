"""Every row of the table of bad input: the class of the error, the item it names, the remedy; nothing was started."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roman_nexus as rn
from roman_nexus.engine.events import Event
from roman_nexus.engine.result import Run
from roman_nexus.errors import (
    DataWarning,
    FileFormatError,
    InputError,
    OptionError,
    OutputError,
    ProductLevelError,
    ReferenceMismatchError,
    ReferenceNotFoundError,
    RomanNexusError,
    RomanNexusWarning,
    ShapeError,
    StepError,
)
from roman_nexus.products.blocks import open_blocks

GONE = object()
Changes = Mapping[str, Any]


def changed(product: Any, changes: Changes) -> Any:
    """Open a product and change it; keys are dotted paths, values are new values, functions of the old, or GONE."""
    model = rn.open(product)
    for dotted, value in changes.items():
        *groups, last = dotted.split(".")
        node = model
        for group in groups:
            node = node[group]
        if value is GONE and node is model:
            delattr(node, last)
        elif value is GONE:
            del node[last]
        else:
            node[last] = value(np.asarray(node[last])) if callable(value) else value
    return model


def plain_reference(path: Path) -> dict[str, Any]:
    """Read a reference file as plain values and ndarrays."""

    def whole(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: whole(value) for key, value in node.items()}
        return np.asarray(node) if hasattr(node, "dtype") else node

    with open_blocks(path) as blocks:
        tree: dict[str, Any] = whole(blocks.tree["roman"])
    return tree


def write_plain(tree: Mapping[str, Any], path: Path) -> Path:
    """Write an ASDF file without a tag, so that no schema objects."""
    import asdf

    asdf.AsdfFile({"roman": dict(tree)}).write_to(path)
    return path


def refused(product: Any, error: type[RomanNexusError], *words: str, **arguments: Any) -> str:
    """Run: the error must be of the class and name the words, and no step may have begun."""
    events: list[Event] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RomanNexusWarning)
        with pytest.raises(error) as caught:
            rn.reprocess(product, progress=events.append, **{"cache": False, **arguments})
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert [event.step for event in events if event.kind == "stage"] == []
    return message


def warned(product: Any, *words: str, **arguments: Any) -> Run:
    """Run: it must say the words in a warning, in the result and in the events."""
    events: list[Event] = []
    with pytest.warns(DataWarning) as caught:
        run = rn.reprocess(product, cache=False, progress=events.append, **arguments)
    said = {
        "warnings": [str(item.message) for item in caught],
        "run.warnings": run.warnings,
        "events": [event.text for event in events if event.kind == "warning"],
    }
    for where, texts in said.items():
        assert any(all(word in text for word in words) for text in texts), (where, texts)
    return run


@pytest.fixture(scope="module")
def folder(exposure) -> Path:  # type: ignore[no-untyped-def]
    return exposure.archive.folder / "references"


# ---------------------------------------------------------------------------------- what the input is
def test_not_asdf(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for name, content in {"text": b"hello", "empty": b"", "fits": b"SIMPLE  =                    T"}.items():
        path = tmp_path / f"{name}.asdf"
        path.write_bytes(content)
        refused(path, FileFormatError, f"{name}.asdf", "ASDF")


def test_no_roman_tree(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import asdf

    asdf.AsdfFile({"romulus": {"data": [1]}}).write_to(tmp_path / "other.asdf")
    refused(tmp_path / "other.asdf", FileFormatError, "other.asdf", "no 'roman' tree", "romulus")
    asdf.AsdfFile({"roman": 3}).write_to(tmp_path / "three.asdf")
    refused(tmp_path / "three.asdf", FileFormatError, "three.asdf", "no 'roman' tree")


def test_not_level_1_or_ramp(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = exposure.references["gain"]
    refused(path, ProductLevelError, path.name, "'gain'", "Level 1 file", "ramp", "Level 2 image")
    refused(rn.open(path), ProductLevelError, "GainRefModel", "Level 1 file")
    write_plain({"meta": {}, "data": np.zeros((2, 2))}, tmp_path / "untagged.asdf")
    refused(tmp_path / "untagged.asdf", ProductLevelError, "untagged.asdf", "an untagged tree", "Level 1 file")
    for thing in (None, 3, np.zeros((3, 256, 256), np.uint16)):
        refused(thing, ProductLevelError, type(thing).__name__, "Level 1 file")


def test_ground_test_products(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from roman_datamodels import datamodels

    model = datamodels.FpsModel.create_fake_data(shape=(2, 8, 8))
    refused(model, ProductLevelError, "ground-test product", "ScienceRawModel.create_from_model")
    model.save(tmp_path / "fps.asdf")
    refused(tmp_path / "fps.asdf", ProductLevelError, "fps.asdf", "ground-test product")


def test_no_file_or_a_folder(tmp_path) -> None:  # type: ignore[no-untyped-def]
    refused(tmp_path / "nothing.asdf", InputError, "nothing.asdf", "there is no file", "give the path")
    refused(tmp_path, InputError, tmp_path.name, "is a folder", "give the path")


def test_a_product_without_metadata(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    refused(changed(exposure.level1, {"meta": GONE}), InputError, "no metadata", "archive")


def cut(*key: Any) -> Callable[[Any], Any]:
    return lambda array: array[key].copy()


def as_type(dtype: str) -> Callable[[Any], Any]:
    return lambda array: array.astype(dtype)


def zeros(dtype: str, *shape: int) -> Any:
    return np.zeros(shape, dtype)


EIGHT = [[1], [2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12], [13]]
PATTERN, FRAME_TIME = "meta.exposure.read_pattern", "meta.exposure.frame_time"
OFFSET, COUNT = "meta.instrument.data_encoding_offset", "meta.exposure.nresultants"

#: row of the table -> cases: what is changed in a Level 1 model, class of the error, words it must say
ROWS: dict[str, dict[str, tuple[Changes, type[RomanNexusError], tuple[str, ...]]]] = {
    "shape": {
        "data-float": ({"data": as_type("f4")}, ShapeError, ("data is float32 (8, 256, 256)", "expected uint16")),
        "data-plane": ({"data": cut(0)}, ShapeError, ("data is uint16 (256, 256)", "(resultants, ny, nx)")),
        "data-columns": ({"data": cut(..., slice(250))}, ShapeError, ("256 x 250", "multiple of 128", "4096")),
        "data-empty": ({"data": cut(slice(0))}, ShapeError, ("0 x 256 x 256", "at least one")),
        "data-gone": ({"data": GONE}, ShapeError, ("no array 'data'", "amp33")),
        "data-null": ({"data": None}, ShapeError, ("no array 'data'",)),
        "amp33-gone": ({"amp33": GONE}, ShapeError, ("no array 'amp33'", "data, amp33")),
        "amp33-rows": ({"amp33": cut(slice(None), slice(4))}, ShapeError, ("amp33", "(8, 4, 128)", "(8, 256, 128)")),
        "amp33-type": ({"amp33": as_type("i4")}, ShapeError, ("amp33 is int32", "uint16 (8, 256, 128)")),
        "resultantdq": ({"resultantdq": zeros("u1", 8, 256, 9)}, ShapeError,
                        ("resultantdq is uint8 (8, 256, 9)", "(8, 256, 256)")),
        "resultantdq-type": ({"resultantdq": zeros("u4", 8, 256, 256)}, ShapeError, ("resultantdq is uint32", "uint8")),
        "reference_read": ({"reference_read": zeros("u2", 9, 9)}, ShapeError,
                           ("reference_read is uint16 (9, 9)", "(256, 256)")),
        "reference_amp33": ({"reference_amp33": zeros("u2", 256, 9)}, ShapeError,
                            ("reference_amp33 is uint16 (256, 9)", "(256, 128)")),
    },
    "resultants": {
        "pattern-short": ({PATTERN: EIGHT[:7]}, InputError, ("read_pattern", "7 resultants", "data has 8")),
        "pattern-gone": ({PATTERN: GONE}, InputError, ("read_pattern", "0 resultants", "data has 8")),
        "count": ({COUNT: 9}, InputError, ("nresultants is 9", "data has 8")),
        "count-text": ({COUNT: "eight"}, InputError, ("nresultants is 'eight'", "data has 8")),
    },
    "pattern": {
        "empty": ({PATTERN: [*EIGHT[:7], []]}, InputError, ("resultant 7", "no reads")),
        "unsorted": ({PATTERN: [[1], [2], [4, 3], *EIGHT[3:]]}, InputError, ("read 3", "resultant 2", "ascend")),
        "repeated": ({PATTERN: [[1], [2], [3, 3], *EIGHT[3:]]}, InputError, ("read 3", "resultant 2", "ascend")),
        "same-mean": ({PATTERN: [[1], [1], *EIGHT[2:]]}, InputError, ("read 1", "resultant 1", "ascend")),
        "backwards": ({PATTERN: EIGHT[::-1]}, InputError, ("resultant 1", "ascend")),
        "zero": ({PATTERN: [[0], *EIGHT[1:]]}, InputError, ("read 0", "numbered from 1")),
        "words": ({PATTERN: "1 to 8"}, InputError, ("read_pattern is '1 to 8'", "lists of read numbers")),
        "flat": ({PATTERN: [1, 2, 3, 4, 5, 6, 7, 8]}, InputError, ("read_pattern", "lists of read numbers")),
        "fraction": ({PATTERN: [[1.5], *EIGHT[1:]]}, InputError, ("1.5", "lists of read numbers")),
    },
    "frame_time": {
        str(value): ({FRAME_TIME: value}, InputError, ("frame_time", str(value), "seconds above 0"))
        for value in (0, -3.04, float("nan"), float("inf"), None, "soon", -999999)
    } | {"gone": ({FRAME_TIME: GONE}, InputError, ("frame_time", "seconds above 0"))},
    "detector": {
        str(value): ({"meta.instrument.detector": value}, InputError, ("detector", str(value), "WFI01 to WFI18"))
        for value in ("WFI00", "WFI19", "WFI1", "NRCA1", 3, None)
    },
    "offset": {
        "negative": ({OFFSET: -1}, InputError, ("data_encoding_offset is -1", "0 to 65535")),
        "large": ({OFFSET: 65536}, InputError, ("data_encoding_offset is 65536", "0 to 65535")),
        "fraction": ({OFFSET: 0.5}, InputError, ("data_encoding_offset is 0.5", "whole number")),
        "nan": ({OFFSET: float("nan")}, InputError, ("data_encoding_offset is nan", "whole number")),
        "amp33-below-0": ({OFFSET: 60000}, InputError, ("amp33", "resultant 0", "data_encoding_offset = 60000")),
        "amp33-above": ({"reference_read": zeros("u2", 256, 256), "reference_amp33": zeros("u2", 256, 128) + 65000},
                        InputError, ("amp33", "resultant 0", "reference_amp33")),
    },
    "pointing": {
        f"{name}-{value}": ({f"meta.wcsinfo.{name}": value}, InputError,
                            (f"{name} is {value}", "where the exposure looked", "allow_missing_pointing"))
        for name, value in (("v2_ref", None), ("v3_ref", -999999), ("ra_ref", None), ("ra_ref", -999999),
                            ("ra_ref", float("nan")), ("dec_ref", float("nan")), ("roll_ref", "north"))
    } | {"no-wcsinfo": ({"meta.wcsinfo": GONE}, InputError, ("v2_ref is None", "roll_ref is None", "skip assign_wcs"))},
    "exposure-type": {
        str(value): ({"meta.exposure.type": value}, InputError, ("exposure.type", str(value), "WFI_IMAGE", "WFI_WFSC"))
        for value in ("WFI_GRISM", "wfi_image", None)
    },
    "ma-table": {
        "text": ({"meta.exposure.ma_table_number": "IM_1"}, InputError, ("ma_table_number is 'IM_1'", "whole number")),
    },
    "processed": {
        "cal_step": ({"meta.cal_step": {"linearity": "COMPLETE"}}, InputError, ("linearity is complete", "raw data")),
    },
}  # fmt: skip
CASES = [pytest.param(*case, id=f"{row}: {name}") for row, cases in ROWS.items() for name, case in cases.items()]


@pytest.mark.parametrize(("changes", "error", "words"), CASES)
def test_level_1(exposure, folder, changes, error, words) -> None:  # type: ignore[no-untyped-def]
    name = "" if "amp33" in words else exposure.level1.stem.removesuffix("_uncal")
    refused(changed(exposure.level1, changes), error, name, *words, source=folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"frame_time: 3.16247", b"frame_time: -3.1624", ("frame_time is -3.1624", "seconds above 0")),
        (b"detector: WFI01", b"detector: WFI77", ("detector is 'WFI77'", "WFI01 to WFI18")),
        (b"type: WFI_IMAGE", b"type: WFI_GRISM", ("exposure.type is 'WFI_GRISM'", "WFI_SPECTRAL")),
        (b"nresultants: 8", b"nresultants: 7", ("nresultants is 7", "data has 8")),
        (b"ra_ref: ", b"rb_ref: ", ("ra_ref is None", "where the exposure looked")),
    ],
    ids=["frame_time", "detector", "exposure-type", "count", "pointing"],
)
def test_level_1_file(exposure, folder, tmp_path, old, new, words) -> None:  # type: ignore[no-untyped-def]
    content = exposure.level1.read_bytes()
    assert old in content
    path = tmp_path / exposure.level1.name
    path.write_bytes(content.replace(old, new))
    refused(path, InputError, str(path), *words, source=folder)


# ---------------------------------------------------------------------------------- too few resultants
@pytest.mark.parametrize(("count", "minimum"), [(1, "at least 2"), (2, "at least 4"), (3, "at least 4")])
def test_too_few_resultants(exposure, folder, count, minimum) -> None:  # type: ignore[no-untyped-def]
    model = changed(exposure.level1, {
        "data": cut(slice(count)), "amp33": cut(slice(count)), PATTERN: EIGHT[:count], COUNT: count,
    })  # fmt: skip
    message = refused(model, InputError, minimum, "likelihood", source=folder)
    assert ("'ols_cas22' can fit it" in message) == (count > 1)
    if count == 1:
        options = {"ramp_fit": {"algorithm": "ols_cas22"}}
        refused(model, InputError, "refpix", "ramp_fit", "at least 2 resultants", source=folder, options=options)


# ----------------------------------------------------------------------------------------- references
def test_required_reference_missing(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    for missing in ("gain", "readnoise", "darkdecaysignal"):
        folder = tmp_path / missing
        folder.mkdir()
        for name, path in exposure.references.items():
            if name != missing:
                (folder / path.name).symlink_to(path)
        words = (missing, "WFI01", "WFI_IMAGE", "2027-", f"references={{'{missing}': path}}")
        refused(exposure.level1, ReferenceNotFoundError, *words, source=folder)
        refused(exposure.level1, OptionError, missing, "cannot be skipped", references={missing: "skip"})


def test_all_missing_references_are_told_at_once(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    refused(exposure.level1, ReferenceNotFoundError, "gain", "readnoise", "darkdecaysignal", source=tmp_path)


FULL, SCIENCE = (256, 256), (248, 248)
COEFFICIENTS = 256 * 70 + 1


def one(*shape: int, dtype: str = "f4") -> Any:
    return np.ones(shape, dtype)


def spoilt_decay(**entry: Any) -> dict[str, Any]:
    return {"decay_table": {"WFI01": {"amplitude": 1.0, "time_constant": 20.0, **entry}}}


def spoilt_inl(value: Any, **table: Any) -> dict[str, Any]:
    channels = {f"science_channel_{k:02d}": {"correction": np.zeros(65536)} for k in (1, 2)}
    return {"value": value, "inl_table": {**channels, **table}}


COUNTS = np.arange(65536, dtype=np.uint16)
SPOILT: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "shape: mask": ("mask", np.zeros((8, 8), np.uint32), ("dq has shape (8, 8)", "(256, 256)")),
    "shape: flat": ("flat", one(8, 8), ("data has shape (8, 8)", "(248, 248)")),
    "shape: flat-dq": ("flat", {"data": one(*SCIENCE), "dq": np.zeros(FULL, np.uint32)}, ("(248, 248)", "(256, 256)")),
    "shape: saturation": ("saturation", one(*SCIENCE), ("data has shape (248, 248)", "(256, 256)")),
    "shape: gain": ("gain", one(256, 255), ("data has shape (256, 255)", "(256, 256)")),
    "shape: readnoise": ("readnoise", one(1), ("data has shape (1,)",)),
    "shape: dark": ("dark", one(*SCIENCE), ("dark_slope has shape (248, 248)", "(256, 256)")),
    "shape: linearity": ("linearity", one(3, *SCIENCE), ("coeffs has shape (3, 248, 248)", "(256, 256)")),
    "shape: linearity-constant": ("linearity", one(1, *FULL), ("coeffs has shape (1, 256, 256)", "2 or more")),
    "shape: inverselinearity": ("inverselinearity", one(3, 9, 9), ("coeffs has shape (3, 9, 9)", "(256, 256)")),
    "refpix: length": ("refpix", {name: one(2, COEFFICIENTS - 1, dtype="c16") for name in ("gamma", "zeta", "alpha")},
                       (f"(2, {COEFFICIENTS - 1})", f"(2, {COEFFICIENTS})")),
    "refpix: channels": ("refpix", {name: one(32, COEFFICIENTS, dtype="c16") for name in ("gamma", "zeta", "alpha")},
                         (f"(32, {COEFFICIENTS})", f"(2, {COEFFICIENTS})")),
    "decay: amplitude": ("darkdecaysignal", spoilt_decay(amplitude=None), ("WFI01.amplitude is null",)),
    "decay: null": ("darkdecaysignal", spoilt_decay(time_constant=None), ("WFI01.time_constant is null",)),
    "decay: zero": ("darkdecaysignal", spoilt_decay(time_constant=0.0), ("time_constant is 0.0", "above 0")),
    "decay: negative": ("darkdecaysignal", spoilt_decay(time_constant=-4.0), ("time_constant is -4.0", "above 0")),
    "decay: detector": ("darkdecaysignal", {"decay_table": {"WFI02": {}}}, ("decay_table has no WFI01",)),
    "inl: channel": ("integralnonlinearity", spoilt_inl(COUNTS, science_channel_02=None), ("science_channel_02",)),
    "inl: null": ("integralnonlinearity", spoilt_inl(COUNTS, science_channel_02={"correction": None}),
                  ("no correction for science_channel_02",)),
    "inl: decreasing": ("integralnonlinearity", spoilt_inl(COUNTS[::-1]), ("value", "ascend")),
    "empty: gain-nan": ("gain", np.full(FULL, np.nan), ("no finite value", "waive={'gain': ['content']}")),
    "empty: gain-zero": ("gain", np.zeros(FULL), ("zero everywhere", "waive={'gain': ['content']}")),
    "empty: flat-nan": ("flat", np.full(SCIENCE, np.nan), ("no finite value",)),
    "empty: dark-nan": ("dark", np.full(FULL, np.nan), ("dark_slope has no finite value",)),
    "empty: nothing": ("flat", np.ones((0, 0)), ("data has shape (0, 0)",)),
    "photom: row": ("photom", {"phot_table": {"F158": None}}, ("F158 without pixelareasr",)),
    "photom: words": ("photom", {"phot_table": {"F158": dict.fromkeys(("photmjsr", "uncertainty", "pixelareasr"), "")}},
                      ("pixelareasr = ''", "expected a number or null")),
}  # fmt: skip


@pytest.mark.parametrize(("reftype", "given", "words"), SPOILT.values(), ids=SPOILT)
def test_spoilt_reference(exposure, reftype, given, words) -> None:  # type: ignore[no-untyped-def]
    refused(exposure.level1, ReferenceMismatchError, reftype, *words, references={reftype: given})


@pytest.mark.parametrize(
    ("reftype", "name", "dtype"),
    [("gain", "data", "f8"), ("mask", "dq", "i4"), ("linearity", "coeffs", "f8"), ("flat", "dq", "u2"),
     ("refpix", "alpha", "c8")],
)  # fmt: skip
def test_reference_file_of_another_type(exposure, tmp_path, reftype, name, dtype) -> None:  # type: ignore[no-untyped-def]
    tree = plain_reference(exposure.references[reftype])
    tree[name] = tree[name].astype(dtype)
    path = write_plain(tree, tmp_path / "typed.asdf")
    found, wanted = np.dtype(dtype).name, plain_reference(exposure.references[reftype])[name].dtype.name
    words = (str(path), f"{name} is {found}; expected {wanted}", "give another reference")
    refused(exposure.level1, ReferenceMismatchError, *words, references={reftype: path})


@pytest.mark.parametrize(
    ("reftype", "place", "value", "field"),
    [("gain", "instrument", {"detector": "WFI07"}, "detector"), ("flat", "instrument", {"optical_element": "F062"},
      "optical_element"), ("dark", "exposure", {"p_exptype": "WFI_FLAT|"}, "exposure_type"),
     ("gain", None, {"useafter": "2099-01-01T00:00:00"}, "useafter"),
     ("gain", "exposure", {"ma_table_number": 4}, "ma_table"), ("gain", None, {"reftype": "READNOISE"}, "type")],
    ids=["detector", "optical-element", "exposure-type", "useafter", "ma-table", "type"],
)  # fmt: skip
def test_reference_of_another_exposure(exposure, tmp_path, reftype, place, value, field) -> None:  # type: ignore[no-untyped-def]
    tree = plain_reference(exposure.references[reftype])
    meta = tree["meta"] if place is None else tree["meta"].setdefault(place, {})
    meta.update(value)
    path = write_plain(tree, tmp_path / "foreign.asdf")
    (word,) = map(str, value.values())
    words = (str(path), word.strip("|")[:10], f"waive={{{reftype!r}: [{field!r}]}}")
    refused(exposure.level1, ReferenceMismatchError, *words, references={reftype: path})
    waive = {reftype: [field]}
    made = rn.plan(exposure.level1, references={reftype: path}, waive=waive, cache=False)
    step = made[{"gain": "ramp_fit", "flat": "flat_field", "dark": "dark_current"}[reftype]]
    assert (step.status, step.references[reftype]["name"]) == ("run", str(path))
    refused(exposure.level1, OptionError, "cannot be waived", waive={reftype: ["shape"]})


def test_reference_that_cannot_be_read(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    whole = exposure.references["flat"].read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "text": b"a flat", "empty": b""}.items():
        path = tmp_path / f"{name}.asdf"
        path.write_bytes(content)
        refused(exposure.level1, FileFormatError, str(path), references={"flat": path})
    refused(exposure.level1, ReferenceNotFoundError, "is a folder", references={"flat": tmp_path})
    refused(exposure.level1, ReferenceMismatchError, "type", references={"flat": exposure.level1})


def test_all_that_speaks_against_the_references_is_told_at_once(exposure) -> None:  # type: ignore[no-untyped-def]
    given = {"gain": one(3, 3), "dark": np.full(FULL, np.nan)}
    refused(exposure.level1, ReferenceMismatchError, "gain", "(3, 3)", "dark_slope", "no finite", references=given)


# ---------------------------------------------------------------------------------- odd, but usable
def test_optional_reference_missing(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    for name, path in exposure.references.items():
        if name != "flat":
            (tmp_path / path.name).symlink_to(path)
    run = warned(exposure.level1, "no flat reference for detector WFI01", "F158", "WFI_IMAGE", source=tmp_path)
    assert run.image.meta["cal_step"]["flat_field"] == "SKIPPED"
    assert run.image.meta["ref_file"]["flat"] == "N/A"
    refused(exposure.level1, ReferenceNotFoundError, "no flat reference", "F158", source=tmp_path, strict=True)


GW_AFFECTED_DATA = 16


@pytest.mark.parametrize(
    ("limits", "words", "columns"),
    [((240, 300, 100, 116), ("reaches x = 300", "clipped"), slice(240, 256)),
     ((100, 116, 250, 9999), ("reaches y = 9999", "clipped"), slice(100, 116)),
     ((116, 100, 90, 106), ("stops at x = 100 before it starts at x = 116", "empty"), None),
     ((100, 116, 106, 90), ("stops at y = 90 before it starts at y = 106", "empty"), slice(100, 116)),
     ((300, 316, 90, 106), ("starts at x = 300", "nothing is flagged"), None)],
)  # fmt: skip
def test_guide_window_outside_or_backwards(exposure, folder, limits, words, columns) -> None:  # type: ignore[no-untyped-def]
    names = ("xstart", "xstop", "ystart", "ystop")
    changes = {f"meta.guide_star.window_{name}": limit for name, limit in zip(names, limits, strict=True)}
    model = changed(exposure.level1, changes)
    run = warned(model, "guide window", *words, source=folder, stop="dq_init")
    flagged = (run.ramp.pixeldq & GW_AFFECTED_DATA > 0).all(axis=0)
    expected = np.zeros(256, bool)
    if columns is not None:
        expected[columns] = True
    np.testing.assert_array_equal(flagged, expected)


def test_no_guide_window_is_no_warning(exposure, folder) -> None:  # type: ignore[no-untyped-def]
    changes = {f"meta.guide_star.window_{name}": -999999 for name in ("xstart", "xstop", "ystart", "ystop")}
    run = rn.reprocess(changed(exposure.level1, changes), source=folder, stop="dq_init", cache=False, progress=False)
    assert not (run.ramp.pixeldq & GW_AFFECTED_DATA).any()
    assert run.warnings == []


def test_velocity_aberration_that_cannot_be(image, folder) -> None:  # type: ignore[no-untyped-def]
    scale = "meta.velocity_aberration.scale_factor"
    steps = {"start": "assign_wcs", "stop": "assign_wcs", "source": folder}

    def sky(value: Any) -> tuple[float, float]:
        run = rn.reprocess(changed(image, {scale: value}), **steps, cache=False, progress=False)
        found: tuple[float, float] = run.image.wcs(200.0, 20.0)
        return found

    identity = sky(None)
    assert sky(1.0) == pytest.approx(identity, rel=0, abs=1e-13)
    assert abs(sky(1.001)[0] - identity[0]) > 1e-7
    for value in (0.0, -1.0, float("nan"), -999999):
        run = warned(changed(image, {scale: value}), f"scale_factor is {value}", "taken as 1", **steps)
        assert run.image.wcs(200.0, 20.0) == pytest.approx(identity, rel=0, abs=1e-13)


def test_no_pointing_may_be_allowed(exposure, folder, tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = changed(exposure.level1, {"meta.wcsinfo.ra_ref": float("nan")})
    options = {"assign_wcs": {"allow_missing_pointing": True}}
    run = warned(model, "ra_ref is nan", source=folder, options=options)
    assert run.image.wcs is None
    (path,) = run.save(tmp_path)  # no _wcs product
    assert rn.open(path, mode="strict").meta.wcs is None
    with pytest.warns(DataWarning, match="ra_ref is nan"):
        made = rn.plan(model, source=folder, skip=["assign_wcs"], cache=False)
    assert made["assign_wcs"].status == "skip"


def test_optical_element_not_in_the_photom_table(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    tree = plain_reference(exposure.references["photom"])
    del tree["phot_table"]["F158"]
    path = write_plain(tree, tmp_path / "photom.asdf")
    run = warned(exposure.level1, "photom", "does not list F158", "placeholders", references={"photom": path})
    meta = run.image.meta
    assert set(meta["photometry"].values()) == {-999999}
    assert meta["cal_step"]["photom"] == "COMPLETE"


# ------------------------------------------------------------------------- processed already, output
def test_processed_already(exposure, folder, tmp_path) -> None:  # type: ignore[no-untyped-def]
    ramp = rn.reprocess(exposure.level1, stop="linearity", cache=False, progress=False).save(tmp_path)[0]
    refused(ramp, InputError, "linearity is already complete", "twice", source=folder, start="linearity")
    refused(ramp, InputError, "refpix", "linearity", "already complete", source=folder, start="refpix")
    refused(ramp, StepError, "already has every step", source=folder, stop="saturation")
    model = changed(ramp, {"meta.cal_step.ramp_fit": "COMPLETE"})
    refused(model, InputError, "ramp_fit is complete", "cannot be a ramp", source=folder)
    spoilt = {
        "groupdq": ({"groupdq": cut(0)}, ("groupdq is uint8 (256, 256)", "(8, 256, 256)")),
        "pixeldq": ({"pixeldq": GONE}, ("no array 'pixeldq'",)),
        "data": ({"data": as_type("f8")}, ("data is float64", "expected float32")),
    }
    for changes, words in spoilt.values():
        refused(changed(ramp, changes), ShapeError, *words, source=folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"dumo": GONE}, ("has no dumo", "Level 1")), ({"err": as_type("f4")}, ("err is float32", "expected float16")),
     ({"dq": cut(slice(9))}, ("dq is uint32 (9, 248)", "(248, 248)")),
     ({"data": as_type("f8")}, ("data is float64", "expected float32")),
     ({"var_rnoise": zeros("f2", 3, 3)}, ("var_rnoise is float16 (3, 3)", "(248, 248)"))],
)  # fmt: skip
def test_spoilt_image(image, folder, changes, words) -> None:  # type: ignore[no-untyped-def]
    refused(changed(image, changes), ShapeError, *words, source=folder)


@pytest.fixture(scope="module")
def image(exposure, tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    run = rn.reprocess(exposure.level1, stop="photom", cache=False, progress=False)
    return run.save(tmp_path_factory.mktemp("image"), wcs=False)[0]


def test_output_that_cannot_be_written(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    run = rn.reprocess(exposure.level1, cache=False, progress=False)
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "file" / "name.asdf"):
        with pytest.raises(OutputError, match=r"cannot (write|make the folder) .*file"):
            run.save(target)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [({"skip": "flat_field"}, StepError, ("skip='flat_field'", "skip=['flat_field']")),
     ({"start": 3}, StepError, ("start=3", "names of steps")),
     ({"options": ["ramp_fit"]}, OptionError, ("options=['ramp_fit']", "mapping")),
     ({"options": {"saturation": {"backup": -1}}}, OptionError, ("backup is -1", "0 or more")),
     ({"threads": -1}, OptionError, ("threads is -1", "0 or more")),
     ({"memory_budget_mb": -5}, OptionError, ("memory_budget_mb is -5", "0 or more")),
     ({"references": {"gain": 3}}, OptionError, ("gain is int", "a path, an array")),
     ({"references": {"gain": None, "flat": ""}, "stop": "nothing"}, StepError, ("no step 'nothing'",)),
     ({"waive": {"flat": "detector"}}, OptionError, ("'detector'", "a list of fields")),
     ({"source": "/nowhere/at/all"}, None, ("/nowhere/at/all",))],
)  # fmt: skip
def test_requests_that_make_no_sense(exposure, arguments, error, words) -> None:  # type: ignore[no-untyped-def]
    refused(exposure.level1, error or RomanNexusError, *words, **arguments)
