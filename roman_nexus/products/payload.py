"""The bytes inside an ASDF block, by range.

A raw payload is the array itself: any byte can be read. An lz4 payload is a row of pieces, each a 4-byte big-endian
length and an LZ4 block with its decoded size in front (asdf writes 4 MiB a piece): a range costs the pieces that it
touches. A zlib or bzp2 payload is one stream: it is decoded once, whole. The framing of lz4 is that of the asdf
library, read from its files.
"""

from __future__ import annotations

import bz2
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np

from roman_nexus.errors import FileFormatError
from roman_nexus.products.layout import CHUNK, Block, Bytes, ByteSource, read_bytes

__all__ = ["Payload", "PieceCache", "open_payload"]


class Payload(Protocol):
    """The decoded bytes of a block, by range."""

    def read_into(self, start: int, out: Bytes) -> None:
        """Fill `out` with the decoded bytes from `start` on. Called from several threads."""


def open_payload(source: ByteSource, block: Block, cache: PieceCache) -> Payload:
    """Return the reader for the compression of `block`.

    Raises
    ------
    FileFormatError
        If the compression is unknown. Damage inside the block shows when it is read.
    """
    if block.compression == "":
        return _Raw(source, block)
    if block.compression == "lz4":
        return _Pieces(source, block, cache)
    if block.compression in ("zlib", "bzp2"):
        return _Stream(source, block)
    msg = f"block {block.number} is compressed with {block.compression!r}; known are lz4, zlib and bzp2"
    raise FileFormatError(msg)


class _Raw:
    """Payload stored as it is."""

    def __init__(self, source: ByteSource, block: Block) -> None:
        self._source, self._block = source, block

    def read_into(self, start: int, out: Bytes) -> None:
        count = self._source.read_into(self._block.start + start, out)
        if count < out.size:
            msg = f"byte {self._block.start + start + count} cannot be read: the file became shorter while it was open"
            raise FileFormatError(msg)


class _Stream:
    """Payload compressed as one stream: decoded once, whole, and kept."""

    def __init__(self, source: ByteSource, block: Block) -> None:
        self._source, self._block = source, block
        self._lock = threading.Lock()
        self._decoded: Bytes | None = None

    def read_into(self, start: int, out: Bytes) -> None:
        with self._lock:
            if self._decoded is None:
                self._decoded = self._decode()
        out[:] = self._decoded[start : start + out.size]

    def _decode(self) -> Bytes:
        block = self._block
        decoder: Any = zlib.decompressobj() if block.compression == "zlib" else bz2.BZ2Decompressor()
        decoded = np.empty(block.size, np.uint8)
        filled = 0
        for start in range(block.start, block.start + block.stored, CHUNK):
            stored = read_bytes(self._source, start, min(CHUNK, block.start + block.stored - start))
            try:
                data = decoder.decompress(stored)
            except (zlib.error, OSError, EOFError) as error:
                msg = f"its {block.compression} data cannot be decoded near byte {start}: {error}"
                raise FileFormatError(msg) from error
            if filled + len(data) > block.size:
                msg = f"its {block.compression} data hold more than the {block.size} bytes that the block announces"
                raise FileFormatError(msg)
            decoded[filled : filled + len(data)] = np.frombuffer(data, np.uint8)
            filled += len(data)
        if filled != block.size or not decoder.eof:
            msg = f"its {block.compression} data decode to {filled} bytes, the block announces {block.size}"
            raise FileFormatError(msg)
        return decoded


