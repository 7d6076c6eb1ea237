"""saturation: flag resultants in which a pixel reached the end of its range.

Three passes over a ramp, with the threshold of the pixel in raw counts (``romancal`` 1.1, ``stcal`` 1.20):

1. From the first resultant at or above the threshold on, all resultants are SATURATED. Counts of zero or less are
   AD_FLOOR and DO_NOT_USE in that resultant alone.
2. A resultant averages several reads, so a pixel that saturates in its last read may stay below the threshold. If
   the next resultant is saturated and this one exceeds the threshold times mean(reads) / last read, it is DO_NOT_USE.
3. The same for the second resultant when the first gives no warning: the flux of the first would not saturate by the
   end of the third, the third is saturated, and the step from first to second is larger than one of its n reads alone
   would make by jumping to the threshold.

Pixels without a threshold (NaN, or NO_SAT_CHECK in the reference) get 65536, which no 16-bit count reaches. With
``n_pix_grow_sat`` the flags of passes 1 and 2 grow in each resultant, which couples pixels across row blocks: then
`prepare` flags the whole exposure and `apply` hands the flags out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.dq import PixelFlag, ResultantFlag
from roman_nexus.errors import InputError, OptionError, ReferenceMismatchError
from roman_nexus.steps.step import Arrays, ExposureInfo, Needs, Options, RampBlock, RampFrame, References, Step

__all__ = ["STEP", "SaturationOptions", "apply", "prepare"]

NO_THRESHOLD = np.float32(65536.0)
NO_SAT_CHECK = np.uint32(PixelFlag.NO_SAT_CHECK)
SATURATED = np.uint8(ResultantFlag.SATURATED)
DO_NOT_USE = np.uint8(ResultantFlag.DO_NOT_USE)
FLOOR = np.uint8(ResultantFlag.AD_FLOOR | ResultantFlag.DO_NOT_USE)
UNUSABLE = np.uint8(ResultantFlag.SATURATED | ResultantFlag.DO_NOT_USE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturationOptions(Options):
    """Options of `saturation`."""

    n_pix_grow_sat: int = field(
        default=0, metadata={"doc": "grow saturated pixels by this many pixels on every side", "unit": "pixel"}
    )
    backup: int = field(
        default=0,
        metadata={"doc": "resultants of several reads to flag before each saturated resultant", "unit": "resultant"},
    )

    def __post_init__(self) -> None:
        for name in ("n_pix_grow_sat", "backup"):
            value = getattr(self, name)
            if value < 0:
                msg = f"SaturationOptions.{name} is {value}; expected 0 or more"
                raise OptionError(msg)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What the passes need of the read pattern.

    Attributes
    ----------
    dilution : (F,) float64 ndarray
        Mean over last read number of each resultant; 1 for single reads.
    first_mean, third_last : float
        Mean read of the first, last read of the third resultant.
    second_reads : float32
        Number of reads of the second resultant.
    several : (F,) bool ndarray
        Resultants with more than one read.
    """

    dilution: NDArray[np.float64]
    first_mean: float
    third_last: float
    second_reads: np.float32
    several: NDArray[np.bool_]

    @classmethod
    def of(cls, reads: tuple[tuple[int, ...], ...]) -> _Pattern:
        """Summarise a read pattern."""
        return cls(
            dilution=np.array([np.mean(numbers) / numbers[-1] for numbers in reads]),
            first_mean=float(np.mean(reads[0])),
            third_last=float(reads[2][-1]) if len(reads) > 2 else 0.0,
            second_reads=np.float32(len(reads[1]) if len(reads) > 1 else 1),
            several=np.array([len(numbers) > 1 for numbers in reads]),
        )


