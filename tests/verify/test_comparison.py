from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from roman_nexus.errors import InputError, OutputError, StepError
from roman_nexus.verify import verification, verify
from roman_nexus.verify.agreement import NOTHING, compare_arrays
from roman_nexus.verify.mission import run_mission
from roman_nexus.verify.report import VerifyReport
from roman_nexus.verify.stepwise import ArrayRow, ValueRow, compare_image, compare_metadata, compare_ramp
from roman_nexus.verify.tolerance import COUNTS, FLAGS, HALF, RAMP, rate_tolerance, tolerance_for

PATTERN = [[1], [2, 3], [4]]


# ---------------------------------------------------------------------------------------- tolerances
@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("data", "f4", RAMP),
        ("border_ref_pix_left", "f4", RAMP),
        ("groupdq", "u1", FLAGS),
        ("dq_border_ref_pix_top", "u4", FLAGS),
        ("err", "f2", HALF),
        ("amp33", "u2", COUNTS),
    ],
)
def test_every_array_has_its_criterion(name, dtype, expected):
    assert tolerance_for(name, np.dtype(dtype)) is expected


def test_the_rate_has_its_own_criterion():
    rate = rate_tolerance(PATTERN, 3.0)
    assert tolerance_for("data", np.dtype("f4"), rate) is rate
    assert rate.allowed == (2e-6, pytest.approx(4 * 2.0**-10 / 9.0))  # the ulp of 10 000 in float32 is 2**-10


def test_a_criterion_counts_shares():
    theirs = np.zeros(10000, dtype=np.float32)
    ours = theirs.copy()
    ours[0] = 1
    assert RAMP.judge(compare_arrays(ours, theirs, allowed=RAMP.allowed))
    ours[1] = np.nan
    assert not RAMP.judge(compare_arrays(ours, theirs, allowed=RAMP.allowed))
    assert not RAMP.judge(NOTHING)


def test_flags_must_be_the_same_and_not_nearly():
    theirs = np.zeros(100, dtype=np.uint8)
    ours = theirs.copy()
    ours[:5] = 1  # one bit, so within one
    assert not FLAGS.judge(compare_arrays(ours, theirs, flags=True))


# -------------------------------------------------------------------------------------- array by array
@pytest.fixture
def image():
    rng = np.random.default_rng(5)
    shape = (20, 30)
    return {
        "data": rng.normal(5, 1, shape).astype(np.float32),
        "dq": rng.integers(0, 2, shape, dtype=np.uint32) * 2,
        "err": rng.uniform(0.1, 1, shape).astype(np.float16),
        "jump_indices": np.array([[1, 2, 3], [2, 4, 4]], dtype=np.int16),
        "amp33": rng.integers(0, 9, (3, 20, 128), dtype=np.uint16),
    }


def mission_of(fake_python, fake_run, tmp_path, arrays, meta=None):
    return run_mission(fake_python(fake_run(arrays, meta or {})), tmp_path / "l1.asdf", {}, tmp_path / "mission")


def test_equal_images_agree(fake_python, fake_run, tmp_path, image):
    mission = mission_of(fake_python, fake_run, tmp_path, {"final": image})
    rows = compare_image(image, mission, PATTERN, 3.0)
    assert [row.array for row in rows] == ["data", "dq", "err", "jump_indices", "amp33"]
    assert all(row.passed for row in rows)


def test_bad_pixels_are_not_compared_in_the_data(fake_python, fake_run, tmp_path, image):
    image["dq"][3, 4] = 1
    mission = mission_of(fake_python, fake_run, tmp_path, {"final": image})
    ours = {name: array.copy() for name, array in image.items()}
    ours["data"][3, 4] = 1e6
    rows = {row.array: row for row in compare_image(ours, mission, PATTERN, 3.0)}
    assert rows["data"].passed
    assert rows["data"].agreement.compared == 599
    ours["data"][0, 0] += 1
    rows = {row.array: row for row in compare_image(ours, mission, PATTERN, 3.0)}
    assert not rows["data"].passed
    assert rows["data"].agreement.worst[0].index == (0, 0)


def test_what_is_missing_or_of_another_kind_fails_with_a_reason(fake_python, fake_run, tmp_path, image):
    mission = mission_of(fake_python, fake_run, tmp_path, {"final": image})
    ours = {**image, "data": image["data"].astype(np.float64), "dq": image["dq"][:5]}
    del ours["err"]
    rows = {row.array: row for row in compare_image(ours, mission, PATTERN, 3.0)}
    assert [name for name, row in rows.items() if not row.passed] == ["data", "dq", "err"]
    assert "float64" in rows["data"].note
    assert "(5, 30)" in rows["dq"].note
    assert rows["err"].note == "ours has no such array"


