"""An ASDF file by pieces: the header as plain values, and arrays that read only what is asked for.

Neither asdf nor astropy is imported: opening costs milliseconds, and nothing is validated, converted or mapped
into memory. Use `roman_nexus.products.files.open` for a validated model with real times and coordinate systems.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from roman_nexus.errors import FileFormatError, ShapeError
from roman_nexus.products.cuts import extent, read_strided, selection
from roman_nexus.products.header import ArrayNode, read_header
from roman_nexus.products.layout import Block, ByteSource, FileSource, read_bytes, walk_blocks
from roman_nexus.products.payload import Payload, PieceCache, open_payload

__all__ = ["ArrayDescription", "AsdfBlocks", "BlockArray", "open_blocks", "peek"]

PIECE_BYTES = 4 * 1024 * 1024
PIECE_CACHE_BYTES = 64 * 1024 * 1024
Key = Any


class ArrayDescription(NamedTuple):
    """Shape and data type of an array that was not read."""

    shape: tuple[int, ...]
    dtype: str


def open_blocks(source: str | os.PathLike[str] | ByteSource, *, piece_cache_bytes: int | None = None) -> AsdfBlocks:
    """Open an ASDF file by pieces.

    Parameters
    ----------
    source : path or ByteSource
    piece_cache_bytes : int, optional
        Memory for decoded lz4 pieces of which a part is still unread. By default two pieces more than the file has
        planes, but at most 64 MiB: enough to read a cube of 13 resultants forward, some rows at a time, decoding each
        piece once.

    Returns
    -------
    AsdfBlocks

    Raises
    ------
    FileFormatError
        If the file is missing, not ASDF, truncated, or if a block does not fit its array.

    Examples
    --------
    >>> with open_blocks("r0000101001001001001_0001_wfi01_f158_uncal.asdf") as blocks:  # doctest: +SKIP
    ...     rows = blocks.array("roman.data")[:, 100:200, :]
    """
    opened = source if not isinstance(source, (str, os.PathLike)) else FileSource(source)
    try:
        return AsdfBlocks(opened, piece_cache_bytes)
    except BaseException:
        opened.close()
        raise


def peek(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the ``roman`` tree of a file as plain values, in milliseconds.

    Times are ISO 8601 text, a coordinate system is its description, an array is an `ArrayDescription`.

    Raises
    ------
    FileFormatError
        If the file is missing, not ASDF, its header is truncated, or it has no ``roman`` tree.
    """
    source = FileSource(path)
    try:
        header = read_header(partial(read_bytes, source), source.name, _describe)
    finally:
        source.close()
    roman = header.tree.get("roman")
    if not isinstance(roman, dict):
        keys = _names(header.tree)
        msg = f"{source.name} is ASDF but no Roman product: it has no 'roman' tree; its top keys are {keys}"
        raise FileFormatError(msg)
    return roman


class AsdfBlocks:
    """An open ASDF file; see `open_blocks`. A context manager.

    Attributes
    ----------
    tree : dict
        The whole tree as plain values; arrays are `BlockArray`, or ndarray where the tree itself holds them.
    roman_tag : str or None
        Tag of the ``roman`` node, which names the product and the version of its schema.
    path : str
    """

    def __init__(self, source: ByteSource, piece_cache_bytes: int | None) -> None:
        self._source = source
        self._cache = PieceCache(PIECE_CACHE_BYTES if piece_cache_bytes is None else piece_cache_bytes)
        self._payloads: dict[int, Payload] = {}
        self.path = source.name
        header = read_header(partial(read_bytes, source), source.name, self._make_array)
        self.tree = header.tree
        self.roman_tag = header.roman_tag
        blocks = walk_blocks(source, header.end)
        for name, array in self.arrays().items():
            if isinstance(array, BlockArray):
                array._bind(name, blocks)
        if piece_cache_bytes is None:
            planes = sum(array.nbytes // plane for array in self.arrays().values() if (plane := _plane_bytes(array)))
            self._cache.capacity = min(PIECE_CACHE_BYTES, (planes + 2) * PIECE_BYTES)

    def _make_array(self, node: ArrayNode) -> Any:
        return BlockArray(self, node) if node.inline is None else node.inline

    def _payload(self, block: Block) -> Payload:
        payload = self._payloads.get(block.number)
        if payload is None:
            # two threads may both get here; the first reader that was stored is the one used
            payload = self._payloads.setdefault(block.number, open_payload(self._source, block, self._cache))
        return payload

    def arrays(self) -> dict[str, BlockArray | NDArray[Any]]:
        """Return all arrays by their dotted path, for example ``roman.data``."""
        return dict(_walk_arrays(self.tree, "", set()))

    def array(self, path: str) -> BlockArray | NDArray[Any]:
        """Return one array.

        Parameters
        ----------
        path : str
            Dotted path from the top, for example ``roman.data``.

        Raises
        ------
        FileFormatError
            If there is no array of that name.
        """
        value: Any = self.tree
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, (BlockArray, np.ndarray)):
            return value
        msg = f"{self.path} has no array {path!r}; its arrays are {_names(self.arrays())}"
        raise FileFormatError(msg)

    def forget(self) -> None:
        """Give the memory of decoded pieces back; what is read again is decoded again."""
        self._cache.clear()

    def close(self) -> None:
        """Close the file; arrays can no longer be read."""
        self._cache.clear()
        self._payloads.clear()
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<AsdfBlocks {self.path}: {', '.join(self.arrays())}>"


