"""Multi-accumulation tables: which reads are averaged into which resultant.

The demo's own table is short, so that a small frame is simulated and fitted in a moment. The numbered tables are the
mission's (revision F, as listed in ``romanisim`` 0.14 ``models.parameters``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from roman_nexus.errors import InputError, OptionError

__all__ = ["DEMO_TABLE", "FRAME_TIME", "MA_TABLES", "MATable", "ma_table", "table_of"]

FRAME_TIME = 3.16247  #: seconds per read
DEMO_TABLE = 9001
CUSTOM_TABLE = 9000

Pattern = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class MATable:
    """A multi-accumulation table.

    Attributes
    ----------
    number : int
    name : str
    pattern : tuple of tuple of int
        Read numbers, from 1, of each resultant.
    """

    number: int
    name: str
    pattern: Pattern

    @property
    def identifier(self) -> str:
        """As in ``meta.exposure.ma_table_id``."""
        return f"SCI{self.number:04d}"


def _consecutive(*reads: int) -> Pattern:
    """Return the pattern of resultants of so many reads each, without gaps."""
    pattern, start = [], 1
    for count in reads:
        pattern.append(tuple(range(start, start + count)))
        start += count
    return tuple(pattern)


_TABLES = (
    MATable(DEMO_TABLE, "DEMO_66_8", _consecutive(1, 1, 2, 4, 4, 4, 4, 1)),
    MATable(3, "IM_57_5", _consecutive(1, 2, 6, 8, 1)),
    MATable(4, "IM_139_9", _consecutive(1, 1, 2, 5, 8, 8, 8, 10, 1)),
    MATable(5, "IM_199_12", _consecutive(1, 1, 2, 6, 6, 6, 6, 6, 8, 10, 10, 1)),
    MATable(12, "SP_183_15", _consecutive(1, 2, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 8, 8, 1)),
)

#: Tables that can be asked for, by number.
MA_TABLES: Mapping[int, MATable] = MappingProxyType({table.number: table for table in _TABLES})


def ma_table(number: int) -> MATable:
    """Look up a table by its number.

    Raises
    ------
    OptionError
        If it is not one of `MA_TABLES`.

    Examples
    --------
    >>> from roman_nexus.demo.read_patterns import ma_table
    >>> ma_table(4).pattern[2]
    (3, 4)
    """
    if number not in MA_TABLES:
        msg = f"MA table {number!r} is not known here; choose one of {', '.join(map(str, MA_TABLES))} or a read_pattern"
        raise OptionError(msg)
    return MA_TABLES[number]


def table_of(pattern: Sequence[Sequence[int]]) -> MATable:
    """Return the table that has a read pattern, or a custom one.

    Raises
    ------
    InputError
        If the reads are not ascending numbers from 1, or a resultant is empty.
    """
    try:
        checked = tuple(tuple(int(read) for read in reads) for reads in pattern)
    except (TypeError, ValueError) as error:
        msg = f"read_pattern is {pattern!r}; expected lists of read numbers such as [[1], [2, 3]]"
        raise InputError(msg) from error
    reads = [read for group in checked for read in group]
    if not checked or not all(checked) or reads[0] < 1 or any(b <= a for a, b in pairwise(reads)):
        msg = f"read_pattern is {pattern!r}; expected ascending read numbers from 1, at least one in each resultant"
        raise InputError(msg)
    known = next((table for table in MA_TABLES.values() if table.pattern == checked), None)
    return known or MATable(CUSTOM_TABLE, f"CUSTOM_{len(checked)}", checked)
