"""The demo archive: complete, reproducible, reused, taken up where it stopped, and never in the way of other files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from roman_nexus.demo.archive import DemoArchive, default_folder, make_archive
from roman_nexus.demo.references import REFERENCE_TYPES
from roman_nexus.errors import FileFormatError, OptionError, OutputError, SchemaVersionError
from roman_nexus.products.digests import file_digest
from roman_nexus.products.names import parse

FIELDS = {"shape": (128, 128), "detectors": ["WFI03", "WFI10"], "dithers": 2, "seed": 5}


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> DemoArchive:
    return make_archive(tmp_path_factory.mktemp("archive") / "demo", **FIELDS)


@pytest.fixture
def copied(archive, tmp_path) -> DemoArchive:
    shutil.copytree(archive.folder, tmp_path / "demo")
    return DemoArchive(tmp_path / "demo")


def arrays(path):
    from roman_nexus.products.blocks import open_blocks

    with open_blocks(path) as blocks:
        return {name: np.array(array) for name, array in blocks.arrays().items()}


def snapshot(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def test_archive_is_complete(archive):
    names = [path.name for path in archive.files()]
    assert names == [
        f"r0099101001001001001_{exposure:04d}_{detector}_f158_uncal.asdf"
        for exposure in (1, 2)
        for detector in ("wfi03", "wfi10")
    ]
    for detector in ("WFI03", "WFI10"):
        assert list(archive.references(detector)) == list(REFERENCE_TYPES)
    assert all(archive.truth(path).is_file() for path in archive.files())
    assert len(archive.manifest["references"]) == 2 * len(REFERENCE_TYPES) - 1  # one dark decay table for all
    assert sorted(path.name for path in archive.folder.iterdir()) == [
        "demo.json",
        "l1",
        "manifest.json",
        "references",
        "truth",
    ]


def test_rows_tell_what_the_files_are(archive):
    from roman_nexus.products.files import read_meta

    for row in archive.products:
        path = archive.folder / row["path"]
        meta, name = read_meta(path), parse(path)
        assert row["size"] == path.stat().st_size
        assert row["digest"] == file_digest(path)
        assert row["fileSetName"] == str(name.fileset)
        assert row["productLevel"] == "1"
        assert row["program"] == meta["observation"]["program"] == name.program
        assert row["detector"] == meta["instrument"]["detector"]
        assert row["ra"] == meta["wcsinfo"]["ra_ref"]
        assert row["s_region"] == meta["wcsinfo"]["s_region"]
        assert row["exposure_start_time"] == meta["exposure"]["start_time"].isot
    assert [row["ArchiveFileID"] for row in archive.products] == [1, 2, 3, 4]
    assert len(archive.files(detector="WFI10", exposure=2)) == 1
    for row in archive.manifest["references"]:
        assert row["digest"] == file_digest(archive.folder / row["path"])
        assert row["reftype"] in REFERENCE_TYPES


def test_catalog_holds_the_sources_of_every_frame(archive):
    import asdf
    from astropy.table import Table

    catalog = Table.read(archive.folder / "truth" / "catalog.ecsv")
    on_frames = set()
    for path in archive.files():
        with asdf.open(archive.truth(path)) as tree:
            on_frames |= set(np.array(tree["sources"]["id"]).tolist())
    assert on_frames == set(catalog["id"].tolist())
    assert len(catalog) == len(on_frames)


def test_dithers_share_most_of_their_sky(archive):
    import asdf

    seen = []
    for exposure in (1, 2):
        with asdf.open(archive.truth(archive.files(detector="WFI03", exposure=exposure)[0])) as tree:
            seen.append({key: np.array(value) for key, value in tree["sources"].items()})
    common, first, second = np.intersect1d(seen[0]["id"], seen[1]["id"], return_indices=True)
    assert common.size > 5
    shift = np.hypot(seen[0]["x"][first] - seen[1]["x"][second], seen[0]["y"][first] - seen[1]["y"][second])
    assert np.all((shift > 5) & (shift < 15))


def test_making_it_again_reuses_it(archive):
    before, steps = snapshot(archive.folder), []
    again = make_archive(archive.folder, progress=lambda *step: steps.append(step), **FIELDS)
    assert again.products == archive.products
    assert snapshot(archive.folder) == before
    assert steps == []


def test_equal_parameters_give_equal_arrays(archive, tmp_path):
    steps = []
    other = make_archive(tmp_path / "other", progress=lambda *step: steps.append(step), **FIELDS)
    assert [step[0] for step in steps] == list(range(1, 7))
    assert {step[1] for step in steps} == {6}
    for folder in ("l1", "references", "truth"):
        for path in sorted((archive.folder / folder).glob("*.asdf")):
            mine, twin = arrays(path), arrays(other.folder / folder / path.name)
            assert mine.keys() == twin.keys()
            for name, array in mine.items():
                np.testing.assert_array_equal(array, twin[name], err_msg=f"{path.name} {name}")


def test_an_interrupted_making_is_taken_up(tmp_path):
    place = tmp_path / "demo"

    def stop_at(limit):
        def progress(done, _total, _what):
            if done == limit:
                raise KeyboardInterrupt

        return progress

    with pytest.raises(KeyboardInterrupt):
        make_archive(place, progress=stop_at(4), **FIELDS)
    assert not place.exists()
    (partial,) = tmp_path.glob(".demo.partial")
    made = snapshot(partial)
    archive = make_archive(place, **FIELDS)
    kept = snapshot(archive.folder)
    products = [path for path in made if path.suffix == ".asdf"]
    assert len([path for path in products if path.parts[0] == "l1"]) == 2
    assert all(kept[path] == made[path] for path in products)
    assert not partial.exists()
    assert len(archive.products) == 4


def test_a_partial_archive_of_something_else_is_not_taken_up(tmp_path):
    place = tmp_path / "demo"

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_archive(place, progress=stop, **FIELDS)
    archive = make_archive(place, **(FIELDS | {"detectors": ["WFI04"], "dithers": 1}))
    assert {path.name for path in archive.folder.rglob("*_00*.asdf") if "0003" in path.name} == set()
    assert len(archive.products) == 1


def test_another_archive_is_replaced_only_when_asked(copied):
    before = snapshot(copied.folder)
    with pytest.raises(OutputError, match="other detectors, seed"):
        make_archive(copied.folder, **(FIELDS | {"seed": 6, "detectors": ["WFI01"]}))
    assert snapshot(copied.folder) == before
    new = FIELDS | {"seed": 6, "detectors": ["WFI01"], "dithers": 1}
    replaced = make_archive(copied.folder, overwrite=True, **new)
    assert (replaced.parameters["seed"], len(replaced.products)) == (6, 1)
    assert not list(copied.folder.parent.glob(".demo.old"))


def test_a_folder_with_other_files_is_never_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="no demo archive"):
            make_archive(tmp_path, overwrite=overwrite, **FIELDS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(FileFormatError, match="make one"):
        DemoArchive.open(tmp_path)


def test_a_calibration_adds_its_products(copied):
    calls = []

    def calibrate(level1, references, folder):
        calls.append((level1.name, sorted(references)))
        made = folder / level1.name.replace("_uncal", "_cal")
        made.write_bytes(b"calibrated")
        return [made]

    archive = make_archive(copied.folder, calibrate=calibrate, **FIELDS)
    assert [name for name, _ in calls] == [path.name for path in archive.files()]
    assert calls[0][1] == sorted(REFERENCE_TYPES)
    assert [path.name for path in archive.files("cal")] == [name.replace("_uncal", "_cal") for name, _ in calls]
    assert {row["productLevel"] for row in archive.products} == {"1", "2"}
    assert archive.products[-1]["size"] == len(b"calibrated")
    assert archive.products[-1]["s_region"] == archive.products[3]["s_region"]
    make_archive(copied.folder, calibrate=calibrate, **FIELDS)
    assert len(calls) == 4


def test_a_failing_calibration_leaves_the_archive_as_it_was(copied):
    def astray(level1, _references, _folder):
        return [level1]

    with pytest.raises(OutputError, match="expected files that it wrote"):
        copied.calibrate(astray)
    assert not (copied.folder / "l2").exists()
    assert len(copied.products) == 4


def test_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ROMAN_NEXUS_DEMO", str(tmp_path / "here"))
    assert default_folder() == tmp_path / "here"
    monkeypatch.delenv("ROMAN_NEXUS_DEMO")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "roman_nexus" / "demo"


def test_parameters_are_recorded(archive):
    recorded = json.loads((archive.folder / "demo.json").read_text())
    assert recorded["seed"] == 5
    assert recorded["detectors"] == ["WFI03", "WFI10"]
    assert DemoArchive.open(archive.folder).parameters == recorded


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"dithers": 0}, OptionError, "dithers is 0"),
        ({"detectors": []}, OptionError, "detectors"),
        ({"detectors": "WFI01"}, OptionError, "list of names"),
        ({"schema": "0.1.0"}, SchemaVersionError, "0.1.0"),
        ({"colour": "red"}, OptionError, "colour"),
    ],
)
def test_nonsense_is_refused_before_any_work(fields, error, message, tmp_path):
    with pytest.raises(error, match=message):
        make_archive(tmp_path / "demo", **fields)
    assert not list(tmp_path.iterdir())