# ------------------------------------------------------------------------------------------ kernels
@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _is_partial(value, threshold, unchecked, dilution):  # type: ignore[no-untyped-def]
    """Pass 2: could this average hide a read at the threshold? Compared in float64."""
    return np.float64(value) >= np.float64(threshold) * (1.0 if unchecked else dilution)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _is_second(first, second, threshold, first_mean, third_last, second_reads):  # type: ignore[no-untyped-def]
    """Pass 3: a step in the second resultant that its predecessor does not announce."""
    unannounced = np.float64(first) / first_mean * third_last < np.float64(threshold)
    return unannounced and (second - first) > (threshold - first) / second_reads  # float32, as the data


@njit(nogil=True, cache=True, error_model="numpy")
def _flag_levels(data, groupdq, threshold):  # type: ignore[no-untyped-def]
    """Pass 1: SATURATED from the first crossing on, AD_FLOOR + DO_NOT_USE where counts are not positive."""
    nresultants, ny, nx = data.shape
    seen = np.empty(nx, dtype=np.uint8)
    for y in range(ny):
        seen[:] = np.uint8(0)
        for i in range(nresultants):
            for x in range(nx):
                value = data[i, y, x]
                if value >= threshold[y, x]:
                    seen[x] = SATURATED
                floor = FLOOR if value <= np.float32(0.0) else np.uint8(0)
                groupdq[i, y, x] |= seen[x] | floor


@njit(nogil=True, cache=True, error_model="numpy")
def _flag_partial(data, groupdq, threshold, unchecked, dilution, first_mean, third_last, second_reads):  # type: ignore[no-untyped-def]
    """Run passes 2 and 3, without growth."""
    nresultants, ny, nx = data.shape
    for y in range(ny):
        for i in range(nresultants - 2, -1, -1):
            if dilution[i] == 1.0:
                continue
            for x in range(nx):
                free = groupdq[i, y, x] & UNUSABLE == 0 and groupdq[i + 1, y, x] & SATURATED != 0
                if free and _is_partial(data[i, y, x], threshold[y, x], unchecked[y, x], dilution[i]):
                    groupdq[i, y, x] |= DO_NOT_USE
        if nresultants > 2:
            for x in range(nx):
                free = groupdq[1, y, x] & SATURATED == 0 and groupdq[2, y, x] & SATURATED != 0
                if free and _is_second(
                    data[0, y, x], data[1, y, x], threshold[y, x], first_mean, third_last, second_reads
                ):
                    groupdq[1, y, x] |= DO_NOT_USE


@njit(nogil=True, cache=True, error_model="numpy")
def _find_candidates(data, threshold, unchecked, dilution, first_mean, third_last, second_reads, partial, second):  # type: ignore[no-untyped-def]
    """Note which pixels meet the conditions of passes 2 and 3 on the counts, before flags are looked at."""
    nresultants, ny, nx = data.shape
    for i in range(nresultants):
        for y in range(ny):
            for x in range(nx):
                partial[i, y, x] = _is_partial(data[i, y, x], threshold[y, x], unchecked[y, x], dilution[i])
    if nresultants > 2:
        for y in range(ny):
            for x in range(nx):
                second[y, x] = _is_second(
                    data[0, y, x], data[1, y, x], threshold[y, x], first_mean, third_last, second_reads
                )


# --------------------------------------------------------------------------------------------- step
def _thresholds(
    arrays: Arrays, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint32]]:
    """Return threshold, pixels that are not to be checked, and the flags of the reference."""
    for name in ("data", "dq"):
        if tuple(arrays[name].shape) != shape:
            msg = f"saturation reference {name} has shape {tuple(arrays[name].shape)}; expected {shape}, like the data"
            raise ReferenceMismatchError(msg)
    threshold = np.array(arrays["data"], dtype=np.float32)
    dq = np.array(arrays["dq"], dtype=np.uint32)
    dq[np.isnan(threshold)] |= NO_SAT_CHECK
    unchecked = (dq & NO_SAT_CHECK) != 0
    threshold[unchecked] = NO_THRESHOLD
    return threshold, unchecked, dq


