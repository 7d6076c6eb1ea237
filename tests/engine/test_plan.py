"""Plans: what changes a key, what does not, the reasons, the costs, and how a plan is shown."""

from __future__ import annotations

import dataclasses
import json
import shutil
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roman_nexus as rn
from roman_nexus.engine import cost, pipelines
from roman_nexus.engine.plan import Plan, PlannedStep
from roman_nexus.engine.planner import make_plan, select
from roman_nexus.engine.request import open_request
from roman_nexus.errors import DataWarning, MemoryBudgetError, StepError

STEPS = pipelines.step_names()
AUTHORS = (b"author: roman_nexus.demo", b"author: roman_nexus.Demo")
PIXEL_STEPS = [name for name in STEPS if pipelines.load_step(name).level != "meta"]
ACTIVE = [name for name in PIXEL_STEPS if name != "wfi18_transient"]


def keys(plan: Plan) -> dict[str, str]:
    return {step.name: step.key for step in plan.steps if step.status != "n/a"}


def changed(first: Plan, second: Plan) -> set[str]:
    one, two = keys(first), keys(second)
    assert one.keys() == two.keys()
    return {name for name in one if one[name] != two[name]}


def downstream(*names: str) -> set[str]:
    """Name the steps and, where they touch pixels, those that follow."""
    found = set(names)
    pixels = [STEPS.index(name) for name in names if name in PIXEL_STEPS]
    found |= {name for name in STEPS if name != "wfi18_transient" and pixels and STEPS.index(name) >= min(pixels)}
    return found


def other(hint: Any, value: Any) -> Any:
    """Return another value that an option may take."""
    if typing.get_origin(hint) is typing.Literal:
        return next(choice for choice in typing.get_args(hint) if choice != value)
    if isinstance(value, bool):
        return not value
    return 3.5 if value is None else value + 1


OPTIONS = [
    (name, field.name)
    for name in [*ACTIVE, "assign_wcs"]
    for field in dataclasses.fields(pipelines.load_step(name).options)
]
USERS = {
    needs.reftype: [name for name in STEPS if needs in pipelines.load_step(name).references]
    for name in STEPS
    for needs in pipelines.load_step(name).references
}


@pytest.fixture(scope="module")
def base(exposure) -> Plan:  # type: ignore[no-untyped-def]
    return rn.plan(exposure.level1, cache=False)


@pytest.fixture(scope="module")
def planned(exposure) -> Iterator[Callable[..., Plan]]:  # type: ignore[no-untyped-def]
    """Plan with the input and the references open already."""
    arguments = ("L2", None, None, None, None, None, (), None, False, False, None, None)
    with open_request(exposure.level1, *arguments) as request:

        def plan(options: Any = None, stop: str | None = None, skip: Sequence[str] = ()) -> Plan:
            selected = select(request.source, start=None, stop=stop, skip=skip, options=options or {})
            return make_plan(request.source, selected, request.references, cache=None, threads=2)

        yield plan


def rewritten(path: Path, folder: Path, old: bytes, new: bytes) -> Path:
    """Copy a file with some bytes of its header replaced."""
    content = path.read_bytes()
    assert len(old) == len(new)
    assert old in content
    copy = folder / path.name
    copy.write_bytes(content.replace(old, new, 1))
    return copy


# ------------------------------------------------------------------------------------------------ keys
@pytest.mark.parametrize(("step", "option"), OPTIONS, ids=[".".join(pair) for pair in OPTIONS])
def test_an_option_changes_its_step_and_what_follows(planned, base, step, option) -> None:  # type: ignore[no-untyped-def]
    kind = pipelines.load_step(step).options
    value = other(typing.get_type_hints(kind)[option], getattr(kind(), option))
    plan = planned(options={step: {option: value}})
    assert changed(base, plan) == downstream(step)
    assert plan[step].options[option] == value


