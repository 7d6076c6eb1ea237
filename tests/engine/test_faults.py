"""Things that go wrong in the middle: damaged files, full disks, interrupts, kills, and two at once.

Whatever happens, the error is one of ours, nothing lies under the final name unless it is whole, and the cache can be
used by the next run.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roman_nexus as rn
from roman_nexus.engine.cache import ResultCache
from roman_nexus.engine.events import Event
from roman_nexus.engine.result import Run
from roman_nexus.errors import CacheError, FileFormatError, OutputError, ProductLevelError, RomanNexusError, RunError
from roman_nexus.products.blocks import open_blocks


def same(first: Any, second: Any) -> None:
    """Compare all arrays of two products to the bit."""
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(np.asarray(array), np.asarray(second.arrays[name]), err_msg=name)


def is_sound(folder: Path, entries: int | None = None) -> None:
    """Demand that every entry of a cache can be used, and that nothing half made lies beside them."""
    cache = ResultCache(folder, 1e12)
    found = cache.entries()
    assert all(cache.get(key) is not None for key, _, _ in found)
    assert [path.name for path in (folder / "results").glob(".*")] == []
    if entries is not None:
        assert len(found) == entries


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    """Return a cache that holds the whole run; copy it before using it."""
    folder: Path = tmp_path_factory.mktemp("cache")
    return folder


@pytest.fixture(scope="module")
def full(exposure, cache) -> Run:  # type: ignore[no-untyped-def]
    return rn.reprocess(exposure.level1, cache=cache, progress=False)


@pytest.fixture
def copied(full, cache, tmp_path) -> Path:  # type: ignore[no-untyped-def]
    shutil.copytree(cache, tmp_path / "copied")
    return tmp_path / "copied"


# ------------------------------------------------------------------------------------------ damaged input
def layout(path: Path) -> dict[str, int]:
    """Return offsets inside an ASDF file."""
    content = path.read_bytes()
    first = content.index(b"\xd3BLK")
    index = content.index(b"#ASDF BLOCK INDEX")
    return {"nothing": 0, "five": 5, "header": first // 2, "header-end": first - 3, "block-header": first + 20,
            "payload": first + 200, "half": index // 2, "last-byte": index - 1}  # fmt: skip


@pytest.mark.parametrize(
    "where", ["nothing", "five", "header", "header-end", "block-header", "payload", "half", "last-byte"]
)
def test_truncated_input(exposure, tmp_path, where) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "cut_uncal.asdf"
    path.write_bytes(exposure.level1.read_bytes()[: layout(exposure.level1)[where]])
    with pytest.raises(FileFormatError, match=r"cut_uncal\.asdf"):
        rn.reprocess(path, source=exposure.archive.folder / "references", cache=tmp_path / "cache", progress=False)
    assert not list((tmp_path / "cache").glob("results/*"))


def test_an_input_without_its_block_index_is_whole(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "l1_uncal.asdf"
    content = exposure.level1.read_bytes()
    path.write_bytes(content[: content.index(b"#ASDF BLOCK INDEX")])
    run = rn.reprocess(path, source=exposure.archive.folder / "references", cache=False, progress=False)
    same(run.image, full.image)


@pytest.mark.parametrize("what", ["pixels", "sizes", "reference"])
def test_damage_inside_a_file_is_found_when_it_is_read(exposure, tmp_path, what) -> None:  # type: ignore[no-untyped-def]
    original = exposure.references["dark"] if what == "reference" else exposure.level1
    content = bytearray(original.read_bytes())
    block = content.index(b"\xd3BLK")
    if what == "sizes":
        content[block + 54 : block + 62] = b"\xff" * 8
    else:
        content[block + 70 : block + 20_000] = b"\xff" * (20_000 - 70)
    path = tmp_path / original.name
    path.write_bytes(content)
    arguments = {"source": exposure.archive.folder / "references", "cache": tmp_path / "cache", "progress": False}
    level1, given = (exposure.level1, {"dark": path}) if what == "reference" else (path, {})
    with pytest.raises(FileFormatError, match=path.name):
        rn.reprocess(level1, references=given, **arguments)
    is_sound(tmp_path / "cache", entries=0)


def test_products_of_another_level(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from roman_datamodels import datamodels

    mosaic = tmp_path / "r00001_p_visit_270p65x49y70_f158_coadd.asdf"
    datamodels.MosaicModel.create_fake_data(shape=(8, 8)).save(mosaic)
    coordinates = full.save(tmp_path)[1]
    for path, tag in ((mosaic, "wfi_mosaic"), (coordinates, "wfi_wcs"), (exposure.references["flat"], "flat")):
        with pytest.raises(ProductLevelError, match=f"{path.name} is '{tag}'; a run starts from a Level 1 file"):
            rn.reprocess(path, source=exposure.archive.folder / "references", cache=False)
    catalog = tmp_path / "r00001_cat.parquet"
    catalog.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with pytest.raises(FileFormatError, match=r"r00001_cat\.parquet.*ASDF"):
        rn.reprocess(catalog, cache=False)


# ------------------------------------------------------------------------------------------- full disk
class FullDisk:
    """Counts the calls of a function and fails from one of them on."""

    def __init__(self, works: Callable[..., Any], allowed: int | None) -> None:
        self.works = works
        self.allowed = allowed
        self.calls = 0
        self.lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            self.calls += 1
            if self.allowed is not None and self.calls > self.allowed:
                raise OSError(errno.ENOSPC, "No space left on device")
        return self.works(*args, **kwargs)


@pytest.mark.parametrize("scratch", [False, True], ids=["planes", "scratch-file"])
def test_disk_full_while_running(exposure, full, tmp_path, monkeypatch, scratch) -> None:  # type: ignore[no-untyped-def]
    pwrite = os.pwrite
    if scratch:
        monkeypatch.setattr("roman_nexus.engine.cost.IN_MEMORY_LIMIT_MB", 0.0)
    counting = FullDisk(pwrite, None)
    monkeypatch.setattr(os, "pwrite", counting)
    rn.reprocess(exposure.level1, cache=False, progress=False)
    assert counting.calls > 50
    for share in (0.0, 0.4, 0.75, 0.99):  # the last time the fit is complete and may be kept
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        monkeypatch.setattr(os, "pwrite", FullDisk(pwrite, int(share * counting.calls)))
        with pytest.raises(OutputError, match="No space left on device") as caught:
            rn.reprocess(exposure.level1, cache=tmp_path, progress=False)
        assert str(tmp_path) in str(caught.value)
        is_sound(tmp_path)
    monkeypatch.setattr(os, "pwrite", pwrite)
    same(rn.reprocess(exposure.level1, cache=tmp_path, progress=False).image, full.image)
    is_sound(tmp_path, entries=2)


def test_disk_full_while_a_result_is_kept(exposure, full, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    for allowed in (0, 5):
        with monkeypatch.context() as patch:
            patch.setattr(np, "save", FullDisk(np.save, allowed))
            with pytest.raises(CacheError, match=r"No space left on device.*cache=False"):
                rn.reprocess(exposure.level1, cache=tmp_path, progress=False)
        is_sound(tmp_path, entries=0)
    same(rn.reprocess(exposure.level1, cache=tmp_path, progress=False).image, full.image)


def test_disk_full_while_a_ramp_is_assembled(exposure, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("roman_nexus.engine.cost.IN_MEMORY_LIMIT_MB", 0.0)
    arguments = {"stop": "linearity", "cache": tmp_path, "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", FullDisk(os.posix_fallocate, 1))
        with pytest.raises(OutputError, match=r"No space left on device.*ROMAN_NEXUS_SCRATCH_DIR"):
            rn.reprocess(exposure.level1, **arguments)
    assert list((tmp_path / "scratch").rglob("*")) == []
    ramp = rn.reprocess(exposure.level1, **arguments).ramp
    monkeypatch.undo()
    same(ramp, rn.reprocess(exposure.level1, stop="linearity", cache=False, progress=False).ramp)
    assert list((tmp_path / "scratch").rglob("*")) == []


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse to make files larger than this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 3000, 200_000])
def test_disk_full_while_the_product_is_written(full, tmp_path, size) -> None:  # type: ignore[no-untyped-def]
    target = tmp_path / "mine_cal.asdf"
    full.image.meta  # noqa: B018 - made before the disk is full
    for before in (None, b"an older product"):
        if before is not None:
            target.write_bytes(before)
        with largest_file(size), pytest.raises(OutputError, match=r"cannot write .*mine_cal\.asdf.*folder"):
            full.save(target)
        assert [path.name for path in tmp_path.iterdir()] == ([] if before is None else [target.name])
        assert before is None or target.read_bytes() == before
    full.save(target)
    with open_blocks(target) as blocks:
        np.testing.assert_array_equal(blocks.array("roman.data"), full.image.data)


def test_the_input_is_never_overwritten(exposure, tmp_path) -> None:  # type: ignore[no-untyped-def]
    source = exposure.archive.folder / "references"
    run = rn.reprocess(exposure.level1, stop="photom", cache=False, progress=False)
    (part,) = run.save(tmp_path / "mine_cal.asdf", wcs=False)
    before = part.read_bytes()
    run = rn.reprocess(part, source=source, cache=False, progress=False)
    for target in (tmp_path, part):
        with pytest.raises(OutputError, match=rf"{part.name} is the input of this run and would be lost; name another"):
            run.save(target)
    assert part.read_bytes() == before
    assert run.save(tmp_path / "flat")[0].name == part.name


def test_interrupt_while_the_product_is_written(full, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import asdf

    def interrupted(_self: Any, stream: Any, **_options: Any) -> None:
        stream.write(b"#ASDF 1.0.0\n" * 1000)
        raise KeyboardInterrupt

    full.image.meta  # noqa: B018 - made before the interrupt
    monkeypatch.setattr(asdf.AsdfFile, "write_to", interrupted)
    with pytest.raises(KeyboardInterrupt):
        full.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------- cache and scratch folder
def test_cache_folder_that_cannot_be_used(exposure, full, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("not a folder")
    for place in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(CacheError, match=r"file.*ROMAN_NEXUS_CACHE_DIR.*cache=False"):
            rn.reprocess(exposure.level1, cache=place, progress=False)
    monkeypatch.setenv("ROMAN_NEXUS_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="cache=False"):
        rn.reprocess(exposure.level1, progress=False)
    assert rn.plan(exposure.level1, cache=False).to_run
    with pytest.raises(OutputError, match=r"cannot write image planes in .*file"):
        rn.reprocess(exposure.level1, cache=False, progress=False)
    monkeypatch.setenv("ROMAN_NEXUS_SCRATCH_DIR", str(tmp_path / "scratch"))
    same(rn.reprocess(exposure.level1, cache=False, progress=False).image, full.image)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert (tmp_path / "file").read_text() == "not a folder"


def test_cache_folder_that_became_read_only(exposure, copied, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("rename", "replace", "write_text"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    # what is there can still be used
    run = rn.reprocess(exposure.level1, cache=copied, progress=False)
    assert run.plan.to_run == ()
    with pytest.raises(OutputError, match=r"Permission denied"):
        rn.reprocess(exposure.level1, options={"saturation": {"backup": 1}}, cache=copied, progress=False)
    monkeypatch.undo()
    is_sound(copied, entries=2)


def plane_cut(entry: Path) -> None:
    (entry / "data.npy").write_bytes((entry / "data.npy").read_bytes()[:-100])


def plane_empty(entry: Path) -> None:
    (entry / "err.npy").write_bytes(b"")


def plane_gone(entry: Path) -> None:
    (entry / "dq.npy").unlink()


def plane_garbage(entry: Path) -> None:
    (entry / "chisq.npy").write_bytes(os.urandom(1000))


def plane_of_another_shape(entry: Path) -> None:
    np.save(entry / "data.npy", np.zeros((3, 3), np.float32))


def record_garbage(entry: Path) -> None:
    (entry / "entry.json").write_text('{"key": ')


def record_of_another_kind(entry: Path) -> None:
    (entry / "entry.json").write_text("[1, 2]")


def record_without_arrays(entry: Path) -> None:
    record = json.loads((entry / "entry.json").read_text())
    (entry / "entry.json").write_text(json.dumps({**record, "arrays": None}))


def record_gone(entry: Path) -> None:
    (entry / "entry.json").unlink()


DAMAGES = (plane_cut, plane_empty, plane_gone, plane_garbage, plane_of_another_shape, record_garbage,
           record_of_another_kind, record_without_arrays, record_gone)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_entry_is_not_used_and_is_replaced(exposure, full, copied, damage) -> None:  # type: ignore[no-untyped-def]
    for entry in (copied / "results").iterdir():
        damage(entry)
    run = rn.reprocess(exposure.level1, cache=copied, progress=False)
    assert run.plan["flat_field"].status == "run"
    assert run.plan["ramp_fit"].status == "run"
    same(run.image, full.image)
    is_sound(copied, entries=2)
    assert rn.plan(exposure.level1, cache=copied).to_run == ()


def test_only_the_damaged_entry_is_made_again(exposure, full, copied) -> None:  # type: ignore[no-untyped-def]
    plane_cut(copied / "results" / full.plan["flat_field"].key)
    run = rn.reprocess(exposure.level1, cache=copied, progress=False)
    assert [step.name for step in run.plan.to_run if step.level != "meta"] == ["dark_current", "flat_field"]
    same(run.image, full.image)


def test_an_entry_removed_by_another_process_after_planning(exposure, full, copied) -> None:  # type: ignore[no-untyped-def]
    def listener(event: Event) -> None:
        if event.kind == "plan":
            ResultCache(copied, 1e9).trim(0)

    run = rn.reprocess(exposure.level1, cache=copied, progress=listener)
    assert run.plan.to_run == ()
    same(run.image, full.image)
    is_sound(copied, entries=0)
    options = {"flat_field": {"include_var_flat": True}}
    rn.reprocess(exposure.level1, cache=copied, progress=False)
    run = rn.reprocess(exposure.level1, cache=copied, progress=listener, options=options)
    assert run.plan["ramp_fit"].status == "cached"
    same(run.image, rn.reprocess(exposure.level1, cache=False, progress=False, options=options).image)


def test_a_result_may_be_changed_and_the_cache_is_not(exposure, full, copied) -> None:  # type: ignore[no-untyped-def]
    run = rn.reprocess(exposure.level1, cache=copied, progress=False)
    run.image.data[:] = -1
    run.image.dq[:] = 1
    same(rn.reprocess(exposure.level1, cache=copied, progress=False).image, full.image)


# -------------------------------------------------------------------------------- files that change
def brighter(path: Path) -> bytes:
    """Return a gain file in which every value is another one, of the same size."""
    import asdf

    with asdf.open(path, memmap=False, lazy_load=False) as file:
        file["roman"]["data"] = np.asarray(file["roman"]["data"]) * np.float32(1.25)
        target = path.with_name("brighter.asdf")
        file.write_to(target)
    content = target.read_bytes()
    target.unlink()
    return content


def test_a_reference_that_changes_between_two_runs(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    gain = tmp_path / "gain.asdf"
    shutil.copy(exposure.references["gain"], gain)
    arguments = {"references": {"gain": gain}, "cache": tmp_path / "cache", "progress": False}
    first = rn.reprocess(exposure.level1, **arguments)
    same(first.image, full.image)
    shutil.copy(gain, tmp_path / "renamed.asdf")
    renamed = rn.reprocess(exposure.level1, **{**arguments, "references": {"gain": tmp_path / "renamed.asdf"}})
    assert renamed.plan.to_run == ()
    assert renamed.image.meta["ref_file"]["gain"].endswith("renamed.asdf")
    gain.write_bytes(brighter(exposure.references["gain"]))
    second = rn.reprocess(exposure.level1, **arguments)
    assert second.plan["ramp_fit"].why == "gain reference changed (renamed.asdf -> gain.asdf)"
    assert second.plan["linearity"].status == "run"
    good = first.image.dq == 0
    assert (second.image.var_poisson[good] < first.image.var_poisson[good]).mean() > 0.9


@pytest.mark.parametrize("how", ["in place", "replaced"])
@pytest.mark.parametrize("what", ["reference", "input"])
def test_a_file_that_changes_during_the_run(exposure, full, tmp_path, what, how) -> None:  # type: ignore[no-untyped-def]
    level1, gain = tmp_path / exposure.level1.name, tmp_path / "gain.asdf"
    shutil.copy(exposure.level1, level1)
    shutil.copy(exposure.references["gain"], gain)
    changing = {"reference": gain, "input": level1}[what]
    content = changing.read_bytes() + b" "

    def listener(event: Event) -> None:
        if event.kind == "stage" and event.step.startswith("dq_init"):
            if how == "in place":
                changing.write_bytes(content)
            else:
                (tmp_path / "new").write_bytes(content)
                (tmp_path / "new").replace(changing)

    arguments = {"source": exposure.archive.folder / "references", "references": {"gain": gain},
                 "cache": tmp_path / "cache"}  # fmt: skip
    with pytest.raises(RunError, match=rf"{changing.name} was changed .*run again"):
        rn.reprocess(level1, progress=listener, **arguments)
    is_sound(tmp_path / "cache", entries=0)
    if how == "replaced":
        same(rn.reprocess(level1, progress=False, **arguments).image, full.image)


def test_an_input_that_changes_before_its_metadata_are_read(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    level1 = tmp_path / exposure.level1.name
    source = exposure.archive.folder / "references"
    for change, error in (
        (lambda: level1.write_bytes(exposure.archive.files("uncal")[1].read_bytes()), RunError),
        (level1.unlink, FileFormatError),
    ):
        shutil.copy(exposure.level1, level1)
        run = rn.reprocess(level1, source=source, cache=False, progress=False)
        change()
        same(run.image, full.image)
        with pytest.raises(error, match=level1.name):
            run.save(tmp_path / "out")
        assert not list((tmp_path / "out").glob("*"))


# ------------------------------------------------------------------------------------- real processes
SCRIPT = """
import sys, time
from pathlib import Path
from roman_nexus.engine import progress

