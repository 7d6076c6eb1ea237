"""Results kept on disk, found again by the key of what made them.

An entry is a folder ``results/<key>/`` with one uncompressed ``.npy`` file an array, which is memory-mapped on reading,
and ``entry.json``. It is written under a temporary name and renamed, so an entry is whole or not there. When the cache
grows beyond its limit the entries that were not used for longest are removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import CacheError

__all__ = ["CacheEntry", "ResultCache"]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A cached result.

    Attributes
    ----------
    key : str
    record : dict
        Plain values that were stored with it.
    arrays : dict of str to ndarray
        Memory-mapped copy-on-write: they may be changed, the cache is not.
    """

    key: str
    record: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class ResultCache:
    """The cache of results in a folder.

    Parameters
    ----------
    folder : Path
    limit_bytes : float
        Size to stay under; 0 or less keeps nothing.
    """

    def __init__(self, folder: Path, limit_bytes: float) -> None:
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes
        self._results = self.folder / "results"
        self._held: dict[str, CacheEntry] = {}

    def __contains__(self, key: str) -> bool:
        return (self._results / key / "entry.json").is_file()

    def get(self, key: str) -> CacheEntry | None:
        """Return the entry, or None if there is none; a damaged entry is removed and counts as none."""
        if key in self._held:
            return self._held.pop(key)
        folder = self._results / key
        if key not in self:
            return None
        try:
            record = json.loads((folder / "entry.json").read_text())
            arrays = {}
            for name, (shape, dtype) in record["arrays"].items():
                # zero-size arrays cannot be mapped
                array = np.load(folder / f"{name}.npy", mmap_mode="c" if 0 not in shape else None)
                if list(array.shape) != shape or array.dtype.str != dtype:
                    raise ValueError(name)
                arrays[name] = array
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
            self.remove(key)
            return None
        with contextlib.suppress(OSError):
            os.utime(folder / "entry.json")
        return CacheEntry(key, record["record"], arrays)

    def hold(self, key: str) -> bool:
        """Open an entry for the next `get`: it stays usable even if another process removes it meanwhile."""
        entry = self.get(key)
        if entry is not None:
            self._held[key] = entry
        return entry is not None

    def remove(self, key: str) -> None:
        """Remove an entry, if it is there; an entry half removed never has its name."""
        doomed = self._results / f".new-removed-{os.getpid()}-{time.monotonic_ns()}"
        with contextlib.suppress(OSError):
            (self._results / key).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    @property
    def results_folder(self) -> Path:
        """Folder in which new entries are made before they are adopted."""
        return self._results

    def adopt(
        self, key: str, folder: Path, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]
    ) -> CacheEntry:
        """Make an entry of a folder that already holds some arrays as ``.npy`` files.

        Arrays of `arrays` that are not there yet are added. Another process storing the same key at the same time does
        no harm: one of the two equal entries stays.

        Raises
        ------
        CacheError
            If it cannot be written. The folder is removed.
        """
        try:
            for name, array in arrays.items():
                if not (folder / f"{name}.npy").exists():
                    np.save(folder / f"{name}.npy", np.asarray(array))
            described = {name: [list(array.shape), array.dtype.str] for name, array in arrays.items()}
            entry = {"key": key, "made": time.time(), "arrays": described, "record": dict(record)}
            (folder / "entry.json").write_text(json.dumps(entry))
            self._move(folder, key)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            reason = error.strerror or error
            msg = f"cannot write to the cache in {self.folder}: {reason}; free some space or say cache=False"
            raise CacheError(msg) from error
        self.trim(self.limit_bytes, keep=key)
        return CacheEntry(key, dict(record), dict(arrays))

    def _move(self, folder: Path, key: str) -> None:
        """Give a finished folder its name, unless the entry is there already."""
        try:
            folder.rename(self._results / key)
        except OSError:
            if key not in self:  # what lies there is no entry
                self.remove(key)
                folder.rename(self._results / key)
                return
            shutil.rmtree(folder, ignore_errors=True)

    def note(self, key: str, record: Mapping[str, Any]) -> None:
        """Replace the record of an entry; failing to do so is not an error."""
        path = self._results / key / "entry.json"
        with contextlib.suppress(OSError, ValueError):
            entry = json.loads(path.read_text())
            entry["record"] = dict(record)
            temporary = path.with_name(f".entry-{os.getpid()}-{time.monotonic_ns()}")
            try:
                temporary.write_text(json.dumps(entry))
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def entries(self) -> list[tuple[str, int, float]]:
        """List (key, bytes, last used) of the entries, least recently used first."""
        found = []
        for path in self._results.glob("*/entry.json"):
            try:
                size = sum(item.stat().st_size for item in path.parent.iterdir())
                found.append((path.parent.name, size, path.stat().st_mtime))
            except OSError:
                continue
        return sorted(found, key=lambda entry: entry[2])

    def trim(self, limit_bytes: float, keep: str = "") -> int:
        """Remove entries, least recently used first, until the rest is within `limit_bytes`; return how many."""
        entries = [entry for entry in self.entries() if not entry[0].startswith(".new-")]
        total = sum(size for _, size, _ in entries)
        removed = 0
        for key, size, _ in entries:
            if total <= limit_bytes:
                break
            if key == keep:
                continue
            self.remove(key)
            total -= size
            removed += 1
        self._remove_leftovers()
        return removed

    def _remove_leftovers(self) -> None:
        """Remove what a killed process left, once it is an hour old."""
        for path in self._results.glob(".new-*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > 3600:
                    shutil.rmtree(path, ignore_errors=True)

    # ------------------------------------------------------------ what was planned last
    def last_plan(self, name: str) -> dict[str, Any] | None:
        """Return what was remembered under `name`, for explaining what changed since."""
        try:
            found = json.loads((self.folder / "plans" / f"{name}.json").read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def remember_plan(self, name: str, components: Mapping[str, Any]) -> None:
        """Remember what a plan was made of; failing to do so is not an error."""
        if self.limit_bytes <= 0:
            return
        folder = self.folder / "plans"
        temporary = folder / f".{name}-{os.getpid()}-{time.monotonic_ns()}"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(components))
            temporary.replace(folder / f"{name}.json")
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
