"""Which data-quality bits were gained and which were lost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.dq import PixelFlag, ResultantFlag

__all__ = ["FlagChange", "FlagDifference", "FlagTally"]


@dataclass(frozen=True, slots=True)
class FlagChange:
    """One flag.

    Attributes
    ----------
    name : str
        Name of the flag, or "bit 14" where it has none.
    bit : int
    gained, lost : int
        Pixels that carry the flag in the rerun only; in the archive's product only.
    """

    name: str
    bit: int
    gained: int
    lost: int


@dataclass(frozen=True, slots=True)
class FlagDifference:
    """One data-quality array, or one resultant of it.

    Attributes
    ----------
    name : str
    resultant : int or None
    compared : int
        All pixels, flagged or not.
    differing : int
        Pixels of which any bit differs.
    changes : tuple of FlagChange
        In bit order; flags that did not change are left out.
    """

    name: str
    resultant: int | None
    compared: int
    differing: int
    changes: tuple[FlagChange, ...] = ()

    @property
    def label(self) -> str:
        """Name with the number of the resultant."""
        return self.name if self.resultant is None else f"{self.name}[{self.resultant}]"

    @property
    def same(self) -> bool:
        """Whether all bits of all pixels are equal."""
        return not self.differing


class FlagTally:
    """Adds up `FlagDifference` from blocks of rows.

    Parameters
    ----------
    name : str
        "dq", "pixeldq": pixel flags; "groupdq", "resultantdq": flags of a resultant.
    resultant : int, optional
    """

    def __init__(self, name: str, resultant: int | None = None) -> None:
        self.name, self.resultant = name, resultant
        self._compared = self._differing = 0
        self._counts: dict[int, list[int]] = {}

    def add(self, new: NDArray[Any], old: NDArray[Any]) -> None:
        """Add a block of flags, any shape."""
        self._compared += new.size
        place = np.flatnonzero(new != old)
        if not place.size:
            return
        self._differing += place.size
        mine, other = new.ravel()[place], old.ravel()[place]
        changed = int(np.bitwise_or.reduce(mine ^ other))
        for bit in range(changed.bit_length()):
            value = 1 << bit
            if changed & value:
                counts = self._counts.setdefault(bit, [0, 0])
                counts[0] += int(np.count_nonzero(mine & ~other & value))
                counts[1] += int(np.count_nonzero(other & ~mine & value))

    def finish(self) -> FlagDifference:
        """Return the result."""
        scheme: type[IntFlag] = ResultantFlag if self.name in ("groupdq", "resultantdq") else PixelFlag
        names = {int(flag).bit_length() - 1: flag.name for flag in scheme}
        changes = tuple(
            FlagChange(names.get(bit) or f"bit {bit}", bit, gained, lost)
            for bit, (gained, lost) in sorted(self._counts.items())
        )
        return FlagDifference(self.name, self.resultant, self._compared, self._differing, changes)
