"""A file appears under its name only when it is complete."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roman_nexus.errors import OutputError

__all__ = ["replacing"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path of the same name to write to, and move it to its place at the end.

    The temporary file lies in a folder of its own beside the target, because some writers record the name of the
    file in the file.

    Parameters
    ----------
    path : str or Path
        Its folder must exist.

    Raises
    ------
    OutputError
        If the file cannot be written. What was there before is left.
    """
    target = Path(path)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name[:40]}.", dir=target.parent) as folder:
            temporary = Path(folder) / target.name
            yield temporary
            temporary.replace(target)
    except OSError as error:
        msg = (
            f"cannot write {target}: {error.strerror or error}; check that the folder exists, is writable and has space"
        )
        raise OutputError(msg) from error
