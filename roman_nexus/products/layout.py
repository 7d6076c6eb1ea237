"""Where the binary blocks of an ASDF file lie.

A block is a 54-byte header (magic, header size, flags, compression, three sizes, MD5), then its payload. Layout: ASDF
Standard 1.6, "Low-level file layout".
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import FileFormatError

__all__ = ["Block", "ByteSource", "Bytes", "FileSource", "read_bytes", "walk_blocks"]

MAGIC = b"\xd3BLK"
_FIELDS = struct.Struct(">I4sQQQ16s")
_STREAMED = 1
CHUNK = 4 * 1024 * 1024
LARGEST_RATIO = 100_000  # of any compression; refuses absurd sizes before memory is asked for
Bytes = NDArray[np.uint8]


class ByteSource(Protocol):
    """Where bytes come from.

    Attributes
    ----------
    name : str
        For messages.
    size : int
        Bytes in all.
    """

    name: str
    size: int

    def read_into(self, start: int, out: Bytes) -> int:
        """Fill `out` from byte `start`; returns how many bytes there were. Called from several threads."""

    def close(self) -> None:
        """Let go of the file."""


class FileSource:
    """A local file, read with ``pread``: no shared position, so threads need no lock.

    Parameters
    ----------
    path : str or os.PathLike

    Raises
    ------
    FileFormatError
        If there is no such file or it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = -1
        self.name = os.fspath(path)
        try:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            self.size = os.fstat(self._fd).st_size
            if Path(path).is_dir():
                raise IsADirectoryError
        except OSError as error:
            self.close()
            reason = "it is a folder" if isinstance(error, IsADirectoryError) else error.strerror
            msg = f"cannot open {self.name}: {reason}; give the path of an ASDF file"
            raise FileFormatError(msg) from error

    def read_into(self, start: int, out: Bytes) -> int:
        """Fill `out` from byte `start`; returns how many bytes there were."""
        if self._fd < 0:
            msg = f"{self.name} has been closed; keep it open for as long as its arrays are read"
            raise FileFormatError(msg)
        done = 0
        while done < out.size:
            try:
                count = _pread_into(self._fd, out[done:], start + done)
            except OSError as error:
                msg = f"{self.name}: reading byte {start + done} failed: {error.strerror}"
                raise FileFormatError(msg) from error
            if not count:
                break
            done += count
        return done

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def _pread_into(fd: int, out: Bytes, start: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(fd, [out.data], start)
    data = os.pread(fd, out.size, start)
    out[: len(data)] = np.frombuffer(data, np.uint8)
    return len(data)


# ------------------------------------------------------------------------------------------------- blocks
@dataclass(frozen=True, slots=True)
class Block:
    """Where a block lies and how it is stored.

    Attributes
    ----------
    number : int
    start : int
        First byte of the payload in the file.
    stored : int
        Bytes of the payload in the file.
    size : int
        Bytes of the payload when decoded.
    compression : str
        "" for none, else "lz4", "zlib", "bzp2" or another four-letter name.
    problem : str
        Why it cannot be read; empty when it can.
    """

    number: int
    start: int
    stored: int
    size: int
    compression: str
    problem: str = ""


def walk_blocks(source: ByteSource, start: int) -> list[Block]:
    """Find all blocks from byte `start` on by hopping from header to header (the index at the end is not trusted).

    A damaged block ends the list; its `Block.problem` says what is wrong.
    """
    blocks: list[Block] = []
    position = _first_block(source, start)
    while position is not None:
        head = read_bytes(source, position, 6 + _FIELDS.size)
        if head[:4] != MAGIC:
            break
        block, following = _parse_block(source, len(blocks), position, head)
        blocks.append(block)
        position = following
    return blocks


def _first_block(source: ByteSource, start: int) -> int | None:
    """Skip the padding between the tree and the first block."""
    while start < source.size:
        piece = read_bytes(source, start, CHUNK)
        content = piece.lstrip(b"\0\r\n ")
        if content:
            return start + len(piece) - len(content)
        start += len(piece)
    return None


def _parse_block(source: ByteSource, number: int, position: int, head: bytes) -> tuple[Block, int | None]:
    def damaged(problem: str) -> tuple[Block, None]:
        return Block(number, position, 0, 0, "", problem), None

    if len(head) < 6 + _FIELDS.size:
        return damaged(f"the file ends at byte {source.size}, inside the header of the block: it is truncated")
    header_size = int.from_bytes(head[4:6], "big")
    flags, label, allocated, stored, size, _ = _FIELDS.unpack(head[6:])
    compression = label.rstrip(b"\0").decode("latin-1")
    start = position + 6 + header_size
    if header_size < _FIELDS.size:
        return damaged(f"the header of the block says it has {header_size} bytes, expected 48 or more")
    if flags & _STREAMED:
        rest = max(0, source.size - start)
        return Block(number, start, rest, rest, compression), None
    if stored > allocated or (not compression and stored != size):
        return damaged(f"the sizes in its block contradict each other: {allocated=}, {stored=}, {size=}")
    if size > LARGEST_RATIO * (stored + 1):
        return damaged(f"its block announces {size} bytes in {stored} compressed ones, which cannot be")
    if start + stored > source.size:
        end = start + stored
        problem = f"its block should reach byte {end}, but the file ends at byte {source.size}: it is truncated"
        return Block(number, start, stored, size, compression, problem), None
    return Block(number, start, stored, size, compression), start + allocated


def read_bytes(source: ByteSource, start: int, count: int) -> bytes:
    """Return `count` bytes from byte `start`, fewer at the end of the file."""
    out = np.empty(max(0, min(count, source.size - start)), np.uint8)
    return out[: source.read_into(start, out)].tobytes()
