"""The YAML header of an ASDF file, as plain Python values.

An ASDF file starts with a YAML document: the tree. It can be read without the asdf library, in milliseconds,
because everything in it is a mapping, a list or a scalar; tags only say what to make of them. Here all tags are
dropped except one: an ``!core/ndarray`` becomes an `ArrayNode`, which says where the array lies. Format: ASDF
Standard 1.6 (https://asdf-standard.readthedocs.io), file layout and ndarray schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import yaml
from numpy.typing import NDArray

from roman_nexus.errors import FileFormatError

__all__ = ["ArrayNode", "Header", "read_header"]

FIRST_READ = 64 * 1024
LARGEST_HEADER = 256 * 1024 * 1024
NDARRAY_TAG = "tag:stsci.edu:asdf/core/ndarray-"
COMPLEX_TAG = "tag:stsci.edu:asdf/core/complex-"
_END = re.compile(rb"\r?\n\.\.\.(?:\r?\n|\Z)")
_STRINGS = {"ascii": "S", "ucs4": "U"}
_NUMBERS = re.compile(r"u?int(8|16|32|64)|float(16|32|64|128)|complex(64|128|256)")


class Reader(Protocol):
    """Something that reads bytes: ``read(start, count)`` gives fewer bytes at the end of the file."""

    def __call__(self, start: int, count: int) -> bytes:
        """Read `count` bytes from byte `start`."""


@dataclass(frozen=True, slots=True)
class ArrayNode:
    """One ``ndarray`` of the tree, as it is described there.

    Attributes
    ----------
    shape : tuple of int
        A streamed array has -1 as its first length.
    dtype : numpy.dtype
        With the byte order of the file.
    source : int or None
        Number of the block; None for an array that is not in a block of this file.
    offset : int
        First byte in the block.
    strides : tuple of int
        Bytes from one element to the next, per axis.
    inline : ndarray or None
        The array itself when the tree holds it.
    problem : str
        Why it cannot be read; empty when it can.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    source: int | None = None
    offset: int = 0
    strides: tuple[int, ...] = ()
    inline: NDArray[Any] | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header.

    Attributes
    ----------
    tree : dict
    roman_tag : str or None
        Tag of the ``roman`` node.
    end : int
        First byte after the YAML document.
    """

    tree: dict[str, Any]
    roman_tag: str | None
    end: int


def read_header(read: Reader, name: str, make_array: Callable[[ArrayNode], Any]) -> Header:
    """Read and parse the header of an ASDF file.

    Parameters
    ----------
    read : callable
        ``read(start, count) -> bytes``.
    name : str
        For error messages.
    make_array : callable
        What is put in the tree for each `ArrayNode`.

    Raises
    ------
    FileFormatError
        If this is no ASDF file, the header is cut off, or it is not YAML.
    """
    text, end = _header_bytes(read, name)
    try:
        loader = _loader_class()(text.decode("utf-8"))
        loader.make_array = make_array
        try:
            root = loader.get_single_node()
            tree = loader.construct_document(root) if root is not None else None
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        reason = str(error).replace("\n", " ")[:200]
        msg = f"{name}: the ASDF header (first {end} bytes) cannot be read: {reason}; the file is damaged"
        raise FileFormatError(msg) from error
    if not isinstance(tree, dict):
        msg = f"{name}: the ASDF header holds no tree of named values; this is not a Roman product"
        raise FileFormatError(msg)
    return Header(tree, _tag_of(root, "roman"), end)


def _header_bytes(read: Reader, name: str) -> tuple[bytes, int]:
    """Return the YAML document and the position of the first byte after it."""
    text = read(0, FIRST_READ)
    if not text.startswith(b"#ASDF "):
        what = f"it starts with {text[:8]!r}" if text else "it is empty"
        msg = f"{name} is not an ASDF file: {what} instead of b'#ASDF '"
        raise FileFormatError(msg)
    while True:
        found = _END.search(text)
        if found:
            return text[: found.start()] + b"\n", found.end()
        if b"\xd3BLK" in text:
            msg = f"{name} is an ASDF file without a tree: its first block comes before any metadata"
            raise FileFormatError(msg)
        more = read(len(text), max(FIRST_READ, len(text)))
        if not more or len(text) > LARGEST_HEADER:
            msg = f"{name}: no end of the ASDF header in {len(text)} bytes; the file is truncated, fetch it again"
            raise FileFormatError(msg)
        text += more


def _tag_of(root: yaml.Node, key: str) -> str | None:
    """Return the tag of one entry of the top mapping, if it has a tag of its own."""
    for name, value in root.value:
        if name.value == key:
            return None if value.tag.startswith("tag:yaml.org,2002:") else str(value.tag)
    return None


# -------------------------------------------------------------------------------------------- YAML loader
@cache
def _loader_class() -> Any:
    """Build the loader: libyaml if PyYAML has it, unknown tags dropped, arrays described."""
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class HeaderLoader(base):  # type: ignore[misc]
        make_array: Callable[[ArrayNode], Any]

    # the empty prefix takes every tag, so it must come last
    HeaderLoader.add_multi_constructor(NDARRAY_TAG, _construct_array)
    HeaderLoader.add_multi_constructor(COMPLEX_TAG, _construct_complex)
    HeaderLoader.add_multi_constructor("", _construct_untagged)
    return HeaderLoader


def _construct_untagged(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_yaml_map(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_yaml_seq(node)
    return node.value


def _construct_complex(_loader: Any, _suffix: str, node: yaml.Node) -> complex:
    return complex(str(node.value).replace(" ", ""))


def _construct_array(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        described = _inline(loader.construct_sequence(node, deep=True), None, None)
    else:
        described = _described(loader.construct_mapping(node, deep=True))
    return loader.make_array(described)


# ------------------------------------------------------------------------------------- array descriptions
def _described(entry: Mapping[str, Any]) -> ArrayNode:
    source = entry.get("source")
    if source is None:
        dtype = _dtype(entry["datatype"], "little").newbyteorder("=") if "datatype" in entry else None
        return _inline(entry["data"], dtype, entry.get("shape"))
    shape = tuple(-1 if length == "*" else int(length) for length in entry["shape"])
    if any(length < 0 for length in shape[1:]) or (shape and shape[0] < -1):
        msg = f"an array of shape {entry['shape']}"
        raise ValueError(msg)
    dtype = _dtype(entry["datatype"], entry["byteorder"])
    strides = tuple(int(step) for step in entry.get("strides") or _row_major(shape, dtype.itemsize))
    if len(strides) != len(shape):
        msg = f"an array of shape {shape} with strides {strides}"
        raise ValueError(msg)
    problem = ""
    if not isinstance(source, int):
        problem = f"it lies in another file, {source!r}, which is not followed; ask for a self-contained file"
    elif entry.get("mask") is not None:
        problem = "it is a masked array, which no Roman product holds; open the file with asdf"
    block = source if isinstance(source, int) else None
    return ArrayNode(shape, dtype, block, int(entry.get("offset", 0)), strides, problem=problem)


def _inline(data: Any, dtype: np.dtype[Any] | None, shape: Any) -> ArrayNode:
    if dtype is not None and dtype.names and isinstance(data, list):
        data = [tuple(row) for row in data]
    if isinstance(data, list) and None in data:
        missing = [value is None for value in data]
        values = np.array([0 if value is None else value for value in data], dtype=dtype)
        array: NDArray[Any] = np.ma.MaskedArray(values, mask=missing)
    else:
        array = np.array(data, dtype=dtype)
    if shape is not None and array.size == int(np.prod(shape)):
        array = array.reshape(shape)
    return ArrayNode(array.shape, array.dtype, inline=array)


def _row_major(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides: list[int] = []
    step = itemsize
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def _dtype(datatype: Any, byteorder: str) -> np.dtype[Any]:
    """Turn an ASDF data type into NumPy's (ndarray schema of the ASDF Standard)."""
    order = {"little": "<", "big": ">"}[byteorder]
    if isinstance(datatype, str):
        if datatype == "bool8":
            return np.dtype(np.bool_)
        if not _NUMBERS.fullmatch(datatype):
            msg = f"an array of the unknown data type {datatype!r}"
            raise ValueError(msg)
        return np.dtype(datatype).newbyteorder(order)  # type: ignore[arg-type]
    if len(datatype) == 2 and isinstance(datatype[0], str) and datatype[0] in _STRINGS:
        return np.dtype(f"{order}{_STRINGS[datatype[0]]}{int(datatype[1])}")
    fields: list[Any] = []
    for number, item in enumerate(datatype):
        entry = item if isinstance(item, dict) else {"datatype": item}
        inner = _dtype(entry["datatype"], entry.get("byteorder", byteorder))
        name = str(entry.get("name") or f"f{number}")
        fields.append((name, inner, tuple(entry["shape"])) if entry.get("shape") else (name, inner))
    return np.dtype(fields)
