"""float16 for compiled code.

Level 2 stores err, the variances, chisq and dumo as float16, which numba does not know on a CPU. Here the 16 bits are
handled as integers, by the rules of IEEE 754-2008 (binary16): round to nearest, ties to even; overflow to infinity;
subnormal numbers exactly. So the results equal those of ``ndarray.astype``, in a fraction of the time and without its
overflow warnings.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.errors import ShapeError

__all__ = ["narrow", "to_float16", "widen"]

# numba makes every sum of two integers 64 bits wide; naming the type after each step keeps them at 32
_u = np.uint32
_SIGN = _u(0x8000)
_BIAS = _u(112 << 23)  #: difference of the exponent biases, 127 - 15, at the place of a float32 exponent
_SMALLEST_NORMAL = _u(113)  #: float32 exponent of 2**-14
_FIRST_OVERFLOW = _u(0x477FF000)  #: bits of 65520, which rounds to infinity
_INFINITY = _u(0x7F800000)
_SUBNORMAL_UNIT = np.float32(2.0**-24)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def narrow(value):  # type: ignore[no-untyped-def]
    """Return the float16 bits (uint16) nearest to a float32; for use in compiled code."""
    bits = np.float32(value).view(np.uint32)
    size = _u(bits & _u(0x7FFFFFFF))
    exponent = _u(size >> _u(23))
    # normal: drop 13 bits, rounding half to even, and change the bias
    normal = _u(_u(size + _u(0xFFF) + (_u(size >> _u(13)) & _u(1)) - _BIAS) >> _u(13))
    # subnormal: the significand in units of 2**-24, rounded likewise; nothing is left of it after 25 bits
    significand = _u((size & _u(0x7FFFFF)) | _u(0x800000))
    shift = _u(_u(126) - min(max(exponent, _u(101)), _u(112)))
    half = _u(_u(_u(1) << _u(shift - _u(1))) - _u(1))
    subnormal = _u(_u(significand + half + (_u(significand >> shift) & _u(1))) >> shift)
    result = subnormal if exponent < _SMALLEST_NORMAL else normal
    result = _u(0x7C00) if size >= _FIRST_OVERFLOW else result
    result = _u(_u(0x7E00) | (_u(size >> _u(13)) & _u(0x3FF))) if size > _INFINITY else result
    return np.uint16(result | (_u(bits >> _u(16)) & _SIGN))


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def widen(half):  # type: ignore[no-untyped-def]
    """Return the float32 equal to float16 bits (uint16); for use in compiled code."""
    bits = _u(half)
    size = _u(bits & _u(0x7FFF))
    normal = _u(_u(size << _u(13)) + _BIAS)
    normal = _u(normal + _BIAS) if size >= _u(0x7C00) else normal
    subnormal = np.float32(np.float32(np.int32(size)) * _SUBNORMAL_UNIT).view(np.uint32)
    result = _u(subnormal if size < _u(0x400) else normal)
    return _u(result | _u(_u(bits & _SIGN) << _u(16))).view(np.float32)


@njit(nogil=True, cache=True, error_model="numpy")
def _narrow_rows(source, out):  # type: ignore[no-untyped-def]
    """Convert row by row; with the strides known to be those of neighbours the loop is vectorised."""
    for y in range(source.shape[0]):
        if source.strides[1] == 4 and out.strides[1] == 2:
            for x in range(source.shape[1]):
                out[y, x] = narrow(source[y, x])


def to_float16(source: NDArray[np.float32], out: NDArray[np.float16]) -> None:
    """Convert a float32 array to float16.

    Parameters
    ----------
    source : (ny, nx) float32 ndarray
    out : (ny, nx) float16 ndarray
        Receives the values; may be a cut of a larger array.

    Raises
    ------
    ShapeError
        If the two have different shapes, or are not two-dimensional.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.half_precision import to_float16
    >>> out = np.empty((1, 4), dtype=np.float16)
    >>> to_float16(np.array([[1.0, 2049.0, 65520.0, 3e-8]], dtype=np.float32), out)
    >>> out
    array([[1.000e+00, 2.048e+03,       inf, 5.960e-08]], dtype=float16)
    """
    if source.shape != out.shape or source.ndim != 2:
        msg = f"cannot convert an array of shape {source.shape} into {out.shape}; expected two equal (ny, nx)"
        raise ShapeError(msg)
    if source.dtype == np.float32 and source.strides[1] == 4 and out.strides[1] == 2:
        _narrow_rows(source, out.view(np.uint16))
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            out[...] = np.asarray(source, dtype=np.float32).astype(np.float16)
