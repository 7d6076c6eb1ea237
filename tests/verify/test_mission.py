from __future__ import annotations

import ast
import json

import numpy as np
import pytest

from roman_nexus.engine.pipelines import step_names
from roman_nexus.errors import FileFormatError, InputError, OutputError, RunError
from roman_nexus.verify import mission_runner
from roman_nexus.verify.mission import RUNNER, STEPS, MissionRun, run_mission

META = {"cal_step": {"dq_init": "COMPLETE"}}


def test_the_runner_imports_nothing_of_ours():
    found = set()
    for node in ast.walk(ast.parse(RUNNER.read_text())):
        if isinstance(node, ast.Import):
            found.update(name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module.split(".")[0])
    assert "romancal" in found
    assert "roman_nexus" not in found


def test_the_steps_are_those_of_our_pipeline():
    assert step_names() == STEPS
    assert set(mission_runner.CHANGES) == set(STEPS)
    assert set(mission_runner.REFERENCES) <= set(STEPS)


def test_a_run_is_requested_followed_and_read_back(fake_python, fake_run, tmp_path):
    arrays = {"dq_init": {"data": np.arange(6.0).reshape(1, 2, 3), "groupdq": np.ones((1, 2, 3), np.uint8)}}
    python = fake_python(fake_run(arrays, META))
    events = []
    folder = tmp_path / "run"
    references = {"mask": tmp_path / "mask.asdf", "flat": None}
    done = run_mission(
        python, tmp_path / "l1.asdf", references, folder, options={"ramp_fit": {"algorithm": "likely"}},
        skip=["dark_decay"], keep=["dq_init"], on_event=events.append,
    )  # fmt: skip
    request = json.loads((folder / "request.json").read_text())
    assert request["references"] == {"mask": str((tmp_path / "mask.asdf").resolve()), "flat": "N/A"}
    assert request["skip"] == ["dark_decay"]
    assert request["options"] == {"ramp_fit": {"algorithm": "likely"}}
    assert [event["event"] for event in events] == ["start", "done"]
    assert done.total.wall_s == 2.0
    assert done.total.peak_mb == 120.0
    assert done.steps[0].step == "saturation"
    assert done.meta == META
    assert done.kept("dq_init") == ("data", "groupdq")
    assert np.array_equal(done.array("dq_init", "data"), arrays["dq_init"]["data"])


def test_a_step_that_changes_nothing_gives_the_array_before_it(fake_python, fake_run, tmp_path):
    first, second = np.zeros((1, 2, 2)), np.ones((1, 2, 2))
    body = fake_run({"dq_init": {"data": first}, "refpix": {"data": second}, "ramp_fit": {"data": first[0] + 5}}, META)
    done = run_mission(fake_python(body), tmp_path / "l1.asdf", {}, tmp_path / "run")
    assert np.array_equal(done.array("saturation", "data"), first)
    assert np.array_equal(done.array("linearity", "data"), second)
    assert np.array_equal(done.array("photom", "data"), first[0] + 5)
    with pytest.raises(InputError, match="no array 'groupdq' of step 'ramp_fit'"):
        done.array("ramp_fit", "groupdq")
    with pytest.raises(InputError, match="no array 'data' of step 'final'"):
        done.array("final", "data")


def test_a_failure_of_the_pipeline_is_repeated(fake_python, tmp_path):
    failure = {"error": {"type": "FileNotFoundError", "message": "N/A"}}
    body = f"(folder / 'result.json').write_text(json.dumps({failure!r})); sys.exit(1)"
    with pytest.raises(RunError, match="ended with FileNotFoundError: N/A"):
        run_mission(fake_python(body), tmp_path / "l1.asdf", {}, tmp_path / "run")


def test_an_end_without_a_result_tells_the_last_words(fake_python, tmp_path):
    body = "sys.exit('Segmentation fault in a cosmic ray')"
    with pytest.raises(RunError, match="ended without a result: .*cosmic ray"):
        run_mission(fake_python(body), tmp_path / "l1.asdf", {}, tmp_path / "run")


def test_an_old_result_is_not_taken_for_a_new_one(fake_python, fake_run, tmp_path):
    folder = tmp_path / "run"
    run_mission(fake_python(fake_run({}, META)), tmp_path / "l1.asdf", {}, folder)
    assert MissionRun.read(folder).meta == META
    with pytest.raises(RunError, match="without a result"):
        run_mission(fake_python("sys.exit(9)", name="other"), tmp_path / "l1.asdf", {}, folder)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="no finished run"):
        MissionRun.read(tmp_path)


def test_an_unwritable_folder_is_refused(fake_python, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run_mission(fake_python(), tmp_path / "l1.asdf", {}, tmp_path / "file" / "run")


def test_stopping_ends_the_other_process(fake_python, tmp_path):
    body = (
        "import os, time; (folder / 'pid').write_text(str(os.getpid())); "
        'print(json.dumps({"event": "start", "step": "dq_init"}), flush=True); time.sleep(60)'
    )

    def interrupt(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_mission(fake_python(body), tmp_path / "l1.asdf", {}, tmp_path / "run", on_event=interrupt)
    import os

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "run" / "pid").read_text()), 0)


class Node(dict):
    """Like a node of the mission's models."""

    def __getattr__(self, name):
        return self[name]


def test_arrays_are_kept_without_the_axis_that_rampfit_leaves(tmp_path):
    model = Node(data=np.zeros((1, 3, 4, 5)), dq=np.ones((4, 5)), err=None)
    mission_runner.save_arrays(model, tmp_path, ("data", "dq", "err", "absent"))
    assert np.load(tmp_path / "data.npy").shape == (3, 4, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npy", "dq.npy"]


def test_metadata_become_plain_values():
    found = mission_runner.plain(Node(a=np.float64(1.5), b=[np.int32(3), True, None], c=Node(d="x"), e=1j))
    assert found == {"a": 1.5, "b": [3, True, None], "c": {"d": "x"}, "e": "1j"}
    assert type(found["a"]) is float
    assert type(found["b"][0]) is int
    json.dumps(found)


def test_steps_are_timed_and_the_last_one_stops(tmp_path, capsys):
    model = Node(data=np.zeros((2, 3)), meta=Node(instrument=Node(detector="WFI01")))
    recorder = mission_runner.Recorder(tmp_path, {"refpix", "wfi18_transient"}, "dark_decay")
    assert recorder.wrap("refpix", lambda given: given)(model) is model
    recorder.wrap("wfi18_transient", lambda given: given)(model)
    with pytest.raises(mission_runner.Stopped):
        recorder.wrap("dark_decay", lambda given: given)(model)
    assert [record["step"] for record in recorder.steps] == ["refpix", "wfi18_transient", "dark_decay"]
    assert all(record["peak_mb"] > 1 for record in recorder.steps)
    assert (tmp_path / "refpix" / "data.npy").exists()
    assert not (tmp_path / "wfi18_transient").exists()  # it does nothing to WFI01
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["start", "done"] * 3
