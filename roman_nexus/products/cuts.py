"""From a basic index to the bytes of an array: which elements, and how few reads fetch them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import ShapeError
from roman_nexus.products.payload import Payload

__all__ = ["extent", "read_strided", "selection"]

BRIDGE = 16 * 1024  # reading through a gap of this many bytes is cheaper than another system call
SCRATCH = 8 * 1024 * 1024  # largest piece read aside when runs are bridged


def selection(key: Any, shape: tuple[int, ...], name: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Turn a basic index into first element and length per axis, and the shape of the result."""
    items = list(key) if isinstance(key, tuple) else [key]
    gaps = [position for position, item in enumerate(items) if item is Ellipsis]
    if len(gaps) > 1 or len(items) - len(gaps) > len(shape):
        msg = f"{name} has {len(shape)} axes; cannot index it with {key!r}"
        raise ShapeError(msg)
    fill = [slice(None)] * (len(shape) - (len(items) - len(gaps)))
    position = gaps[0] if gaps else len(items)
    items[position : position + len(gaps)] = fill
    starts, lengths, result = [], [], []
    for axis, (item, length) in enumerate(zip(items, shape, strict=True)):
        start, count = _along_axis(item, length, f"axis {axis} of {name}")
        starts.append(start)
        lengths.append(count)
        if isinstance(item, slice):
            result.append(count)
    return tuple(starts), tuple(lengths), tuple(result)


def _along_axis(item: Any, length: int, name: str) -> tuple[int, int]:
    if isinstance(item, slice):
        if item.step not in (None, 1):
            msg = f"{name}: only slices of step 1 can be read from a file, not {item}; read the range, then thin it out"
            raise ShapeError(msg)
        start, stop, _ = item.indices(length)
        return start, max(0, stop - start)
    if isinstance(item, (bool, np.bool_)) or not isinstance(item, (int, np.integer)):
        msg = f"{name}: an array in a file is indexed by integers, slices and ..., not by {type(item).__name__}"
        raise ShapeError(msg)
    index = int(item) + length if item < 0 else int(item)
    if not 0 <= index < length:
        msg = f"{name}: index {item} is outside 0 to {length - 1}"
        raise ShapeError(msg)
    return index, 1


def extent(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """First byte and end of an array relative to its first element."""
    reach = [(length - 1) * step for length, step in zip(shape, strides, strict=True)]
    return sum(min(0, value) for value in reach), sum(max(0, value) for value in reach) + itemsize


def read_strided(payload: Payload, out: NDArray[Any], offset: int, strides: tuple[int, ...]) -> None:
    """Fill `out` with elements that lie at `strides` from byte `offset` on.

    One contiguous run is read straight into `out`. Runs with small gaps (some columns of every row) are read together
    and thinned out in memory; larger gaps split the work along the slowest axis (one run per plane).
    """
    low, high = extent(out.shape, strides, out.itemsize)
    if high - low == out.nbytes and out.flags.c_contiguous and _is_row_major(out.shape, strides, out.itemsize):
        payload.read_into(offset, out.reshape(-1).view(np.uint8))
        return
    order = sorted((axis for axis in range(out.ndim) if out.shape[axis] > 1), key=lambda axis: abs(strides[axis]))
    inner, reach, widest = 0, out.itemsize, 0
    for axis in order:
        inner = reach
        widest = max(widest, abs(strides[axis]) - reach)
        reach += (out.shape[axis] - 1) * abs(strides[axis])
    if widest <= BRIDGE and reach <= SCRATCH:
        scratch = np.empty(high - low, np.uint8)
        payload.read_into(offset + low, scratch)
        out[...] = np.ndarray(out.shape, out.dtype, scratch.data, -low, strides)
        return
    slowest = order[-1]
    step = 1 if widest > BRIDGE else max(1, (SCRATCH - inner) // abs(strides[slowest]))
    for first in range(0, out.shape[slowest], step):
        cut = (slice(None),) * slowest + (slice(first, first + step),)
        read_strided(payload, out[cut], offset + first * strides[slowest], strides)


def _is_row_major(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    expected = itemsize
    for length, step in zip(reversed(shape), reversed(strides), strict=True):
        if length > 1 and step != expected:
            return False
        expected *= length
    return True
