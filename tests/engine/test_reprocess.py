"""The engine on a small simulated exposure: numbers, cache, start and stop, faults."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roman_nexus as rn
from roman_nexus.demo.tour import pull_statistics
from roman_nexus.engine import stream
from roman_nexus.engine.events import Event
from roman_nexus.errors import (
    DataWarning,
    InputError,
    MemoryBudgetError,
    OptionError,
    OutputError,
    ProductLevelError,
    ReferenceNotFoundError,
    RunCancelled,
    StepError,
)
from roman_nexus.products.blocks import open_blocks

PLANES = ("data", "dq", "err", "var_poisson", "chisq", "dumo")


def same(first: Any, second: Any) -> None:
    """Compare all arrays of two products to the bit."""
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(np.asarray(array), np.asarray(second.arrays[name]), err_msg=name)


@pytest.fixture(scope="module")
def full(exposure, tmp_path_factory):  # type: ignore[no-untyped-def]
    return rn.reprocess(exposure.level1, cache=tmp_path_factory.mktemp("c"), progress=False)


def test_the_truth_is_recovered(exposure, full) -> None:  # type: ignore[no-untyped-def]
    with open_blocks(exposure.archive.truth(exposure.level1)) as truth:
        rate = np.asarray(truth.array("rate"))
    median, scatter, count = pull_statistics(full.image.arrays, rate)
    assert count > 50_000
    assert abs(median) < 0.2
    assert 0.95 < scatter < 1.07


def test_cosmic_rays_are_found(exposure, full) -> None:  # type: ignore[no-untyped-def]
    with open_blocks(exposure.archive.truth(exposure.level1)) as truth:
        hits = {name: np.asarray(truth.array(f"cosmic_rays.{name}")) for name in ("y", "x", "electrons", "resultant")}
    ny, nx = full.image.data.shape
    bright = (hits["electrons"] > 300) & (hits["resultant"] > 0) & (hits["resultant"] < 7)
    y, x = hits["y"][bright] - 4, hits["x"][bright] - 4
    inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
    flags = full.image.dq[y[inside], x[inside]]
    usable = flags & 3 == 0
    assert usable.sum() >= 10
    assert (flags[usable] & 4 > 0).mean() > 0.97


@pytest.mark.parametrize(("threads", "rows"), [(1, 32), (2, 16), (2, 100), (1, 256)])
def test_threads_and_block_size_do_not_change_a_bit(exposure, full, threads, rows, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(stream.RampStream.__init__, "__kwdefaults__", {"rows_per_block": rows})
    again = rn.reprocess(exposure.level1, cache=False, threads=threads, progress=False)
    same(again.image, full.image)


def test_scratch_file_and_memory_give_the_same(exposure, full, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("roman_nexus.engine.cost.IN_MEMORY_LIMIT_MB", 0.0)
    again = rn.reprocess(exposure.level1, cache=False, progress=False)
    assert again.plan.scratch_mb > 0
    same(again.image, full.image)


def test_nothing_changed_runs_nothing(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    first = rn.reprocess(exposure.level1, cache=tmp_path, progress=False)
    second = rn.reprocess(exposure.level1, cache=tmp_path, progress=False)
    assert {step.status for step in first.plan.steps} == {"run", "n/a"}
    assert {step.status for step in second.plan.steps} == {"cached", "n/a"}
    same(second.image, first.image)
    assert second.image.meta["statistics"] == first.image.meta["statistics"]
    assert second.image.meta["photometry"] == first.image.meta["photometry"]
    assert second.image.meta["cal_step"] == first.image.meta["cal_step"]
    assert second.image.wcs is not None


def test_changing_the_flat_runs_the_end_only(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    first = rn.reprocess(exposure.level1, cache=tmp_path, progress=False)
    with open_blocks(exposure.references["flat"]) as blocks:
        flat = np.asarray(blocks.array("roman.data")) * np.float32(2)
        flags = np.asarray(blocks.array("roman.dq"))
    second = rn.reprocess(
        exposure.level1, references={"flat": {"data": flat, "dq": flags}}, cache=tmp_path, progress=False
    )
    assert second.plan["ramp_fit"].status == "cached"
    assert second.plan["flat_field"].status == "run"
    assert "flat reference changed" in second.plan["flat_field"].why
    assert second.plan["dark_current"].why == "needed again for flat_field"
    good = (first.image.dq & 1 == 0) & (flags & (1 << 18) == 0)
    np.testing.assert_array_equal(second.image.data[good], first.image.data[good] / np.float32(2))
    fresh = rn.reprocess(exposure.level1, references={"flat": {"data": flat, "dq": flags}}, cache=False, progress=False)
    same(second.image, fresh.image)


def test_changed_option_is_named(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rn.reprocess(exposure.level1, cache=tmp_path, progress=False)
    made = rn.plan(exposure.level1, options={"ramp_fit": {"algorithm": "ols_cas22"}}, cache=tmp_path)
    assert "algorithm likelihood -> ols_cas22" in made["ramp_fit"].why
    assert made["saturation"].why == "needed again for ramp_fit"
    assert made["flat_field"].why == "follows ramp_fit"


def test_a_run_in_two_halves_equals_one(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    ramp = rn.reprocess(exposure.level1, stop="linearity", cache=False, progress=False)
    assert ramp.ramp.meta["cal_step"]["linearity"] == "COMPLETE"
    assert ramp.ramp.filename.endswith("_linearity.asdf")
    path = ramp.save(tmp_path)[0]
    rest = rn.reprocess(path, source=exposure.archive.folder / "references", cache=False, progress=False)
    assert rest.plan.to_run[0].name == "ramp_fit"
    same(rest.image, full.image)
    with pytest.raises(ProductLevelError, match="stopped at linearity"):
        _ = ramp.image
    with pytest.raises(ProductLevelError, match="stop='linearity'"):
        _ = rest.ramp


@pytest.mark.parametrize("stop", ["dq_init", "saturation", "refpix", "dark_decay"])
def test_every_ramp_step_can_be_the_last(exposure, full, tmp_path, stop) -> None:  # type: ignore[no-untyped-def]
    run = rn.reprocess(exposure.level1, to=stop, cache=False, progress=False)
    assert run.ramp.data.shape == (8, 256, 256)
    path = run.save(tmp_path)[0]
    rest = rn.reprocess(path, source=exposure.archive.folder / "references", cache=False, progress=False)
    for name in PLANES:
        np.testing.assert_array_equal(rest.image.arrays[name], full.image.arrays[name], err_msg=name)


def test_an_open_model_is_an_input_too(exposure, full) -> None:  # type: ignore[no-untyped-def]
    model = rn.open(exposure.level1)
    run = rn.reprocess(model, source=exposure.archive.folder / "references", cache=False, progress=False)
    same(run.image, full.image)
    assert run.image.meta["exposure"]["type"] == "WFI_IMAGE"


@pytest.mark.parametrize(
    "skip", ["saturation", "refpix", "dark_decay", "linearity", "dark_current", "assign_wcs", "photom", "flat_field"]
)
def test_skipped_steps_are_recorded(exposure, skip) -> None:  # type: ignore[no-untyped-def]
    run = rn.reprocess(exposure.level1, skip=[skip], cache=False, progress=False)
    status = run.image.meta["cal_step"]
    key = {"dark_current": "dark"}.get(skip, skip)
    assert status[key] == "SKIPPED"
    expected = {"wfi18_transient": "N/A", key: "SKIPPED"}
    ours = ("dq_init", "saturation", "refpix", "dark_decay", "wfi18_transient", "linearity", "ramp_fit", "dark",
            "assign_wcs", "photom", "flat_field")  # fmt: skip
    assert {name: status[name] for name in ours} == {name: expected.get(name, "COMPLETE") for name in ours}
    assert (run.image.wcs is None) == (skip == "assign_wcs")


def test_what_cannot_be_skipped_is_said(exposure) -> None:  # type: ignore[no-untyped-def]
    for name in ("dq_init", "ramp_fit"):
        with pytest.raises(StepError, match=f"{name} cannot be skipped"):
            rn.reprocess(exposure.level1, skip=[name], cache=False)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"stop": "drizzle"}, StepError, "no step 'drizzle'.*ramp_fit"),
        ({"start": "linearity"}, StepError, "starts at dq_init"),
        ({"to": "L2", "options": {"ramp_fit": {"algoritm": "x"}}}, OptionError, "'algoritm'.*algorithm"),
        ({"options": {"ramp_fit": {"algorithm": "magic"}}}, OptionError, "'magic'.*likelihood"),
        ({"options": {"ramp_fit": 3}}, OptionError, "expected a mapping"),
        ({"to": "linearity", "stop": "refpix"}, OptionError, "both say where to stop"),
        ({"references": {"flatt": "x.asdf"}}, OptionError, "flatt"),
        ({"references": {"gain": "nowhere.asdf"}}, ReferenceNotFoundError, "nowhere.asdf"),
        ({"memory_budget_mb": 10}, MemoryBudgetError, r"10 MB \(program"),
    ],
)
def test_bad_requests(exposure, arguments, error, text) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=text):
        rn.reprocess(exposure.level1, cache=False, **arguments)


def test_cancel_leaves_nothing(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    cancel = threading.Event()

    def listener(event: Event) -> None:
        if event.kind == "progress":
            cancel.set()

    with pytest.raises(RunCancelled, match="no result was written"):
        rn.reprocess(exposure.level1, cache=tmp_path, progress=listener, cancel=cancel)
    assert not list((tmp_path / "results").glob("*")) if (tmp_path / "results").exists() else True
    # and the cache is sound: the next run is whole
    run = rn.reprocess(exposure.level1, cache=tmp_path, progress=False)
    assert np.isfinite(run.image.data).any()


def test_interrupt_leaves_nothing(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    def listener(event: Event) -> None:
        if event.kind == "progress" and "ramp_fit" in event.step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rn.reprocess(exposure.level1, cache=tmp_path, progress=listener)
    assert not list((tmp_path / "results").glob("*"))


def test_events_tell_the_story(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    events: list[Event] = []
    rn.reprocess(exposure.level1, cache=tmp_path, progress=events.append)
    kinds = [event.kind for event in events if event.kind != "compile"]
    assert kinds[0] == "plan"
    assert kinds[-1] == "finish"
    stages = [event.step for event in events if event.kind == "stage"]
    assert stages == [
        "dq_init + saturation", "refpix", "dark_decay + linearity + ramp_fit", "dark_current + flat_field"
    ]  # fmt: skip
    for stage in stages:
        steps = [event for event in events if event.kind == "progress" and event.step == stage]
        assert steps[-1].done == steps[-1].total


def test_the_product_is_valid_and_complete(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    product, wcs = full.save(tmp_path)
    assert product.name == exposure.level1.name.replace("_uncal", "_cal")
    assert wcs.name == exposure.level1.name.replace("_uncal", "_wcs")
    model = rn.open(product, mode="strict")
    assert type(model).__name__ == "ImageModel"
    np.testing.assert_array_equal(model.data, full.image.data)
    assert model.err.dtype == np.float16
    assert model.meta.calibration_software_name == "roman_nexus"
    assert model.meta.filename == product.name
    assert model.meta.ref_file.flat.endswith("flat_0601.asdf")
    record = model.meta.nexus["history"][-1]
    assert record["input"]["digest"].startswith("sha256:")
    assert {step["name"] for step in record["steps"]} >= {"ramp_fit", "flat_field"}
    flat = next(step for step in record["steps"] if step["name"] == "flat_field")
    assert flat["references"]["flat"]["digest"].startswith("sha256:")
    ra, dec = model.meta.wcs(123.0, 45.0)
    with rn.open(wcs) as coordinates:
        again = coordinates.wcs_l1(127.0, 49.0)
    np.testing.assert_allclose(again, (ra, dec), atol=1e-12)


def test_a_rerun_of_a_product_keeps_its_history(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    ramp = rn.reprocess(exposure.level1, stop="linearity", cache=False, progress=False).save(tmp_path)[0]
    run = rn.reprocess(ramp, source=exposure.archive.folder / "references", cache=False, progress=False)
    history = run.image.meta["nexus"]["history"]
    assert len(history) == 2
    assert history[1]["input"]["kind"] == "ramp"


def test_an_image_is_not_calibrated_twice(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    product = full.save(tmp_path)[0]
    source = exposure.archive.folder / "references"
    with pytest.raises(InputError, match="flat_field is already complete"):
        rn.reprocess(product, start="flat_field", source=source, cache=False)
    with pytest.raises(StepError, match="already has every step"):
        rn.reprocess(product, source=source, cache=False)
    with pytest.raises(StepError, match="cannot start at refpix"):
        rn.reprocess(product, start="refpix", source=source, cache=False)


def test_flat_can_be_applied_to_an_image_that_had_none(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    part = rn.reprocess(exposure.level1, stop="photom", cache=False, progress=False)
    assert part.image.meta["cal_step"]["flat_field"] == "INCOMPLETE"
    path = part.save(tmp_path)[0]
    rest = rn.reprocess(path, source=exposure.archive.folder / "references", cache=False, progress=False)
    for name in PLANES:
        np.testing.assert_array_equal(rest.image.arrays[name], full.image.arrays[name], err_msg=name)


def test_unwritable_output(full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("")
    with pytest.raises((OutputError, NotADirectoryError, FileExistsError)):
        full.save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == ""


def test_two_runs_may_write_the_same_output(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    errors: list[BaseException] = []

    def work() -> None:
        try:
            full.image.save(tmp_path / "same.asdf")
        except BaseException as error:
            errors.append(error)

    full.image.meta  # noqa: B018 - made once, before the threads
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with open_blocks(tmp_path / "same.asdf") as blocks:
        np.testing.assert_array_equal(blocks.array("roman.data"), full.image.data)
    assert [path.name for path in tmp_path.iterdir()] == ["same.asdf"]


def test_missing_optional_reference_is_said_and_recorded(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "references"
    folder.mkdir()
    for name, path in exposure.references.items():
        if name not in ("dark", "mask"):
            (folder / path.name).symlink_to(path)
    with pytest.warns(DataWarning) as caught:
        run = rn.reprocess(exposure.level1, source=folder, cache=False, progress=False)
    assert {word for word in ("mask", "dark") for item in caught if f"no {word} reference" in str(item.message)} == {
        "mask",
        "dark",
    }
    assert run.image.meta["cal_step"]["dark"] == "SKIPPED"
    assert run.image.meta["cal_step"]["dq_init"] == "SKIPPED"
    assert run.image.meta["ref_file"]["dark"] == "N/A"
    with pytest.raises(ReferenceNotFoundError, match="dark"):
        rn.reprocess(exposure.level1, source=folder, strict=True, cache=False)


def test_schema_of_the_product_can_be_chosen(full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from roman_nexus.products.files import schema_version

    old = full.image.save(tmp_path / "old.asdf", schema="2.1.0")
    alike = full.image.save(tmp_path / "alike.asdf", schema="as-input")
    assert schema_version(old) == schema_version(alike)


def test_reprs(full) -> None:  # type: ignore[no-untyped-def]
    assert "ramp_fit" in repr(full)
    assert "DN/s" in full.image._repr_html_()
    assert "<table>" in full._repr_html_()
    assert "data" in dir(full.image)
    with pytest.raises(AttributeError, match="no array 'flux'"):
        _ = full.image.flux


def test_paths_that_are_not_products(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        rn.reprocess(tmp_path / "missing.asdf", cache=False)
    (tmp_path / "text.asdf").write_text("hello")
    with pytest.raises(OSError, match=r"text\.asdf"):
        rn.reprocess(tmp_path / "text.asdf", cache=False)
