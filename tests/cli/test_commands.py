"""Each command on a small archive, as a user types it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import roman_nexus as rn
from roman_nexus.cli.main import main

pytestmark = pytest.mark.timeout(300)  # whoever comes first compiles the kernels

NAME = "r0099101001001001001_0001_wfi01_f158"
LEVEL1 = f"demo/l1/{NAME}_uncal.asdf"
PROMPT = f"demo/l2/{NAME}_cal.asdf"
FLAT = "demo/references/roman_wfi_flat_0601.asdf"


@pytest.fixture
def my_flat(workplace: Path) -> str:
    """A flat that is 2 % higher everywhere."""
    flat = rn.open(FLAT)
    flat.data = np.array(flat.data) * np.float32(1.02)
    flat.save("my_flat.asdf")
    return "my_flat.asdf"


# ------------------------------------------------------------------------------------------------------ reprocess
def test_dry_run_prints_the_plan_and_writes_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reprocess", LEVEL1, "-o", "out", "--dry-run", "-r", "flat=skip"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Plan for {NAME} (WFI01, F158, WFI_IMAGE, 8 resultants of 256 x 256)")
    assert "flat_field       skip      no flat reference" in said
    assert not Path("out").exists()


def test_dry_run_as_json(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reprocess", LEVEL1, "--dry-run", "--json", "-p", "ramp_fit.algorithm=ols_cas22"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    steps = {step["name"]: step for step in plan["steps"]}
    assert steps["ramp_fit"]["status"] == "run"
    assert steps["ramp_fit"]["why"] == "algorithm likelihood -> ols_cas22"
    assert steps["ramp_fit"]["options"]["algorithm"] == "ols_cas22"
    assert plan["memory_mb"] > 100


def test_rerun_with_a_flat_and_comparison(workplace: Path, my_flat: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reprocess", LEVEL1, "-o", "out", "--reference", f"flat={my_flat}", "--compare", PROMPT]) == 0
    said = capsys.readouterr().out
    assert "flat reference changed (roman_wfi_flat_0601.asdf -> my_flat.asdf)" in said
    assert f"wrote out/{NAME}_cal.asdf\nwrote out/{NAME}_wcs.asdf" in said
    assert "Different: data, err" in said
    new, old = rn.open(f"out/{NAME}_cal.asdf"), rn.open(PROMPT)
    good = old.dq == 0
    np.testing.assert_allclose(new.data[good] * 1.02, old.data[good], rtol=1e-6)
    assert new.meta.ref_file.flat == str(workplace / my_flat)


def test_result_as_json(workplace: Path, my_flat: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reprocess", LEVEL1, "-o", "out", "-r", f"flat={my_flat}", "--compare", PROMPT, "--json"]
    assert main(words) == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert record["files"] == [f"out/{NAME}_cal.asdf", f"out/{NAME}_wcs.asdf"]
    assert record["comparison"]["identical"] is False
    assert record["seconds"]["wall"] > 0
    assert {"plan", "warnings", "peak_memory_mb"} <= record.keys()
    assert not shown.err


def test_ramp_under_a_name(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    assert main(["reprocess", LEVEL1, "--to", "linearity", "-o", "out/ramp.asdf"]) == 0
    assert "wrote out/ramp.asdf" in capsys.readouterr().out
    assert rn.peek("out/ramp.asdf")["data"].shape == (8, 256, 256)
    words = ["reprocess", "out/ramp.asdf", "--references", "demo/references", "-o", "out"]
    assert main(words) == 0
    assert "linearity        in input" in capsys.readouterr().out


def test_skipping_without_cache(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reprocess", LEVEL1, "-o", "out", "--skip", "dark_current", "--skip", "flat_field", "--no-cache"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "dark_current     skip      asked for" in said
    assert "cached" not in said
    status = rn.open(f"out/{NAME}_cal.asdf").meta.cal_step
    assert (status.dark, status.flat_field, status.photom) == ("SKIPPED", "SKIPPED", "COMPLETE")


def test_missing_optional_reference_is_told(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(FLAT).unlink()
    assert main(["reprocess", LEVEL1, "-o", "out"]) == 0
    assert "warning: no flat reference for detector WFI01" in capsys.readouterr().err
    assert main(["reprocess", LEVEL1, "-o", "strict", "--strict"]) == 3
    assert "no flat reference" in capsys.readouterr().err
    assert not Path("strict").exists()


def test_schema_of_the_setting(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROMAN_NEXUS_SCHEMA", "2.1.0")
    assert main(["reprocess", LEVEL1, "-o", "old"]) == 0
    assert main(["reprocess", LEVEL1, "-o", "new", "--schema", "newest"]) == 0
    from roman_nexus.products import schema_version

    old, new = (schema_version(f"{folder}/{NAME}_cal.asdf").version for folder in ("old", "new"))
    assert old == schema_version(PROMPT).version
    assert new >= old


# ------------------------------------------------------------------------------------------------------- the others
def test_info(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", LEVEL1, PROMPT]) == 0
    said = capsys.readouterr().out
    assert f"{LEVEL1} (Level 1 uncalibrated ramp)" in said
    assert "  instrument.detector                WFI01" in said
    assert "  array data                         uint16    8 x 256 x 256" in said
    assert "  cal_step.flat_field                COMPLETE" in said
    assert "guide_star" not in said
    assert main(["info", PROMPT, "--all"]) == 0
    assert "guide_star" in capsys.readouterr().out


def test_info_as_json(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", LEVEL1, FLAT, "--json"]) == 0
    level1, flat = json.loads(capsys.readouterr().out)
    assert level1["meta"]["instrument"]["optical_element"] == "F158"
    assert flat["meta"]["reftype"] == "FLAT"


def test_info_shows_the_sound_files(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.asdf").write_text("no ASDF at all")
    assert main(["info", "text.asdf", "gone.asdf", PROMPT]) == 3
    shown = capsys.readouterr()
    assert "image_median" in shown.out
    assert "text.asdf" in shown.err
    assert "gone.asdf" in shown.err


def test_references(workplace: Path, my_flat: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["references", LEVEL1, "-r", f"flat={my_flat}", "-r", "dark=skip"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["type", "file", "origin", "why"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert "given by the user" in rows["flat"]
    assert "skipped by the user" in rows["dark"]
    assert "useafter 2020-01-01 is taken" in rows["gain"]


def test_references_as_json(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = rn.open(FLAT)
    flat.meta.instrument.detector = "WFI07"
    flat.save("other.asdf")
    words = ["references", LEVEL1, "--json", "-r", "flat=other.asdf", "-r", "dark=skip", "--waive", "flat=detector"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["flat"]["waived"] == ["detector"]
    assert found["dark"]["applies"] is False
    assert found["mask"]["name"].endswith("roman_wfi_mask_0001.asdf")


def test_references_explained(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["references", LEVEL1, "--explain"]) == 0
    assert "flat: " in capsys.readouterr().out


def test_compare(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = PROMPT.replace("_0001_wfi", "_0002_wfi")
    assert main(["compare", PROMPT, PROMPT, "--fail-on-difference"]) == 0
    assert "Identical" in capsys.readouterr().out
    assert main(["compare", PROMPT, other]) == 0
    assert main(["compare", PROMPT, other, "--fail-on-difference"]) == 1
    assert main(["compare", PROMPT, other, "--json"]) == 0
    assert "Different: data" in (said := capsys.readouterr().out)
    assert json.loads(said[said.index("\n{\n") :])["kind"] == "image"


def test_report_as_a_page(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    assert main(["compare", PROMPT, PROMPT, "--output", "report.html"]) == 0
    assert "wrote report.html" in capsys.readouterr().err
    page = Path("report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "data:image/png;base64," in page


def test_cache(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "ls", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed["entries"]) >= 2
    assert listed["bytes"] == sum(entry["bytes"] for entry in listed["entries"]) > 1e6
    assert main(["cache", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(listed["entries"]) + 1
    assert lines[-1].endswith(f"of 20000 MB in {workplace / 'cache'}")
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.startswith(f"removed {len(listed['entries'])} results, ")
    assert main(["cache", "ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == []


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roman_nexus.engine.cost.available_memory_mb", lambda: 5000.0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**11))
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "no problems found" in said
    assert "roman-datamodels" in said
    monkeypatch.setattr("roman_nexus.engine.cost.available_memory_mb", lambda: 300.0)
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == ["only 300 MB of memory are free; a full frame needs about 1000 MB"]
    assert report["environment"]["ROMAN_NEXUS_PROGRESS"] == "off"


def test_doctor_sees_a_full_disk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roman_nexus.engine.cost.available_memory_mb", lambda: 5000.0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**8))
    assert main(["doctor"]) == 1
    assert "problem: only 100 MB are free for the cache in " in capsys.readouterr().out


def test_demo_tour(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "run", "demo", "--detectors", "1", "--dithers", "2", "--size", "256"]) == 0
    said = capsys.readouterr().out
    assert "flat reference changed (roman_wfi_flat_0601.asdf -> my_flat.asdf)" in said
    assert "in the disc the rates are 0.98039 of the archive's" in said
    assert "the truth is recovered" in said
    for path in (f"demo/rerun/{NAME}_cal.asdf", "demo/rerun/comparison.html"):
        assert f"wrote {workplace / path}" in said
        assert Path(path).is_file()


def test_demo_tour_notices_wrong_rates(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdict depends on the product: a rate image that is 10 % too high is not the truth."""
    monkeypatch.setattr("roman_nexus.comparison.Comparison.save", lambda _, path: path)  # no picture needed
    product = rn.open(PROMPT)
    product.data = np.array(product.data) * np.float32(1.1)
    product.save("wrong.asdf")
    Path("wrong.asdf").replace(PROMPT)
    assert main(["demo", "run", "demo", "--detectors", "1", "--dithers", "2", "--size", "256"]) == 1
    assert "the truth is NOT recovered" in capsys.readouterr().out


def test_demo_make_says_what_to_do_next(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "make", "demo", "--detectors", "1", "--dithers", "2", "--size", "256"]) == 0
    said = capsys.readouterr().out
    assert "  2 uncal  demo/l1" in said
    assert f"try: roman-nexus reprocess {LEVEL1}" in said