def test_an_option_said_as_it_is_changes_nothing(planned, base) -> None:  # type: ignore[no-untyped-def]
    said = {name: pipelines.load_step(name).options().to_dict() for name in STEPS}
    assert changed(base, planned(options=said)) == set()
    as_objects = {name: pipelines.load_step(name).options() for name in STEPS}
    assert changed(base, planned(options=as_objects)) == set()
    whole = {"ramp_fit": {"min_sat_area": 1, "min_jump_area": 6}}  # the defaults are 1.0 and 6.0
    assert changed(base, planned(options=whole)) == set()


@pytest.mark.parametrize("reftype", USERS)
def test_a_reference_changes_its_steps_and_what_follows(exposure, base, tmp_path, reftype) -> None:  # type: ignore[no-untyped-def]
    path = rewritten(exposure.references[reftype], tmp_path, *AUTHORS)
    plan = rn.plan(exposure.level1, references={reftype: path}, cache=False)
    assert changed(base, plan) == downstream(*USERS[reftype])
    for name in USERS[reftype]:
        record = plan[name].references[reftype]
        assert (record["name"], record["origin"]) == (str(path), "override")
        assert record["digest"] != base[name].references[reftype]["digest"]


def test_names_places_and_order_change_nothing(exposure, base, tmp_path) -> None:  # type: ignore[no-untyped-def]
    level1 = tmp_path / "any_name_at_all.asdf"
    shutil.copy(exposure.level1, level1)
    given = {}
    for number, (reftype, path) in enumerate(reversed(exposure.references.items())):
        given[reftype] = tmp_path / f"{number}.asdf"
        shutil.copy(path, given[reftype])
    assert changed(base, rn.plan(level1, references=given, cache=False)) == set()
    ordered = dict(sorted(given.items()))
    assert changed(base, rn.plan(level1, references=ordered, cache=False)) == set()


def test_the_machine_changes_nothing(exposure, base, tmp_path) -> None:  # type: ignore[no-untyped-def]
    for arguments in (
        {"threads": 1, "cache": False}, {"threads": 7, "cache": False}, {"memory_budget_mb": 9000, "cache": False},
        {"cache": tmp_path}, {"strict": True, "cache": False}, {"waive": {"flat": ["useafter"]}, "cache": False},
    ):  # fmt: skip
        assert changed(base, rn.plan(exposure.level1, **arguments)) == set()


def test_the_input_changes_everything(exposure, base, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = rewritten(exposure.level1, tmp_path, b"frame_time: 3.16247", b"frame_time: 3.16248")
    plan = rn.plan(path, source=exposure.archive.folder / "references", cache=False)
    assert changed(base, plan) == set(keys(base))
    assert plan.input_digest != base.input_digest


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [("exposure", "frame_time", 3.0), ("exposure", "read_pattern", [[k + 2] for k in range(8)]),
     ("guide_star", "window_xstart", 3), ("instrument", "data_encoding_offset", 1), ("wcsinfo", "ra_ref", 3.0)],
)  # fmt: skip
def test_a_changed_model_is_another_input(exposure, tmp_path, group, name, value) -> None:  # type: ignore[no-untyped-def]
    source = exposure.archive.folder / "references"
    model = rn.open(exposure.level1)
    before = rn.plan(model, source=source, cache=False)
    assert changed(before, rn.plan(rn.open(exposure.level1), source=source, cache=False)) == set()
    model["meta"][group][name] = value
    assert changed(before, rn.plan(model, source=source, cache=False)) == set(keys(before))


