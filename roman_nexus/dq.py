"""Data-quality bits of the Wide Field Instrument: names, values, masks.

Two schemes exist. `PixelFlag` (uint32) is for two-dimensional arrays: ``pixeldq`` of a ramp, ``dq`` of
an image. `ResultantFlag` (uint8) is for one resultant of a ramp (``groupdq``). They share their low bits
except bit 7, which is ``OUTLIER`` for a pixel and ``WFI18_TRANSIENT`` for a resultant: never OR one into
the other without dropping it. Values are those of ``roman_datamodels.dqflags`` 1.1 (equal in 1.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import OptionError

__all__ = ["PixelFlag", "ResultantFlag", "count_flags", "describe", "parse_mask"]


class PixelFlag(IntFlag):
    """Flags of a pixel (uint32)."""

    GOOD = 0
    DO_NOT_USE = 1 << 0
    SATURATED = 1 << 1
    JUMP_DET = 1 << 2
    DROPOUT = 1 << 3
    GW_AFFECTED_DATA = 1 << 4
    PERSISTENCE = 1 << 5
    AD_FLOOR = 1 << 6
    OUTLIER = 1 << 7
    UNRELIABLE_ERROR = 1 << 8
    NON_SCIENCE = 1 << 9
    DEAD = 1 << 10
    HOT = 1 << 11
    WARM = 1 << 12
    LOW_QE = 1 << 13
    TELEGRAPH = 1 << 15
    NONLINEAR = 1 << 16
    BAD_REF_PIXEL = 1 << 17
    NO_FLAT_FIELD = 1 << 18
    NO_GAIN_VALUE = 1 << 19
    NO_LIN_CORR = 1 << 20
    NO_SAT_CHECK = 1 << 21
    UNRELIABLE_BIAS = 1 << 22
    UNRELIABLE_DARK = 1 << 23
    UNRELIABLE_SLOPE = 1 << 24
    UNRELIABLE_FLAT = 1 << 25
    RESERVED_5 = 1 << 26
    RESERVED_6 = 1 << 27
    UNRELIABLE_RESET = 1 << 28
    RESERVED_7 = 1 << 29
    OTHER_BAD_PIXEL = 1 << 30
    REFERENCE_PIXEL = 1 << 31


class ResultantFlag(IntFlag):
    """Flags of one resultant of a ramp (uint8)."""

    GOOD = 0
    DO_NOT_USE = 1 << 0
    SATURATED = 1 << 1
    JUMP_DET = 1 << 2
    DROPOUT = 1 << 3
    AD_FLOOR = 1 << 6
    WFI18_TRANSIENT = 1 << 7


ALL_BITS = 0xFFFFFFFF


def parse_mask(flags: int | str | PixelFlag | Iterable[str | int]) -> int:
    """Turn a description of flags into a bit mask.

    Parameters
    ----------
    flags : int, str, PixelFlag or iterable of these
        An integer sum, names or numbers joined by ``+``, ``,`` or ``|``; a leading ``~`` means "all but
        these" over 32 bits, as in the mission's ``~DO_NOT_USE``.

    Returns
    -------
    int
        The mask, 0 to 2**32 - 1.

    Raises
    ------
    OptionError
        If a name is unknown or a number is not a 32-bit mask.

    Examples
    --------
    >>> from roman_nexus.dq import parse_mask
    >>> parse_mask("SATURATED+JUMP_DET")
    6
    >>> parse_mask("~DO_NOT_USE") == 2**32 - 2
    True
    """
    if isinstance(flags, int):
        if not 0 <= int(flags) <= ALL_BITS:
            msg = f"data-quality mask {int(flags)} is not a 32-bit mask; give a sum of flag values or flag names"
            raise OptionError(msg)
        return int(flags)
    if not isinstance(flags, str):
        mask = 0
        for flag in flags:
            mask |= parse_mask(flag)
        return mask
    text = flags.strip()
    if text.startswith("~"):
        return ALL_BITS & ~parse_mask(text[1:].strip().strip("()"))
    mask = 0
    for token in filter(None, re.split(r"[\s,+|]+", text)):
        if token.isdigit():
            mask |= parse_mask(int(token))
        elif token.upper() in PixelFlag.__members__:
            mask |= int(PixelFlag[token.upper()])
        else:
            known = ", ".join(PixelFlag.__members__)
            msg = f"unknown data-quality flag {token!r}; the flags are {known}"
            raise OptionError(msg)
    return mask


def describe(value: int) -> str:
    """Name the bits set in `value`, for example ``SATURATED + JUMP_DET``.

    Examples
    --------
    >>> from roman_nexus.dq import describe
    >>> describe(6)
    'SATURATED + JUMP_DET'
    >>> describe(0)
    'GOOD'
    """
    if not value:
        return "GOOD"
    names = [flag.name or "" for flag in PixelFlag if int(flag) and int(value) & int(flag)]
    unknown = int(value) & ~sum(int(flag) for flag in PixelFlag)
    names += [f"bit {bit}" for bit in range(unknown.bit_length()) if unknown >> bit & 1]
    return " + ".join(names)


def count_flags(dq: NDArray[np.uint32]) -> dict[str, int]:
    """Count the pixels that carry each flag; flags that no pixel carries are left out.

    Parameters
    ----------
    dq : (...,) uint32 ndarray
        Data-quality array.

    Returns
    -------
    dict of str to int
        Flag name to number of pixels, in bit order.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.dq import count_flags
    >>> count_flags(np.array([0, 2, 6], dtype=np.uint32))
    {'SATURATED': 2, 'JUMP_DET': 1}
    """
    present = int(np.bitwise_or.reduce(np.asarray(dq), axis=None)) if np.size(dq) else 0
    return {
        flag.name or "": int(np.count_nonzero(dq & np.uint32(flag)))
        for flag in PixelFlag
        if int(flag) and present & int(flag)
    }
