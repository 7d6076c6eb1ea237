"""What a user sees who makes a mistake, or whose machine does not play along: words, exit codes, nothing half done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roman_nexus.cli.main import main
from roman_nexus.cli.wording import in_shell_words
from roman_nexus.engine.events import Event
from roman_nexus.errors import CacheError, OutputError

pytestmark = pytest.mark.timeout(300)

NAME = "r0099101001001001001_0001_wfi01_f158"
LEVEL1 = f"demo/l1/{NAME}_uncal.asdf"
PROMPT = f"demo/l2/{NAME}_cal.asdf"
GAIN = "demo/references/roman_wfi_gain_0001.asdf"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reproces"], "reprocess"),
        (["reprocess"], "product"),
        (["reprocess", LEVEL1, "--optoin", "x=1"], "--option"),
        (["reprocess", LEVEL1, "--threads", "0"], "--threads"),
        (["reprocess", LEVEL1, "--memory-budget", "much"], "--memory-budget"),
        (["compare", PROMPT], "old"),
        (["demo", "make", "x", "--detectors", "19"], "--detectors"),
        (["cache", "list"], "list"),
    ],
)
def test_wrong_usage(words: list[str], said: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err.lower().replace("'product'", "product")


def test_nothing_asked_gives_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert "Usage: roman-nexus" in shown.out + shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reprocess", "nothere.asdf"], "there is no file nothere.asdf"),
        (["reprocess", "demo"], "demo is a folder"),
        (["reprocess", "text.asdf"], "text.asdf"),
        (["reprocess", GAIN], "a run starts from a Level 1 file"),
        (["reprocess", LEVEL1, "-p", "ramp_fit.algoritm=ols_cas22"], "ramp_fit has no option 'algoritm'"),
        (["reprocess", LEVEL1, "-p", "ramp_fit.algorithm=best"], "accepted are 'likelihood', 'ols_cas22'"),
        (["reprocess", LEVEL1, "-p", "saturation.backup=1.5"], "saturation.backup is 1.5; expected int"),
        (["reprocess", LEVEL1, "-p", "algorithm=ols_cas22"], "does not name a step; write step.option=value"),
        (["reprocess", LEVEL1, "-p", "ramp_fit.algorithm"], "is not of the form step.option=value"),
        (["reprocess", LEVEL1, "-p", "ramp.algorithm=x"], "there is no step 'ramp'"),
        (["reprocess", LEVEL1, "-r", "flat"], "is not of the form type=path"),
        (["reprocess", LEVEL1, "-r", "flatt=x.asdf"], "reference 'flatt' is not used"),
        (["reprocess", LEVEL1, "-r", "flat=x.asdf"], "x.asdf does not exist"),
        (["reprocess", LEVEL1, "-r", "gain=skip"], "gain cannot be skipped"),
        (["reprocess", LEVEL1, "-r", f"flat={GAIN}"], "--waive flat=type"),
        (["reprocess", LEVEL1, "--waive", "flat=colour"], "--waive flat=colour: 'colour' is not something"),
        (["reprocess", LEVEL1, "--references", "nowhere"], "nowhere is not a folder of reference files"),
        (["reprocess", LEVEL1, "--to", "L3"], "there is no step 'L3'; the steps are dq_init"),
        (["reprocess", LEVEL1, "--skip", "ramp_fit"], "it makes the image; use --to instead"),
        (["reprocess", LEVEL1, "--start", "linearity"], "starts at dq_init"),
        (["reprocess", LEVEL1, "--to", "L2", "--schema", "9.9"], "schema '9.9' is not installed"),
        (["reprocess", PROMPT], "already has every step"),
        (["reprocess", LEVEL1, "--compare", "nothere.asdf"], "cannot open nothere.asdf"),
        (["reprocess", LEVEL1, "-o", "image.fits"], "give a folder, or a name that ends in .asdf"),
        (["references", "nothere.asdf"], "there is no file nothere.asdf"),
        (["compare", LEVEL1, PROMPT], "cannot compare a Level 1 file"),
        (["compare", PROMPT, PROMPT, "-o", "report.pdf"], "end the name in .html, .png, .json, .txt"),
        (["info", "nothere.asdf"], "cannot open nothere.asdf"),
    ],
    ids=lambda value: " ".join(value)[-60:] if isinstance(value, list) else "",
)
def test_bad_input(words: list[str], said: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.asdf").write_text("no ASDF at all")
    before = sorted(workplace.glob("*"))
    assert main(words) == 3
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert sorted(workplace.glob("*")) == before


def test_bad_setting(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ROMAN_NEXUS_THREADS", "many")
    assert main(["reprocess", LEVEL1]) == 3
    assert "setting threads from ROMAN_NEXUS_THREADS is 'many'" in capsys.readouterr().err


def test_error_as_json(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reprocess", LEVEL1, "--json", "-r", f"flat={GAIN}"]) == 3
    shown = capsys.readouterr()
    error = json.loads(shown.out)["error"]
    assert (error["type"], error["exit_code"]) == ("ReferenceMismatchError", 3)
    assert shown.err == f"error: {error['message']}\n"


# ------------------------------------------------------------------------------------------------ failing runs
def test_too_little_memory(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reprocess", LEVEL1, "-o", "out", "--memory-budget", "50"]) == 4
    said = capsys.readouterr().err
    assert "the memory budget is 50 MB" in said
    assert "raise --memory-budget" in said
    assert not Path("out").exists()


@pytest.mark.parametrize("output", ["file/out", "file", "gone/product.asdf", "file/product.asdf"])
def test_output_that_cannot_be(output: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("in the way")
    assert main(["reprocess", LEVEL1, "-o", output]) == 4
    shown = capsys.readouterr()
    assert f"--output {output} cannot be written" in shown.err
    assert not shown.out  # told before the work, not after it
    assert not Path("gone").exists()


def test_output_that_fails_at_the_end(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asdf.AsdfFile.write_to", full)
    assert main(["reprocess", LEVEL1, "-o", "out"]) == 4
    assert "No space left on device" in capsys.readouterr().err
    assert not list(Path("out").iterdir())


@pytest.mark.parametrize("kind", [OutputError, CacheError, PermissionError])
def test_failures_of_the_machine(
    kind: type[Exception], workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise kind("the disk is gone; say cache=False")

    monkeypatch.setattr("roman_nexus.engine.reprocess.plan", fail)
    assert main(["reprocess", LEVEL1]) == 4
    assert capsys.readouterr().err == "error: the disk is gone; say --no-cache\n"


def test_mistakes_of_our_own_are_not_hidden(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("roman_nexus.engine.reprocess.plan", fail)
    with pytest.raises(ZeroDivisionError):
        main(["reprocess", LEVEL1])


# ---------------------------------------------------------------------------------------------------- interrupted
def test_control_c_in_the_middle(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal comes while blocks are being worked on."""
    from roman_nexus.engine import reprocess

    reached = []

    def interrupt(event: Event) -> None:
        if event.kind == "progress" and not reached:
            reached.append(event.step)
            signal.raise_signal(signal.SIGINT)

    original = reprocess.reprocess
    monkeypatch.setattr(
        reprocess, "reprocess", lambda *given, **how: original(*given, **{**how, "progress": interrupt})
    )
    assert main(["reprocess", LEVEL1, "-o", "out", "-p", "ramp_fit.algorithm=ols_cas22"]) == 130
    assert reached
    assert "interrupted; no unfinished file is left behind" in capsys.readouterr().err
    assert not Path("out").exists()
    assert not list(Path("cache/results").glob(".new-*"))


