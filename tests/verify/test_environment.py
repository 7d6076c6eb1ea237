from __future__ import annotations

import subprocess
import sys

import pytest

from roman_nexus.errors import MissingSoftwareError
from roman_nexus.verify import environment
from roman_nexus.verify.environment import ENVIRONMENT_VARIABLE, LOCK, PINNED, find_python, make_environment


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *names: str(tmp_path / "cache"))


def test_the_lock_pins_every_package_and_the_versions_we_reproduce():
    lines = LOCK.read_text().split()
    assert all("==" in line for line in lines)
    pinned = dict(line.lower().replace("-", "_").split("==") for line in lines)
    assert {name: pinned[name] for name in PINNED} == PINNED


def test_a_named_python_is_used(fake_python):
    python = fake_python()
    assert find_python(python) == python
    assert find_python(python.parents[1]) == python  # the folder of the environment


def test_the_environment_variable_names_one(fake_python, monkeypatch):
    python = fake_python()
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(python))
    assert find_python() == python


def test_the_argument_wins_over_the_variable(fake_python, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/nowhere/python")
    python = fake_python()
    assert find_python(python) == python


def test_other_versions_are_refused_by_name(fake_python):
    python = fake_python(versions={"romancal": "1.0.0", "stcal": "1.20.0", "roman_datamodels": "1.1.0"})
    with pytest.raises(MissingSoftwareError, match=r"romancal 1\.0\.0; expected romancal 1\.1\.0"):
        find_python(python)


def test_a_python_without_romancal_is_refused(fake_python):
    with pytest.raises(MissingSoftwareError, match="does not hold the mission's pipeline .*romancal"):
        find_python(fake_python(versions={}))


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(MissingSoftwareError, match=f"no Python at .*{ENVIRONMENT_VARIABLE}"):
        find_python(tmp_path / "nowhere")


def test_a_file_that_cannot_be_run_is_refused(tmp_path):
    path = tmp_path / "python"
    path.write_text("")
    with pytest.raises(MissingSoftwareError, match="cannot be run"):
        find_python(path)


def answer_as_if_installed(monkeypatch, fake_python, fail_at=None):
    """Replace the commands that make an environment; `venv` makes a fake Python where the real one would be."""
    calls = []

    def call(command, what, say):
        calls.append(command)
        if fail_at == what:
            msg = f"{what} failed (exit code 1): Could not find a version"
            raise MissingSoftwareError(msg)
        if "venv" in command:
            source = fake_python()
            target = environment._python_in(type(source)(command[-1]))
            target.parent.mkdir(parents=True)
            target.write_text(source.read_text())
            target.chmod(0o755)
        say(what)

    monkeypatch.setattr(environment, "_call", call)
    return calls


def test_an_environment_is_made_once_from_the_lock(monkeypatch, fake_python):
    calls = answer_as_if_installed(monkeypatch, fake_python)
    lines = []
    python = find_python(progress=lines.append)
    assert python == environment._python_in(environment.environment_folder())
    assert [command[1:3] for command in calls] == [["-m", "venv"], ["-m", "pip"]]
    assert calls[1][-2:] == ["-r", str(LOCK)]
    assert "romancal 1.1.0" in lines[0]
    assert find_python() == python
    assert len(calls) == 2


def test_a_failure_leaves_nothing_behind(monkeypatch, fake_python):
    answer_as_if_installed(monkeypatch, fake_python, fail_at="installing romancal")
    with pytest.raises(MissingSoftwareError, match="Could not find a version"):
        find_python()
    folder = environment.environment_folder()
    assert list(folder.parent.iterdir()) == []


def test_another_process_may_be_faster(monkeypatch, fake_python, tmp_path):
    answer_as_if_installed(monkeypatch, fake_python)
    folder = tmp_path / "cache" / "env"
    there = environment._python_in(folder)
    there.parent.mkdir(parents=True)
    there.write_text("made by another process")
    assert make_environment(folder) == there
    assert there.read_text() == "made by another process"
    assert [path.name for path in folder.parent.iterdir()] == ["env"]


def test_an_unwritable_cache_is_explained(monkeypatch, fake_python, tmp_path):
    answer_as_if_installed(monkeypatch, fake_python)
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingSoftwareError, match="cannot be written"):
        make_environment(tmp_path / "file" / "env")


def test_the_end_of_what_pip_said_is_repeated():
    script = "print('Collecting romancal'); print('ERROR: no route to host'); print('a hint'); raise SystemExit(3)"
    lines = []
    with pytest.raises(MissingSoftwareError, match=r"installing failed \(exit code 3\): ERROR: no route to host\. Is"):
        environment._call([sys.executable, "-c", script], "installing", lines.append)
    assert lines == ["Collecting romancal"]


def test_the_answer_about_versions_comes_from_the_other_python():
    answer = subprocess.run(
        [sys.executable, "-c", environment._ASK, "numpy"], capture_output=True, text=True, check=True
    )
    import numpy as np

    assert np.__version__ in answer.stdout
