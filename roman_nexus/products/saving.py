"""Write an ASDF file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from roman_nexus.errors import OutputError

__all__ = ["Compression", "new_file", "write_asdf"]

Compression = Literal["lz4", "zlib", "bzp2"] | None
# coefficients of coordinate systems stay readable in the header, pixels go to blocks
INLINE_THRESHOLD = 128


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; at the end it takes the name, unless something failed.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full. Nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"cannot write {path}: {reason}; nothing was left there, choose a folder with room that can be written"
        raise OutputError(msg) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_asdf(asdf_file: Any, path: Path, compression: Compression | Literal["input"] = "lz4") -> Path:
    """Write an `asdf.AsdfFile` to `path`; arrays are not copied unless they have to be made contiguous.

    Parameters
    ----------
    asdf_file : asdf.AsdfFile
    path : Path
    compression : {"lz4", "zlib", "bzp2", None, "input"}
        "input" keeps what each array had in the file from which it comes.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import asdf

    with asdf.config_context() as config:
        config.array_inline_threshold = INLINE_THRESHOLD
        config.default_array_save_base = False  # a view must not drag its whole base into the file
        with new_file(path) as file:
            asdf_file.write_to(file, all_array_compression=compression)
    return path
