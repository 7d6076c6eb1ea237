"""Units in the last place: how many floating-point numbers lie between two values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import InputError, ShapeError

__all__ = ["ulp_distance"]

_UNSIGNED: dict[int, type[np.unsignedinteger[Any]]] = {2: np.uint16, 4: np.uint32, 8: np.uint64}


def ulp_distance(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.uint64]:
    """Count the floating-point numbers between two values.

    The bits of an IEEE 754 number, read as sign and magnitude, are integers in the order of the numbers; the distance
    is the difference of these integers. +0 and -0 are the same number; infinity comes after the largest number.

    Parameters
    ----------
    first, second : (...,) float16, float32 or float64 ndarray
        Of one dtype and shape, without NaN (a NaN gets a distance that means nothing).

    Returns
    -------
    (...,) uint64 ndarray
        0 for equal values, 1 for neighbours.

    Raises
    ------
    InputError
        If the dtypes differ or are not floating-point types of 2, 4 or 8 bytes.
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.comparison import ulp_distance
    >>> ulp_distance(np.array([1.0, -0.0]), np.array([np.nextafter(1.0, 2.0), 0.0]))
    array([1, 0], dtype=uint64)
    >>> ulp_distance(np.array([6e-8], np.float16), np.array([-6e-8], np.float16))
    array([2], dtype=uint64)
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        msg = f"cannot measure the distance between arrays of shapes {first.shape} and {second.shape}"
        raise ShapeError(msg)
    kinds = {array.dtype.newbyteorder("=") for array in (first, second)}
    if len(kinds) > 1 or first.dtype.kind != "f" or first.dtype.itemsize not in _UNSIGNED:
        msg = (
            f"cannot count units in the last place between {first.dtype} and {second.dtype}; "
            "give two arrays of one of float16, float32, float64"
        )
        raise InputError(msg)
    mine, other = _ordered(first), _ordered(second)
    distance: NDArray[np.uint64] = (np.maximum(mine, other) - np.minimum(mine, other)).astype(np.uint64, copy=False)
    return distance


def _ordered(values: NDArray[Any]) -> NDArray[Any]:
    """Map floats to unsigned integers of the same size and order, zero at half the range."""
    size = values.dtype.itemsize
    native = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    bits = native.view(_UNSIGNED[size]).reshape(values.shape)
    half = bits.dtype.type(1 << (8 * size - 1))
    # a set sign bit means half + magnitude, whose unsigned negation (modulo 2 * half) is half - magnitude
    ordered: NDArray[Any] = np.where(bits >= half, np.negative(bits), bits + half)
    return ordered