def _check_pattern(exposure: ExposureInfo, nresultants: int) -> None:
    """Refuse a read pattern of another length than the ramp."""
    if exposure.nresultants != nresultants:
        msg = f"read_pattern lists {exposure.nresultants} resultants, but the ramp has {nresultants}"
        raise InputError(msg)


def apply(
    block: RampBlock,
    references: References,
    options: SaturationOptions,
    exposure: ExposureInfo,
    state: NDArray[np.uint8] | None = None,
) -> None:
    """Flag saturation in ``groupdq`` and take the reference's flags into ``pixeldq``.

    Parameters
    ----------
    block : RampBlock
        Counts as they are after dq_init, DN. ``groupdq`` and ``pixeldq`` change.
    references : mapping
        ``references["saturation"]``: ``data`` (ny, nx) float32, DN, and ``dq`` (ny, nx) uint32.
    options : SaturationOptions
    exposure : ExposureInfo
    state : (F, ny, nx) uint8 ndarray or None
        Flags of the whole exposure from `prepare`; None when nothing grows.

    Raises
    ------
    ReferenceMismatchError
        If the reference has another shape than the data.
    InputError
        If the read pattern does not belong to the ramp.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.saturation import STEP
    >>> from roman_nexus.steps.step import ExposureInfo, RampBlock
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,), (3,)), 3.16)
    >>> data = np.array([100, 900, 800], dtype=np.float32).reshape(3, 1, 1)
    >>> block = RampBlock(data, np.zeros((3, 1, 1), np.uint8), np.zeros((1, 1), np.uint32), slice(0, 1), slice(0, 1))
    >>> limits = {"data": np.full((1, 1), 850, np.float32), "dq": np.zeros((1, 1), np.uint32)}
    >>> STEP.apply(block, {"saturation": limits}, STEP.options(), exposure, None)
    >>> block.groupdq.ravel()
    array([0, 2, 2], dtype=uint8)
    """
    nresultants, ny, nx = block.data.shape
    _check_pattern(exposure, nresultants)
    threshold, unchecked, dq = _thresholds(references["saturation"], (ny, nx))
    pattern = _Pattern.of(exposure.read_pattern)
    if state is None:
        _flag_levels(block.data, block.groupdq, threshold)
        _flag_partial(
            block.data,
            block.groupdq,
            threshold,
            unchecked,
            pattern.dilution,
            pattern.first_mean,
            pattern.third_last,
            pattern.second_reads,
        )
    else:
        block.groupdq[...] = state[:, block.rows, block.columns]
    block.pixeldq |= dq
    _back_up(block.groupdq, pattern.several, options.backup)


def _back_up(groupdq: NDArray[np.uint8], several: NDArray[np.bool_], times: int) -> None:
    """Carry SATURATED back into resultants of several reads, `times` times."""
    for _ in range(times):
        for i in range(len(several) - 1):
            if several[i]:
                groupdq[i] |= groupdq[i + 1] & SATURATED


