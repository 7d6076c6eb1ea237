"""Digests of files, arrays and values: what makes "the same" exact.

All are SHA-256, written ``sha256:<hex>``. Digests of files are remembered, because references are large and read
often: a file with the same place, size, time of change and inode has the same content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import CacheError, FileFormatError, InputError

__all__ = ["DigestMemory", "array_digest", "file_digest", "value_digest"]

CHUNK = 4 * 1024 * 1024
PREFIX = "sha256:"


class DigestMemory:
    """Digests of files already read, in one small SQLite file; several processes may use it at once.

    Parameters
    ----------
    folder : path
        Cache folder; made if it is not there.

    Raises
    ------
    CacheError
        If the folder cannot be used.

    Notes
    -----
    A digest that cannot be remembered (the folder became full or unwritable) is only computed again.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / "digests.sqlite"
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect()
        except (OSError, sqlite3.Error) as error:
            msg = f"cannot keep digests in {self.path}: {error}; choose a writable cache folder"
            raise CacheError(msg) from error

    def _connect(self) -> sqlite3.Connection:
        try:
            return _open_database(self.path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self.path.unlink(missing_ok=True)  # not a database any more; it only saved time
            return _open_database(self.path)

    def get(self, path: Path, status: os.stat_result) -> str | None:
        """Return the remembered digest of `path` in the state `status`, or None."""
        query = "SELECT digest FROM digests WHERE path = ? AND size = ? AND mtime_ns = ? AND inode = ?"
        with self._lock, contextlib.suppress(sqlite3.Error):
            row = self._connection.execute(query, (str(path), *_state(status))).fetchone()
            return None if row is None else str(row[0])
        return None

    def put(self, path: Path, status: os.stat_result, digest: str) -> None:
        """Remember the digest of `path` in the state `status`, in place of any older state."""
        command = "INSERT OR REPLACE INTO digests (path, size, mtime_ns, inode, digest) VALUES (?, ?, ?, ?, ?)"
        with self._lock, contextlib.suppress(sqlite3.Error), self._connection:
            self._connection.execute(command, (str(path), *_state(status), digest))

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> DigestMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if connection := getattr(self, "_connection", None):
            connection.close()


def _open_database(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, "
                "inode INTEGER, digest TEXT NOT NULL)"
            )
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _state(status: os.stat_result) -> tuple[int, int, int]:
    # SQLite integers are signed 64 bits; some file systems use the whole unsigned range for inodes
    return status.st_size, status.st_mtime_ns, status.st_ino & 0x7FFF_FFFF_FFFF_FFFF


def file_digest(path: str | os.PathLike[str], *, memory: DigestMemory | None = None) -> str:
    """Compute the digest of a file's content, or recall it.

    Parameters
    ----------
    path : path
    memory : DigestMemory, optional
        Where digests are remembered; without it the file is always read.

    Returns
    -------
    str
        ``sha256:<hex>``.

    Raises
    ------
    FileFormatError
        If the file is missing or cannot be read.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "empty"
    ...     _ = file.write_bytes(b"")
    ...     file_digest(file)[:20]
    'sha256:e3b0c44298fc1'
    """
    place = Path(path).absolute()
    try:
        with place.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if memory is not None and (known := memory.get(place, before)):
                return known
            digest = _content_digest(file.fileno())
            after = os.fstat(file.fileno())
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}; give the path of a readable file"
        raise FileFormatError(msg) from error
    if memory is not None and _state(before) == _state(after):
        memory.put(place, before, digest)
    return digest


def _content_digest(descriptor: int) -> str:
    hasher = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    while count := os.readv(descriptor, [buffer]):
        hasher.update(buffer[:count])
    return PREFIX + hasher.hexdigest()


def array_digest(array: NDArray[Any]) -> str:
    """Compute the digest of an array: its shape, its data type and its values.

    The byte order and the memory layout do not matter.

    Raises
    ------
    InputError
        If the array holds Python objects.

    Examples
    --------
    >>> import numpy as np
    >>> array_digest(np.arange(3, dtype=">i4")) == array_digest(np.arange(3, dtype="<i4"))
    True
    >>> array_digest(np.zeros(4)) == array_digest(np.zeros((2, 2)))
    False
    """
    array = np.asarray(array)
    if array.dtype.hasobject:
        msg = "an array of Python objects has no digest; give numbers or text"
        raise InputError(msg)
    little = array.dtype.newbyteorder("<")
    hasher = hashlib.sha256(repr((array.shape, little.descr)).encode())
    flat = array.reshape(-1) if array.flags.c_contiguous else None
    for piece in [flat] if flat is not None else array:
        rows = np.ascontiguousarray(piece).reshape(-1)
        step = max(1, CHUNK // max(1, rows.itemsize))
        for start in range(0, rows.size, step):
            hasher.update(rows[start : start + step].astype(little, copy=False).view(np.uint8).data)
    return PREFIX + hasher.hexdigest()


def value_digest(value: Any) -> str:
    """Compute the digest of plain values: None, bool, int, float, str, lists, tuples and mappings of them.

    Two values that are written the same in JSON (sorted keys) have the same digest.

    Raises
    ------
    InputError
        If there is anything else inside.

    Examples
    --------
    >>> value_digest({"a": 1, "b": (2, 3)}) == value_digest({"b": [2, 3], "a": 1})
    True
    >>> value_digest(1) == value_digest(1.0)
    False
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"no digest of {type(value).__name__}: {error}; give numbers, text, lists and mappings with text keys"
        raise InputError(msg) from error
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and read-only mappings into what JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    msg = f"it holds a {type(value).__name__}"
    raise TypeError(msg)
