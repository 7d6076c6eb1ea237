"""Which steps an exposure takes, and what ``cal_step`` says of it: types, detectors, saturation, few resultants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roman_nexus as rn
from roman_nexus.demo.exposure import SimulatedExposure, simulate
from roman_nexus.demo.ramp import WFI18_TRANSIENT
from roman_nexus.demo.reference_files import reference_paths, write_references
from roman_nexus.demo.tour import pull_statistics
from roman_nexus.engine.result import Run
from roman_nexus.errors import DataWarning, InputError
from roman_nexus.steps.exposure.frame_timing import pixel_times

SHAPE = (128, 128)
ELEMENTS = ("F158", "GRISM", "PRISM", "DARK")
#: what the steps of the pipeline say after a run on an image of any detector but WFI18
IMAGE = {
    "dq_init": "COMPLETE", "saturation": "COMPLETE", "refpix": "COMPLETE", "dark_decay": "COMPLETE",
    "wfi18_transient": "N/A", "linearity": "COMPLETE", "ramp_fit": "COMPLETE", "dark": "COMPLETE",
    "assign_wcs": "COMPLETE", "photom": "COMPLETE", "flat_field": "COMPLETE",
    "flux": "INCOMPLETE", "outlier_detection": "INCOMPLETE", "skymatch": "INCOMPLETE",
    "source_catalog": "INCOMPLETE", "tweakreg": "INCOMPLETE",
}  # fmt: skip
LATER = dict.fromkeys(("source_catalog", "tweakreg"), "SKIPPED")
NO_FLAT = {**LATER, "flat_field": "SKIPPED"}


@dataclass
class Bench:
    """A folder of references and a place for exposures."""

    folder: Path

    def write(self, simulated: SimulatedExposure, name: str) -> Path:
        return simulated.write_l1(self.folder / f"{name}_uncal.asdf")

    def run(self, product: Any, **arguments: Any) -> Run:
        arguments = {"source": self.folder / "references", "cache": False, "progress": False, **arguments}
        return rn.reprocess(product, **arguments)


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("routing")
    (folder / "references").mkdir()
    write_references(simulate(shape=SHAPE).references, folder / "references", ELEMENTS)
    return Bench(folder)


@pytest.fixture(scope="module")
def imaging(bench) -> SimulatedExposure:  # type: ignore[no-untyped-def]
    return simulate(shape=SHAPE)


@pytest.fixture(scope="module")
def level1(bench, imaging) -> Path:  # type: ignore[no-untyped-def]
    return bench.write(imaging, "image")


def statuses(run: Run) -> dict[str, str]:
    found: dict[str, str] = dict(run.image.meta["cal_step"])
    return found


# ---------------------------------------------------------------------------------------- exposure types
@pytest.mark.parametrize(
    ("exposure_type", "element", "differences"),
    [("WFI_IMAGE", "F158", {}), ("WFI_LOLO", "F158", {}), ("WFI_WFSC", "F158", LATER),
     ("WFI_SPECTRAL", "GRISM", NO_FLAT), ("WFI_SPECTRAL", "PRISM", NO_FLAT), ("WFI_FLAT", "F158", NO_FLAT),
     ("WFI_IM_DARK", "DARK", NO_FLAT), ("WFI_SP_DARK", "DARK", NO_FLAT)],
)  # fmt: skip
def test_exposure_types(bench, tmp_path, exposure_type, element, differences) -> None:  # type: ignore[no-untyped-def]
    simulated = simulate(shape=SHAPE, exposure_type=exposure_type, optical_element=element)
    run = bench.run(bench.write(simulated, f"{exposure_type.lower()}_{element.lower()}"))
    assert statuses(run) == IMAGE | differences
    meta = run.image.meta
    assert meta["exposure"]["type"] == exposure_type
    assert meta["product_type"] == "l2"
    factors = set(meta["photometry"].values())
    assert factors == {None} if element != "F158" else min(factors) > 0
    assert np.isfinite(run.image.wcs(60.0, 60.0)).all()
    assert meta["wcsinfo"]["s_region"].startswith("POLYGON ICRS")
    flat = "N/A" if differences == NO_FLAT else "crds://roman_wfi_flat_0601.asdf"
    assert Path(meta["ref_file"]["flat"]).name == Path(flat).name
    median, _, count = pull_statistics(run.image.arrays, simulated.truth.rate)
    assert count > 10_000
    assert abs(median) < 0.3
    if exposure_type in ("WFI_WFSC", "WFI_SP_DARK") or element == "GRISM":
        saved = rn.open(run.save(tmp_path)[0], mode="strict")
        assert dict(saved.meta.cal_step) == IMAGE | differences


def test_what_is_not_reached_is_incomplete(bench, level1) -> None:  # type: ignore[no-untyped-def]
    run = bench.run(level1, stop="ramp_fit")
    rest = ("dark", "assign_wcs", "photom", "flat_field")
    assert statuses(run) == IMAGE | dict.fromkeys(rest, "INCOMPLETE")
    assert set(run.image.meta["photometry"].values()) == {-999999}
    assert run.image.wcs is None
    ramp = bench.run(level1, stop="refpix").ramp
    done = ("dq_init", "saturation", "refpix")
    assert {name for name, status in ramp.meta["cal_step"].items() if status == "COMPLETE"} == set(done)
    assert set(ramp.meta["cal_step"].values()) == {"COMPLETE", "INCOMPLETE"}


@pytest.fixture(scope="module")
def transient(tmp_path_factory) -> tuple[Bench, SimulatedExposure]:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("wfi18")
    (folder / "references").mkdir()
    simulated = simulate(shape=SHAPE, detector="WFI18")
    write_references(simulated.references, folder / "references")
    return Bench(folder), simulated


def test_the_transient_of_wfi18(transient) -> None:  # type: ignore[no-untyped-def]
    bench, simulated = transient
    path = bench.write(simulated, "wfi18")
    before = bench.run(path, stop="dark_decay").ramp
    after = bench.run(path, stop="wfi18_transient").ramp
    assert after.meta["cal_step"]["wfi18_transient"] == "COMPLETE"
    taken = before.data[0] - after.data[0]
    assert (np.asarray(before.data[1:]) == after.data[1:]).all()
    row, column = pixel_times(3.16247, 18, SHAPE)
    times = row[:, None] + column
    put_in = sum(amplitude * np.exp(-times / seconds) for amplitude, seconds in WFI18_TRANSIENT)
    assert abs(np.median((taken - put_in)[4:-4, 4:-4])) < 3 < np.median(put_in)  # DN
    assert not taken[:4].any()
    run = bench.run(path)
    assert statuses(run) == IMAGE | {"wfi18_transient": "COMPLETE"}
    assert statuses(bench.run(path, skip=["wfi18_transient"])) == IMAGE | {"wfi18_transient": "SKIPPED"}


def test_the_transient_is_masked_where_it_cannot_be_fitted(transient) -> None:  # type: ignore[no-untyped-def]
    bench, _ = transient
    short = simulate(shape=SHAPE, detector="WFI18", read_pattern=[[1], [2], [3, 4], [5]])
    path = bench.write(short, "short")
    ramp = bench.run(path, stop="wfi18_transient").ramp
    flags = ramp.groupdq[0] & np.uint8(129)
    assert (flags[:, 4:-4] == 129).mean() == 1.0
    assert not (ramp.groupdq[1:] & np.uint8(128)).any()
    assert statuses(bench.run(path)) == IMAGE | {"wfi18_transient": "COMPLETE"}


# ------------------------------------------------------------------------------------- fully saturated
SATURATED = IMAGE | LATER | dict.fromkeys(
    ("refpix", "dark_decay", "wfi18_transient", "linearity", "ramp_fit", "dark", "assign_wcs", "photom", "flat_field"),
    "SKIPPED",
)  # fmt: skip


@pytest.fixture(scope="module")
def saturated(tmp_path_factory) -> tuple[Bench, SimulatedExposure, Path]:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("saturated")
    (folder / "references").mkdir()
    simulated = simulate(shape=SHAPE, saturated=True, defects=0.0)
    write_references(simulated.references, folder / "references")
    bench = Bench(folder)
    return bench, simulated, bench.write(simulated, "saturated")


def test_fully_saturated(saturated) -> None:  # type: ignore[no-untyped-def]
    bench, simulated, path = saturated
    run = bench.run(path)
    assert statuses(run) == SATURATED
    image = run.image
    for name in ("data", "err", "var_poisson", "chisq"):
        assert image.arrays[name].shape == (120, 120)
        assert not image.arrays[name].any()
    assert {name: str(array.dtype) for name, array in image.arrays.items() if array.shape == (120, 120)} == {
        "data": "float32", "dq": "uint32", "err": "float16", "var_poisson": "float16", "chisq": "float16",
        "dumo": "float16",
    }  # fmt: skip
    assert (image.dq & 2 == 2).all()
    # the uniform-weight slope of the raw ramp: an ordinary straight line through the reads, each resultant at its mean
    counts = np.array([len(reads) for reads in simulated.request.table.pattern], float)
    times = 3.16247 * np.array([np.mean(reads) for reads in simulated.request.table.pattern])
    slope = np.polynomial.polynomial.polyfit(times, simulated.data.reshape(8, -1), 1, w=np.sqrt(counts))[1]
    expected = slope.reshape(SHAPE)[4:-4, 4:-4]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(image.dumo.astype(float), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(image.border_ref_pix_top, simulated.data[:, :4].astype(np.float32))
    np.testing.assert_array_equal(image.border_ref_pix_left, simulated.data[:, :, :4].astype(np.float32))
    np.testing.assert_array_equal(image.amp33, simulated.amp33)
    assert image.jump_indices.shape == (0, 3)
    assert image.statistics["good_pixel_fraction"] == 0.0


def test_fully_saturated_is_saved_and_opened(saturated, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench, _, path = saturated
    run = bench.run(path)
    assert run.image.wcs is None
    files = run.save(tmp_path)
    assert [file.name for file in files] == ["saturated_cal.asdf"]  # no coordinates, so no _wcs
    for schema in ("newest", "2.1.0"):
        product = run.image.save(tmp_path / f"{schema}.asdf", schema=schema)
        model = rn.open(product, mode="strict")
        assert model.meta.wcs is None
        assert dict(model.meta.cal_step) == SATURATED
        assert set(dict(model.meta.photometry).values()) == {-999999}
        np.testing.assert_array_equal(model.dumo, run.image.dumo)
    assert any("every pixel is saturated" in event.text for event in run.log)


def test_fully_saturated_again_and_with_the_other_fit(saturated, tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench, _, path = saturated
    first = bench.run(path, cache=tmp_path)
    second = bench.run(path, cache=tmp_path, threads=1)
    other = bench.run(path, cache=tmp_path, options={"ramp_fit": {"algorithm": "ols_cas22"}})
    for run in (second, other):
        assert statuses(run) == SATURATED
        for name, array in first.image.arrays.items():
            np.testing.assert_array_equal(run.image.arrays[name], array, err_msg=name)


def test_a_saturated_ramp_says_what_was_not_done(saturated) -> None:  # type: ignore[no-untyped-def]
    bench, simulated, path = saturated
    run = bench.run(path, stop="linearity")
    wanted = {name: SATURATED[name] for name in ("dq_init", "saturation", "refpix", "dark_decay", "linearity")}
    assert {name: run.ramp.meta["cal_step"][name] for name in wanted} == wanted
    np.testing.assert_array_equal(run.ramp.data, simulated.data.astype(np.float32))


def test_one_pixel_that_is_not_saturated_makes_an_image(saturated) -> None:  # type: ignore[no-untyped-def]
    bench, _, path = saturated
    model = rn.open(path)
    data = np.array(model["data"])
    data[:, 60, 60] = 6000 + 50 * np.arange(8)
    model["data"] = data
    run = bench.run(model)
    assert statuses(run) == IMAGE
    assert run.image.dq[56, 56] & 2 == 0
    assert run.image.data[56, 56] > 1


# ------------------------------------------------------------------------------------- few resultants
PATTERNS = {
    1: [[1, 2]],
    2: [[1], [2, 3, 4, 5, 6, 7]],
    3: [[1], [2, 3, 4], [5, 6, 7]],
    4: [[1], [2, 3], [4, 5, 6], [7, 8]],
    5: [[1], [2, 3], [4, 5, 6], [7, 8], [9, 10]],
}


@pytest.fixture(scope="module")
def few(bench) -> Any:  # type: ignore[no-untyped-def]
    made: dict[int, tuple[SimulatedExposure, Path]] = {}

    def get(count: int) -> tuple[SimulatedExposure, Path]:
        if count not in made:
            simulated = simulate(shape=SHAPE, read_pattern=PATTERNS[count])
            made[count] = simulated, bench.write(simulated, f"few{count}")
        return made[count]

    return get


@pytest.mark.parametrize(
    ("count", "algorithm", "error"),
    [(1, "likelihood", "at least 4 resultants"), (2, "likelihood", "at least 4 resultants; the exposure has 2"),
     (3, "likelihood", "at least 4 resultants; the exposure has 3"), (4, "likelihood", None), (5, "likelihood", None),
     (1, "ols_cas22", "at least 2 resultants"), (2, "ols_cas22", None), (3, "ols_cas22", None),
     (4, "ols_cas22", None), (5, "ols_cas22", None)],
)  # fmt: skip
def test_few_resultants(bench, few, count, algorithm, error) -> None:  # type: ignore[no-untyped-def]
    simulated, path = few(count)
    options = {"ramp_fit": {"algorithm": algorithm}}
    if error is not None:
        with pytest.raises(InputError, match=error):
            bench.run(path, options=options)
        return
    run = bench.run(path, options=options)
    assert statuses(run) == IMAGE
    median, scatter, good = pull_statistics(run.image.arrays, simulated.truth.rate)
    assert good > 10_000
    assert abs(median) < 0.3
    assert 0.8 < scatter < 1.3


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_short_ramp_can_be_taken_as_far_as_it_goes(bench, few, count) -> None:  # type: ignore[no-untyped-def]
    _, path = few(count)
    stop = "saturation" if count == 1 else "linearity"
    run = bench.run(path, stop=stop)
    assert run.ramp.data.shape == (count, *SHAPE)
    assert np.isfinite(run.ramp.data).all()
    assert run.ramp.meta["cal_step"][stop] == "COMPLETE"


# ------------------------------------------------------------------- reference read, offset, dropouts
def test_reference_read_and_encoding_offset(bench) -> None:  # type: ignore[no-untyped-def]
    simulated = simulate(shape=SHAPE, reference_read=True, data_encoding_offset=4321)
    path = bench.write(simulated, "referenced")
    assert rn.open(path).meta.instrument.data_encoding_offset == 4321
    ramp = bench.run(path, stop="dq_init").ramp
    added = simulated.reference_read.astype(np.int64) - 4321
    np.testing.assert_array_equal(ramp.data, (simulated.data + added).astype(np.float32))
    added = simulated.reference_amp33.astype(np.int64) - 4321
    np.testing.assert_array_equal(ramp.amp33, simulated.amp33 + added)
    run = bench.run(path)
    assert statuses(run) == IMAGE
    median, scatter, count = pull_statistics(run.image.arrays, simulated.truth.rate)
    assert count > 10_000
    assert abs(median) < 0.3
    assert 0.9 < scatter < 1.1


def test_the_reference_read_may_be_counted(bench) -> None:  # type: ignore[no-untyped-def]
    path = bench.write(simulate(shape=SHAPE, reference_read=True), "counted")
    model = rn.open(path)
    for count in (8, 9):
        model["meta"]["exposure"]["nresultants"] = count
        assert bench.run(model, stop="dq_init").ramp.data.shape[0] == 8


def test_lost_blocks_stay_flagged(bench) -> None:  # type: ignore[no-untyped-def]
    simulated = simulate(shape=SHAPE, dropouts=3)
    path = bench.write(simulated, "dropouts")
    ramp = bench.run(path, stop="dq_init").ramp
    assert simulated.resultantdq.any()
    np.testing.assert_array_equal(ramp.groupdq, simulated.resultantdq)
    assert statuses(bench.run(path)) == IMAGE


# ------------------------------------------------------------------------- optional references missing
MISSING = {
    "mask": {"dq_init": "SKIPPED"},
    "saturation": {"saturation": "SKIPPED"},
    "refpix": {"refpix": "SKIPPED"},
    "linearity": {"linearity": "SKIPPED"},
    "inverselinearity": {"linearity": "SKIPPED"},
    "integralnonlinearity": {},
    "dark": {"dark": "SKIPPED"},
    "distortion": {"assign_wcs": "SKIPPED"},
    "photom": {"photom": "SKIPPED"},
    "flat": {"flat_field": "SKIPPED"},
}


@pytest.mark.parametrize("reftype", MISSING)
def test_optional_reference_missing(bench, level1, tmp_path, reftype) -> None:  # type: ignore[no-untyped-def]
    for name, path in reference_paths(bench.folder / "references", "WFI01", "F158").items():
        if name != reftype:
            (tmp_path / path.name).symlink_to(path)
    with pytest.warns(DataWarning, match=f"no {reftype} reference for detector WFI01"):
        run = bench.run(level1, source=tmp_path)
    assert statuses(run) == IMAGE | MISSING[reftype]
    meta = run.image.meta
    assert meta["ref_file"][reftype] == "N/A"
    assert (run.image.wcs is None) == (reftype == "distortion")
    assert (set(meta["photometry"].values()) == {-999999}) == (reftype == "photom")
    if reftype in ("saturation", "mask"):
        flag = {"saturation": 2, "mask": 1 << 10}[reftype]  # SATURATED; DEAD comes from the mask only
        assert not (run.image.dq & flag).any()
    skipped = rn.plan(level1, source=bench.folder / "references", references={reftype: "skip"}, cache=False)
    assert [(step.status, step.key) for step in skipped.steps] == [(step.status, step.key) for step in run.plan.steps]


def test_with_no_optional_reference_at_all(bench, level1, tmp_path) -> None:  # type: ignore[no-untyped-def]
    run = bench.run(level1, references=dict.fromkeys(MISSING, "skip"))
    assert statuses(run) == IMAGE | {key: value for found in MISSING.values() for key, value in found.items()}
    assert np.isfinite(run.image.data).mean() > 0.9
    assert run.warnings == []  # what the user skipped needs no warning
    saved = rn.open(run.save(tmp_path)[0], mode="strict")
    assert {saved.meta.ref_file[reftype] for reftype in MISSING} == {"N/A"}


def test_every_pixel_masked(bench, level1, tmp_path) -> None:  # type: ignore[no-untyped-def]
    run = bench.run(level1, references={"mask": np.ones(SHAPE, np.uint32)})
    assert (run.image.dq & 1 == 1).all()
    assert run.image.statistics["good_pixel_fraction"] == 0.0
    assert np.isnan(run.image.statistics["image_median"])
    assert "good pixels" in repr(run.image)
    assert rn.open(run.save(tmp_path)[0], mode="strict").meta.statistics["good_pixel_fraction"] == 0.0
