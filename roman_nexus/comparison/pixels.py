"""How the pixels of one plane differ: not-a-number first, then identical values, then the size of the difference.

The two planes arrive in blocks of rows. Only differences that are not zero are kept, in one array in the order they
came, so that the medians are exact order statistics and two equal planes cost no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.comparison.distances import ulp_distance

__all__ = ["NORMAL_MAD", "PlaneDifference", "PlaneTally", "WorstPixel", "median_with_repeats"]

NORMAL_MAD = 1.482602218505602  #: standard deviation of a normal distribution whose median absolute deviation is 1
NWORST = 3
_BINS = 201
_SAMPLE = 1 << 18


@dataclass(frozen=True, slots=True)
class WorstPixel:
    """One of the pixels that differ most.

    Attributes
    ----------
    y, x : int
        0-based position in the plane.
    new, old, difference : float
        The rerun's value, the archive's value, the first minus the second.
    in_errors : float or None
        The difference divided by the error of that pixel; None where the plane has no error, or the pixel none.
    """

    y: int
    x: int
    new: float
    old: float
    difference: float
    in_errors: float | None = None


@dataclass(frozen=True, slots=True)
class PlaneDifference:
    """How one plane (one resultant of a ramp) of the rerun differs from the archive's.

    Attributes
    ----------
    name, unit : str
    resultant : int or None
        0-based, for ramps.
    dtype_new, dtype_old : str
    nan_only_new, nan_only_old : int
        Pixels of the whole plane that are NaN in one product only.
    nan_examples : tuple of (int, int)
        (y, x) of the first three of them.
    compared : int
        Pixels that are good and not NaN in both; all that follows is about these unless it says otherwise.
    identical : int
        Of the compared pixels, those of equal value.
    excluded_differing : int
        Pixels left out because of their flags whose values differ.
    infinite_mismatch : int
        Compared pixels of which one value is infinite and the other is not the same; the statistics leave them out.
    max_abs : float or None
        Largest absolute difference; None when nothing was compared.
    max_ulp : int or None
        Largest distance in units in the last place, of the narrower type if the types differ; None for integers.
    median, scatter : float or None
        Median of the difference (rerun minus archive) and 1.4826 times the median absolute deviation from it.
    error_compared : int or None
        Compared pixels that have an error above zero; None where the plane is not measured in units of error.
    error_median, error_scatter, error_max : float or None
        Median, scatter and largest absolute value of the difference divided by the error.
    beyond_threshold : int or None
        Pixels whose difference is larger than the threshold, in units of error.
    worst : tuple of WorstPixel
        The three compared pixels that differ most (in units of error where there are any), the worst first.
    """

    name: str
    unit: str
    resultant: int | None
    dtype_new: str
    dtype_old: str
    nan_only_new: int
    nan_only_old: int
    nan_examples: tuple[tuple[int, int], ...]
    compared: int
    identical: int
    excluded_differing: int
    infinite_mismatch: int
    max_abs: float | None
    max_ulp: int | None
    median: float | None
    scatter: float | None
    error_compared: int | None = None
    error_median: float | None = None
    error_scatter: float | None = None
    error_max: float | None = None
    beyond_threshold: int | None = None
    worst: tuple[WorstPixel, ...] = ()

    @property
    def label(self) -> str:
        """Name with the number of the resultant."""
        return self.name if self.resultant is None else f"{self.name}[{self.resultant}]"

    @property
    def identical_fraction(self) -> float:
        """Share of the compared pixels that are equal; 1 when nothing was compared."""
        return self.identical / self.compared if self.compared else 1.0

    @property
    def same(self) -> bool:
        """Whether the whole planes are equal, flagged pixels included, and of the same type."""
        others = self.nan_only_new + self.nan_only_old + self.excluded_differing
        return self.identical == self.compared and not others and self.dtype_new == self.dtype_old


class PlaneTally:
    """Adds up `PlaneDifference` from blocks of rows.

    Parameters
    ----------
    name, unit : str
    size : int
        Pixels of the whole plane.
    dtypes : (dtype, dtype)
        Of the rerun's and the archive's plane.
    threshold : float
        In units of error.
    in_errors : bool
        Whether `add` gets errors.
    resultant : int, optional
    """

    def __init__(
        self,
        name: str,
        unit: str,
        size: int,
        dtypes: tuple[np.dtype[Any], np.dtype[Any]],
        *,
        threshold: float = 1.0,
        in_errors: bool = False,
        resultant: int | None = None,
    ) -> None:
        self.name, self.unit, self.resultant = name, unit, resultant
        self._dtypes = tuple(np.dtype(dtype).newbyteorder("=") for dtype in dtypes)
        self._threshold, self._in_errors = threshold, in_errors
        self._work = np.result_type(*self._dtypes, np.float32)
        self._differences = _Values(size, self._work)
        self._pulls = _Values(size, self._work)
        self._nan = [0, 0]
        self._nan_examples: list[tuple[int, int]] = []
        self._compared = self._excluded = self._infinite = self._max_ulp = 0
        self._worst: list[WorstPixel] = []

    def add(
        self,
        new: NDArray[Any],
        old: NDArray[Any],
        usable: NDArray[np.bool_],
        error: NDArray[Any] | None = None,
        first_row: int = 0,
    ) -> None:
        """Add a block of rows.

        Parameters
        ----------
        new, old : (ny, nx) ndarray
        usable : (ny, nx) bool ndarray
            Pixels that are good in both.
        error : (ny, nx) ndarray, optional
            One sigma, in the plane's unit.
        first_row : int
            Row of the plane at which the block lies.
        """
        valid = None if error is None else usable & np.isfinite(error) & (error > 0)
        n_usable = int(np.count_nonzero(usable))
        self._compared += n_usable
        self._differences.repeats += n_usable
        if valid is not None:
            self._pulls.repeats += int(np.count_nonzero(valid))
        differ = new != old
        if not differ.any():
            return
        place = np.flatnonzero(differ)
        mine, other, good = (_take(values.ravel(), place) for values in (new, old, usable))
        numbers = self._count_nan(mine, other, good, place, new.shape[1], first_row, valid)
        if not numbers.all():
            place, mine, other = place[numbers], mine[numbers], other[numbers]
        self._differences.repeats -= place.size
        ok = None if valid is None else _take(valid.ravel(), place)
        if ok is not None:
            self._pulls.repeats -= int(np.count_nonzero(ok))
        self._add_numbers(place, mine, other, ok, error, new.shape[1], first_row)

    def _count_nan(
        self,
        mine: NDArray[Any],
        other: NDArray[Any],
        good: NDArray[np.bool_],
        place: NDArray[np.intp],
        width: int,
        first_row: int,
        valid: NDArray[np.bool_] | None,
    ) -> NDArray[np.bool_]:
        """Count NaN and excluded values among those that differ; return which are numbers to compare."""
        if mine.dtype.kind != "f" and other.dtype.kind != "f":
            self._excluded += int(good.size - np.count_nonzero(good))
            return good
        nan_mine, nan_other = np.isnan(mine), np.isnan(other)
        any_nan = nan_mine | nan_other
        if not any_nan.any():
            self._excluded += int(good.size - np.count_nonzero(good))
            return good
        only_one = nan_mine ^ nan_other
        self._nan[0] += int(np.count_nonzero(only_one & nan_mine))
        self._nan[1] += int(np.count_nonzero(only_one & nan_other))
        for flat in place[only_one][: NWORST - len(self._nan_examples)]:
            self._nan_examples.append((int(flat) // width + first_row, int(flat) % width))
        self._excluded += int(np.count_nonzero(~good & ~any_nan))
        dropped = int(np.count_nonzero(good & any_nan))
        self._compared -= dropped
        self._differences.repeats -= dropped
        if valid is not None:
            self._pulls.repeats -= int(np.count_nonzero(valid.ravel()[place] & any_nan))
        numbers: NDArray[np.bool_] = good & ~any_nan
        return numbers

    def _add_numbers(
        self,
        place: NDArray[np.intp],
        mine: NDArray[Any],
        other: NDArray[Any],
        valid: NDArray[np.bool_] | None,
        error: NDArray[Any] | None,
        width: int,
        first_row: int,
    ) -> None:
        """Add values that differ and are good numbers in both."""
        with np.errstate(over="ignore", invalid="ignore"):
            difference = mine.astype(self._work) - other.astype(self._work)
        finite = np.isfinite(difference)
        if not finite.all():
            self._infinite += int(finite.size - np.count_nonzero(finite))
            place, mine, other, difference = place[finite], mine[finite], other[finite], difference[finite]
            valid = None if valid is None else valid[finite]
        if not place.size:
            return
        self._count_ulp(mine, other)
        self._differences.add(difference)
        rank, pulls = difference, None
        if error is not None and valid is not None:
            pulls = np.full(place.size, np.nan, self._work)
            with np.errstate(over="ignore"):
                np.divide(difference, _take(error.ravel(), place).astype(self._work), out=pulls, where=valid)
            valid = np.isfinite(pulls)
            self._pulls.add(pulls[valid])
            rank = np.where(valid, pulls, 0)
        self._keep_worst(place, mine, other, difference, pulls, np.abs(rank), width, first_row)

    def _count_ulp(self, mine: NDArray[Any], other: NDArray[Any]) -> None:
        if mine.dtype.kind == "f" and other.dtype.kind == "f":
            narrow = min(self._dtypes, key=lambda dtype: dtype.itemsize)
            with np.errstate(over="ignore"):
                distance = ulp_distance(mine.astype(narrow, copy=False), other.astype(narrow, copy=False))
            self._max_ulp = max(self._max_ulp, int(distance.max()))

    def _keep_worst(
        self,
        place: NDArray[np.intp],
        mine: NDArray[Any],
        other: NDArray[Any],
        difference: NDArray[Any],
        pulls: NDArray[Any] | None,
        rank: NDArray[Any],
        width: int,
        first_row: int,
    ) -> None:
        """Keep the pixels of highest rank of this block and of those before."""
        if len(self._worst) == NWORST and float(rank.max()) <= _rank(self._worst[-1], pulls is not None):
            return
        top = np.argpartition(rank, -NWORST)[-NWORST:] if rank.size > NWORST else np.arange(rank.size)
        found = list(self._worst)
        for index in top:
            pull = None if pulls is None or np.isnan(pulls[index]) else float(pulls[index])
            y, x = divmod(int(place[index]), width)
            found.append(
                WorstPixel(y + first_row, x, float(mine[index]), float(other[index]), float(difference[index]), pull)
            )
        found.sort(key=lambda pixel: (-_rank(pixel, pulls is not None), pixel.y, pixel.x))
        self._worst = found[:NWORST]

    def histogram(self, *, in_errors: bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return edges and counts of the differences, or of the differences in units of error.

        The range is symmetric and holds 99.9 % of the values; the outermost bins hold what lies beyond.
        """
        return (self._pulls if in_errors else self._differences).histogram(5.0 if in_errors else 0.0)

    def finish(self) -> PlaneDifference:
        """Return the result; the tally cannot be used afterwards."""
        is_float = all(dtype.kind == "f" for dtype in self._dtypes)
        max_abs, median, scatter, _ = self._differences.statistics(self._threshold)
        errors: dict[str, Any] = {}
        if self._in_errors:
            largest, middle, spread, beyond = self._pulls.statistics(self._threshold)
            errors = {
                "error_compared": self._pulls.count, "error_median": middle, "error_scatter": spread,
                "error_max": largest, "beyond_threshold": beyond,
            }  # fmt: skip
        self._differences.release()
        self._pulls.release()
        return PlaneDifference(
            name=self.name,
            unit=self.unit,
            resultant=self.resultant,
            dtype_new=self._dtypes[0].name,
            dtype_old=self._dtypes[1].name,
            nan_only_new=self._nan[0],
            nan_only_old=self._nan[1],
            nan_examples=tuple(self._nan_examples),
            compared=self._compared,
            identical=self._differences.repeats,
            excluded_differing=self._excluded,
            infinite_mismatch=self._infinite,
            max_abs=max_abs,
            max_ulp=self._max_ulp if is_float and self._compared else None,
            median=median,
            scatter=scatter,
            worst=tuple(self._worst),
            **errors,
        )


