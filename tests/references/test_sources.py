"""Every source of references keeps the same promises."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from roman_nexus.errors import (
    DataWarning,
    FileFormatError,
    MissingSoftwareError,
    OptionError,
    ReferenceNotFoundError,
)
from roman_nexus.references import CrdsCacheSource, CrdsSource, FolderSource, RecordedSource, ReferenceSource
from roman_nexus.references.rules import selection_parameters

WFI01 = {"detector": "WFI01", "optical_element": "F158", "exposure_type": "WFI_IMAGE", "start_time": "2027-04-01"}
RMAP = """header = {{'mapping' : 'REFERENCE', 'name' : '{name}', 'classes' : ('Match', 'UseAfter'),
 'parkey' : (('ROMAN.META.INSTRUMENT.DETECTOR',), ('ROMAN.META.EXPOSURE.START_TIME',))}}
selector = Match({{
    'WFI01' : UseAfter({{'2020-01-01 00:00:00' : '{old}', '2026-01-01 00:00:00' : '{new}'}}),
    'WFI02' : UseAfter({{'2020-01-01 00:00:00' : 'N/A'}}),
}})
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A CRDS cache folder with two contexts, rules for gain and mask, and their files."""
    folder = tmp_path / "crds"
    mappings = folder / "mappings" / "roman"
    mappings.mkdir(parents=True)
    for number in (1, 2):
        pmap = f"header = {{'mapping' : 'PIPELINE'}}\nselector = {{'WFI' : 'roman_wfi_000{number}.imap'}}"
        (mappings / f"roman_000{number}.pmap").write_text(pmap)
        rules = "{'gain' : 'roman_wfi_gain_0001.rmap', 'mask' : 'roman_wfi_mask_0001.rmap', 'area' : 'N/A'}"
        (mappings / f"roman_wfi_000{number}.imap").write_text(
            f"header = {{'mapping':'INSTRUMENT'}}\nselector = {rules}"
        )
    for reftype in ("gain", "mask"):
        name = f"roman_wfi_{reftype}_0001.rmap"
        files = {"old": f"roman_wfi_{reftype}_0001.asdf", "new": f"roman_wfi_{reftype}_0002.asdf"}
        (mappings / name).write_text(RMAP.format(name=name, **files))
        references = folder / "references" / "roman" / "wfi"
        references.mkdir(parents=True, exist_ok=True)
        for file in files.values():
            (references / file).touch()  # no source of this kind opens the files it names
    return folder


class FakeCrds(ModuleType):
    """Answers like the crds package with the rules of the cache folder, and fails like it."""

    __version__ = "14.0.3"

    def __init__(self, cache: Path) -> None:
        super().__init__("crds")
        self.cache = cache
        self.failure: BaseException | None = None
        self.client = ModuleType("crds.client")
        self.api = ModuleType("crds.client.api")
        self.api.dump_references = self.dump_references  # type: ignore[attr-defined]

    def get_context_name(self, observatory: str, context: str | None = None) -> str:
        assert observatory == "roman"
        if self.failure is not None:
            raise self.failure
        return context or "roman_0002.pmap"

    def getreferences(
        self, parameters: dict[str, str], reftypes: list[str], context: str, observatory: str
    ) -> dict[str, str]:
        assert observatory == "roman"
        assert all(key == key.upper() for key in parameters)
        if self.failure is not None:
            raise self.failure
        detector = parameters["ROMAN.META.INSTRUMENT.DETECTOR"]
        found = {}
        for reftype in reftypes:
            if reftype not in ("gain", "mask"):
                message = f"Error determining best reference for '{reftype}' = Unknown reference type '{reftype}'"
                raise LookupError(message)
            if detector == "WFI02":
                found[reftype] = "NOT FOUND n/a"
            elif detector == "WFI01" and parameters["ROMAN.META.EXPOSURE.START_TIME"] >= "2020":
                number = 2 if parameters["ROMAN.META.EXPOSURE.START_TIME"] >= "2026" else 1
                found[reftype] = self.locate_file(f"roman_wfi_{reftype}_000{number}.asdf", "roman")
            else:
                found[reftype] = "NOT FOUND No match found."
        return found

    def locate_file(self, name: str, observatory: str) -> str:
        return str(self.cache / "references" / observatory / "wfi" / name)

    def dump_references(self, context: str, names: list[str], raise_exceptions: bool) -> dict[str, str]:
        assert context.endswith(".pmap")
        (name,) = names
        if not name.endswith("0009.asdf"):
            message = f"file {name} is not known to CRDS server."
            raise OSError(message)
        shutil.copy(self.locate_file("roman_wfi_gain_0001.asdf", "roman"), self.locate_file(name, "roman"))
        return {name: self.locate_file(name, "roman")}


@pytest.fixture
def fake_crds(cache: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCrds:
    package = FakeCrds(cache)
    monkeypatch.setitem(sys.modules, "crds", package)
    monkeypatch.setitem(sys.modules, "crds.client", package.client)
    monkeypatch.setitem(sys.modules, "crds.client.api", package.api)
    return package


class SourceContract:
    """What every source promises. A subclass provides `source`, which knows the gain and the mask of WFI01."""

    names_crds = True

    @pytest.fixture
    def source(self) -> ReferenceSource:
        raise NotImplementedError

    def test_is_a_source(self, source: ReferenceSource) -> None:
        assert isinstance(source, ReferenceSource)
        assert source.name
        assert source.context is None or source.context.endswith(".pmap")

    def test_finds_a_file_that_is_there(self, source: ReferenceSource) -> None:
        for reftype in ("gain", "mask", "GAIN"):
            found = source.find(reftype, WFI01)
            assert found.reftype == reftype.lower()
            assert found.chosen is not None
            assert found.chosen.path is not None
            assert found.chosen.path.is_file()
            assert found.chosen.file == found.chosen.path.name
            assert found.chosen.name.startswith("crds://") is self.names_crds
            assert found.explanation

    def test_finds_the_same_again(self, source: ReferenceSource) -> None:
        assert source.find("gain", WFI01) == source.find("gain", WFI01)

    def test_accepts_the_parameters_of_an_exposure(self, source: ReferenceSource, exposure: Any) -> None:
        assert source.find("gain", selection_parameters(exposure)) == source.find("gain", WFI01)

    def test_no_file_is_an_answer_with_a_reason(self, source: ReferenceSource) -> None:
        found = source.find("skycells", WFI01)
        assert found.chosen is None
        assert found.explanation

    def test_locates_by_name(self, source: ReferenceSource) -> None:
        chosen = source.find("gain", WFI01).chosen
        assert chosen is not None
        assert source.locate(chosen.name if self.names_crds else f"crds://{chosen.file}") == chosen.path


class SelectingContract(SourceContract):
    """What sources promise that choose by the exposure."""

    def test_chooses_by_detector_and_time(self, source: ReferenceSource) -> None:
        later, earlier = source.find("gain", WFI01), source.find("gain", WFI01 | {"start_time": "2021-01-01"})
        assert later.chosen is not None
        assert earlier.chosen is not None
        assert later.chosen.file.endswith("0002.asdf")
        assert earlier.chosen.file.endswith("0001.asdf")
        assert source.find("gain", WFI01 | {"detector": "WFI05"}).chosen is None
        assert source.find("gain", WFI01 | {"start_time": "2019-01-01"}).chosen is None


class TestFolderSource(SelectingContract):
    names_crds = False

    @pytest.fixture
    def folder(self, tmp_path: Path, write: Any) -> Path:
        for number, year in ((1, 2020), (2, 2026)):
            write(tmp_path / "refs" / "gains", "gain", name=f"gain_000{number}.asdf", useafter=f"{year}-01-01T00:00:00")
        write(tmp_path / "refs", "mask")
        return tmp_path / "refs"

    @pytest.fixture
    def source(self, folder: Path) -> FolderSource:
        return FolderSource(folder)

    def test_headers_are_read_once_and_again_when_a_file_changes(
        self, folder: Path, write: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from roman_nexus.products import blocks

        read: list[str] = []
        original = blocks.peek
        monkeypatch.setattr(blocks, "peek", lambda path: read.append(Path(path).name) or original(path))
        assert FolderSource(folder).find("gain", WFI01).chosen is not None
        assert sorted(read) == ["gain_0001.asdf", "gain_0002.asdf", "mask_WFI01.asdf"]
        read.clear()
        source = FolderSource(folder)  # as in a new session
        assert source.find("gain", WFI01).chosen is not None
        assert read == []
        write(folder, "gain", name="gain_0003.asdf", useafter="2027-01-01T00:00:00")
        (folder / "gains" / "gain_0002.asdf").unlink()
        newest = source.find("gain", WFI01).chosen
        assert read == ["gain_0003.asdf"]
        assert newest is not None
        assert newest.file == "gain_0003.asdf"
        assert source.types() == {"gain": 2, "mask": 1}

    @pytest.mark.parametrize("content", ["", "[]", '{"version": 1, "files": {"a.asdf": 3}}', '{"version": 99}', "{"])
    def test_a_damaged_index_is_made_anew(self, folder: Path, tmp_path: Path, content: str) -> None:
        index = tmp_path / "index.json"
        index.write_text(content)
        assert FolderSource(folder, index=index).find("gain", WFI01).chosen is not None
        assert set(json.loads(index.read_text())["files"]) == {
            "gains/gain_0001.asdf",
            "gains/gain_0002.asdf",
            "mask_WFI01.asdf",
        }

    def test_an_index_that_cannot_be_written_does_no_harm(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert FolderSource(folder, index=tmp_path / "file" / "index.json").find("gain", WFI01).chosen is not None
        assert FolderSource(folder, index=None).find("gain", WFI01).chosen is not None

    def test_nothing_is_written_into_the_folder(self, folder: Path) -> None:
        before = sorted(folder.rglob("*"))
        FolderSource(folder).find("gain", WFI01)
        assert sorted(folder.rglob("*")) == before

    def test_files_that_cannot_be_read_are_told_once_and_counted(self, folder: Path) -> None:
        (folder / "broken.asdf").write_bytes(b"#ASDF 1.0.0\n")
        source = FolderSource(folder)
        with pytest.warns(DataWarning, match=r"1 file.*broken\.asdf"):
            assert source.find("gain", WFI01).chosen is not None
        assert "1 file could not be read" in source.find("flat", WFI01).explanation

    def test_science_products_are_no_candidates(self, folder: Path) -> None:
        import roman_datamodels.datamodels as rdm

        rdm.ImageModel.create_fake_data(shape=(16, 16)).save(folder / "r0000101001001001001_0001_wfi01_f158_cal.asdf")
        assert FolderSource(folder).types() == {"gain": 2, "mask": 1}

    def test_a_file_that_does_not_say_its_detector_is_not_chosen(self, tmp_path: Path, write: Any) -> None:
        path = write(tmp_path / "odd", "gain", raw=True, meta={"instrument": {"name": "WFI"}})
        found = FolderSource(path.parent).find("gain", WFI01)
        assert found.chosen is None
        assert "does not say which detector" in found.explanation

    def test_a_missing_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ReferenceNotFoundError, match="not a folder"):
            FolderSource(tmp_path / "nowhere")


class TestCrdsCacheSource(SelectingContract):
    @pytest.fixture
    def source(self, cache: Path) -> CrdsCacheSource:
        return CrdsCacheSource(cache)

    def test_the_latest_context_is_the_default(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CRDS_CONTEXT", raising=False)
        assert CrdsCacheSource(cache).context == "roman_0002.pmap"
        assert CrdsCacheSource(cache, "roman_0001.pmap").context == "roman_0001.pmap"
        config = cache / "config" / "roman" / "server_config"
        config.parent.mkdir(parents=True)
        config.write_text("{'latest_context': 'roman_0001.pmap', 'edit_context': 'roman_0002.pmap'}")
        assert CrdsCacheSource(cache).context == "roman_0001.pmap"
        assert CrdsCacheSource(cache, "roman-edit").context == "roman_0002.pmap"
        monkeypatch.setenv("CRDS_CONTEXT", "roman_0002.pmap")
        monkeypatch.setenv("CRDS_PATH", str(cache))
        assert CrdsCacheSource().context == "roman_0002.pmap"

    def test_not_applicable_by_rule_and_by_context(self, source: CrdsCacheSource) -> None:
        assert source.find("gain", WFI01 | {"detector": "WFI02"}).not_applicable
        assert source.find("area", WFI01).not_applicable
        assert source.types() == ("area", "gain", "mask")

    def test_all_references_in_one_folder(self, cache: Path) -> None:
        folder = cache / "references" / "roman"
        for path in (folder / "wfi").iterdir():
            path.rename(folder / path.name)
        chosen = CrdsCacheSource(cache).find("gain", WFI01).chosen
        assert chosen is not None
        assert chosen.path == folder / "roman_wfi_gain_0002.asdf"

    def test_a_file_that_is_not_in_the_cache_is_still_named(self, cache: Path) -> None:
        (cache / "references" / "roman" / "wfi" / "roman_wfi_gain_0002.asdf").unlink()
        source = CrdsCacheSource(cache)
        chosen = source.find("gain", WFI01).chosen
        assert chosen is not None
        assert chosen.name == "crds://roman_wfi_gain_0002.asdf"
        assert source.locate(chosen.name) is None

    def test_an_instrument_context(self, cache: Path) -> None:
        assert CrdsCacheSource(cache, "roman_wfi_0001.imap").find("gain", WFI01).chosen is not None

    def test_files_that_the_server_marked_as_bad_are_refused(self, cache: Path) -> None:
        config = cache / "config" / "roman" / "server_config"
        config.parent.mkdir(parents=True)
        config.write_text("{'bad_files_list': ['roman_wfi_gain_0002.asdf']}")
        with pytest.raises(ReferenceNotFoundError, match=r"roman_wfi_gain_0002\.asdf .*marked as scientifically bad"):
            CrdsCacheSource(cache).find("gain", WFI01)
        assert CrdsCacheSource(cache, allow_bad=True).find("gain", WFI01).chosen is not None

    def test_what_is_missing_is_named(self, cache: Path, tmp_path: Path) -> None:
        with pytest.raises(ReferenceNotFoundError, match="mappings/roman"):
            CrdsCacheSource(tmp_path)
        with pytest.raises(ReferenceNotFoundError, match=r"roman_0058\.pmap is not in .*roman_0001\.pmap"):
            CrdsCacheSource(cache, "roman_0058.pmap")
        with pytest.raises(OptionError, match="'roman-nonsense'"):
            CrdsCacheSource(cache, "roman-nonsense")
        (cache / "mappings" / "roman" / "roman_wfi_gain_0001.rmap").unlink()
        with pytest.raises(ReferenceNotFoundError, match=r"roman_wfi_gain_0001\.rmap.*crds sync"):
            CrdsCacheSource(cache).find("gain", WFI01)

    def test_a_damaged_server_config_is_named(self, cache: Path) -> None:
        config = cache / "config" / "roman" / "server_config"
        config.parent.mkdir(parents=True)
        config.write_text("__import__('os').getcwd()")
        with pytest.raises(FileFormatError, match="server_config"):
            CrdsCacheSource(cache)


class TestCrdsSource(SelectingContract):
    @pytest.fixture
    def source(self, fake_crds: FakeCrds) -> CrdsSource:
        return CrdsSource()

    def test_context_and_version_come_from_the_package(self, fake_crds: FakeCrds) -> None:
        assert CrdsSource().context == "roman_0002.pmap"
        assert CrdsSource("roman_0001.pmap").context == "roman_0001.pmap"
        assert CrdsSource().version == "14.0.3"

    def test_not_applicable(self, source: CrdsSource) -> None:
        assert source.find("gain", WFI01 | {"detector": "WFI02"}).not_applicable

    def test_a_named_file_is_fetched(self, source: CrdsSource) -> None:
        path = source.locate("crds://roman_wfi_gain_0009.asdf")
        assert path is not None
        assert path.is_file()
        with pytest.raises(ReferenceNotFoundError, match="not known to CRDS server"):
            source.locate("crds://roman_wfi_gain_0077.asdf")

    @pytest.mark.parametrize("failure", [SystemExit(-1), OSError("network is unreachable"), RuntimeError("")])
    def test_failures_of_the_package_become_one_error(
        self, fake_crds: FakeCrds, failure: BaseException, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CRDS_SERVER_URL", raising=False)
        source = CrdsSource("roman_0001.pmap")
        assert source.context
        fake_crds.failure = failure
        with pytest.raises(
            ReferenceNotFoundError, match=r"could not choose a gain reference.*CRDS_SERVER_URL \(not set"
        ):
            source.find("gain", WFI01)

    def test_without_the_package_the_remedy_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "crds", None)
        with pytest.raises(MissingSoftwareError, match=r"pip install roman-nexus\[crds\]"):
            CrdsSource().find("gain", WFI01)


class TestRecordedSource(SourceContract):
    @pytest.fixture
    def source(self, cache: Path) -> RecordedSource:
        meta = {
            "ref_file": {
                "gain": "crds://roman_wfi_gain_0001.asdf",
                "mask": "crds://roman_wfi_mask_0002.asdf",
                "dark": "N/A",
                "flat": "",
                "crds": {"context": "roman_0058.pmap", "version": "13.1.0"},
            }
        }
        return RecordedSource(meta, CrdsCacheSource(cache))

    def test_exactly_the_recorded_files_whatever_the_rules_say(self, source: RecordedSource) -> None:
        for start in ("2019-01-01", "2027-01-01"):
            chosen = source.find("gain", WFI01 | {"start_time": start}).chosen
            assert chosen is not None
            assert chosen.name == "crds://roman_wfi_gain_0001.asdf"
        assert (source.context, source.version) == ("roman_0058.pmap", "13.1.0")

    def test_what_did_not_apply_and_what_is_not_recorded(self, source: RecordedSource) -> None:
        assert source.find("dark", WFI01).not_applicable
        for reftype in ("flat", "linearity"):
            found = source.find(reftype, WFI01)
            assert found.chosen is None
            assert "does not record" in found.explanation

    def test_a_recorded_path(self, library: Path) -> None:
        recorded = RecordedSource({"gain": str(library / "gain_WFI01.asdf"), "flat": "/gone/flat.asdf"}, None)
        gain, flat = (recorded.find(reftype, WFI01).chosen for reftype in ("gain", "flat"))
        assert gain is not None
        assert gain.path == library / "gain_WFI01.asdf"
        assert flat is not None
        assert flat.path == Path("/gone/flat.asdf")

    def test_nonsense_metadata(self) -> None:
        with pytest.raises(OptionError, match="expected a mapping"):
            RecordedSource({"ref_file": "none"}, None)
