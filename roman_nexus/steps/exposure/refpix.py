"""refpix: take out the correlated (1/f) noise of the read-out with reference pixels.

The pixels of a channel, in read order with 12 clock cycles of pause after each row of 128, form a time series of
L = 140 ny samples. Three such series know of the common noise but not of the sky: the four border columns on the left
(read by the first channel), those on the right (last channel) and the reference output, amp33. Coefficients found on
darks say how much of each enters each channel at each frequency (Improved Roman Reference Correction; Rauscher et
al. 2022, JATIS 8, 028002; equations as in ``romancal`` 1.1)::

    correction_c = irfft[ (gamma_c left + zeta_c right + alpha_c amp33) L ]                       [DN]

The series are taken after removing from each pixel its mean over the resultants (the offset, put back in the end) and
from each channel and resultant a straight line in time, fitted to the four first and the four last rows. Samples of
value zero count as missing; in amp33 they are interpolated.

`prepare` does all that concerns border columns, border rows and amp33. `apply` corrects one channel: only the rows of
one channel couple.

Rounding follows the mission's: data are float32, offset and correction are subtracted in float32, the trend in
float64 and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.dq import PixelFlag
from roman_nexus.errors import InputError, ReferenceMismatchError, ShapeError
from roman_nexus.steps.exposure.reference_series import (
    ROW_SAMPLES,
    border_spectrum,
    detrend,
    fill_missing,
    fill_missing_single,
    fit_lines,
    fit_offset,
    read_order,
    sample_times,
    smooth_pauses,
    smooth_pauses_single,
    spectrum_of,
)
from roman_nexus.steps.step import (
    BORDER,
    CHANNEL_WIDTH,
    Arrays,
    ExposureInfo,
    Needs,
    Options,
    RampBlock,
    RampFrame,
    References,
    Step,
)

__all__ = ["STEP", "RefpixOptions", "RefpixState", "apply", "prepare"]

COEFFICIENTS = ("gamma", "zeta", "alpha")  #: for the left border, the right border and amp33
BAD_REF_PIXEL = np.uint32(PixelFlag.BAD_REF_PIXEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefpixOptions(Options):
    """Options of `refpix`. The mission's step hands its first four one place too far; these do what they say."""

    zero_bad_ref_pix: bool = field(
        default=True, metadata={"doc": "set pixels flagged BAD_REF_PIXEL to zero first, so that they count as missing"}
    )
    remove_offset: bool = field(
        default=True, metadata={"doc": "remove each pixel's mean over the resultants meanwhile"}
    )
    remove_trends: bool = field(
        default=True, metadata={"doc": "remove a line in time fitted to the border rows, per channel and resultant"}
    )
    cosine_interpolate: bool = field(
        default=True, metadata={"doc": "fill zero samples of amp33 by a cosine-weighted mean of their neighbours"}
    )
    fft_interpolate: bool = field(
        default=True, metadata={"doc": "smooth the pauses of amp33 with their neighbours, three times"}
    )
    amp33_arithmetic: Literal["romancal", "exact"] = field(
        default="romancal",
        metadata={
            "doc": "how amp33 is interpolated: 'romancal' with float32 sums and transforms as the mission pipeline has "
            "it, 'exact' with the float64 filter that they stand for (1e-5 DN apart)"
        },
    )
    inverse_scale: Literal["romancal", "exact"] = field(
        default="romancal",
        metadata={
            "doc": "factor of the inverse transform: 'exact' is its length L, 'romancal' is L + 2 as the mission "
            "pipeline has it (3.5e-6 of the correction more)"
        },
    )


@dataclass(frozen=True, slots=True)
class RefpixState:
    """What the reference pixels of an exposure say.

    Attributes
    ----------
    left, right, amp33 : (F, K) complex64 ndarray
        Spectra of the three series, divided by L; K = L / 2 + 1.
    slope, intercept : (nchannels, F) float64 ndarray
        Trend of each channel: ``slope (j - (L - 1) / 2) + intercept`` at sample j, DN. Zero where nothing was fitted.
    """

    left: NDArray[np.complex64]
    right: NDArray[np.complex64]
    amp33: NDArray[np.complex64]
    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]


