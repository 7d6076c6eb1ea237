"""dq_init: make a ramp of a Level 1 file.

The ground system may have subtracted a reference read, and adds an offset so that values stay positive in 16 bits.
Here both are taken back, in float32, which is exact below 2**24::

    data = L1 + reference_read - data_encoding_offset                                         [DN]

``groupdq`` starts as the file's ``resultantdq`` or zero. ``pixeldq`` starts as the bits of the mask reference and the
guide window: its columns carry GW_AFFECTED_DATA in all rows, since the guide reads disturb them, and its box
DO_NOT_USE as well. Same arithmetic as ``romancal`` 1.1 ``dq_init``; the mission wraps around silently where
`initial_amp33` leaves 16 bits, this module raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.dq import PixelFlag
from roman_nexus.errors import InputError, OptionError, ShapeError
from roman_nexus.steps.step import ExposureInfo, Needs, Options, RampBlock, RawBlock, References, Step

__all__ = ["STEP", "DqInitOptions", "apply", "check_encoding_offset", "check_guide_window", "initial_amp33"]

U16_MAX = 65535
WINDOW_COLUMN = np.uint32(PixelFlag.GW_AFFECTED_DATA)
WINDOW_BOX = np.uint32(PixelFlag.GW_AFFECTED_DATA | PixelFlag.DO_NOT_USE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DqInitOptions(Options):
    """Options of `dq_init`."""

    expand_gw_flagging: int = field(
        default=0, metadata={"doc": "grow the flagged guide-window box on every side", "unit": "pixel"}
    )

    def __post_init__(self) -> None:
        if self.expand_gw_flagging < 0:
            msg = f"DqInitOptions.expand_gw_flagging is {self.expand_gw_flagging}; expected 0 or more pixels"
            raise OptionError(msg)


def apply(
    block: RawBlock, references: References, options: DqInitOptions, exposure: ExposureInfo, state: Any = None
) -> RampBlock:
    """Turn raw counts into a ramp with its first data-quality flags.

    Parameters
    ----------
    block : RawBlock
        Left as it is.
    references : mapping
        ``references["mask"]["dq"]`` is (ny, nx) uint32; without a mask no bits are taken over.
    options : DqInitOptions
    exposure : ExposureInfo
    state : None
        Not used.

    Returns
    -------
    RampBlock
        With arrays of its own.

    Raises
    ------
    ShapeError
        If resultantdq, the reference read or the mask do not fit the data.
    InputError
        If the encoding offset does not fit 16 bits.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.dq_init import STEP
    >>> from roman_nexus.steps.step import ExposureInfo, RawBlock
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16, data_encoding_offset=10)
    >>> raw = RawBlock(np.full((2, 1, 3), 110, dtype=np.uint16), slice(0, 1), slice(0, 3))
    >>> STEP.apply(raw, {}, STEP.options(), exposure, None).data[0]
    array([[100., 100., 100.]], dtype=float32)
    """
    check_encoding_offset(exposure.data_encoding_offset)
    nresultants, ny, nx = block.data.shape
    _check_shape("resultantdq", block.resultantdq, block.data.shape)
    _check_shape("reference_read", block.reference_read, (ny, nx))

    data = np.empty(block.data.shape, dtype=np.float32)
    read = block.reference_read
    if read is None:
        read = np.zeros((ny, nx), dtype=np.uint16)
    _decode(block.data, read, np.float32(exposure.data_encoding_offset), data)

    if block.resultantdq is None:
        groupdq = np.zeros((nresultants, ny, nx), dtype=np.uint8)
    else:
        groupdq = np.array(block.resultantdq, dtype=np.uint8)

    pixeldq = np.zeros((ny, nx), dtype=np.uint32)
    _flag_guide_window(pixeldq, block.rows, block.columns, exposure, options.expand_gw_flagging)
    mask = references.get("mask", {}).get("dq")
    if mask is not None:
        _check_shape("mask reference dq", mask, (ny, nx))
        pixeldq |= np.asarray(mask, dtype=np.uint32)
    return RampBlock(data, groupdq, pixeldq, block.rows, block.columns)


@njit(nogil=True, cache=True, error_model="numpy")
def _decode(counts, reference_read, offset, data):  # type: ignore[no-untyped-def]
    """Write counts + reference_read - offset; each operation is float32 and exact."""
    nresultants, ny, nx = counts.shape
    for i in range(nresultants):
        for y in range(ny):
            for x in range(nx):
                data[i, y, x] = (np.float32(counts[i, y, x]) + np.float32(reference_read[y, x])) - offset


def _check_shape(what: str, array: Any, expected: tuple[int, ...]) -> None:
    """Refuse an array that does not fit the data."""
    if array is not None and tuple(array.shape) != tuple(expected):
        msg = f"{what} has shape {tuple(array.shape)}; expected {tuple(expected)}, like the data"
        raise ShapeError(msg)


def check_encoding_offset(offset: int) -> None:
    """Refuse an encoding offset that 16-bit data cannot carry.

    Parameters
    ----------
    offset : int
        ``meta.instrument.data_encoding_offset``, DN.

    Raises
    ------
    InputError
        If it lies outside 0 to 65535.

    Examples
    --------
    >>> from roman_nexus.steps.exposure.dq_init import check_encoding_offset
    >>> check_encoding_offset(100)
    """
    if not 0 <= offset <= U16_MAX:
        msg = (
            f"meta.instrument.data_encoding_offset is {offset}; expected 0 to {U16_MAX} DN, since the data are "
            f"unsigned 16-bit counts"
        )
        raise InputError(msg)


# --------------------------------------------------------------------------------------- guide window
def _window_limits(start: int, stop: int, size: int, grow: int) -> tuple[int, int]:
    """Widen the limits and clip them to the frame; the stop is never before the start."""
    stop = max(start, stop)
    return min(max(start - grow, 0), size), min(max(stop + grow, 0), size)


def _inside(start: int, stop: int, part: slice) -> slice:
    """Cut full-frame limits to a block and count from its first pixel."""
    first = max(start, part.start) - part.start
    return slice(first, max(first, min(stop, part.stop) - part.start))


def _flag_guide_window(
    pixeldq: NDArray[np.uint32], rows: slice, columns: slice, exposure: ExposureInfo, grow: int
) -> None:
    """Flag the columns and the box of the guide window, where it starts inside the frame."""
    ny, nx = exposure.shape
    if exposure.guide_window is None:
        return
    xstart, xstop, ystart, ystop = exposure.guide_window
    if not (0 <= xstart < nx and 0 <= ystart < ny):  # the placeholder -999999 means no window
        return
    # the columns are flagged as they are; only the box is grown
    pixeldq[:, _inside(*_window_limits(xstart, xstop, nx, 0), columns)] |= WINDOW_COLUMN
    box = (
        _inside(*_window_limits(ystart, ystop, ny, grow), rows),
        _inside(*_window_limits(xstart, xstop, nx, grow), columns),
    )
    pixeldq[box] |= WINDOW_BOX


def check_guide_window(exposure: ExposureInfo) -> list[str]:
    """Describe what is odd about the guide window; what reaches outside the frame is clipped.

    Parameters
    ----------
    exposure : ExposureInfo

    Returns
    -------
    list of str
        Sentences for a warning; empty when the window is fine or not given.

    Examples
    --------
    >>> from roman_nexus.steps.exposure.dq_init import check_guide_window
    >>> from roman_nexus.steps.step import ExposureInfo
    >>> check_guide_window(ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,),), 3.16, guide_window=(5, 3, 0, 8)))
    ['guide window stops at x = 3 before it starts at x = 5; it is taken as empty']
    """
    if exposure.guide_window is None:
        return []
    xstart, xstop, ystart, ystop = exposure.guide_window
    ny, nx = exposure.shape
    if xstart < 0 and ystart < 0:
        return []  # placeholder
    found = []
    for axis, start, stop, size in (("x", xstart, xstop, nx), ("y", ystart, ystop, ny)):
        if not 0 <= start < size:
            found.append(f"guide window starts at {axis} = {start}, outside 0 to {size - 1}; nothing is flagged")
        elif stop < start:
            found.append(
                f"guide window stops at {axis} = {stop} before it starts at {axis} = {start}; it is taken as empty"
            )
        elif stop > size:
            found.append(f"guide window reaches {axis} = {stop}, beyond {size}; it is clipped to the frame")
    return found


# -------------------------------------------------------------------------------------------- amp33
def initial_amp33(
    amp33: NDArray[np.uint16], reference_amp33: NDArray[np.uint16] | None, offset: int
) -> NDArray[np.uint16]:
    """Take the encoding offset out of the reference output and put the reference read back.

    Parameters
    ----------
    amp33 : (F, ny, 128) uint16 ndarray, DN
        Left as it is.
    reference_amp33 : (ny, 128) uint16 ndarray or None, DN
    offset : int
        ``meta.instrument.data_encoding_offset``, DN.

    Returns
    -------
    (F, ny, 128) uint16 ndarray, DN

    Raises
    ------
    ShapeError
        If the reference read does not fit.
    InputError
        If the offset is out of range, or a value would leave 0 to 65535. The mission pipeline wraps around there.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.dq_init import initial_amp33
    >>> initial_amp33(np.full((1, 1, 2), 110, dtype=np.uint16), None, 10)
    array([[[100, 100]]], dtype=uint16)
    """
    check_encoding_offset(offset)
    _check_shape("reference_amp33", reference_amp33, amp33.shape[1:])
    if reference_amp33 is None and not offset:
        return amp33.copy()
    change = np.full(amp33.shape[1:], -offset, dtype=np.int32)
    if reference_amp33 is not None:
        change += reference_amp33
    corrected = np.empty(amp33.shape, dtype=np.uint16)
    for i, counts in enumerate(amp33):
        values = change + counts
        if values.min() < 0 or values.max() > U16_MAX:
            outside = (values < 0) | (values > U16_MAX)
            y, x = np.argwhere(outside)[0]
            msg = (
                f"amp33 leaves 16 bits in {np.count_nonzero(outside)} pixels of resultant {i}, first at y = {y}, "
                f"x = {x}: {counts[y, x]} becomes {values[y, x]}; check data_encoding_offset = {offset} and "
                f"reference_amp33"
            )
            raise InputError(msg)
        corrected[i] = values
    return corrected


def _check(references: References, options: DqInitOptions, exposure: ExposureInfo) -> list[str]:
    check_encoding_offset(exposure.data_encoding_offset)
    return check_guide_window(exposure)


STEP = Step(
    name="dq_init",
    level="raw",
    options=DqInitOptions,
    apply=apply,
    references=(Needs("mask", images=("dq",), missing="without"),),
    check=_check,
    suffix="dqinit",
    title="Convert raw counts to a ramp and set the first data-quality flags",
    quirks={
        "amp33_wrap": "amp33 wraps around 16 bits silently in romancal; here it is an error",
        "window_assign": "romancal assigns the guide-window column flag instead of OR-ing it; equal for Level 1 input",
    },
)
