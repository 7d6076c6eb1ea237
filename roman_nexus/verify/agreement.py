"""How far two arrays agree, counted and not judged: identical values, units in the last place, the worst pixels.

NaN patterns come first: a pixel that is NaN on one side only counts as compared, as not identical, and as the worst
there is. Two NaN agree, and so do +0 and -0. Arrays are read piece by piece, so both may be memory maps of any size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import InputError, ShapeError

__all__ = ["Agreement", "Worst", "combine", "compare_arrays", "ulp_distance"]

_PIECE = 1 << 22  # values compared at a time
_NWORST = 3
_UNSIGNED = {2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True, slots=True)
class Worst:
    """One of the pixels that agree least.

    Attributes
    ----------
    index : tuple of int
        Position in the array.
    ours, theirs : float
        The two values.
    distance : float
        Units in the last place, or counts, or bits; infinite where only one side is NaN.
    label : str
        Which of several arrays it was found in.
    """

    index: tuple[int, ...]
    ours: float
    theirs: float
    distance: float
    label: str = ""

    def __str__(self) -> str:
        where = f"{self.label} " if self.label else ""
        return f"{where}[{', '.join(map(str, self.index))}] ours {self.ours:.9g} theirs {self.theirs:.9g}"


@dataclass(frozen=True, slots=True)
class Agreement:
    """The counts of one comparison, or of several put together with `combine`.

    Attributes
    ----------
    compared, identical, within_one : int
        Values compared; bit-identical; at most one unit in the last place apart (for integers: one count, for
        flags: one bit).
    max_ulp : int
        Largest distance where both sides are numbers.
    max_difference : float
        Largest absolute difference where both sides are finite.
    nan_mismatch : int
        Values that are NaN on one side only.
    close : int
        Values whose difference is allowed (see `compare_arrays`); by default those counted in `within_one`.
    worst : tuple of Worst
        The three pixels that agree least; fewer where fewer differ.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.verify.agreement import compare_arrays
    >>> ours = np.array([1.0, 2.0, np.nan], dtype=np.float32)
    >>> theirs = np.array([1.0, np.nextafter(np.float32(2), np.float32(3)), np.nan], dtype=np.float32)
    >>> agreement = compare_arrays(ours, theirs)
    >>> agreement.compared, agreement.identical, agreement.max_ulp, agreement.nan_mismatch
    (3, 2, 1, 0)
    """

    compared: int
    identical: int
    within_one: int
    max_ulp: int
    max_difference: float
    nan_mismatch: int
    close: int = 0
    worst: tuple[Worst, ...] = ()

    @property
    def identical_fraction(self) -> float:
        """Share of values that are bit-identical; 1 when nothing was compared."""
        return self.identical / self.compared if self.compared else 1.0

    @property
    def within_one_fraction(self) -> float:
        """Share of values that are at most one unit in the last place apart."""
        return self.within_one / self.compared if self.compared else 1.0

    @property
    def close_fraction(self) -> float:
        """Share of values whose difference is allowed."""
        return self.close / self.compared if self.compared else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "compared": self.compared,
            "identical": self.identical_fraction,
            "within_one_ulp": self.within_one_fraction,
            "close": self.close_fraction,
            "max_ulp": self.max_ulp,
            "max_difference": self.max_difference,
            "nan_mismatch": self.nan_mismatch,
            "worst": [str(item) for item in self.worst],
        }

    def labelled(self, label: str) -> Agreement:
        """Return the same counts with the name of the array in its worst pixels."""
        return replace(self, worst=tuple(replace(item, label=label) for item in self.worst))


NOTHING = Agreement(0, 0, 0, 0, 0.0, 0)


def ulp_distance(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.uint64]:
    """Count the floating-point numbers between two values.

    Parameters
    ----------
    ours, theirs : ndarray of the same shape and dtype (float16, float32 or float64), without NaN
        Infinity counts as the number after the largest one.

    Returns
    -------
    ndarray of uint64
        0 for equal values, 1 for neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.verify.agreement import ulp_distance
    >>> ulp_distance(np.array([1.0, -0.0]), np.array([np.nextafter(1.0, 2.0), 0.0]))
    array([1, 0], dtype=uint64)
    """
    first, second = _ordered(ours), _ordered(theirs)
    return np.maximum(first, second) - np.minimum(first, second)


def compare_arrays(
    ours: NDArray[Any],
    theirs: NDArray[Any],
    *,
    flags: bool = False,
    where: NDArray[np.bool_] | None = None,
    allowed: tuple[float, float] | None = None,
) -> Agreement:
    """Compare two arrays value by value.

    Parameters
    ----------
    ours, theirs : ndarray of the same shape and dtype
        Floats, integers or booleans; memory maps are read in pieces.
    flags : bool
        Integers are sums of flags: their distance is the number of bits that differ.
    where : bool ndarray of the same shape, optional
        Compare only where this is True.
    allowed : (relative, absolute), optional
        A value is close where ``|ours - theirs| <= relative * |theirs| + absolute``.

    Returns
    -------
    Agreement

    Raises
    ------
    ShapeError
        If the shapes differ.
    InputError
        If the dtypes differ, or are neither numbers nor booleans.
    """
    if ours.shape != theirs.shape:
        msg = f"cannot compare arrays of shapes {ours.shape} (ours) and {theirs.shape} (theirs)"
        raise ShapeError(msg)
    if ours.dtype.newbyteorder("=") != theirs.dtype.newbyteorder("="):
        msg = f"cannot compare arrays of dtypes {ours.dtype} (ours) and {theirs.dtype} (theirs)"
        raise InputError(msg)
    if ours.dtype.kind not in "fiub":
        msg = f"cannot compare arrays of dtype {ours.dtype}; expected floats, integers or booleans"
        raise InputError(msg)
    pieces = [_compare_piece(ours, theirs, flags, where, allowed, cut) for cut in _cuts(ours.shape)]
    return combine(pieces)


def combine(agreements: Iterable[Agreement]) -> Agreement:
    """Add up several comparisons.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.verify.agreement import combine, compare_arrays
    >>> one = compare_arrays(np.zeros(3), np.zeros(3))
    >>> combine([one, one]).compared
    6
    """
    total = NOTHING
    for item in agreements:
        total = Agreement(
            compared=total.compared + item.compared,
            identical=total.identical + item.identical,
            within_one=total.within_one + item.within_one,
            max_ulp=max(total.max_ulp, item.max_ulp),
            max_difference=max(total.max_difference, item.max_difference),
            nan_mismatch=total.nan_mismatch + item.nan_mismatch,
            close=total.close + item.close,
            worst=_worst_first([*total.worst, *item.worst]),
        )
    return total


def _ordered(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Map floats to integers in the same order, zero in the middle of the range."""
    bits = np.ascontiguousarray(values).view(_UNSIGNED[values.dtype.itemsize])
    sign = bits.dtype.type(1 << (8 * values.dtype.itemsize - 1))
    size = (bits & ~sign).astype(np.uint64)
    middle = np.uint64(1 << 63)
    ordered: NDArray[np.uint64] = np.where(bits & sign, middle - size, middle + size)
    return ordered