class BlockArray:
    """An array in a file, read by basic indexing: integers, slices of step 1 and ``...``.

    Each read gives a fresh ndarray in native byte order and costs the bytes (or lz4 pieces) that it needs.
    Several threads may read at once. The file stays open while the array lives, unless it is closed explicitly.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        In native byte order.
    compression : str
        "", "lz4", "zlib" or "bzp2".
    """

    def __init__(self, owner: AsdfBlocks, node: ArrayNode) -> None:
        self._owner = owner
        self._node = node
        self._name = "array"
        self._block: Block | None = None
        self.shape = node.shape
        self.dtype: np.dtype[Any] = _native(node)

    def _bind(self, name: str, blocks: list[Block]) -> None:
        """Find the block and check that the array lies inside it."""
        node, number = self._node, self._node.source
        if self._block is not None:
            return  # the same array under a second name
        self._name = name
        if number is None:
            return
        number = number if number >= 0 else len(blocks) + number
        if not 0 <= number < len(blocks):
            raise self._error(f"block {number} is missing, the file ends after {len(blocks)} blocks: it is truncated")
        self._block = block = blocks[number]
        if block.problem:
            raise self._error(block.problem)
        if self.shape[:1] == (-1,):
            self.shape = (max(0, block.size - node.offset) // max(1, node.strides[0]), *self.shape[1:])
        low, high = extent(self.shape, node.strides, node.dtype.itemsize)
        if self.size and (node.offset + low < 0 or node.offset + high > block.size):
            need = f"bytes {node.offset + low} to {node.offset + high}"
            raise self._error(f"it needs {need} of block {number}, which has {block.size}")

    def _error(self, problem: str) -> FileFormatError:
        return FileFormatError(f"{self._owner.path}: {self._name} (shape {self.shape}) cannot be read: {problem}")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array in memory."""
        return self.size * self.dtype.itemsize

    @property
    def compression(self) -> str:
        """How the array is stored: "" for raw."""
        return self._block.compression if self._block is not None else ""

    def __len__(self) -> int:
        if not self.shape:
            msg = f"{self._name} has no axes, so it has no length"
            raise ShapeError(msg)
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: Key) -> NDArray[Any]:
        starts, lengths, shape = selection(key, self.shape, self._name)
        out = np.empty(lengths, self._node.dtype)
        self._fill(out, starts)
        return _to_native(out).reshape(shape)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            msg = f"{self._name} lies in a file and cannot be seen as an array without copying it to memory"
            raise ShapeError(msg)
        whole = self[...]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def read_into(self, out: NDArray[Any], key: Key = Ellipsis) -> None:
        """Read a cut into an existing array, straight into its memory where its rows are contiguous.

        Parameters
        ----------
        out : ndarray
            Shape of the cut; the data are converted if its data type differs.
        key : optional
            Basic index; the whole array by default.

        Raises
        ------
        ShapeError
            If `out` has another shape than the cut.
        """
        starts, lengths, shape = selection(key, self.shape, self._name)
        if out.shape != shape:
            msg = f"the cut of {self._name} has shape {shape}; the array to fill has {out.shape}"
            raise ShapeError(msg)
        if out.dtype == self.dtype:
            whole = out.reshape(lengths)  # only adds axes of length 1: never a copy
            self._fill(whole.view(self._node.dtype), starts)
            if self._node.dtype != self.dtype:
                whole.byteswap(inplace=True)
        else:
            np.copyto(out, self[key], casting="unsafe")

    def _fill(self, out: NDArray[Any], starts: tuple[int, ...]) -> None:
        """Read the cut that begins at `starts` into `out`, which has the byte order of the file."""
        if self._node.problem:
            raise self._error(self._node.problem)
        if not out.size or self._block is None:
            return
        offset = self._node.offset + sum(start * step for start, step in zip(starts, self._node.strides, strict=True))
        try:
            read_strided(self._owner._payload(self._block), out, offset, self._node.strides)
        except FileFormatError as error:
            if str(error).startswith(self._owner.path):
                raise
            raise self._error(str(error)) from error

    def __repr__(self) -> str:
        return f"<BlockArray {self._name} {self.shape} {self.dtype} {self.compression or 'raw'}>"


# ------------------------------------------------------------------------------------------------- helpers
def _to_native(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array in native byte order, swapping in place."""
    if array.dtype.isnative:
        return array
    if array.dtype.names:
        return array.astype(array.dtype.newbyteorder("="))
    return array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))


def _plane_bytes(array: BlockArray | NDArray[Any]) -> int:
    """Return the size of an image of two pieces or more, or of one plane of such a cube; 0 for anything smaller."""
    if array.ndim < 2:
        return 0
    size = int(array.shape[-1] * array.shape[-2] * array.dtype.itemsize)
    return size if size >= 2 * PIECE_BYTES else 0


def _native(node: ArrayNode) -> np.dtype[Any]:
    return node.dtype.newbyteorder("=")


def _describe(node: ArrayNode) -> ArrayDescription:
    return ArrayDescription(node.shape, _native(node).name)


def _walk_arrays(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, BlockArray | NDArray[Any]]]:
    """Yield every array of the tree with its dotted path; a tree may hold a branch twice, or itself."""
    if isinstance(value, (BlockArray, np.ndarray)):
        yield path, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not items or id(value) in seen:
        return
    seen.add(id(value))
    for key, item in items:
        yield from _walk_arrays(item, f"{path}.{key}" if path else str(key), seen)


def _names(entries: Any) -> str:
    return ", ".join(map(str, entries)) or "none"