show = progress.ProgressDisplay.__call__
kind, step, go = sys.argv[1], sys.argv[2], Path(sys.argv[3])

def slow(self, event):
    show(self, event)
    if event.kind == kind and step in event.step:
        print("here", flush=True)
        while not go.exists():
            time.sleep(0.01)

progress.ProgressDisplay.__call__ = slow
sys.argv = ["roman-nexus", *sys.argv[4:]]

from roman_nexus.cli.main import app

app()
"""


class Process:
    """A real `roman-nexus reprocess` that stops at an event until it is told to go on."""

    def __init__(self, folder: Path, level1: Path, kind: str, step: str = "") -> None:
        script = folder / "script.py"
        script.write_text(SCRIPT)
        self.go = folder / "go"
        environment = {**os.environ, "ROMAN_NEXUS_CACHE_DIR": str(folder / "cache"), "ROMAN_NEXUS_PROGRESS": "on"}
        command = [sys.executable, str(script), kind, step, str(self.go), "reprocess", str(level1), "-o",
                   str(folder / "out")]  # fmt: skip
        self.running = subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def wait_for_event(self) -> None:
        assert self.running.stdout is not None
        for line in self.running.stdout:
            if line.strip() == "here":
                return
        raise AssertionError(self.finish()[1])

    def finish(self, timeout: float = 90) -> tuple[int, str]:
        try:
            _, errors = self.running.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.communicate()
            raise
        return self.running.returncode, errors


@pytest.fixture
def start(exposure, tmp_path) -> Iterator[Callable[..., Process]]:  # type: ignore[no-untyped-def]
    started: list[Process] = []

    def make(*arguments: str) -> Process:
        started.append(Process(tmp_path, exposure.level1, *arguments))
        return started[-1]

    yield make
    for process in started:
        process.running.kill()
        process.running.communicate()


def test_interrupt_of_a_real_process(exposure, full, start, tmp_path) -> None:  # type: ignore[no-untyped-def]
    process = start("progress", "")
    process.wait_for_event()
    process.running.send_signal(signal.SIGINT)
    code, errors = process.finish()
    assert code == 130, errors
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("out/*"))
    is_sound(tmp_path / "cache", entries=0)
    same(rn.reprocess(exposure.level1, cache=tmp_path / "cache", progress=False).image, full.image)


def test_kill_of_a_real_process(exposure, full, start, tmp_path) -> None:  # type: ignore[no-untyped-def]
    process = start("progress", "ramp_fit")
    process.wait_for_event()
    process.running.kill()
    assert process.finish()[0] == -signal.SIGKILL
    assert not list(tmp_path.glob("out/*"))
    half_made = list((tmp_path / "cache" / "results").iterdir())
    assert [path.name.startswith(".new-") for path in half_made] == [True]
    plan = rn.plan(exposure.level1, cache=tmp_path / "cache")
    assert {step.status for step in plan.steps} == {"run", "n/a"}
    same(rn.reprocess(exposure.level1, cache=tmp_path / "cache", progress=False).image, full.image)
    os.utime(half_made[0], (1, 1))
    ResultCache(tmp_path / "cache", 1e9).trim(1e9)
    is_sound(tmp_path / "cache", entries=2)


def test_two_processes_write_the_same(exposure, full, start, tmp_path) -> None:  # type: ignore[no-untyped-def]
    processes = [start("plan"), start("plan")]
    for process in processes:
        process.wait_for_event()
    processes[0].go.write_text("")
    for process in processes:
        code, errors = process.finish()
        assert code == 0, errors
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    stem = exposure.level1.name.removesuffix("_uncal.asdf")
    assert names == [f"{stem}_cal.asdf", f"{stem}_wcs.asdf"]
    model = rn.open(tmp_path / "out" / names[0], mode="strict")
    np.testing.assert_array_equal(model.data, full.image.data)
    np.testing.assert_array_equal(model.dq, full.image.dq)
    assert rn.open(tmp_path / "out" / names[1], mode="strict").wcs_l2(3.0, 4.0) == model.meta.wcs(3.0, 4.0)
    is_sound(tmp_path / "cache", entries=2)
    again = rn.reprocess(exposure.level1, cache=tmp_path / "cache", progress=False)
    assert again.plan.to_run == ()
    same(again.image, full.image)


def test_two_threads_run_the_same(exposure, full, tmp_path) -> None:  # type: ignore[no-untyped-def]
    runs: list[Run] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            runs.append(rn.reprocess(exposure.level1, cache=tmp_path, progress=False))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for run in runs:
        same(run.image, full.image)
    is_sound(tmp_path, entries=2)


def test_every_error_of_a_run_is_ours_and_frees_what_it_held(exposure, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """An error that nobody foresaw goes through as it is, and leaves nothing behind either."""
    from roman_nexus.steps.exposure.linearity import STEP

    def fail(*_args: Any) -> None:
        raise ZeroDivisionError("by design")

    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr("roman_nexus.engine.cost.IN_MEMORY_LIMIT_MB", 0.0)
    object.__setattr__(STEP, "apply", fail)
    try:
        with pytest.raises(ZeroDivisionError, match="by design") as caught:
            rn.reprocess(exposure.level1, cache=tmp_path, progress=False)
    finally:
        from roman_nexus.steps.exposure.linearity import apply

        object.__setattr__(STEP, "apply", apply)
    assert not isinstance(caught.value, RomanNexusError)
    del caught
    is_sound(tmp_path, entries=0)
    assert list((tmp_path / "scratch").rglob("*")) == []
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 1  # the memory of digests