def _cuts(shape: tuple[int, ...]) -> Iterator[tuple[tuple[slice, ...], tuple[int, ...]]]:
    """Cut an array along its first axes into pieces of about `_PIECE` values, with their place."""
    if not shape or int(np.prod(shape)) <= _PIECE:
        yield (), (0,) * len(shape)
        return
    size = int(np.prod(shape[1:]))
    if size > _PIECE and len(shape) > 1:
        for first in range(shape[0]):
            for cut, place in _cuts(shape[1:]):
                yield (slice(first, first + 1), *cut), (first, *place)
        return
    step = max(1, _PIECE // max(1, size))
    for first in range(0, shape[0], step):
        yield (slice(first, first + step),), (first,) + (0,) * (len(shape) - 1)


def _compare_piece(
    ours: NDArray[Any],
    theirs: NDArray[Any],
    flags: bool,
    where: NDArray[np.bool_] | None,
    allowed: tuple[float, float] | None,
    cut: tuple[tuple[slice, ...], tuple[int, ...]],
) -> Agreement:
    pixels, place = cut
    mine, other = (
        np.ascontiguousarray(array[pixels]).astype(array.dtype.newbyteorder("="), copy=False)
        for array in (ours, theirs)
    )
    differing = _bits(mine) != _bits(other)  # nearly all values are the same bits: only the others are looked at
    compared = mine.size
    if where is not None:
        chosen = np.asarray(where[pixels])
        compared = int(np.count_nonzero(chosen))
        differing &= chosen
    flat = np.flatnonzero(differing)
    first, second = mine.reshape(-1)[flat], other.reshape(-1)[flat]
    only_one = np.zeros(flat.shape, dtype=np.bool_)
    numbers = np.ones(flat.shape, dtype=np.bool_)
    if mine.dtype.kind == "f":
        only_one = np.isnan(first) != np.isnan(second)
        numbers = ~(np.isnan(first) | np.isnan(second))
    distance = np.zeros(flat.shape, dtype=np.uint64)
    distance[numbers] = _distance(first[numbers], second[numbers], flags)
    apart = numbers & np.isfinite(first) & np.isfinite(second) & (distance > 0)
    gap = np.abs(first[apart].astype(np.float64) - second[apart].astype(np.float64))
    mismatch = int(np.count_nonzero(only_one))
    within_one = close = compared - mismatch - int(np.count_nonzero(distance > 1))
    if allowed is not None:
        limit = allowed[0] * np.abs(second[apart].astype(np.float64)) + allowed[1]
        infinite = np.count_nonzero(distance[~apart])  # an infinite value is close to itself only
        close = compared - mismatch - int(infinite) - int(np.count_nonzero(gap > limit))
    return Agreement(
        compared=compared,
        identical=compared - mismatch - int(np.count_nonzero(distance)),
        within_one=within_one,
        max_ulp=int(distance.max(initial=0)),
        max_difference=float(gap.max(initial=0.0)),
        nan_mismatch=mismatch,
        close=close,
        worst=_find_worst(mine, other, flat, np.where(only_one, np.inf, distance.astype(np.float64)), place),
    )


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """View values as unsigned integers."""
    return values.view({1: np.uint8, **_UNSIGNED}[values.dtype.itemsize])


def _distance(ours: NDArray[Any], theirs: NDArray[Any], flags: bool) -> NDArray[np.uint64]:
    """Distance of values that are not NaN."""
    if ours.dtype.kind == "f":
        return ulp_distance(ours, theirs)
    if flags or ours.dtype.kind == "b":
        apart: NDArray[np.uint64] = np.bitwise_count(ours ^ theirs).astype(np.uint64)
        return apart
    counts: NDArray[np.int64] = np.maximum(ours, theirs).astype(np.int64) - np.minimum(ours, theirs).astype(np.int64)
    return counts.astype(np.uint64)


def _find_worst(
    ours: NDArray[Any],
    theirs: NDArray[Any],
    flat: NDArray[np.intp],
    rank: NDArray[np.float64],
    place: tuple[int, ...],
) -> tuple[Worst, ...]:
    """Find the values of highest rank; `flat` says where they lie in the piece, `place` where the piece lies."""
    order = np.flatnonzero(rank)
    if order.size > _NWORST:
        order = order[np.argpartition(rank[order], -_NWORST)[-_NWORST:]]
    found = []
    for number in order:
        index = tuple(int(i) for i in np.unravel_index(flat[number], ours.shape))
        shifted = tuple(i + first for i, first in zip(index, place, strict=True))
        found.append(Worst(shifted, float(ours[index]), float(theirs[index]), float(rank[number])))
    return _worst_first(found)


def _worst_first(items: list[Worst]) -> tuple[Worst, ...]:
    return tuple(sorted(items, key=lambda item: -item.distance)[:_NWORST])