def test_cancelled_run(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    from roman_nexus.engine import reprocess

    cancel = threading.Event()
    cancel.set()
    original = reprocess.reprocess
    monkeypatch.setattr(reprocess, "reprocess", lambda *given, **how: original(*given, **{**how, "cancel": cancel}))
    assert main(["reprocess", LEVEL1, "-o", "out", "--no-cache"]) == 130
    assert "the run was cancelled" in capsys.readouterr().err
    assert not Path("out").exists()


def test_reader_that_leaves(workplace: Path) -> None:
    """`roman-nexus info ... | head -1` ends well and quietly."""
    code = "import sys; sys.argv[0] = 'roman-nexus'; from roman_nexus.cli.main import app; app()"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-c", code, "info", PROMPT, "--all"],
            stdout=pipe, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


# --------------------------------------------------------------------------------------------------------- wording
@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("give one with references={'dark': path} or", "give one with --reference dark=PATH or"),
        ("waive={'flat': ['detector', 'useafter']}", "--waive flat=detector,useafter"),
        ("Wfi18TransientOptions.mask_rows is 3", "wfi18_transient.mask_rows is 3"),
        ("DqInitOptions.expand_gw_flagging is -1", "dq_init.expand_gw_flagging is -1"),
        ("stop='dq_init' comes before start='refpix'", "--to dq_init comes before --start refpix"),
        ("name it with environment=... or X", "name it with --environment or X"),
        ("nothing to change in /a/stop=3/cache", "nothing to change in /a/stop=3/cache"),
    ],
)
def test_advice_in_shell_words(python: str, shell: str) -> None:
    assert in_shell_words(python) == shell


def test_verify_is_handed_its_arguments(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What verify itself does is tested in tests/verify; here, that the command says the right things to it."""
    given: dict[str, Any] = {}

    class Report:
        passed = False

        def to_dict(self) -> dict[str, Any]:
            return {"passed": False}

        def save(self, path: Path) -> None:
            path.write_text("report")

    def verify(product: Path, **how: Any) -> Report:
        given.update(how, product=product)
        how["progress"]("running")
        return Report()

    monkeypatch.setattr("roman_nexus.verify.verify", verify)
    words = ["verify", LEVEL1, "--references", "demo/references", "-r", "flat=skip", "-p", "saturation.backup=1"]
    assert main([*words, "--skip", "dark_current", "--json", "-o", "report.json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"passed": False}
    assert "running" in shown.err
    assert given["source"] == "demo/references"
    assert given["references"] == {"flat": "skip"}
    assert given["options"] == {"saturation": {"backup": 1}}
    assert given["skip"] == ["dark_current"]
    assert Path("report.json").read_text() == "report"


def test_verify_without_an_environment(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", LEVEL1, "--environment", "no/such/python"]) == 3
    assert "no/such/python" in capsys.readouterr().err