# ------------------------------------------------------------------------------- growing, whole frame
def prepare(
    frame: RampFrame, references: References, options: SaturationOptions, exposure: ExposureInfo
) -> NDArray[np.uint8]:
    """Flag the whole exposure with growth; only called when ``n_pix_grow_sat`` is positive.

    Parameters
    ----------
    frame : RampFrame
    references : mapping
        As for `apply`, with whole arrays.
    options : SaturationOptions
    exposure : ExposureInfo

    Returns
    -------
    (F, ny, nx) uint8 ndarray
        The flags of every resultant, 16.8 MB a resultant for a full frame.

    Raises
    ------
    ReferenceMismatchError, InputError
        As `apply`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.saturation import STEP
    >>> from roman_nexus.steps.step import ExposureInfo, RampBlock
    >>> data = np.array([[[5, 5, 5, 99]], [[5, 5, 5, 99]]], np.float32)
    >>> flags = np.zeros((2, 1, 4), np.uint8), np.zeros((1, 4), np.uint32)
    >>> block = RampBlock(data, *flags, slice(0, 1), slice(0, 4))
    >>> frame = SimpleNamespace(shape=data.shape, row_blocks=lambda: [block])
    >>> limits = {"data": np.full((1, 4), 50, np.float32), "dq": flags[1]}
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16, shape=(1, 4))
    >>> STEP.prepare(frame, {"saturation": limits}, STEP.options(n_pix_grow_sat=1), exposure)[0]
    array([[0, 0, 2, 2]], dtype=uint8)
    """
    nresultants, ny, nx = frame.shape
    _check_pattern(exposure, nresultants)
    pattern = _Pattern.of(exposure.read_pattern)
    limits = references["saturation"]
    flags = np.empty((nresultants, ny, nx), dtype=np.uint8)
    # one bit a pixel: whether the counts meet the conditions of passes 2 and 3
    partial_bits = np.empty((nresultants, ny, (nx + 7) // 8), dtype=np.uint8)
    second_bits = np.zeros((ny, (nx + 7) // 8), dtype=np.uint8)

    for block in frame.row_blocks():
        rows, shape = block.rows, block.data.shape
        cut = {name: limits[name][rows, block.columns] for name in ("data", "dq")}
        threshold, unchecked, _ = _thresholds(cut, (shape[1], shape[2]))
        _flag_levels(block.data, block.groupdq, threshold)
        flags[:, rows] = block.groupdq
        partial = np.empty(shape, dtype=np.bool_)
        second = np.zeros(shape[1:], dtype=np.bool_)
        _find_candidates(
            block.data,
            threshold,
            unchecked,
            pattern.dilution,
            pattern.first_mean,
            pattern.third_last,
            pattern.second_reads,
            partial,
            second,
        )
        partial_bits[:, rows] = np.packbits(partial, axis=-1)
        second_bits[rows] = np.packbits(second, axis=-1)

    _grow_flags(flags, partial_bits, second_bits, pattern, options.n_pix_grow_sat)
    return flags


def _grow_flags(
    flags: NDArray[np.uint8],
    partial_bits: NDArray[np.uint8],
    second_bits: NDArray[np.uint8],
    pattern: _Pattern,
    grow: int,
) -> None:
    """Grow pass 1 in every plane, then run passes 2 (grown) and 3 (not grown) on whole planes."""
    nresultants, _, nx = flags.shape
    for plane in flags:
        plane[_dilate(plane & SATURATED, grow)] |= SATURATED
    for i in range(nresultants - 2, -1, -1):
        if pattern.dilution[i] == 1.0:
            continue
        partial = np.unpackbits(partial_bits[i], axis=-1, count=nx)
        partial &= (flags[i] & UNUSABLE) == 0
        partial &= (flags[i + 1] & SATURATED) != 0
        flags[i][_dilate(partial, grow)] |= DO_NOT_USE
    if nresultants > 2:
        second = np.unpackbits(second_bits, axis=-1, count=nx)
        second &= (flags[2] & SATURATED) != 0
        second &= (flags[1] & SATURATED) == 0
        flags[1][second != 0] |= DO_NOT_USE


def _dilate(plane: NDArray[np.uint8], grow: int) -> NDArray[np.bool_]:
    """Grow non-zero pixels by a full square; what lies outside the frame counts as zero."""
    from scipy.ndimage import maximum_filter

    grown: NDArray[np.uint8] = maximum_filter(plane, size=2 * grow + 1, mode="constant", cval=0)
    return np.not_equal(grown, 0)


STEP = Step(
    name="saturation",
    level="ramp",
    options=SaturationOptions,
    apply=apply,
    references=(Needs("saturation", images=("data", "dq"), missing="skip"),),
    prepare=prepare,
    needs_prepare=lambda options, exposure: options.n_pix_grow_sat > 0,
    title="Flag saturated resultants and counts at the converter's floor",
)