def test_a_changed_model_is_not_served_from_the_cache(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    where = {"source": exposure.archive.folder / "references", "cache": tmp_path, "progress": False}
    model = rn.open(exposure.level1)
    first = rn.reprocess(model, **where)
    model["meta"]["exposure"]["frame_time"] *= 2
    second = rn.reprocess(model, **where)
    fresh = rn.reprocess(model, **{**where, "cache": False})
    np.testing.assert_array_equal(second.image.data, fresh.image.data)
    assert np.nanmedian(second.image.data) < 0.6 * np.nanmedian(first.image.data)
    model["data"] = np.asarray(model["data"]) // 2
    assert rn.plan(model, source=where["source"], cache=tmp_path)["ramp_fit"].status == "run"


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that makes a step newer."""

    def change(name: str) -> None:
        step = dataclasses.replace(pipelines.load_step(name), version="next")
        monkeypatch.setattr(f"{pipelines.EXPOSURE[name]}.STEP", step)
        pipelines.load_step.cache_clear()

    yield change
    monkeypatch.undo()
    pipelines.load_step.cache_clear()


@pytest.mark.parametrize("step", [name for name in STEPS if name != "wfi18_transient"])
def test_a_newer_step_changes_itself_and_what_follows(planned, base, newer, step) -> None:  # type: ignore[no-untyped-def]
    newer(step)
    assert changed(base, planned()) == downstream(step)


@pytest.mark.parametrize("step", [name for name in ACTIVE if name not in ("dq_init", "ramp_fit")])
def test_leaving_a_step_out_changes_what_follows(planned, base, step) -> None:  # type: ignore[no-untyped-def]
    plan = planned(skip=[step])
    assert changed(base, plan) - {step} == downstream(step) - {step}
    without = {name for name in changed(base, plan) if STEPS.index(name) < STEPS.index(step)}
    assert without == set()


def test_no_two_steps_share_a_key(base) -> None:  # type: ignore[no-untyped-def]
    found = list(keys(base).values())
    assert len(set(found)) == len(found)
    assert all(len(key) == 64 for key in found)


def test_stopping_early_keeps_the_keys(planned, base) -> None:  # type: ignore[no-untyped-def]
    plan = planned(stop="linearity")
    assert keys(plan) == {name: key for name, key in keys(base).items() if name in keys(plan)}
    assert list(keys(plan)) == ["dq_init", "saturation", "refpix", "dark_decay", "linearity"]


# --------------------------------------------------------------------------------------------- reasons
def why(plan: Plan, *statuses: str) -> dict[str, str]:
    return {step.name: step.why for step in plan.steps if step.status in statuses}


@pytest.fixture(scope="module")
def cache(exposure, tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    """Make a cache that holds one finished run; do not run with it."""
    folder = tmp_path_factory.mktemp("cache")
    rn.reprocess(exposure.level1, cache=folder, progress=False)
    return folder


def test_first_run(base) -> None:  # type: ignore[no-untyped-def]
    assert set(why(base, "run").values()) == {"first run on this input"}
    assert why(base, "n/a") == {"wfi18_transient": "not for WFI01"}


def test_nothing_changed(exposure, cache) -> None:  # type: ignore[no-untyped-def]
    plan = rn.plan(exposure.level1, cache=cache)
    assert set(why(plan, "cached").values()) == {"same input, options and references"}
    assert list(why(plan, "cached")) == [name for name in STEPS if name != "wfi18_transient"]
    assert (plan.to_run, plan.seconds, plan.scratch_mb) == ((), 0.0, 0.0)
    assert "nothing to run: everything is in the cache" in str(plan)


def test_a_changed_reference_is_named_with_both_files(exposure, cache, tmp_path) -> None:  # type: ignore[no-untyped-def]
    dark = rewritten(exposure.references["dark"], tmp_path, *AUTHORS).rename(tmp_path / "my_dark.asdf")
    plan = rn.plan(exposure.level1, references={"dark": dark}, cache=cache)
    assert why(plan, "run") == {
        "dark_current": f"dark reference changed ({exposure.references['dark'].name} -> my_dark.asdf)",
        "flat_field": "follows dark_current",
    }
    assert plan["ramp_fit"].status == "cached"
    photom = rewritten(exposure.references["photom"], tmp_path, *AUTHORS)
    plan = rn.plan(exposure.level1, references={"photom": photom}, cache=cache)
    assert why(plan, "run") == {"photom": "photom reference changed"}


def test_a_changed_option_is_named_with_both_values(exposure, cache) -> None:  # type: ignore[no-untyped-def]
    options = {"saturation": {"backup": 1, "n_pix_grow_sat": 2}}
    plan = rn.plan(exposure.level1, options=options, cache=cache)
    assert plan["saturation"].why == "n_pix_grow_sat 0 -> 2; backup 0 -> 1"
    assert plan["dq_init"].why == "needed again for saturation"
    assert {plan[name].why for name in ACTIVE[2:]} == {"follows saturation"}


def test_a_newer_step_is_named(exposure, cache, newer) -> None:  # type: ignore[no-untyped-def]
    newer("flat_field")
    plan = rn.plan(exposure.level1, cache=cache)
    assert plan["flat_field"].why == "the step itself is newer"
    assert plan["dark_current"].why == "needed again for flat_field"


def test_a_reference_that_is_gone_or_new_is_named(exposure, cache, tmp_path) -> None:  # type: ignore[no-untyped-def]
    plan = rn.plan(exposure.level1, references={"mask": "skip", "flat": "skip"}, cache=cache)
    assert plan["dq_init"].why == "mask reference is gone"
    assert (plan["flat_field"].status, plan["flat_field"].why) == ("skip", "no flat reference")
    shutil.copytree(cache, tmp_path / "cache")
    rn.reprocess(exposure.level1, references={"mask": "skip"}, cache=tmp_path / "cache", progress=False)
    (tmp_path / "cache" / "results").rename(tmp_path / "gone")
    plan = rn.plan(exposure.level1, cache=tmp_path / "cache")
    assert plan["dq_init"].why == "mask reference is new"


def test_a_result_that_was_removed_is_made_again(exposure, cache, tmp_path) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(cache, tmp_path / "cache", ignore=shutil.ignore_patterns("results"))
    plan = rn.plan(exposure.level1, cache=tmp_path / "cache")
    assert {plan[name].why for name in ACTIVE} == {"its result is not in the cache"}
    assert plan["assign_wcs"].why == "metadata of the new product"


def test_steps_that_do_not_run_say_why(exposure, base, tmp_path) -> None:  # type: ignore[no-untyped-def]
    plan = rn.plan(exposure.level1, skip=["refpix", "dark"], cache=False)
    assert why(plan, "skip") == {"refpix": "asked for", "dark_current": "asked for"}
    ramp = rn.reprocess(exposure.level1, stop="refpix", cache=False, progress=False).save(tmp_path)[0]
    plan = rn.plan(ramp, source=exposure.archive.folder / "references", cache=False)
    assert why(plan, "done") == dict.fromkeys(("dq_init", "saturation", "refpix"), "in the input")
    assert plan.to_run[0].name == "dark_decay"
    lamp = rn.open(exposure.level1)
    lamp["meta"]["exposure"]["type"] = "WFI_FLAT"
    plan = rn.plan(lamp, source=exposure.archive.folder / "references", cache=False)
    assert why(plan, "skip") == {"flat_field": "not for WFI_FLAT"}


# ----------------------------------------------------------------------------------------------- costs
def memory(n_res: int = 8, size: int = 4096, threads: int = 2, stop: str = "flat_field") -> tuple[float, float]:
    names = ACTIVE[: ACTIVE.index(stop) + 1]
    steps = [pipelines.load_step(name) for name in names]
    items, scratch = cost.estimate_memory((n_res, size, size), steps, threads, 32, [])
    return sum(items.values()), scratch


def test_memory_grows_with_threads_resultants_and_pixels() -> None:
    for stop in ("flat_field", "ramp_fit", "linearity", "refpix"):
        by_threads = [memory(threads=threads, stop=stop)[0] for threads in range(1, 17)]
        assert by_threads == sorted(by_threads)
        assert by_threads[-1] > by_threads[0]
        # from 3 resultants on a full frame waits in a scratch file
        found = [memory(n_res=n_res, stop=stop) for n_res in range(3, 40)]
        assert [total for total, _ in found] == sorted(total for total, _ in found)
        assert found[-1][0] > found[0][0]
        sizes = np.array([scratch for _, scratch in found])
        np.testing.assert_allclose(sizes / np.arange(3, 40), 4 * 4096**2 / 1e6)
    small = [memory(n_res=2, size=size)[0] for size in (128, 256, 512, 1024, 2048, 4096)]
    assert small == sorted(small)


def test_small_ramps_need_no_scratch_file(base) -> None:  # type: ignore[no-untyped-def]
    assert base.scratch_mb == 0
    assert memory(n_res=8, size=1024)[1] == 0


def test_a_whole_flag_cube_is_counted(exposure, base) -> None:  # type: ignore[no-untyped-def]
    for options in ({"saturation": {"n_pix_grow_sat": 1}}, {"ramp_fit": {"expand_large_events": True}}):
        plan = rn.plan(exposure.level1, options=options, cache=False)
        assert plan.memory_mb == pytest.approx(base.memory_mb + 8 * 256 * 256 / 1e6, abs=0.11)


def test_costs_of_a_plan_add_up(exposure, base, cache) -> None:  # type: ignore[no-untyped-def]
    assert sum(base.memory_items.values()) == pytest.approx(base.memory_mb, abs=1.0)
    files = [exposure.level1, *(path for path in exposure.references.values())]
    assert base.read_mb == pytest.approx(sum(path.stat().st_size for path in files) / 1e6, abs=0.06)
    assert base.seconds > 0
    assert rn.plan(exposure.level1, cache=cache).read_mb == 0
    flat = rn.plan(exposure.level1, options={"flat_field": {"include_var_flat": True}}, cache=cache)
    assert 0 < flat.read_mb < base.read_mb / 2
    assert flat.seconds < base.seconds
    assert 0 < flat["flat_field"].seconds == base["flat_field"].seconds
    assert (flat["ramp_fit"].seconds, flat["photom"].seconds) == (0.0, 0.0)
    assert flat.memory_mb < base.memory_mb


def test_a_budget_is_refused_with_numbers_before_anything_is_read(exposure) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MemoryBudgetError, match=r"needs about \d+ MB but the memory budget is 50 MB .*fewer threads"):
        rn.plan(exposure.level1, memory_budget_mb=50, cache=False)
    enough = rn.plan(exposure.level1, cache=False).memory_mb + 1
    assert rn.plan(exposure.level1, memory_budget_mb=enough, cache=False).memory_mb < enough


# ----------------------------------------------------------------------------------------------- views
def test_text_and_html_hold_every_step(base, exposure) -> None:  # type: ignore[no-untyped-def]
    for view in (str(base), repr(base), base._repr_html_()):
        for step in base.steps:
            assert step.name in view
            for reftype, record in step.references.items():
                assert f"{reftype} {Path(record['name']).name}" in view
        assert base.input_name in view
        assert "8 resultants of 256 x 256" in view
        assert "10 steps to run" in view
    lines = str(base).splitlines()
    assert len(lines) == 2 + len(STEPS)
    assert base._repr_html_().count("<tr>") == 1 + len(STEPS)


def test_html_is_escaped(base) -> None:  # type: ignore[no-untyped-def]
    odd = dataclasses.replace(base, input_name="<b>&", steps=(dataclasses.replace(base.steps[0], why="a < b"),))
    assert "&lt;b&gt;&amp;" in odd._repr_html_()
    assert "a &lt; b" in odd._repr_html_()
    assert "<b>&" not in odd._repr_html_()


def test_json_round_trip(base) -> None:  # type: ignore[no-untyped-def]
    values = json.loads(json.dumps(base.to_dict(), allow_nan=False))
    steps = tuple(PlannedStep(**step) for step in values.pop("steps"))
    again = Plan(**{**values, "shape": tuple(values["shape"])}, steps=steps)
    assert again == base
    assert str(again) == str(base)


def test_an_unknown_step_is_named(base) -> None:  # type: ignore[no-untyped-def]
    assert base["linearity"].level == "ramp"
    with pytest.raises(StepError, match="no step 'drizzle'; it has dq_init, saturation"):
        _ = base["drizzle"]


def test_a_plan_writes_nothing_but_digests(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rn.plan(exposure.level1, cache=tmp_path)
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {"digests.sqlite"}


def test_what_is_odd_is_said_when_planning(exposure) -> None:  # type: ignore[no-untyped-def]
    model = rn.open(exposure.level1)
    model["meta"]["guide_star"]["window_xstop"] = 300
    with pytest.warns(DataWarning, match="guide window reaches x = 300"):
        rn.plan(model, source=exposure.archive.folder / "references", cache=False)