def test_jumps_are_compared_as_a_set(fake_python, fake_run, tmp_path, image):
    mission = mission_of(fake_python, fake_run, tmp_path, {"final": image})
    ours = {**image, "jump_indices": np.array([[1, 2, 3], [2, 4, 5]], dtype=np.int16)}
    row = next(row for row in compare_image(ours, mission, PATTERN, 3.0) if row.array == "jump_indices")
    assert not row.passed
    assert row.note == "1 only ours, 1 only theirs"
    assert (row.agreement.compared, row.agreement.identical) == (3, 1)


def test_a_ramp_is_compared_in_what_the_step_may_change(fake_python, fake_run, tmp_path):
    flags = np.zeros((2, 4, 5), dtype=np.uint8)
    mission = mission_of(fake_python, fake_run, tmp_path, {"saturation": {"groupdq": flags}})
    rows = compare_ramp("saturation", {"groupdq": flags, "data": np.zeros((2, 4, 5))}, mission)
    assert [(row.array, row.passed) for row in rows] == [("groupdq", True)]
    changed = flags.copy()
    changed[1, 2, 3] = 2
    assert not compare_ramp("saturation", {"groupdq": changed}, mission)[0].passed


def sky(x, y, with_bounding_box=False):
    return 10 + 1e-5 * np.asarray(x), -20 + 1e-5 * np.asarray(y)


def meta_of(**changes):
    x, y = np.array([0.0, 100.0]), np.array([0.0, 50.0])
    ra, dec = sky(x, y)
    wcs = {"x": x.tolist(), "y": y.tolist(), "ra": ra.tolist(), "dec": dec.tolist()}
    meta = {
        "cal_step": {"dq_init": "COMPLETE", "refpix": "SKIPPED", "tweakreg": "SKIPPED"},
        "photometry": {"pixel_area": 2.8e-13, "conversion_megajanskys": None},
        "statistics": {"image_median": 0.5, "image_rms": float("nan")},
        "wcsinfo": {"s_region": "POLYGON"},
        "wcs": wcs,
    }
    return {**meta, **changes}


def test_metadata_agree_to_what_can_be_expected(fake_python, fake_run, tmp_path):
    mission = SimpleNamespace(meta=meta_of())
    ours = meta_of(cal_step={"dq_init": "COMPLETE", "refpix": "SKIPPED", "tweakreg": "INCOMPLETE"})
    rows = {row.name: row for row in compare_metadata(ours, sky, mission)}
    assert [name for name, row in rows.items() if not row.passed] == []
    assert rows["cal_step.tweakreg"].note == "not a step of this comparison"
    ours["cal_step"]["refpix"] = "COMPLETE"
    ours["photometry"]["conversion_megajanskys"] = 1.0
    ours["statistics"]["image_median"] = 0.5001
    ours["wcsinfo"] = {"s_region": "CIRCLE"}
    rows = {row.name: row for row in compare_metadata(ours, sky, mission)}
    failed = [name for name, row in rows.items() if not row.passed]
    assert failed == ["cal_step.refpix", "photometry.conversion_megajanskys", "statistics.image_median",
                      "wcsinfo.s_region"]  # fmt: skip


def test_sky_positions_are_compared_in_mas(fake_python):
    def moved(x, y, with_bounding_box=False):
        ra, dec = sky(x, y)
        return ra, dec + 0.002 / 3.6e6

    row = next(row for row in compare_metadata(meta_of(), moved, SimpleNamespace(meta=meta_of())) if row.name == "wcs")
    assert not row.passed
    assert row.ours.startswith("0.002 mas")
    row = next(row for row in compare_metadata(meta_of(), None, SimpleNamespace(meta=meta_of())) if row.name == "wcs")
    assert (row.ours, row.theirs, row.passed) == ("none", "a WCS", False)
    neither = SimpleNamespace(meta=meta_of(wcs=None))
    assert next(row for row in compare_metadata(meta_of(), None, neither) if row.name == "wcs").passed


# --------------------------------------------------------------------------------------------- report
@pytest.fixture
def report():
    good = compare_arrays(np.zeros(5, np.float32), np.zeros(5, np.float32))
    bad = compare_arrays(np.float32([0, np.nan]), np.float32([1, 2])).labelled("<data>")
    rows = (ArrayRow("refpix", "data", good, "all", True), ArrayRow("image", "data", bad, "all", False))
    return VerifyReport("l1.asdf", "WFI01", rows, (), versions={"romancal": "1.1.0"}, seconds={"wall": 3.0})