class _Pieces:
    """Payload in lz4 pieces, decoded when wanted."""

    def __init__(self, source: ByteSource, block: Block, cache: PieceCache) -> None:
        self._source, self._block, self._cache = source, block, cache
        self._lock = threading.Lock()
        self._table: tuple[list[int], list[tuple[int, int]]] | None = None

    def read_into(self, start: int, out: Bytes) -> None:
        with self._lock:
            if self._table is None:
                self._table = self._find_pieces()
        edges, places = self._table
        number = bisect_right(edges, start) - 1
        done = 0
        while done < out.size:
            low, high = edges[number], edges[number + 1]
            first, last = start + done, min(start + out.size, high)
            piece = self._piece(
                number, places[number], high - low, whole=first == low and last == high, spent=last == high
            )
            out[done : done + last - first] = np.frombuffer(piece, np.uint8)[first - low : last - low]
            done += last - first
            number += 1

    def _piece(self, number: int, place: tuple[int, int], size: int, *, whole: bool, spent: bool) -> bytes:
        key = (self._block.number, number)
        return self._cache.get(key, lambda: self._decode(number, place, size), keep=not whole, spent=spent)

    def _find_pieces(self) -> tuple[list[int], list[tuple[int, int]]]:
        """Walk the lengths: edges of the decoded pieces, and place and length of the stored ones."""
        block = self._block
        edges = [0]
        places: list[tuple[int, int]] = []
        position, end = block.start, block.start + block.stored
        while position < end:
            head = read_bytes(self._source, position, 8)
            length, size = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "little")
            if len(head) < 8 or length < 5 or position + 4 + length > end or not 0 < size <= block.size - edges[-1]:
                msg = (
                    f"piece {len(places)} of its lz4 data, at byte {position}, is damaged: it announces {length} "
                    f"stored and {size} decoded bytes; {block.size - edges[-1]} bytes are to come before byte {end}"
                )
                raise FileFormatError(msg)
            places.append((position + 4, length))
            edges.append(edges[-1] + size)
            position += 4 + length
        if edges[-1] != block.size:
            msg = f"its lz4 pieces decode to {edges[-1]} bytes, the block announces {block.size}"
            raise FileFormatError(msg)
        return edges, places

    def _decode(self, number: int, place: tuple[int, int], size: int) -> bytes:
        from lz4.block import LZ4BlockError, decompress

        stored = np.empty(place[1], np.uint8)
        count = self._source.read_into(place[0], stored)
        try:
            decoded: bytes = decompress(stored)
        except (LZ4BlockError, ValueError, MemoryError) as error:
            msg = f"piece {number} of its lz4 data, at byte {place[0]}, cannot be decoded: {error}"
            raise FileFormatError(msg) from error
        if count < place[1] or len(decoded) != size:
            msg = f"piece {number} of its lz4 data, at byte {place[0]}, gives {len(decoded)} bytes, expected {size}"
            raise FileFormatError(msg)
        return decoded


class PieceCache:
    """Decoded pieces that will be wanted again, least recently used first out.

    A piece that somebody is decoding is not decoded twice: others wait for it. A piece that was read whole is not kept,
    and one that was read to its end is the first to go: rows are read forward, so it is the piece with a part still
    unread that will be wanted again.

    Parameters
    ----------
    capacity : int
        Bytes.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.decoded = 0  # pieces decoded so far
        self._held = 0
        self._pieces: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._pending: dict[tuple[int, int], Future[bytes]] = {}
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int], decode: Callable[[], bytes], *, keep: bool, spent: bool) -> bytes:
        """Return the piece `key`, from memory or by calling `decode`."""
        with self._lock:
            piece = self._pieces.get(key)
            if piece is not None:
                self._pieces.move_to_end(key, last=not spent)
                return piece
            future = self._pending.get(key)
            mine = future is None
            if future is None:
                future = self._pending[key] = Future()
        if not mine:
            return future.result()
        try:
            piece = decode()
        except BaseException as error:
            with self._lock:
                del self._pending[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._pending[key]
            self.decoded += 1
            if keep:
                self._insert(key, piece, spent=spent)
        future.set_result(piece)
        return piece

    def _insert(self, key: tuple[int, int], piece: bytes, *, spent: bool) -> None:
        self._pieces[key] = piece
        self._pieces.move_to_end(key, last=not spent)
        self._held += len(piece)
        while self._held > self.capacity:
            _, dropped = self._pieces.popitem(last=False)
            self._held -= len(dropped)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._pieces.clear()
            self._held = 0