# ------------------------------------------------------------------------------------- one channel
def apply(
    block: RampBlock, references: References, options: RefpixOptions, exposure: ExposureInfo, state: RefpixState
) -> None:
    """Correct one read-out channel.

    Parameters
    ----------
    block : RampBlock
        All rows of one channel, (F, ny, 128), DN. ``data`` changes.
    references : mapping
        ``references["refpix"]``: ``gamma``, ``zeta``, ``alpha``, each (K,) complex128, of this channel.
    options : RefpixOptions
    exposure : ExposureInfo
    state : RefpixState
        From `prepare`.

    Raises
    ------
    ShapeError
        If the block is not a whole channel.
    ReferenceMismatchError
        If the coefficients have another length than the spectra.

    Examples
    --------
    Without coefficients only the trend goes, here 3 DN everywhere:

    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.refpix import STEP, RefpixState
    >>> from roman_nexus.steps.step import ExposureInfo, RampBlock
    >>> data = np.stack([np.full((8, 128), 100, np.float32), np.full((8, 128), 104, np.float32)])
    >>> flags = np.zeros(data.shape, np.uint8), np.zeros(data.shape[1:], np.uint32)
    >>> block = RampBlock(data, *flags, slice(0, 8), slice(0, 128))
    >>> none = np.zeros((2, 8 * 70 + 1), np.complex64)
    >>> state = RefpixState(none, none, none, slope=np.zeros((1, 2)), intercept=np.full((1, 2), 3.0))
    >>> coefficients = dict.fromkeys(("gamma", "zeta", "alpha"), none[0])
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16, shape=(8, 128))
    >>> STEP.apply(block, {"refpix": coefficients}, STEP.options(), exposure, state)
    >>> data[:, 0, 0].tolist()
    [97.0, 101.0]
    """
    nresultants, ny, nx = block.data.shape
    channel = block.columns.start // CHANNEL_WIDTH
    length = ny * ROW_SAMPLES
    if nx != CHANNEL_WIDTH or block.columns.start % CHANNEL_WIDTH or state.left.shape[1] != length // 2 + 1:
        msg = (
            f"refpix got rows {block.rows} and columns {block.columns}; expected all rows of one read-out channel of "
            f"{CHANNEL_WIDTH} columns"
        )
        raise ShapeError(msg)
    gamma, zeta, alpha = (
        np.ascontiguousarray(references["refpix"][name], dtype=np.complex128) for name in COEFFICIENTS
    )
    _check_coefficients({"gamma": gamma, "zeta": zeta, "alpha": alpha}, (length // 2 + 1,))
    scale = float(length + 2 if options.inverse_scale == "romancal" else length)

    if options.zero_bad_ref_pix:
        _zero_bad_pixels(block.data, block.pixeldq)
    offset = np.zeros((ny, nx), dtype=np.float32)
    if options.remove_offset:
        fit_offset(block.data, offset)
    backwards = channel % 2 == 1
    spectrum = np.empty(length // 2 + 1, dtype=np.complex128)
    for i in range(nresultants):  # one at a time: the scratch stays at two transforms
        _combine(state.left[i], state.right[i], state.amp33[i], gamma, zeta, alpha, scale, spectrum)
        correction = _to_series(spectrum)
        _subtract(block.data[i], offset, state.slope[channel, i], state.intercept[channel, i], correction, backwards)


def _to_series(spectrum: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Transform a spectrum to its time series; releases the GIL. May overwrite the spectrum."""
    from scipy.fft import irfft

    series: NDArray[np.float64] = irfft(spectrum, overwrite_x=True, workers=1)
    return series


@njit(nogil=True, cache=True, error_model="numpy")
def _zero_bad_pixels(data, pixeldq):  # type: ignore[no-untyped-def]
    """Set bad reference pixels to zero in all resultants, wherever they lie."""
    nresultants, ny, nx = data.shape
    for y in range(ny):
        for x in range(nx):
            if pixeldq[y, x] & BAD_REF_PIXEL != 0:
                for i in range(nresultants):
                    data[i, y, x] = np.float32(0.0)


@njit(nogil=True, cache=True, error_model="numpy")
def _combine(left, right, amp33, gamma, zeta, alpha, scale, spectrum):  # type: ignore[no-untyped-def]
    """Write ((left gamma + right zeta) + amp33 alpha) scale, in complex128."""
    for k in range(spectrum.shape[0]):
        lr, li = np.float64(left[k].real), np.float64(left[k].imag)
        rr, ri = np.float64(right[k].real), np.float64(right[k].imag)
        ar, ai = np.float64(amp33[k].real), np.float64(amp33[k].imag)
        g, z, a = gamma[k], zeta[k], alpha[k]
        real = (lr * g.real - li * g.imag) + (rr * z.real - ri * z.imag) + (ar * a.real - ai * a.imag)
        imag = (lr * g.imag + li * g.real) + (rr * z.imag + ri * z.real) + (ar * a.imag + ai * a.real)
        spectrum[k] = complex(real * scale, imag * scale)


@njit(nogil=True, cache=True, error_model="numpy")
def _subtract(data, offset, slope, intercept, correction, backwards):  # type: ignore[no-untyped-def]
    """Subtract trend and correction from one resultant of a channel; round to float32 after each operation."""
    ny, nx = data.shape
    centre = (ny * ROW_SAMPLES - 1) / 2.0
    for y in range(ny):
        start = y * ROW_SAMPLES
        for x in range(nx):
            sample = start + (nx - 1 - x if backwards else x)
            value = data[y, x] - offset[y, x]
            trend = (sample - centre) * slope + intercept
            flat = np.float32(np.float64(value) - trend)
            value = flat if value != np.float32(0.0) else value
            value = value - np.float32(correction[sample])
            data[y, x] = value + offset[y, x]


# ------------------------------------------------------------------------------ the reference pixels
def prepare(frame: RampFrame, references: References, options: RefpixOptions, exposure: ExposureInfo) -> RefpixState:
    """Measure trends and spectra on the border and on amp33, which is replaced by its corrected counts.

    Parameters
    ----------
    frame : RampFrame
        ``frame.amp33`` is replaced.
    references : mapping
        ``references["refpix"]``: ``gamma``, ``zeta``, ``alpha``, each (nchannels, K); only shapes are looked at.
    options : RefpixOptions
    exposure : ExposureInfo

    Returns
    -------
    RefpixState
        6.9 MB a resultant for a full frame.

    Raises
    ------
    InputError
        If there are fewer than two resultants, or the reference pixels are not finite.
    ShapeError
        If the frame is not made of channels of 128 columns and at least 8 rows, or amp33 does not fit.
    ReferenceMismatchError
        If the coefficients are not (nchannels, K).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.refpix import STEP
    >>> from roman_nexus.steps.step import ExposureInfo, RampBlock
    >>> def cut(rows, columns):
    ...     data = np.ones((2, 8, 128), np.float32)[:, rows, columns].copy()
    ...     data[1] += 4
    ...     return RampBlock(data, data.astype(np.uint8), data[0].astype(np.uint32), rows, columns)
    >>> amp33 = np.full((2, 8, 128), 9, np.uint16)
    >>> frame = SimpleNamespace(shape=(2, 8, 128), amp33=amp33, cut=cut, map=lambda call, items: list(map(call, items)))
    >>> coefficients = dict.fromkeys(("gamma", "zeta", "alpha"), np.zeros((1, 8 * 70 + 1)))
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16, shape=(8, 128))
    >>> STEP.prepare(frame, {"refpix": coefficients}, STEP.options(), exposure).intercept
    array([[-2.,  2.]])
    """
    _, ny, nx = frame.shape
    _check_frame(frame)
    _check_coefficients(references["refpix"], (nx // CHANNEL_WIDTH, ny * ROW_SAMPLES // 2 + 1))
    slope, intercept = _channel_trends(frame, options)
    state = RefpixState(
        left=_border_spectra(frame, slice(0, BORDER), slope[0], intercept[0], options),
        right=_border_spectra(frame, slice(nx - BORDER, nx), slope[-1], intercept[-1], options),
        amp33=_correct_amp33(frame, options),
        slope=slope,
        intercept=intercept,
    )
    # the zero frequency sums a series, so it tells of every sample
    sums = (slope, intercept, state.left[:, 0], state.right[:, 0], state.amp33[:, 0])
    if not all(np.isfinite(values).all() for values in sums):
        msg = "border pixels or amp33 hold values that are not finite; refpix cannot correct this ramp"
        raise InputError(msg)
    return state


def _reference_pixels(frame: RampFrame, rows: slice, columns: slice, options: RefpixOptions) -> NDArray[np.float32]:
    """Cut reference pixels, zero the bad ones, remove their offset."""
    block = frame.cut(rows, columns)
    if options.zero_bad_ref_pix:
        _zero_bad_pixels(block.data, block.pixeldq)
    if options.remove_offset:
        block.data -= _offset_of(block.data)
    return block.data


def _offset_of(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the offset of each pixel, DN."""
    offset = np.empty(data.shape[1:], dtype=np.float32)
    fit_offset(data, offset)
    return offset


def _border_row_numbers(ny: int) -> NDArray[np.int_]:
    """Return the numbers of the reference rows, bottom and top."""
    return np.concatenate([np.arange(BORDER), np.arange(ny - BORDER, ny)])


def _channel_trends(frame: RampFrame, options: RefpixOptions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit the trend of every channel and resultant to the border rows; (nchannels, F) each."""
    nresultants, ny, nx = frame.shape
    nchannels = nx // CHANNEL_WIDTH
    if not options.remove_trends:
        return np.zeros((nchannels, nresultants)), np.zeros((nchannels, nresultants))
    every = slice(0, nx)
    ends = (slice(0, BORDER), slice(ny - BORDER, ny))
    values = np.concatenate([_reference_pixels(frame, rows, every, options) for rows in ends], axis=1)
    slope, intercept = np.empty((2, nchannels, nresultants))
    for channel in range(nchannels):
        columns = np.arange(CHANNEL_WIDTH) + channel * CHANNEL_WIDTH
        times = sample_times(_border_row_numbers(ny), read_order(columns), ny)
        own = values[:, :, columns].reshape(nresultants, -1)
        slope[channel], intercept[channel] = fit_lines(times.ravel(), own)
    return slope, intercept


def _border_spectra(
    frame: RampFrame,
    columns: slice,
    slope: NDArray[np.float64],
    intercept: NDArray[np.float64],
    options: RefpixOptions,
) -> NDArray[np.complex64]:
    """Return the spectra of four border columns, one for each resultant."""
    ny = frame.shape[1]
    places = read_order(np.arange(columns.start, columns.stop))
    times = sample_times(np.arange(ny), places, ny)
    values = _reference_pixels(frame, slice(0, ny), columns, options)
    trends = zip(values, slope, intercept, strict=True)
    return np.stack([border_spectrum(detrend(plane, times, m, b), places) for plane, m, b in trends])


def _correct_amp33(frame: RampFrame, options: RefpixOptions) -> NDArray[np.complex64]:
    """Return the spectra of amp33 and put its detrended, filled counts into the frame."""
    nresultants, ny, _ = frame.shape
    places = np.arange(CHANNEL_WIDTH)
    times = sample_times(np.arange(ny), places, ny)
    counts = frame.amp33.astype(np.float32)
    offset = np.zeros(counts.shape[1:], dtype=np.float32)
    if options.remove_offset:
        offset = _offset_of(counts)
        counts -= offset
    slope, intercept = np.zeros((2, nresultants))
    if options.remove_trends:
        edges = _border_row_numbers(ny)
        slope, intercept = fit_lines(times[edges].ravel(), counts[:, edges].reshape(nresultants, -1))

    corrected = np.empty(counts.shape, dtype=np.uint16)
    single = options.amp33_arithmetic == "romancal"

    def correct(i: int) -> NDArray[np.complex64]:
        series = np.zeros((ny, ROW_SAMPLES), dtype=np.float32)
        series[:, places] = detrend(counts[i], times, slope[i], intercept[i])
        flat = series.reshape(-1)
        if options.cosine_interpolate:
            (fill_missing_single if single else fill_missing)(flat)
        if options.fft_interpolate:
            (smooth_pauses_single if single else smooth_pauses)(flat)
        # as the mission stores it: the absolute value, truncated
        corrected[i] = np.minimum(np.abs(series[:, places] + offset), np.float32(65535))
        return spectrum_of(flat)

    spectra = frame.map(correct, range(nresultants))
    frame.amp33 = corrected
    return np.stack(spectra)


def _check_resultants(nresultants: int) -> None:
    """Refuse a ramp in which a pixel's offset cannot be told from its noise."""
    if nresultants < 2:
        msg = f"refpix got {nresultants} resultant; it needs at least 2 to tell a pixel's offset from its noise"
        raise InputError(msg)


def _check(references: References, options: RefpixOptions, exposure: ExposureInfo) -> tuple[str, ...]:
    _check_resultants(exposure.nresultants)
    return ()


def _check_frame(frame: RampFrame) -> None:
    """Refuse a ramp whose channels cannot be made into time series."""
    nresultants, ny, nx = frame.shape
    _check_resultants(nresultants)
    if ny < 2 * BORDER or nx < CHANNEL_WIDTH or nx % CHANNEL_WIDTH:
        msg = (
            f"refpix got a frame of {ny} x {nx} pixels; expected at least {2 * BORDER} rows and a multiple of "
            f"{CHANNEL_WIDTH} columns"
        )
        raise ShapeError(msg)
    expected = (nresultants, ny, CHANNEL_WIDTH)
    if tuple(frame.amp33.shape) != expected:
        msg = f"amp33 has shape {tuple(frame.amp33.shape)}; expected {expected}"
        raise ShapeError(msg)


def _check_coefficients(arrays: Arrays, expected: tuple[int, ...]) -> None:
    """Refuse coefficients for another number of channels or rows."""
    for name in COEFFICIENTS:
        found = tuple(arrays[name].shape)
        if found != expected:
            msg = f"refpix reference {name} has shape {found}; this frame needs {expected}"
            raise ReferenceMismatchError(msg)


STEP = Step(
    name="refpix",
    version="2",
    level="ramp",
    options=RefpixOptions,
    apply=apply,
    references=(Needs("refpix", channels=COEFFICIENTS, missing="skip"),),
    prepare=prepare,
    check=_check,
    couples="channel",
    title="Remove correlated read-out noise with reference pixels and the reference output",
    quirks={
        "inverse_scale": "romancal scales the inverse transform by L + 2 instead of L",
        "switches": "romancal hands its four switches to the neighbours of those they are named after, and cannot "
        "switch fft_interpolate off; equal when all are on",
        "amp33_arithmetic": "romancal interpolates amp33 with float32 sums and transforms",
        "amp33": "the corrected amp33 is the absolute value, truncated to integers",
    },
)
