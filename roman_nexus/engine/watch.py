"""Noticing that a file of a run is no longer the one that was planned with.

A key says that a result was made of files with certain digests. Prompt products are overwritten in place, and a user
may be editing a reference while a run reads it; then the key would lie, and so would the cache.
"""

from __future__ import annotations

from pathlib import Path

from roman_nexus.errors import FileFormatError, RunError

__all__ = ["FileWatch"]

State = tuple[int, int, int]


class FileWatch:
    """Remembers size, time of change and inode of files."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[Path, State | None]] = {}

    def add(self, name: str, path: Path) -> None:
        """Remember the state of a file, before it is read; `name` says what it is."""
        self._files[name] = (path.absolute(), _state(path))

    def check(self, *names: str) -> None:
        """Refuse to go on if a file is another one than before.

        Parameters
        ----------
        *names : str
            Which files; all by default.

        Raises
        ------
        RunError
            Naming the file.
        FileFormatError
            If it is gone.
        """
        for name, (path, before) in self._files.items():
            now = _state(path)
            if now == before or (names and name not in names):
                continue
            if now is None:
                msg = f"{name} {path} is gone; put it back, or run again with another file"
                raise FileFormatError(msg)
            msg = f"{name} {path} was changed after the run had begun to read it; run again"
            raise RunError(msg)


def _state(path: Path) -> State | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino
