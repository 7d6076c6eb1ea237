"""Digests are those of the content, are remembered only while the file is the same, and survive several processes."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roman_nexus.errors import CacheError, FileFormatError, InputError
from roman_nexus.products import digests
from roman_nexus.products.digests import DigestMemory, array_digest, file_digest, value_digest


def test_file_digest_is_the_sha256_of_the_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    content = os.urandom(digests.CHUNK + 12345)
    file.write_bytes(content)
    assert file_digest(file) == "sha256:" + hashlib.sha256(content).hexdigest()


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    real = digests._content_digest

    def counted(descriptor: int) -> str:
        calls.append(descriptor)
        return real(descriptor)

    monkeypatch.setattr(digests, "_content_digest", counted)
    return calls


def test_memory_spares_the_second_reading_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_reads(monkeypatch)
    file = tmp_path / "file"
    file.write_bytes(b"one")
    with DigestMemory(tmp_path / "cache") as memory:
        first = file_digest(file, memory=memory)
        assert file_digest(file, memory=memory) == first
        assert len(calls) == 1
        file.write_bytes(b"two")
        os.utime(file, ns=(1, 1))
        assert file_digest(file, memory=memory) == "sha256:" + hashlib.sha256(b"two").hexdigest()
        replacement = tmp_path / "new"
        replacement.write_bytes(b"six")
        os.utime(replacement, ns=(1, 1))  # same size and time, another inode
        replacement.replace(file)
        assert file_digest(file, memory=memory) == "sha256:" + hashlib.sha256(b"six").hexdigest()
        assert len(calls) == 3
    with DigestMemory(tmp_path / "cache") as memory:
        file_digest(file, memory=memory)
    assert len(calls) == 3


def test_memory_is_shared_by_processes(tmp_path: Path) -> None:
    files = []
    for number in range(20):
        files.append(tmp_path / f"file{number}")
        files[-1].write_bytes(bytes([number]) * 1000)
    code = (
        "import sys; from roman_nexus.products.digests import DigestMemory, file_digest\n"
        "memory = DigestMemory(sys.argv[1])\n"
        "for name in sys.argv[2:]: print(file_digest(name, memory=memory))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cache"), *map(str, files)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    expected = [file_digest(file) for file in files]
    for process in running:
        out, problems = process.communicate(timeout=60)
        assert out.split() == expected, problems
    with DigestMemory(tmp_path / "cache") as memory:
        assert [memory.get(file, file.stat()) for file in files] == expected


def test_a_ruined_memory_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "digests.sqlite").write_bytes(b"not a database at all" * 100)
    file = tmp_path / "file"
    file.write_bytes(b"x")
    with DigestMemory(tmp_path) as memory:
        assert file_digest(file, memory=memory) == memory.get(file, file.stat())


def test_a_memory_that_fails_later_costs_only_time(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    memory = DigestMemory(tmp_path / "cache")
    memory.close()
    assert file_digest(file, memory=memory) == file_digest(file)


def test_problems_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match="writable cache folder"):
        DigestMemory(tmp_path / "file")
    with pytest.raises(FileFormatError, match="No such file"):
        file_digest(tmp_path / "missing")
    with pytest.raises(FileFormatError, match="directory"):
        file_digest(tmp_path)


def test_array_digest_sees_values_shape_and_type_only() -> None:
    values = np.arange(24, dtype="<f4").reshape(4, 6)
    reference = array_digest(values)
    assert array_digest(values.astype(">f4")) == reference
    assert array_digest(np.asfortranarray(values)) == reference
    assert array_digest(np.repeat(values, 2, axis=1)[:, ::2]) == reference
    changed = values.copy()
    changed[3, 5] = np.nextafter(changed[3, 5], np.float32(100))
    others = [changed, values.reshape(6, 4), values.astype("f8"), values.astype("i4"), values.view("<u4"), values.T]
    assert len({reference, *map(array_digest, others)}) == 1 + len(others)
    assert array_digest(np.array(5)) != array_digest(np.array([5]))
    assert array_digest(np.zeros((0, 3))) != array_digest(np.zeros((3, 0)))
    with pytest.raises(InputError, match="objects"):
        array_digest(np.array([object()]))


def test_large_arrays_are_digested_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(1000, dtype=np.int16).reshape(10, 100)
    whole = array_digest(values)
    monkeypatch.setattr(digests, "CHUNK", 64)
    assert array_digest(values) == whole


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_value_digest_does_not_depend_on_the_order_of_keys(value: object) -> None:
    def turned(item: object) -> object:
        if isinstance(item, dict):
            return {key: turned(item[key]) for key in reversed(item)}
        return tuple(map(turned, item)) if isinstance(item, list) else item

    assert value_digest(turned(value)) == value_digest(value)


def test_value_digest_tells_values_apart_and_refuses_others(tmp_path: Path) -> None:
    values = [None, 0, 1, True, 1.5, "1", [1], [[1]], {"a": 1}, {"a": [1]}, {"b": 1}, ""]
    assert len({value_digest(value) for value in values}) == len(values)
    assert value_digest(np.float64(1.5)) == value_digest(1.5)
    assert value_digest(tmp_path) == value_digest(str(tmp_path))
    for value in (object(), {"a": np.zeros(3)}, {1, 2}, {(1, 2): 3}):
        with pytest.raises(InputError, match="no digest of"):
            value_digest(value)
