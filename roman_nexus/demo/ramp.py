"""The detector's part of an exposure: from the light that falls on it to the counts that are sent down."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roman_nexus.demo.correlated_noise import REFERENCE_OUTPUT_NOISE, ChannelNoise
from roman_nexus.demo.cosmic_rays import Events, cosmic_rays, telegraph_noise
from roman_nexus.demo.fields import border_mask, channel_field, check_detector, scatter, stream
from roman_nexus.demo.nonlinearity import measured_counts
from roman_nexus.demo.readout import accumulate
from roman_nexus.demo.references import ReferenceSet, science
from roman_nexus.demo.request import ExposureRequest
from roman_nexus.dq import ResultantFlag
from roman_nexus.steps.exposure.frame_timing import pixel_times
from roman_nexus.steps.step import CHANNEL_WIDTH

__all__ = ["Ramp", "make_ramp"]

Image = NDArray[np.float32]
Counts = NDArray[np.uint16]

RESET_LEVEL = (5600.0, 60.0, 25.0)  #: DN: mean, scatter of channels, scatter of pixels
REFERENCE_OUTPUT_LEVEL = (6000.0, 20.0)
BAD_REFERENCE_OFFSET = 4000.0  #: DN
BAD_REFERENCE_NOISE = 10.0  #: times the usual read noise
FULL_WELL = 1.01  #: of the saturation threshold
SATURATING_RATE = 1e7  #: electrons per second
DROPOUT_ROWS = 16
#: two exponentials (DN, s) that decay within the first read of WFI18
WFI18_TRANSIENT = ((66.0, 0.25), (-6.0, 0.90))


@dataclass(frozen=True)
class Ramp:
    """The arrays of a Level 1 file, and what is known about them.

    Attributes
    ----------
    data, amp33, resultantdq, reference_read, reference_amp33
        As in the file; see `roman_nexus.demo.exposure.SimulatedExposure`.
    electrons, first_saturated, cosmic_rays, resultant_of_read
        As in `roman_nexus.demo.truth.Truth`.
    """

    data: Counts
    amp33: Counts
    resultantdq: NDArray[np.uint8] | None
    reference_read: Counts | None
    reference_amp33: Counts | None
    electrons: Image
    first_saturated: NDArray[np.uint8]
    cosmic_rays: Events
    resultant_of_read: NDArray[np.int64]


@dataclass(frozen=True)
class _Timing:
    """The reads of an exposure: number and resultant of each, and how many each resultant has."""

    numbers: NDArray[np.int64]
    resultant: NDArray[np.int64]
    counts: NDArray[np.int64]


def make_ramp(request: ExposureRequest, references: ReferenceSet, light: Image, threads: int = 2) -> Ramp:
    """Expose and read out a detector.

    Parameters
    ----------
    request : ExposureRequest
    references : ReferenceSet
    light : (ny, nx) float32 ndarray
        Science frame, DN/s at the mean gain: the scene times the response.
    threads : int
        Channels read out at once; the result does not depend on it.
    """
    timing = _timing(request)
    rays, events = _events(request, references, timing)
    noise = ChannelNoise(
        references.coupling,
        request.shape[0],
        tuple(map(int, timing.counts)),
        request.seed,
        *request.stream_names("correlated"),
    )
    level = _reset_level(request, references)
    rate = _electron_rate(request, references, light)
    data, electrons, saturated = _read_out(request, references, timing, rate, level, events, noise, threads)
    amp33, amp33_level = _reference_output(request, noise, len(timing.counts))
    reference_read = reference_amp33 = None
    if request.reference_read:
        reference_read, reference_amp33 = _reference_read(request, references, level, amp33_level)
        _subtract(data, reference_read, request.data_encoding_offset)
        _subtract(amp33, reference_amp33, request.data_encoding_offset)
    return Ramp(
        data,
        amp33,
        _lose_blocks(request, data) if request.dropouts else None,
        reference_read,
        reference_amp33,
        science(electrons).copy(),
        science(saturated).copy(),
        rays,
        timing.resultant,
    )


def _timing(request: ExposureRequest) -> _Timing:
    pattern = request.table.pattern
    numbers = np.array([read for reads in pattern for read in reads], dtype=np.int64)
    counts = np.array([len(reads) for reads in pattern], dtype=np.int64)
    return _Timing(numbers, np.repeat(np.arange(counts.size, dtype=np.int64), counts), counts)


def _electron_rate(request: ExposureRequest, references: ReferenceSet, light: Image) -> Image:
    """Return electrons per second of light and dark current, over the full frame."""
    if request.saturated:
        return np.full(request.shape, SATURATING_RATE, dtype=np.float32)
    rate = references.dark_rate()
    science(rate)[:] += light
    rate *= references.gain()
    x0, x1, y0, y1 = request.guide_window
    rate[y0:y1, x0:x1] = 0.0  # reset at every guide read, it never fills
    return rate


def _events(request: ExposureRequest, references: ReferenceSet, timing: _Timing) -> tuple[Events, Events]:
    """Return the cosmic rays, and all sudden charge."""
    rays = cosmic_rays(
        stream(request.seed, *request.stream_names("cosmic rays")),
        request.shape,
        np.asarray(timing.numbers * request.frame_time, dtype=np.float64),
        request.cosmic_ray_rate,
    )
    rng = stream(request.seed, *request.stream_names("telegraph"))
    flicker = telegraph_noise(rng, references.bad_pixels()["TELEGRAPH"], timing.numbers.size)
    return rays, rays.merged(flicker)


def _reset_level(request: ExposureRequest, references: ReferenceSet) -> Image:
    """Return the counts of every pixel just after the reset, as ideal counts, DN."""
    rng = stream(request.seed, *request.stream_names("reset"))
    mean, channels, pixels = RESET_LEVEL
    level = np.float32(pixels) * scatter(rng, request.shape)
    level += np.float32(channels) * channel_field(rng, request.shape) + np.float32(mean)
    level[references.bad_pixels()["BAD_REF_PIXEL"]] += np.float32(BAD_REFERENCE_OFFSET)
    return level


def _read_out(
    request: ExposureRequest,
    references: ReferenceSet,
    timing: _Timing,
    rate: Image,
    level: Image,
    events: Events,
    noise: ChannelNoise,
    threads: int,
) -> tuple[Counts, Image, NDArray[np.uint8]]:
    """Read out the detector channel by channel; returns counts, electrons and first saturated resultants."""
    ny, nx = request.shape
    frames = timing.counts.size
    data = np.empty((frames, ny, nx), dtype=np.uint16)
    electrons, saturated = np.empty((ny, nx), dtype=np.float32), np.empty((ny, nx), dtype=np.uint8)
    live = np.ones((ny, nx), dtype=bool) if request.saturated else ~border_mask(request.shape)
    read_noise = references.read_noise()
    read_noise[references.bad_pixels()["BAD_REF_PIXEL"]] *= BAD_REFERENCE_NOISE
    full_well = references.saturation() * np.float32(FULL_WELL)
    gain, curvature = references.gain(), references.curvature()
    inl = references.integral_nonlinearity().astype(np.float32)
    row, column = pixel_times(request.frame_time, check_detector(request.detector), request.shape)
    amplitude, tau = references.dark_decay()
    read_decay = np.exp(-(timing.numbers - 1.5) * request.frame_time / tau)
    interval = np.diff(timing.numbers, prepend=0) * request.frame_time

    def strip(channel: int) -> None:
        cut = (slice(None), slice(channel * CHANNEL_WIDTH, (channel + 1) * CHANNEL_WIDTH))
        times = (row[:, None] + column[None, cut[1]]).astype(np.float32)
        charge = events.columns(cut[1].start, cut[1].stop)
        quiet = np.zeros((frames, ny, CHANNEL_WIDTH), dtype=np.float32)
        accumulate(
            rng=stream(request.seed, *request.stream_names("readout", channel)),
            rate=rate[cut],
            gain=gain[cut],
            level=level[cut],
            curvature=curvature[cut],
            full_well=full_well[cut],
            read_noise=read_noise[cut],
            live=live[cut],
            inl=inl[channel],
            common=np.ascontiguousarray(noise.channel(channel)) if request.correlated_noise else quiet,
            decay=np.float32(amplitude) * np.exp(-times / np.float32(tau)),
            read_decay=read_decay,
            first=_transient(times) if request.detector == "WFI18" else np.zeros((0, 0), dtype=np.float32),
            interval=interval,
            resultant=timing.resultant,
            reads=timing.counts,
            event_y=charge.y,
            event_x=charge.x,
            event_read=charge.read,
            event_electrons=charge.electrons,
            data=data[:, *cut],
            electrons=electrons[cut],
            saturated=saturated[cut],
        )

    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        list(pool.map(strip, range(nx // CHANNEL_WIDTH)))
    return data, electrons, saturated


def _transient(times: Image) -> Image:
    """Return the signal that WFI18 has in its first resultant, DN, for the times at which pixels are read."""
    parts = [np.float32(height) * np.exp(-times / np.float32(tau)) for height, tau in WFI18_TRANSIENT]
    return np.asarray(parts[0] + parts[1])


def _reference_output(request: ExposureRequest, noise: ChannelNoise, frames: int) -> tuple[Counts, Image]:
    """Return amp33, and its level at the reset, DN."""
    rng = stream(request.seed, *request.stream_names("amp33 level"))
    mean, pixels = REFERENCE_OUTPUT_LEVEL
    level = np.float32(pixels) * scatter(rng, (request.shape[0], CHANNEL_WIDTH)) + np.float32(mean)
    if not request.correlated_noise:
        return np.repeat(_counts(level)[None], frames, axis=0), level
    return _counts(noise.reference_output() + level), level


def _reference_read(
    request: ExposureRequest, references: ReferenceSet, level: Image, amp33_level: Image
) -> tuple[Counts, Counts]:
    """Return a read of the detector and of the reference output at the reset."""
    rng = stream(request.seed, *request.stream_names("reference read"))
    shown = level.astype(np.float64)
    science(shown)[:] = measured_counts(science(level), science(references.curvature()))
    shown += references.read_noise() * scatter(rng, request.shape)
    amp33 = amp33_level + np.float32(REFERENCE_OUTPUT_NOISE) * scatter(rng, amp33_level.shape[:2])
    return _counts(shown), _counts(amp33)


def _subtract(data: Counts, reference: Counts, offset: int) -> None:
    """Encode resultants as differences from a read, in place: what the flight system does."""
    for resultant in data:
        difference = resultant.astype(np.int32) - reference + offset
        resultant[:] = np.clip(difference, 0, 65535)


def _lose_blocks(request: ExposureRequest, data: Counts) -> NDArray[np.uint8]:
    """Lose blocks of resultants in transmission, in place; returns their flags."""
    rng = stream(request.seed, *request.stream_names("dropouts"))
    flags = np.zeros(data.shape, dtype=np.uint8)
    for _ in range(request.dropouts):
        resultant = int(rng.integers(data.shape[0]))
        y = DROPOUT_ROWS * int(rng.integers(data.shape[1] // DROPOUT_ROWS))
        x = CHANNEL_WIDTH * int(rng.integers(data.shape[2] // CHANNEL_WIDTH))
        block = (resultant, slice(y, y + DROPOUT_ROWS), slice(x, x + CHANNEL_WIDTH))
        data[block], flags[block] = 0, ResultantFlag.DROPOUT
    return flags


def _counts(values: NDArray[np.floating]) -> Counts:
    return np.asarray(np.clip(np.rint(values), 0, 65535), dtype=np.uint16)