class _Values:
    """Numbers that are not zero, in one array, and a count of zeros."""

    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        self._size, self._dtype = size, dtype
        self._array: NDArray[Any] | None = None
        self._used = 0
        self.repeats = 0

    @property
    def count(self) -> int:
        return self.repeats + self._used

    def add(self, values: NDArray[Any]) -> None:
        if self._array is None:
            self._array = np.empty(self._size, self._dtype)  # memory is taken only as far as it is written
        self._array[self._used : self._used + values.size] = values
        self._used += values.size

    def release(self) -> None:
        """Give the memory back; the counts stay."""
        self._array = None

    @property
    def values(self) -> NDArray[Any]:
        return np.empty(0, self._dtype) if self._array is None else self._array[: self._used]

    def histogram(self, least: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return bins around zero, the middle one centred on zero; the range is guessed from a sample."""
        values, half = self.values, least
        if values.size:
            sizes = np.abs(values[:: max(1, values.size // _SAMPLE)])
            half = max(least, 1.1 * float(np.percentile(sizes, 99.9)))
        edges = np.linspace(-(half or 1.0), half or 1.0, _BINS + 1)
        counts = np.zeros(_BINS, np.int64)
        for first in range(0, values.size, _SAMPLE):
            place = ((values[first : first + _SAMPLE] - edges[0]) * (_BINS / (edges[-1] - edges[0]))).astype(np.int64)
            counts += np.bincount(np.clip(place, 0, _BINS - 1, out=place), minlength=_BINS)
        counts[_BINS // 2] += self.repeats
        return edges, counts

    def statistics(self, threshold: float) -> tuple[float | None, float | None, float | None, int]:
        """Return largest absolute value, median, scatter and how many are beyond the threshold."""
        if not self.count:
            return None, None, None, 0
        values = self.values
        if not values.size:
            return 0.0, 0.0, 0.0, 0
        largest = float(max(values.max(), -values.min()))
        beyond = 0
        if largest > threshold:
            beyond = int(np.count_nonzero(values > threshold)) + int(np.count_nonzero(values < -threshold))
        median = median_with_repeats(values, 0.0, self.repeats)
        np.subtract(values, values.dtype.type(median), out=values)
        np.abs(values, out=values)
        scatter = NORMAL_MAD * median_with_repeats(values, abs(median), self.repeats)
        return largest, median, scatter, beyond


def median_with_repeats(values: NDArray[Any], repeated: float, count: int) -> float:
    """Return the median of `values` together with `count` copies of one more value.

    Parameters
    ----------
    values : (n,) ndarray
        Put into another order in place.
    repeated : float
    count : int

    Returns
    -------
    float
        The mean of the two middle values when their number is even.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.comparison.pixels import median_with_repeats
    >>> median_with_repeats(np.array([3.0, -1.0, 2.0]), 0.0, 2)
    0.0
    """
    total = values.size + count
    below = int(np.count_nonzero(values < repeated))

    def ordered(rank: int) -> float:
        if below <= rank < below + count:
            return repeated
        kth = rank if rank < below else rank - count
        values.partition(kth)
        return float(values[kth])

    middle = ordered(total // 2)
    return middle if total % 2 else 0.5 * (ordered(total // 2 - 1) + middle)


def _take(values: NDArray[Any], place: NDArray[np.intp]) -> NDArray[Any]:
    """Return the values at increasing places; no copy where these are all."""
    return values if place.size == values.size else values[place]


def _rank(pixel: WorstPixel, in_errors: bool) -> float:
    if in_errors:
        return 0.0 if pixel.in_errors is None else abs(pixel.in_errors)
    return abs(pixel.difference)
