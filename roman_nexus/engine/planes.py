"""Image planes that are written row block by row block and then mapped.

The planes of an image (data, dq, err, ...) go straight into the ``.npy`` files of a cache entry as the worker threads
make them, and are memory-mapped when they are complete: the image is never held twice, and a result that was made
is at the same time a result that is cached. Without a cache the files lie in the scratch folder and are unlinked once
they are mapped.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import OutputError

__all__ = ["PlaneWriter", "map_planes", "release_rows", "return_free_memory"]


class PlaneWriter:
    """Files of the planes of one image, open for writing.

    Parameters
    ----------
    folder : Path
        Where a temporary folder is made.
    shape : tuple of int
        (ny, nx) of every plane.
    dtypes : mapping of str to dtype
        Name and type of the planes.

    Raises
    ------
    OutputError
        If the files cannot be made, naming the folder and the size.
    """

    def __init__(self, folder: Path, shape: tuple[int, int], dtypes: Mapping[str, Any]) -> None:
        self.shape = shape
        self.dtypes = {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        size = sum(shape[0] * shape[1] * dtype.itemsize for dtype in self.dtypes.values())
        self._files: dict[str, tuple[int, int]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (free := shutil.disk_usage(folder).free) < size:
                msg = (
                    f"folder {folder} has {free / 1e6:.0f} MB free but the image needs {size / 1e6:.0f} MB; free some "
                    "space, or set ROMAN_NEXUS_CACHE_DIR to a folder with room"
                )
                raise OutputError(msg)
            self.folder = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
            for name, dtype in self.dtypes.items():
                self._files[name] = _open_plane(self.folder / f"{name}.npy", shape, dtype)
        except OutputError:
            raise
        except OSError as error:
            self.discard()
            msg = f"cannot write image planes in {folder}: {error.strerror or error}; is it full or read-only?"
            raise OutputError(msg) from error

    def put(self, name: str, first_row: int, rows: NDArray[Any]) -> None:
        """Write consecutive rows of a plane."""
        descriptor, header = self._files[name]
        block = np.ascontiguousarray(rows, dtype=self.dtypes[name])
        position = header + first_row * self.shape[1] * block.itemsize
        view = block.reshape(-1).view(np.uint8).data
        while view:
            try:
                written = os.pwrite(descriptor, view, position)
            except OSError as error:
                msg = f"cannot write plane {name!r} in {self.folder.parent}: {error.strerror or error}"
                raise OutputError(msg) from error
            view, position = view[written:], position + written

    def finish(self) -> dict[str, NDArray[Any]]:
        """Close the files and map the planes; the caller moves the folder or removes it."""
        for descriptor, _ in self._files.values():
            os.close(descriptor)
        self._files.clear()
        return map_planes(self.folder, list(self.dtypes))

    def discard(self) -> None:
        """Remove everything, after a failure."""
        for descriptor, _ in self._files.values():
            os.close(descriptor)
        self._files.clear()
        if getattr(self, "folder", None) is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _open_plane(path: Path, shape: tuple[int, int], dtype: np.dtype[Any]) -> tuple[int, int]:
    """Make a ``.npy`` file of the right size; return its descriptor and the length of its header."""
    with path.open("wb") as stream:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        length = stream.tell()
        stream.truncate(length + shape[0] * shape[1] * dtype.itemsize)
    return os.open(path, os.O_RDWR), length


def map_planes(folder: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    """Map planes copy-on-write: they may be changed in memory, the files stay as they are."""
    return {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in names}


def release_rows(plane: NDArray[Any], rows: slice) -> None:
    """Unmap rows of a mapped plane that were read and not changed: they stay in the file, not in our memory."""
    if not isinstance(plane, np.memmap):
        return
    mapped: mmap.mmap | None = getattr(plane, "_mmap", None)
    if mapped is None:
        return
    row_bytes = plane.shape[1] * plane.itemsize
    start = plane.offset % mmap.ALLOCATIONGRANULARITY
    first = -(-(start + rows.start * row_bytes) // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (start + rows.stop * row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        mapped.madvise(mmap.MADV_DONTNEED, first, last - first)


def return_free_memory() -> None:
    """Give memory that was freed back to the system (glibc keeps it for itself otherwise)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
