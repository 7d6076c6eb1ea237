"""Compare two products: open both, walk through their rows once a plane, put the findings together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.comparison.coordinates import compare_wcs
from roman_nexus.comparison.flags import FlagDifference, FlagTally
from roman_nexus.comparison.jumps import compare_jumps
from roman_nexus.comparison.metadata import compare_keys, compare_references
from roman_nexus.comparison.picture import Picture, PictureMaker
from roman_nexus.comparison.pixels import PlaneDifference, PlaneTally
from roman_nexus.comparison.result import ArrayDifference, Comparison, OneSided
from roman_nexus.comparison.sides import Side, check_pair, open_side
from roman_nexus.dq import parse_mask
from roman_nexus.errors import OptionError

__all__ = ["compare"]

_PLANES = ("data", "err", "var_poisson", "var_rnoise", "var_flat", "chisq", "dumo")
_IN_ERRORS = ("data", "err", "dumo")  # planes in the unit of the error
_WALKED = (*_PLANES, "dq", "pixeldq", "groupdq", "resultantdq", "jump_indices")
_ADDED_BY_SCHEMA = ("dq2", "pixeldq2")  #: required since schema manifest 2.2.0
_RESULTANT_BITS = 0x7F  # bit 7 means another thing for a resultant than for a pixel
_BLOCK = 128  # rows
_SLAB = 1 << 22  # values of an array compared at a time


def compare(
    new: Any,
    old: Any,
    *,
    rows: slice | tuple[int, int] | None = None,
    mask: int | str | Iterable[str | int] | None = "DO_NOT_USE",
    threshold_sigma: float = 1.0,
) -> Comparison:
    """Say what differs between the product of a rerun and the archive's.

    Parameters
    ----------
    new : path, RateImage, RampProduct, Run, model, or object with ``data``, ``dq``, ``err``, ``meta``
        The rerun.
    old : same
        The archive's product, of the same kind: a Level 2 image, a ramp after the same step, or a Level 1 file.
    rows : slice or (first, last + 1), optional
        Compare these rows only; all by default. Arrays that are no images of the detector are left out then.
    mask : int, str or iterable, optional
        Pixels with any of these flags in either product are left out of the statistics (and counted if their values
        differ); None for no flags. See `roman_nexus.dq.parse_mask`.
    threshold_sigma : float, optional
        Pixels whose difference is larger than this many errors are counted, > 0.

    Returns
    -------
    Comparison
        Prints as a report; ``.show()`` for the report with its picture, ``.save(path)`` to keep it.

    Raises
    ------
    ProductLevelError
        If one is a ramp and the other an image, or a product is of a kind that cannot be compared.
    ShapeError
        If the shapes differ.
    FileFormatError
        If a file cannot be read.
    OptionError
        If an option is out of its range.
    InputError
        If `new` or `old` is not a product.

    Notes
    -----
    The unit of error is the archive's total error ``err`` (the rerun's, where the archive has none). All numbers are
    exact for the pixels compared, with differences taken in single precision; only the picture is made small.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> from roman_nexus.comparison import compare
    >>> old = SimpleNamespace(
    ...     data=np.ones((8, 8), np.float32), err=np.full((8, 8), 0.5, np.float16), dq=np.zeros((8, 8), np.uint32)
    ... )
    >>> new = SimpleNamespace(**vars(old) | {"data": old.data + np.float32(0.25)})
    >>> found = compare(new, old)
    >>> found.identical, found.plane("data").error_median
    (False, 0.5)
    """
    bits = 0 if mask is None else parse_mask(mask)
    if (
        isinstance(threshold_sigma, bool)
        or not isinstance(threshold_sigma, (int, float, np.number))
        or not (0 < float(threshold_sigma) < math.inf)
    ):
        msg = f"threshold_sigma is {threshold_sigma!r}; expected a number of errors above 0, for example 1.0"
        raise OptionError(msg)
    with open_side(new, "rerun") as mine, open_side(old, "archive") as other:
        check_pair(mine, other)
        chosen = _rows(rows, mine.shape[-2])
        walk = _Walk(mine, other, chosen, bits, float(threshold_sigma))
        planes, flags, picture = walk.image() if mine.kind == "image" else walk.ramp()
        metadata, expected, calibration = compare_keys(mine.meta, other.meta)
        both_jumps = all("jump_indices" in side.arrays for side in (mine, other))
        jumps = None
        if both_jumps:
            jumps = compare_jumps(mine.read("jump_indices", ...), other.read("jump_indices", ...), chosen)
        return Comparison(
            kind=mine.kind,
            new_name=mine.name,
            old_name=other.name,
            shape=mine.shape,
            rows=(chosen.start, chosen.stop),
            mask=bits,
            threshold_sigma=float(threshold_sigma),
            error_from=walk.error_from,
            planes=tuple(planes),
            flags=tuple(flags),
            jumps=jumps,
            wcs=compare_wcs(mine.meta.get("wcs"), other.meta.get("wcs"), (mine.shape[-2], mine.shape[-1])),
            metadata=metadata,
            expected=expected,
            references=compare_references(mine.meta, other.meta),
            calibration=calibration,
            arrays=tuple(_other_arrays(mine, other, chosen)),
            one_sided=tuple(_one_sided(mine, other)),
            picture=picture,
        )


def _rows(rows: slice | tuple[int, int] | None, ny: int) -> slice:
    """Check a choice of rows."""
    if rows is None:
        return slice(0, ny)
    try:
        chosen = rows if isinstance(rows, slice) else slice(*rows)
        first, last, step = chosen.indices(ny)
        beyond = max(abs(chosen.start or 0), abs(chosen.stop or 0)) > ny
    except TypeError as error:
        msg = f"rows is {rows!r}; expected a slice or (first, last + 1), for example rows=(1000, 1500)"
        raise OptionError(msg) from error
    if step != 1 or last <= first or beyond:
        msg = f"rows is {rows!r}; expected rows from 0 to {ny}, ascending, without a step, at least one"
        raise OptionError(msg)
    return slice(first, last)


@dataclass
class _Walk:
    """Goes through the rows of both products."""

    new: Side
    old: Side
    rows: slice
    bits: int
    threshold: float

    @property
    def frame(self) -> tuple[int, int]:
        """(ny, nx) of what is compared."""
        return self.rows.stop - self.rows.start, self.new.shape[-1]

    @property
    def error_from(self) -> str:
        """Whose ``err`` is the unit: "archive", "rerun" or empty."""
        return next(
            (side.label for side in (self.old, self.new) if self.new.kind == "image" and "err" in side.arrays), ""
        )

    def unit(self, name: str) -> str:
        """Return the unit of a plane."""
        if self.new.kind != "image":
            return "DN"
        states = [side.meta.get("cal_step") or {} for side in (self.new, self.old)]
        flux = all(str(state.get("flux", "")) == "COMPLETE" for state in states)
        base = "MJy/sr" if flux else "DN/s"
        return {"chisq": ""}.get(name, f"({base})²" if name.startswith("var_") else base)

    def both(self, name: str) -> bool:
        return name in self.new.arrays and name in self.old.arrays

    def blocks(self, step: int) -> Iterator[slice]:
        for first in range(self.rows.start, self.rows.stop, step):
            yield slice(first, min(first + step, self.rows.stop))

    def inside(self, block: slice) -> slice:
        """Return where a block lies in the rows compared."""
        return slice(block.start - self.rows.start, block.stop - self.rows.start)

    def usable_pixels(self, name: str, flags: list[FlagDifference]) -> NDArray[np.bool_]:
        """Compare two-dimensional flags; return the pixels that are good in both."""
        usable = np.ones(self.frame, np.bool_)
        tally = FlagTally(name)
        for block in self.blocks(_BLOCK):
            pieces = [side.read(name, block) for side in (self.new, self.old) if name in side.arrays]
            for piece in pieces:
                usable[self.inside(block)] &= (piece & self.bits) == 0
            if len(pieces) == 2:
                tally.add(*pieces)
        if self.both(name):
            flags.append(tally.finish())
        return usable

    def image(self) -> tuple[list[PlaneDifference], list[FlagDifference], Picture]:
        """Compare the planes of two images."""
        flags: list[FlagDifference] = []
        usable = self.usable_pixels("dq", flags)
        maker = PictureMaker(self.frame, self.rows.start, in_errors=bool(self.error_from))
        tally = self.image_plane("data", usable, maker)
        picture = maker.finish("data", self.unit("data"), tally.histogram(in_errors=bool(self.error_from)))
        planes = [tally.finish()]
        planes += [self.image_plane(name, usable).finish() for name in _PLANES[1:] if self.both(name)]
        return planes, flags, picture

    def image_plane(self, name: str, usable: NDArray[np.bool_], maker: PictureMaker | None = None) -> PlaneTally:
        """Walk through the rows of one plane."""
        in_errors = bool(self.error_from) and name in _IN_ERRORS
        source = self.old if self.error_from == "archive" else self.new
        tally = self.tally(name, in_errors=in_errors)
        for block in self.blocks(_BLOCK if maker is None else maker.block_rows):
            mine, other = self.new.read(name, block), self.old.read(name, block)
            error = source.read("err", block).astype(np.float32) if in_errors else None
            good = usable[self.inside(block)]
            tally.add(mine, other, good, error, block.start)
            if maker is not None:
                maker.add(mine, other, good, error, block.start)
        return tally

    def ramp(self) -> tuple[list[PlaneDifference], list[FlagDifference], Picture]:
        """Compare two ramps, resultant by resultant; the last one is pictured."""
        flags: list[FlagDifference] = []
        usable = self.usable_pixels("pixeldq", flags)
        last = self.new.shape[0] - 1
        planes = [self.resultant(number, usable, flags).finish() for number in range(last)]
        maker = PictureMaker(self.frame, self.rows.start, in_errors=False)
        tally = self.resultant(last, usable, flags, maker)
        picture = maker.finish(f"data[{last}]", self.unit("data"), tally.histogram(in_errors=False))
        return [*planes, tally.finish()], flags, picture

    def resultant(
        self, number: int, usable: NDArray[np.bool_], flags: list[FlagDifference], maker: PictureMaker | None = None
    ) -> PlaneTally:
        """Walk through the rows of one resultant and add its flags to `flags`."""
        name = "groupdq" if self.new.kind == "ramp" else "resultantdq"
        tally, flag_tally = self.tally("data", resultant=number), FlagTally(name, number)
        for block in self.blocks(_BLOCK if maker is None else maker.block_rows):
            cut = (number, block)
            pieces = [side.read(name, cut) for side in (self.new, self.old) if name in side.arrays]
            good = usable[self.inside(block)]
            for piece in pieces:
                good = good & ((piece & (self.bits & _RESULTANT_BITS)) == 0)
            if len(pieces) == 2:
                flag_tally.add(*pieces)
            mine, other = self.new.read("data", cut), self.old.read("data", cut)
            tally.add(mine, other, good, None, block.start)
            if maker is not None:
                maker.add(mine, other, good, None, block.start)
        if self.both(name):
            flags.append(flag_tally.finish())
        return tally

    def tally(self, name: str, *, in_errors: bool = False, resultant: int | None = None) -> PlaneTally:
        dtypes = (self.new.arrays[name].dtype, self.old.arrays[name].dtype)
        size = self.frame[0] * self.frame[1]
        return PlaneTally(
            name, self.unit(name), size, dtypes, threshold=self.threshold, in_errors=in_errors, resultant=resultant
        )


def _one_sided(new: Side, old: Side) -> Iterator[OneSided]:
    for name in dict.fromkeys([*old.arrays, *new.arrays]):
        if name in new.arrays and name in old.arrays:
            continue
        only_in, side = ("archive", old) if name in old.arrays else ("rerun", new)
        if name in _ADDED_BY_SCHEMA and not np.asarray(side.arrays[name]).any():
            continue  # a newer schema demands the array; empty, it says nothing
        yield OneSided(name, only_in)


def _other_arrays(new: Side, old: Side, rows: slice) -> Iterator[ArrayDifference]:
    """Compare what is neither a plane nor the flags: reference pixels, the reference output, ..."""
    ny, whole = new.shape[-2], rows == slice(0, new.shape[-2])
    for name in old.arrays:
        if name in _WALKED or name not in new.arrays:
            continue
        shapes = tuple(new.arrays[name].shape), tuple(old.arrays[name].shape)
        if shapes[0] != shapes[1]:
            yield ArrayDifference(name, shapes[0], shapes[1], 0, 0)
            continue
        rows_first = shapes[0][:1] == (ny,)
        if not whole and not rows_first:
            continue
        length = shapes[0][0] if shapes[0] else 0
        first, last = (rows.start, rows.stop) if rows_first else (0, length)
        step = max(1, _SLAB // max(1, math.prod(shapes[0][1:])))
        compared = differing = 0
        for start in range(first, last, step):
            cut = slice(start, min(start + step, last))
            mine, other = new.read(name, cut), old.read(name, cut)
            compared += mine.size
            differing += int(np.count_nonzero(_unequal(mine, other)))
        yield ArrayDifference(name, shapes[0], shapes[1], compared, differing)


def _unequal(new: NDArray[Any], old: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where two arrays differ; two NaN agree."""
    differ: NDArray[np.bool_] = np.asarray(new != old)
    if new.dtype.kind == "f" and old.dtype.kind == "f" and differ.any():
        differ &= ~(np.isnan(new) & np.isnan(old))
    return differ
