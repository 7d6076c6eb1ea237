import os
import time
from pathlib import Path

import numpy as np
import pytest

from roman_nexus.engine.cache import ResultCache
from roman_nexus.engine.planes import PlaneWriter
from roman_nexus.errors import CacheError, OutputError


def entry(cache: ResultCache, key: str, value: float = 1.0, shape: tuple[int, int] = (4, 6)) -> None:
    writer = PlaneWriter(cache.results_folder, shape, {"data": np.float32, "err": np.float16})
    for row in range(shape[0]):
        writer.put("data", row, np.full((1, shape[1]), value + row, np.float32))
        writer.put("err", row, np.full((1, shape[1]), value, np.float16))
    arrays = writer.finish() | {"jump_indices": np.zeros((0, 3), np.int16)}
    cache.adopt(key, writer.folder, arrays, {"saturated": False})


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, 1e9)
    assert cache.get("k") is None
    entry(cache, "k", 3.0)
    assert "k" in cache
    found = cache.get("k")
    assert found is not None
    np.testing.assert_array_equal(found.arrays["data"][:, 0], [3, 4, 5, 6])
    assert found.arrays["err"].dtype == np.float16
    assert found.arrays["jump_indices"].shape == (0, 3)
    assert found.record == {"saturated": False}


def test_arrays_may_be_changed_the_cache_is_not(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, 1e9)
    entry(cache, "k")
    first = cache.get("k")
    assert first is not None
    first.arrays["data"][:] = -1
    second = cache.get("k")
    assert second is not None
    assert second.arrays["data"][0, 0] == 1


def test_damaged_entry_counts_as_none(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, 1e9)
    entry(cache, "k")
    (tmp_path / "results" / "k" / "data.npy").write_bytes(b"short")
    assert cache.get("k") is None
    assert "k" not in cache
    entry(cache, "k")
    assert cache.get("k") is not None


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, 1e9)
    for number, key in enumerate("abc"):
        entry(cache, key)
        moment = time.time() - 100 + number
        os.utime(tmp_path / "results" / key / "entry.json", (moment, moment))
    assert cache.get("a") is not None  # a is now the youngest
    size = cache.entries()[0][1]
    cache.trim(size * 2 + 100)  # the times in the records differ by some digits
    assert {key for key, _, _ in cache.entries()} == {"a", "c"}


def test_limit_is_kept_but_not_at_the_cost_of_the_newest(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, 10)
    entry(cache, "a")
    entry(cache, "b")
    assert [key for key, _, _ in cache.entries()] == ["b"]


def test_two_writers_of_the_same_key(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, 1e9)
    entry(cache, "k", 1.0)
    entry(cache, "k", 1.0)
    assert [key for key, _, _ in cache.entries()] == ["k"]
    assert list((tmp_path / "results").glob(".new-*")) == []


def test_notes_replace_the_record(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, 1e9)
    entry(cache, "k")
    cache.note("k", {"statistics": {"image_median": 0.5}})
    found = cache.get("k")
    assert found is not None
    assert found.record["statistics"]["image_median"] == 0.5


def test_leftovers_of_a_killed_process_are_removed_when_old(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, 1e9)
    entry(cache, "k")
    stale, fresh = tmp_path / "results" / ".new-stale", tmp_path / "results" / ".new-fresh"
    stale.mkdir()
    fresh.mkdir()
    os.utime(stale, (time.time() - 7200, time.time() - 7200))
    cache.trim(1e9)
    assert not stale.exists()
    assert fresh.exists()


def test_planes_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write image planes"):
        PlaneWriter(tmp_path / "file", (2, 2), {"data": np.float32})


def test_discarded_planes_leave_nothing(tmp_path: Path) -> None:
    writer = PlaneWriter(tmp_path, (2, 2), {"data": np.float32})
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ResultCache(tmp_path, 1e9)
    writer = PlaneWriter(cache.results_folder, (2, 2), {"data": np.float32})
    arrays = writer.finish()

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(CacheError, match="No space left"):
        cache.adopt("k", writer.folder, arrays | {"more": np.zeros(3)}, {})
    assert not writer.folder.exists()
    assert "k" not in cache


def test_plans_are_remembered(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, 1e9)
    assert cache.last_plan("x") is None
    cache.remember_plan("x", {"a": 1})
    assert cache.last_plan("x") == {"a": 1}
    (tmp_path / "plans" / "x.json").write_text("{")
    assert cache.last_plan("x") is None
