"""All references of a run at once."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roman_nexus.errors import (
    FileFormatError,
    MissingReferenceWarning,
    OptionError,
    ReferenceMismatchError,
    ReferenceNotFoundError,
)
from roman_nexus.references import FolderSource, RecordedSource, Reference, ReferenceSet, Selection, resolve
from roman_nexus.steps.step import ExposureInfo, Needs

OPTIONAL = ("mask", "saturation", "refpix", "linearity", "inverselinearity", "integralnonlinearity", "dark", "flat")
NEEDS = [Needs(reftype, missing="skip") for reftype in OPTIONAL] + [
    Needs(reftype) for reftype in ("gain", "readnoise", "darkdecaysignal", "distortion", "photom")
]


@pytest.fixture
def source(library: Path) -> FolderSource:
    return FolderSource(library)


def test_everything_from_a_folder(source: FolderSource, library: Path, exposure: ExposureInfo) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = resolve(NEEDS, exposure, source=source)
    with found:
        assert set(found) == {need.reftype for need in NEEDS}
        for reftype, reference in found.items():
            assert isinstance(reference, Reference)
            assert reference.path == library / f"{reftype}_WFI01.asdf"
            assert reference.origin == source.name
        assert found["gain"].array("data").shape == (256, 256)


def test_it_can_be_read_as_text_and_html(source: FolderSource, exposure: ExposureInfo) -> None:
    overrides = {"flat": np.ones((248, 248)), "dark": "skip"}
    with resolve(NEEDS, exposure, source=source, overrides=overrides) as found:
        lines = repr(found).splitlines()
        assert lines[0].split() == ["type", "file", "origin", "why"]
        assert len(lines) == 1 + len(NEEDS)
        flat = next(line for line in lines if line.startswith("flat"))
        assert "memory://flat" in flat
        assert "override" in flat
        html = found._repr_html_()
        assert html.count("<tr>") == 1 + len(NEEDS)
        assert "gain_WFI01.asdf" in html
        assert "1 candidate for GAIN WFI01" in found.explain()
        assert "skipped by the user" in found.explain()


def test_html_is_escaped() -> None:
    found = ReferenceSet({"flat": Reference("flat", "<b>.asdf", origin="a & b", why="<script>")})
    assert "<script>" not in found._repr_html_()
    assert "a &amp; b" in found._repr_html_()


def test_what_goes_into_the_product(source: FolderSource, library: Path, exposure: ExposureInfo) -> None:
    with resolve(
        [Needs("gain"), Needs("dark", missing="skip")], exposure, source=source, overrides={"dark": "N/A"}
    ) as found:
        assert found.ref_file() == {
            "gain": str(library / "gain_WFI01.asdf"),
            "dark": "N/A",
            "crds": {"context": "N/A", "version": "N/A"},
        }
        assert found["dark"] is None
        assert found.records["dark"].why == "skipped by the user"
    recorded = {"gain": str(library / "gain_WFI01.asdf"), "crds": {"context": "roman_0058.pmap", "version": "13.1"}}
    with resolve([Needs("gain")], exposure, source=RecordedSource(recorded, None)) as found:
        assert found.ref_file()["crds"] == {"context": "roman_0058.pmap", "version": "13.1"}


def test_overrides_come_before_the_source(
    source: FolderSource, exposure: ExposureInfo, tmp_path: Path, write: Any
) -> None:
    mine = write(tmp_path, "readnoise", name="mine.asdf")
    overrides = {"gain": np.full((256, 256), 2.0), "READNOISE": mine, "mask": None, "flat": ""}
    with resolve(NEEDS, exposure, source=source, overrides=overrides) as found:
        assert found["gain"].array("data")[0, 0] == 2.0
        assert found["readnoise"].name == str(mine)
        for reftype in ("mask", "flat"):  # None and "" mean no override
            assert found[reftype].origin == source.name


class CountingSource:
    """Says what it was asked; finds nothing."""

    name, version = "nothing", None

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def context(self) -> None:
        self.asked.append("context")

    def find(self, reftype: str, parameters: Any) -> Selection:
        self.asked.append(reftype)
        self.parameters = parameters
        return Selection(reftype, None, "there is nothing here")

    def locate(self, name: str) -> None:
        return None


def test_the_source_is_only_asked_for_what_is_not_given(exposure: ExposureInfo) -> None:
    source = CountingSource()
    needs = [Needs("gain"), Needs("dark", missing="skip")]
    ones = np.ones((256, 256))
    resolve(needs, exposure, source=source, overrides={"gain": ones, "dark": "skip"})
    assert source.asked == []
    with pytest.warns(MissingReferenceWarning):
        resolve(needs, exposure, source=source, overrides={"gain": ones}, parameters={"start_time": "2020-02-02"})
    assert source.asked == ["context", "dark"]
    assert source.parameters["ROMAN.META.EXPOSURE.START_TIME"] == "2020-02-02"
    assert source.parameters["ROMAN.META.INSTRUMENT.DETECTOR"] == "WFI01"


@pytest.mark.parametrize(
    ("missing", "effect"), [("skip", "the step that needs it is skipped"), ("without", "runs without")]
)
def test_missing_optional_references_are_told(exposure: ExposureInfo, missing: Any, effect: str) -> None:
    needs = [Needs("dark", missing=missing)]
    with pytest.warns(MissingReferenceWarning, match=rf"no dark reference for detector WFI01.*{effect}.*nothing here"):
        found = resolve(needs, exposure, source=CountingSource())
    assert found["dark"] is None
    assert found.ref_file()["dark"] == "N/A"
    with pytest.raises(ReferenceNotFoundError, match="no dark reference"):
        resolve(needs, exposure, source=CountingSource(), strict=True)


def test_a_missing_required_reference_names_everything(exposure: ExposureInfo) -> None:
    with pytest.raises(ReferenceNotFoundError) as caught:
        resolve([Needs("gain")], exposure, source=CountingSource())
    for word in ("gain", "WFI01", "F158", "WFI_IMAGE", "2027-04-01T00:00:00.000", "nothing here", "references={'gain'"):
        assert word in str(caught.value)
    with pytest.raises(ReferenceNotFoundError, match="no reference source is set"):
        resolve([Needs("gain")], exposure, source=None)


def test_the_strictest_need_counts(exposure: ExposureInfo) -> None:
    with pytest.raises(ReferenceNotFoundError):
        resolve([Needs("gain", missing="without"), Needs("gain")], exposure, source=CountingSource())


def test_all_problems_are_told_together(source: FolderSource, exposure: ExposureInfo, tmp_path: Path) -> None:
    broken = tmp_path / "broken.asdf"
    broken.write_bytes(b"#ASDF 1.0.0\n")
    overrides = {
        "flat": np.ones((100, 100)),
        "mask": tmp_path / "nowhere.asdf",
        "dark": broken,
        "gain": np.zeros((256, 256)),
        "linearity": {"coefs": 1},
    }
    with pytest.raises(ReferenceNotFoundError) as caught:
        resolve(NEEDS, exposure, source=source, overrides=overrides)
    message = str(caught.value)
    assert message.startswith("5 problems with references:")
    for words in ("nowhere.asdf does not exist", "broken.asdf", "(100, 100)", "zero everywhere", "linearity has coefs"):
        assert words in message


def test_the_class_of_a_single_problem(source: FolderSource, exposure: ExposureInfo, tmp_path: Path) -> None:
    broken = tmp_path / "broken.asdf"
    broken.write_bytes(b"#ASDF 1.0.0\n")
    for given, kind in ((np.ones((4, 4)), ReferenceMismatchError), (broken, FileFormatError), ({}, OptionError)):
        with pytest.raises(kind):
            resolve(NEEDS, exposure, source=source, overrides={"gain": given})


def test_a_file_that_the_source_names_but_does_not_have(exposure: ExposureInfo) -> None:
    recorded = RecordedSource({"gain": "/gone/gain.asdf", "dark": "crds://roman_wfi_dark_0001.asdf"}, None)
    with pytest.raises(ReferenceNotFoundError, match=r"not at /gone/gain\.asdf"):
        resolve([Needs("gain")], exposure, source=recorded)
    # also an optional one: the product was made with it
    with pytest.raises(ReferenceNotFoundError, match=r"crds://roman_wfi_dark_0001\.asdf applies"):
        resolve([Needs("dark", missing="skip")], exposure, source=recorded)


def test_waived_mismatches_are_kept_in_the_record(source: FolderSource, exposure: ExposureInfo, library: Path) -> None:
    other = replace(exposure, optical_element="F129")
    arguments: dict[str, Any] = {"source": source, "overrides": {"flat": library / "flat_WFI01.asdf"}}
    with pytest.raises(ReferenceMismatchError, match=r"waive=\{'flat': \['optical_element'\]\}"):
        resolve([Needs("flat")], other, **arguments)
    with resolve([Needs("flat")], other, waive={"flat": ["optical_element", "useafter"]}, **arguments) as found:
        assert [item.field for item in found.waived["flat"]] == ["optical_element"]
        assert "waived optical_element" in found.explain()
        assert "waived optical_element" in repr(found)


def test_requests_that_make_no_sense(source: FolderSource, exposure: ExposureInfo) -> None:
    with pytest.raises(OptionError, match=r"'flats' is not used .*mask, saturation"):
        resolve(NEEDS, exposure, source=source, overrides={"flats": "skip"})
    with pytest.raises(OptionError, match="gain cannot be skipped"):
        resolve(NEEDS, exposure, source=source, overrides={"gain": "skip"})
    with pytest.raises(OptionError, match="waive names 'epsf'"):
        resolve(NEEDS, exposure, source=source, waive={"epsf": ["detector"]})
    with pytest.raises(OptionError, match="'colour' is not something that is compared"):
        resolve(NEEDS, exposure, source=source, waive={"flat": ["colour"]})


def test_importing_is_cheap() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from roman_nexus.references import resolve, FolderSource, CrdsSource, make_reference; "
        "print([name for name in ('asdf', 'astropy', 'roman_datamodels', 'crds', 'yaml') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