def test_the_report_says_what_fails_and_where(report):
    text = str(report)
    assert not report.passed
    assert "l1.asdf (WFI01): roman_nexus against romancal 1.1.0" in text
    assert "1 NaN on one side only" in text
    assert "<data> [1] ours nan theirs 2" in text
    assert "does not agree: 1 of 2" in text
    assert "roman_nexus: 3.0 s wall" in text


def test_long_values_are_cut_in_the_text_only():
    region = "POLYGON ICRS " + "10.109958119 " * 8
    report = VerifyReport("l1.asdf", "WFI01", (), (ValueRow("wcsinfo.s_region", region, region, True),))
    assert region not in str(report)
    assert "POLYGON ICRS" in str(report)
    assert region in report.to_html()


def test_nothing_compared_is_no_agreement():
    assert not VerifyReport("l1.asdf", "WFI01", (), ()).passed


def test_the_report_is_saved_in_three_forms(report, tmp_path):
    page = report.save(tmp_path / "r.html").read_text()
    assert "&lt;data&gt;" in page
    assert "<data>" not in page
    assert json.loads(report.save(tmp_path / "r.json").read_text())["arrays"][1]["passed"] is False
    assert report.save(tmp_path / "r.txt").read_text() == str(report)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.json", "r.txt"]
    with pytest.raises(OutputError, match="cannot be written"):
        report.save(tmp_path / "nowhere" / "r.txt")


# --------------------------------------------------------------------------------------------- verify
@pytest.fixture
def ours(monkeypatch, image, tmp_path):
    """Our pipeline, replaced by what it would return."""
    flat = SimpleNamespace(applies=True, path=tmp_path / "flat.asdf", name="flat.asdf")
    ramp = {"groupdq": np.zeros((3, 20, 30), dtype=np.uint8)}
    stops = []

    def reprocess(path, request):
        stops.append(request.get("stop"))
        meta = meta_of(exposure={"read_pattern": PATTERN, "frame_time": 3.0})
        return SimpleNamespace(
            image=SimpleNamespace(arrays=image, meta=meta, wcs=sky), ramp=SimpleNamespace(arrays=ramp),
            references={"flat": flat, "dark": None}, plan=SimpleNamespace(shape=(3, 20, 30), detector="WFI01"),
            seconds={"wall": 0.5},
        )  # fmt: skip

    monkeypatch.setattr(verification, "_reprocess", reprocess)
    return SimpleNamespace(image=image, ramp=ramp, flat=flat, stops=stops)


def test_both_pipelines_run_and_are_compared(ours, fake_python, fake_run, tmp_path):
    body = fake_run({"saturation": {"groupdq": ours.ramp["groupdq"]}, "final": ours.image}, meta_of())
    lines = []
    report = verify("some/l1.asdf", environment=fake_python(body), steps=["saturation"], progress=lines.append)
    assert report.passed, str(report)
    assert ours.stops == [None, "saturation"]
    assert [row.step for row in report.arrays] == ["saturation", *["image"] * 5]
    assert report.references == {"flat": "flat.asdf", "dark": "N/A"}
    assert report.costs[-1].wall_s == 2.0
    assert "mission pipeline: saturation took 1.5 s" in lines


def test_a_difference_is_reported(ours, fake_python, fake_run, tmp_path):
    changed = {name: array.copy() for name, array in ours.image.items()}
    changed["err"][2, 2] *= 2
    body = fake_run({"final": changed}, meta_of())
    report = verify("l1.asdf", environment=fake_python(body), steps=[], folder=tmp_path / "kept")
    assert [row.array for row in report.failures] == ["err"]
    assert (tmp_path / "kept" / "final" / "err.npy").exists()


def test_references_in_memory_are_refused(ours, fake_python):
    ours.flat.path = None
    with pytest.raises(InputError, match=r"flat reference flat\.asdf is not a file"):
        verify("l1.asdf", environment=fake_python())


def test_steps_and_options_that_cannot_be_compared_are_refused(ours, fake_python):
    with pytest.raises(StepError, match="cannot compare after photom"):
        verify("l1.asdf", environment=fake_python(), steps=["photom"])
    with pytest.raises(InputError, match="options of refpix"):
        verify("l1.asdf", environment=fake_python(), options={"refpix": {"remove_offset": False}})


def test_a_disk_without_room_is_refused_before_the_run(ours, fake_python, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"need .* GB but .* free"):
        verify("l1.asdf", environment=fake_python())


def test_skipped_steps_are_not_compared(ours, fake_python, fake_run):
    body = fake_run({"saturation": {"groupdq": ours.ramp["groupdq"]}, "final": ours.image}, meta_of())
    report = verify("l1.asdf", environment=fake_python(body), skip=["saturation"])
    assert "saturation" not in {row.step for row in report.arrays}
