"""Where a ramp waits between steps that need it in different order.

Pixel steps want row blocks, the reference-pixel step wants channel strips. The store keeps the ramp in tiles of
(resultant, some rows, one channel), so that both are a few long reads. It lies in memory when that fits the budget
and in one scratch file otherwise; the file is unlinked as soon as it is open, so that nothing is left behind whatever
happens to the process.

Data-quality flags of resultants are kept sparsely: most tiles have none.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from roman_nexus.errors import OutputError
from roman_nexus.steps.step import CHANNEL_WIDTH, RampBlock

__all__ = ["TileStore", "row_slices", "scratch_array"]


def row_slices(n_rows: int, rows_per_block: int) -> list[slice]:
    """Cut `n_rows` into consecutive slices of at most `rows_per_block`."""
    return [slice(first, min(first + rows_per_block, n_rows)) for first in range(0, n_rows, rows_per_block)]


class TileStore:
    """A ramp in tiles.

    Parameters
    ----------
    shape : tuple of int
        (F, ny, nx); nx is a multiple of 128.
    rows_per_block : int
        Rows of a tile.
    scratch_dir : Path or None
        Folder of the scratch file; None keeps the ramp in memory.

    Raises
    ------
    OutputError
        If the scratch file cannot be made, naming the folder and the size.
    """

    def __init__(self, shape: tuple[int, int, int], rows_per_block: int, scratch_dir: Path | None) -> None:
        self.shape = shape
        self.row_slices = row_slices(shape[1], rows_per_block)
        self.n_channels = shape[2] // CHANNEL_WIDTH
        self.pixeldq = np.zeros(shape[1:], dtype=np.uint32)
        self._groupdq: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._descriptor: int | None = None
        self._memory: NDArray[np.float32] | None = None
        self._folder = scratch_dir
        if scratch_dir is None:
            self._memory = np.empty(shape[0] * shape[1] * shape[2], dtype=np.float32)
        else:
            self._descriptor = _scratch_file(scratch_dir, 4 * shape[0] * shape[1] * shape[2])

    # ---------------------------------------------------------------- tiles
    def _offset(self, index: int, channel: int) -> int:
        """Where a tile starts, in samples: tiles are ordered by channel, then by row block."""
        n_res, n_rows, _ = self.shape
        first_row: int = self.row_slices[index].start
        return n_res * CHANNEL_WIDTH * (channel * n_rows + first_row)

    def _write(self, tile: NDArray[np.float32], offset: int) -> None:
        if self._memory is not None:
            self._memory[offset : offset + tile.size] = tile.reshape(-1)
            return
        assert self._descriptor is not None
        view, position = tile.reshape(-1).view(np.uint8).data, 4 * offset
        while view:
            try:
                written = os.pwrite(self._descriptor, view, position)
            except OSError as error:
                msg = (
                    f"cannot write to the scratch file in {self._folder}: {error.strerror or error}; free some space "
                    "or set ROMAN_NEXUS_SCRATCH_DIR to a folder with room"
                )
                raise OutputError(msg) from error
            view, position = view[written:], position + written

    def _read(self, out: NDArray[np.float32], offset: int) -> None:
        if self._memory is not None:
            out.reshape(-1)[:] = self._memory[offset : offset + out.size]
            return
        assert self._descriptor is not None
        view, position = out.reshape(-1).view(np.uint8).data, 4 * offset
        while view:
            try:
                got = os.preadv(self._descriptor, [view], position)
            except OSError as error:
                msg = f"cannot read the scratch file in {self._folder}: {error.strerror or error}; is the disk sound?"
                raise OutputError(msg) from error
            if not got:
                msg = "the scratch file of this run is shorter than it should be; was it truncated by another process?"
                raise OutputError(msg)
            view, position = view[got:], position + got

    # ------------------------------------------------------------ row blocks
    def write_rows(self, index: int, block: RampBlock) -> None:
        """Store row block number `index`."""
        self.pixeldq[block.rows] = block.pixeldq
        flagged = np.atleast_1d(block.groupdq.any(axis=(0, 1)))
        for channel in range(self.n_channels):
            columns = slice(channel * CHANNEL_WIDTH, (channel + 1) * CHANNEL_WIDTH)
            self._write(np.ascontiguousarray(block.data[:, :, columns]), self._offset(index, channel))
            self._keep_flags((index, channel), block.groupdq[:, :, columns], bool(flagged[columns].any()))

    def _keep_flags(self, key: tuple[int, int], flags: NDArray[np.uint8], flagged: bool) -> None:
        if flagged:
            self._groupdq[key] = flags.copy()
        else:
            self._groupdq.pop(key, None)

    def read_rows(self, index: int) -> RampBlock:
        """Return a copy of row block number `index`: all columns, all resultants."""
        rows = self.row_slices[index]
        shape = (self.shape[0], rows.stop - rows.start, self.shape[2])
        data = np.empty(shape, dtype=np.float32)
        groupdq = np.zeros(shape, dtype=np.uint8)
        tile = np.empty((shape[0], shape[1], CHANNEL_WIDTH), dtype=np.float32)
        for channel in range(self.n_channels):
            columns = slice(channel * CHANNEL_WIDTH, (channel + 1) * CHANNEL_WIDTH)
            self._read(tile, self._offset(index, channel))
            data[:, :, columns] = tile
            if (flags := self._groupdq.get((index, channel))) is not None:
                groupdq[:, :, columns] = flags
        return RampBlock(data, groupdq, self.pixeldq[rows].copy(), rows, slice(0, self.shape[2]))

    # --------------------------------------------------------- channel strips
    def read_channel(self, channel: int) -> RampBlock:
        """Return a copy of a channel strip: all rows, the channel's 128 columns, all resultants."""
        n_res, n_rows, _ = self.shape
        columns = slice(channel * CHANNEL_WIDTH, (channel + 1) * CHANNEL_WIDTH)
        data = np.empty((n_res, n_rows, CHANNEL_WIDTH), dtype=np.float32)
        groupdq = np.zeros(data.shape, dtype=np.uint8)
        for index, rows in enumerate(self.row_slices):
            tile = np.empty((n_res, rows.stop - rows.start, CHANNEL_WIDTH), dtype=np.float32)
            self._read(tile, self._offset(index, channel))
            data[:, rows] = tile
            if (flags := self._groupdq.get((index, channel))) is not None:
                groupdq[:, rows] = flags
        pixeldq = np.ascontiguousarray(self.pixeldq[:, columns])
        return RampBlock(data, groupdq, pixeldq, slice(0, n_rows), columns)

    def write_channel(self, channel: int, block: RampBlock) -> None:
        """Store a channel strip."""
        self.pixeldq[:, block.columns] = block.pixeldq
        for index, rows in enumerate(self.row_slices):
            flags = block.groupdq[:, rows]
            self._keep_flags((index, channel), flags, bool(flags.any()))
            self._write(np.ascontiguousarray(block.data[:, rows]), self._offset(index, channel))

    # ------------------------------------------------------------------ cuts
    def cut(self, rows: slice, columns: slice) -> RampBlock:
        """Return a copy of any rectangle (meant for the reference border)."""
        n_res = self.shape[0]
        shape = (n_res, rows.stop - rows.start, columns.stop - columns.start)
        data = np.empty(shape, dtype=np.float32)
        groupdq = np.empty(shape, dtype=np.uint8)
        if shape[1] > shape[2]:
            for channel in range(columns.start // CHANNEL_WIDTH, (columns.stop - 1) // CHANNEL_WIDTH + 1):
                strip = self.read_channel(channel)
                first, last = max(columns.start, strip.columns.start), min(columns.stop, strip.columns.stop)
                source = slice(first - strip.columns.start, last - strip.columns.start)
                target = slice(first - columns.start, last - columns.start)
                data[:, :, target] = strip.data[:, rows, source]
                groupdq[:, :, target] = strip.groupdq[:, rows, source]
        else:
            for index, block_rows in enumerate(self.row_slices):
                first, last = max(rows.start, block_rows.start), min(rows.stop, block_rows.stop)
                if first >= last:
                    continue
                block = self.read_rows(index)
                source = slice(first - block_rows.start, last - block_rows.start)
                target = slice(first - rows.start, last - rows.start)
                data[:, target] = block.data[:, source, columns]
                groupdq[:, target] = block.groupdq[:, source, columns]
        return RampBlock(data, groupdq, self.pixeldq[rows, columns].copy(), rows, columns)

    def row_blocks(self) -> Iterator[RampBlock]:
        """Iterate over copies of the row blocks."""
        for index in range(len(self.row_slices)):
            yield self.read_rows(index)

    def close(self) -> None:
        """Give the memory or the scratch file back."""
        self._memory = None
        self._groupdq.clear()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _scratch_file(folder: Path, size: int) -> int:
    """Open an unlinked scratch file of `size` bytes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < size:
            msg = (
                f"scratch folder {folder} has {free / 1e6:.0f} MB free but this run needs {size / 1e6:.0f} MB; "
                "free some space or set ROMAN_NEXUS_SCRATCH_DIR to a folder with room"
            )
            raise OutputError(msg)
        descriptor, name = tempfile.mkstemp(prefix="ramp-", dir=folder)
        Path(name).unlink()
    except OutputError:
        raise
    except OSError as error:
        msg = (
            f"cannot make a scratch file in {folder}: {error.strerror or error}; "
            "set ROMAN_NEXUS_SCRATCH_DIR to a folder that can be written"
        )
        raise OutputError(msg) from error
    return descriptor


def scratch_array(folder: Path, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array that lies in an unlinked scratch file.

    Its room on the disk is taken at once: a process that writes to a map of a full disk is killed.

    Raises
    ------
    OutputError
        If there is no room.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    descriptor = _scratch_file(folder, size)
    try:
        os.posix_fallocate(descriptor, 0, size)
        mapped = mmap.mmap(descriptor, size)
    except OSError as error:
        msg = (
            f"cannot keep {size / 1e6:.0f} MB in {folder}: {error.strerror or error}; free some space or set "
            "ROMAN_NEXUS_SCRATCH_DIR to a folder with room"
        )
        raise OutputError(msg) from error
    finally:
        os.close(descriptor)
    return np.frombuffer(mapped, dtype).reshape(shape)
