"""Which jumps both runs of the ramp fit found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import ShapeError

__all__ = ["JumpDifference", "compare_jumps"]


@dataclass(frozen=True, slots=True)
class JumpDifference:
    """The jumps of two images.

    Attributes
    ----------
    new, old : int
        Jumps in each.
    common, only_new, only_old : int
        A jump is the same if resultant, y and x are.
    same_order : bool
        Whether the two lists are equal entry by entry.
    """

    new: int
    old: int
    common: int
    only_new: int
    only_old: int
    same_order: bool

    @property
    def same(self) -> bool:
        """Whether the lists are equal, order included."""
        return self.same_order


def compare_jumps(new: NDArray[Any], old: NDArray[Any], rows: slice) -> JumpDifference:
    """Compare two lists of jumps.

    Parameters
    ----------
    new, old : (n, 3) integer ndarray
        Resultant, y, x of every jump.
    rows : slice
        Only jumps in these rows count.

    Raises
    ------
    ShapeError
        If a list does not have three columns.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.comparison.jumps import compare_jumps
    >>> compare_jumps(np.array([[1, 5, 5], [2, 7, 3]]), np.array([[1, 5, 5]]), slice(0, 10)).only_new
    1
    """
    lists = []
    for label, array in (("rerun", new), ("archive", old)):
        if array.ndim != 2 or array.shape[1] != 3:
            msg = f"jump_indices of the {label} has shape {array.shape}; expected (n, 3): resultant, y, x"
            raise ShapeError(msg)
        inside = (array[:, 1] >= rows.start) & (array[:, 1] < rows.stop)
        lists.append(array[inside].astype(np.int64))
    keys = [(part[:, 0] << 40) | (part[:, 1] << 20) | part[:, 2] for part in lists]
    common = np.intersect1d(keys[0], keys[1]).size
    return JumpDifference(
        new=keys[0].size,
        old=keys[1].size,
        common=common,
        only_new=np.setdiff1d(keys[0], keys[1]).size,
        only_old=np.setdiff1d(keys[1], keys[0]).size,
        same_order=np.array_equal(keys[0], keys[1]),
    )
