"""Inputs of the checks of the ramp steps: A1 to A11."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cases import (
    AD_FLOOR,
    BAD_REF_PIXEL,
    DO_NOT_USE,
    FRAME_TIME,
    NO_LIN_CORR,
    NO_SAT_CHECK,
    PATTERNS,
    SATURATED,
    Case,
    check,
    exposure,
    seed,
    simulate_ramp,
)


# ------------------------------------------------------------------------------------------- dq_init
def _raw(rng: np.random.Generator, pattern: list[list[int]], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    nresultants, (ny, nx) = len(pattern), shape
    return {
        "data": rng.integers(4000, 60000, (nresultants, ny, nx), dtype=np.uint16),
        "amp33": rng.integers(4000, 60000, (nresultants, ny, 128), dtype=np.uint16),
    }


@check("A1")
def dq_init(quick: bool) -> Iterator[Case]:
    shape = (96, 96)
    windows = {
        "window inside": ((30, 46, 50, 66), 0),
        "window at the lower edges": ((0, 16, 0, 16), 0),
        "window beyond the upper edges": ((90, 106, 88, 104), 0),
        "no window": ((-999999, -999999, -999999, -999999), 0),
        "window grown": ((30, 46, 50, 66), 5),
        "window grown beyond the edges": ((2, 18, 84, 95), 7),
        "window starts outside": ((96, 112, 3, 19), 0),
    }
    for number, (name, (window, grow)) in enumerate(windows.items()):
        for offset in (0, 3000):
            rng = seed("A1", 2 * number + (offset > 0))
            raw = _raw(rng, PATTERNS["F4"], shape)
            if offset:
                raw["reference_read"] = rng.integers(0, 65535, shape, dtype=np.uint16)
                raw["reference_amp33"] = rng.integers(0, 5000, (shape[0], 128), dtype=np.uint16)
                raw["amp33"] = np.minimum(raw["amp33"], 50000).astype(np.uint16)
            yield Case(
                f"{name}, offset {offset}",
                raw,
                {"mask": {"dq": rng.integers(0, 1 << 32, shape, dtype=np.uint32)}},
                {"expand_gw_flagging": grow},
                exposure(PATTERNS["F4"], shape, guide_window=window, data_encoding_offset=offset),
            )


@check("A2")
def dq_init_resultantdq(quick: bool) -> Iterator[Case]:
    shape = (96, 96)
    for number, (name, mask_shape) in enumerate({"resultantdq": shape, "mask of another shape": (88, 88)}.items()):
        rng = seed("A2", number)
        raw = _raw(rng, PATTERNS["F4"], shape)
        raw["resultantdq"] = rng.integers(0, 256, raw["data"].shape, dtype=np.uint8)
        yield Case(
            name,
            raw,
            {"mask": {"dq": rng.integers(0, 1 << 32, mask_shape, dtype=np.uint32)}},
            exposure=exposure(PATTERNS["F4"], shape, guide_window=(30, 46, 50, 66)),
        )


# ---------------------------------------------------------------------------------------- saturation
@check("A3")
def saturation(quick: bool) -> Iterator[Case]:
    shape = (40, 256) if quick else (96, 512)
    patterns = ["F2", "F3", "F4", "F5", "F6", "F7 late, gaps", "F10", "F10 long"]
    settings = [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 3)]
    for number, name in enumerate(patterns):
        for grow, backup in settings:
            rng = seed("A3", number)
            yield _saturating(rng, name, shape, {"n_pix_grow_sat": grow, "backup": backup})


def _saturating(rng: np.random.Generator, name: str, shape: tuple[int, int], options: dict[str, int]) -> Case:
    """Ramps that cross their threshold in every resultant, by their slope or by a step inside a resultant."""
    pattern = PATTERNS[name]
    threshold = rng.uniform(30000, 60000, shape).astype(np.float32)
    when = rng.uniform(0.3, 1.6 * pattern[-1][-1], shape)  # the read at which the ramp crosses
    rate = threshold / (when * FRAME_TIME) * (rng.random(shape) < 0.7)
    data = simulate_ramp(rng, pattern, rate, hits=(2, 300.0, 60000.0), ceiling=threshold * rng.uniform(1, 1.1, shape))
    data[rng.random(data.shape) < 0.004] = 0
    data[rng.random(data.shape) < 0.004] = -3.5
    exact = rng.random(data.shape) < 0.002
    data[exact] = np.broadcast_to(threshold, data.shape)[exact]
    dq = np.where(rng.random(shape) < 0.02, NO_SAT_CHECK, 0).astype(np.uint32)
    dq[rng.random(shape) < 0.01] |= 1 << 11
    threshold[rng.random(shape) < 0.02] = np.nan
    groupdq = np.zeros(data.shape, dtype=np.uint8)
    groupdq[rng.random(data.shape) < 0.003] = DO_NOT_USE
    groupdq[rng.random(data.shape) < 0.003] |= SATURATED
    return Case(
        f"{name}, grow {options['n_pix_grow_sat']}, backup {options['backup']}",
        {"data": data, "groupdq": groupdq, "pixeldq": rng.integers(0, 64, shape, dtype=np.uint32)},
        {"saturation": {"data": threshold, "dq": dq}},
        options,
        exposure(pattern, shape),
    )


# -------------------------------------------------------------------------------------------- refpix
def _smooth_coefficients(rng: np.random.Generator, nrows: int) -> dict[str, np.ndarray]:
    """Random low-pass couplings of the 32 channels to the three reference series."""
    n = nrows * 70 + 1
    f = np.arange(n)
    found = {}
    for name, strength in (("gamma", 0.4), ("zeta", 0.4), ("alpha", 0.9)):
        knee = n / 14 * rng.uniform(0.5, 1.5, (32, 1))
        phase = np.exp(1j * np.pi * rng.uniform(-2, 2, (32, 1)) * f / n)
        value = strength * rng.uniform(0.5, 1.0, (32, 1)) / (1 + (f / knee) ** 2) * phase
        value[:, 0] = value[:, 0].real
        found[name] = value.astype(np.complex128)
    return found


def _noisy_frames(rng: np.random.Generator, name: str, nrows: int) -> dict[str, np.ndarray]:
    """Ramp with pedestals, drifts along time and bad reference pixels."""
    nresultants, nx = len(PATTERNS[name]), 4096
    data = rng.normal(6000, 40, (nresultants, nrows, nx)).astype(np.float32)
    light = np.zeros((nrows, nx))
    light[4:-4, 4:-4] = rng.exponential(300, (nrows - 8, nx - 8))
    data += (np.arange(nresultants)[:, None, None] * light).astype(np.float32)
    drift = np.cumsum(rng.normal(0, 0.4, (nresultants, nrows)), axis=1)
    data += drift[:, :, None].astype(np.float32)
    amp33 = (6000 + drift[:, :, None] + rng.normal(0, 9, (nresultants, nrows, 128))).clip(0).astype(np.uint16)
    amp33[:, rng.random((nrows, 128)) < 0.003] = 0  # missing samples, to be interpolated
    amp33[rng.random(amp33.shape) < 1e-5] = 0  # a glitch in one resultant
    pixeldq = np.zeros((nrows, nx), dtype=np.uint32)
    border = np.ones((nrows, nx), dtype=bool)
    border[4:-4, 4:-4] = False
    pixeldq[border & (rng.random((nrows, nx)) < 0.02)] = BAD_REF_PIXEL | DO_NOT_USE
    data[:, (pixeldq & BAD_REF_PIXEL) != 0] += 5000
    return {"data": data, "amp33": amp33, "pixeldq": pixeldq, "groupdq": np.zeros(data.shape, dtype=np.uint8)}


@check("A4")
def refpix(quick: bool) -> Iterator[Case]:
    nrows = 512
    for number, name in enumerate(("F2", "F4") if quick else ("F2", "F4", "F10")):
        rng = seed("A4", number)
        ramp = _noisy_frames(rng, name, nrows)
        yield Case(
            name, ramp, {"refpix": _smooth_coefficients(rng, nrows)}, exposure=exposure(PATTERNS[name], (nrows, 4096))
        )


@check("A5")
def refpix_without_coupling(quick: bool) -> Iterator[Case]:
    nrows = 128 if quick else 512
    for number, name in enumerate(("F4", "F6")):
        rng = seed("A5", number)
        zero = {key: np.zeros_like(value) for key, value in _smooth_coefficients(rng, nrows).items()}
        ramp = _noisy_frames(rng, name, nrows)
        yield Case(name, ramp, {"refpix": zero}, exposure=exposure(PATTERNS[name], (nrows, 4096)))


@check("A6")
def refpix_factor(quick: bool) -> Iterator[Case]:
    """Only the left reference columns are not zero, one coefficient is: the correction has a closed form.

    With offset and trend zero, the correction of the channel is (L + 2)/L times the band-passed series.
    """
    nrows, channel = 256, 5
    length = nrows * 140
    for name, index in (("bin 0", 0), ("bin 9000", 9000)):
        rng = seed("A6", index)
        data = np.zeros((2, nrows, 4096), dtype=np.float32)
        left = rng.integers(500, 1500, (nrows - 8, 4)).astype(np.float32)
        data[0, 4:-4, :4], data[1, 4:-4, :4] = left, -left  # the mean over resultants, the offset, is zero
        coefficients = {key: np.zeros((32, length // 2 + 1), dtype=np.complex128) for key in ("gamma", "zeta", "alpha")}
        coefficients["gamma"][channel, index] = 1.0
        series = np.zeros((nrows, 140))
        series[:, :4] = data[0, :, :4]
        spectrum = np.fft.rfft(series.ravel()) * (140 / 4)
        kept = np.zeros_like(spectrum)
        kept[index] = spectrum[index]
        theory = np.fft.irfft(kept, length).reshape(nrows, 140)[:, :128][:, ::-1]  # channel 5 is read backwards
        ramp = {
            "data": data,
            "amp33": np.zeros((2, nrows, 128), dtype=np.uint16),
            "pixeldq": np.zeros((nrows, 4096), dtype=np.uint32),
            "groupdq": np.zeros(data.shape, dtype=np.uint8),
        }
        yield Case(
            name,
            ramp,
            {"refpix": coefficients},
            exposure=exposure(PATTERNS["F2"], (nrows, 4096)),
            extra={"theory": theory.copy(), "channel": channel, "ratio": (length + 2) / length},
        )


# ---------------------------------------------------------------------------------------- dark decay
@check("A7")
def dark_decay(quick: bool) -> Iterator[Case]:
    settings = [(1, [[1], [2, 3]])] if quick else [
        (1, [[1], [2, 3, 4, 5], list(range(6, 22))]),
        (3, [[1, 2], [9, 10, 11]]),
        (18, [[4], [5, 6, 7]]),
    ]  # fmt: skip
    for number, (sca, pattern) in enumerate(settings):
        rng = seed("A7", number)
        data = rng.uniform(-50, 60000, (len(pattern), 4096, 4096)).astype(np.float32)
        data[:, ::3] *= np.float32(0.01)
        yield Case(
            f"SCA {sca}",
            {"data": data},
            {"darkdecaysignal": {"amplitude": rng.uniform(0.5, 3), "time_constant": rng.uniform(8, 40)}},
            exposure=exposure(pattern, (4096, 4096), detector=f"WFI{sca:02d}"),
        )


@check("A8")
def pixel_times(quick: bool) -> Iterator[Case]:
    for sca in (1, 3, 18) if quick else range(1, 19):
        yield Case(f"SCA {sca}", exposure=exposure(PATTERNS["F2"], (4096, 4096), detector=f"WFI{sca:02d}"))


# --------------------------------------------------------------------------------------------- WFI18
def _transient(rng: np.random.Generator, pattern: list[list[int]]) -> np.ndarray:
    """Full-frame ramp of WFI18 whose first resultant carries the transient."""
    means = np.array([np.mean(reads) for reads in pattern]) * FRAME_TIME
    rate = (rng.gamma(2.0, 1.0, (4096, 4096)) + 0.2).astype(np.float32)
    data = np.empty((len(pattern), 4096, 4096), dtype=np.float32)
    for i, reads in enumerate(pattern):
        noise = rng.normal(0, 6 / np.sqrt(len(reads)), rate.shape).astype(np.float32)
        data[i] = 6000 + rate * np.float32(means[i]) + noise
    when = np.linspace(0, FRAME_TIME, 4096)[:, None]
    data[0] += (60 * np.exp(-when / 0.12) - 12 * np.exp(-when / 0.9)).astype(np.float32)
    return data


@check("A9")
def wfi18(quick: bool) -> Iterator[Case]:
    for number, name in enumerate(("F5",) if quick else ("F5", "F10")):
        rng = seed("A9", number)
        pattern = PATTERNS[name]
        data = _transient(rng, pattern[:5])
        if len(pattern) > 5:  # only five resultants take part in the fit; the others must stay as they are
            data = np.concatenate([data, np.broadcast_to(data[4], (len(pattern) - 5, 4096, 4096))])
        yield Case(name, {"data": data}, exposure=exposure(pattern, (4096, 4096), detector="WFI18"))


@check("A10")
def wfi18_fallback(quick: bool) -> Iterator[Case]:
    shape = (1100, 128)
    for number, (name, key, options) in enumerate((("F4", "F4", {}), ("mask_rows", "F6", {"mask_rows": True}))):
        rng = seed("A10", number)
        data = rng.normal(6000, 10, (len(PATTERNS[key]), *shape)).astype(np.float32)
        groupdq = np.where(rng.random(data.shape) < 0.01, SATURATED, 0).astype(np.uint8)
        ramp = {"data": data, "groupdq": groupdq}
        yield Case(name, ramp, options=options, exposure=exposure(PATTERNS[key], shape, detector="WFI18"))
    if not quick:
        data = _transient(seed("A10", 9), PATTERNS["F5"])
        data[0, 2000] = np.nan
        ramp = {"data": data, "groupdq": np.zeros(data.shape, dtype=np.uint8)}
        yield Case("a row of NaN", ramp, exposure=exposure(PATTERNS["F5"], (4096, 4096), detector="WFI18"))


# ----------------------------------------------------------------------------------------- linearity
@check("A11")
def linearity(quick: bool) -> Iterator[Case]:
    shape = (24, 256) if quick else (96, 512)
    number = 0
    for name in ("F2", "F3", "F4", "F6", "F7 late, gaps", "F10", "F16"):
        for integral in (True, False):
            yield _nonlinear(seed("A11", number), name, shape, integral)
            number += 1


def _nonlinear(rng: np.random.Generator, name: str, shape: tuple[int, int], integral: bool) -> Case:
    pattern = PATTERNS[name]
    rate = 10 ** rng.uniform(-1, 4.3, shape)
    data = simulate_ramp(rng, pattern, rate, pedestal=5000.0, hits=(1, 50.0, 30000.0))
    data[:, rng.random(shape) < 0.01] -= 6000  # below zero
    groupdq = np.zeros(data.shape, dtype=np.uint8)
    first = rng.integers(0, 2 * len(pattern), shape)  # saturated from this resultant on, half of them never
    for i in range(len(pattern)):
        groupdq[i][first <= i] = SATURATED
    groupdq[(data <= 0) & (groupdq == 0)] = AD_FLOOR | DO_NOT_USE
    groupdq[rng.random(data.shape) < 0.01] |= DO_NOT_USE
    bend = 0.035 * (1 + 0.1 * rng.normal(size=shape)) / 5e4
    forward = np.stack([rng.normal(0, 2, shape), 1 + 0.01 * rng.normal(size=shape), bend, -bend * 2e-6, bend * 1e-12])
    inverse = np.stack([rng.normal(0, 2, shape), 1 + 0.01 * rng.normal(size=shape), -bend, bend * 1e-6])
    forward, inverse = forward.astype(np.float32), inverse.astype(np.float32)
    for cube in (forward, inverse):
        cube[rng.integers(0, len(cube)), rng.random(shape) < 0.01] = np.nan
        cube[1, rng.random(shape) < 0.01] = 0
    forward[3, rng.random(shape) < 0.01] = 3e-3  # runs away beyond 1e6
    forward[3, rng.random(shape) < 0.01] = -3e-3
    dq = np.where(rng.random(shape) < 0.02, NO_LIN_CORR, 0).astype(np.uint32)
    dq[rng.random(shape) < 0.02] |= 1 << 16
    references = {"linearity": {"coeffs": forward, "dq": dq}, "inverselinearity": {"coeffs": inverse}}
    if integral:
        value = np.arange(65536, dtype=np.uint16)
        waves = np.sin(value / rng.uniform(300, 9000, (shape[1] // 128, 1)) + rng.uniform(0, 6, (shape[1] // 128, 1)))
        references["integralnonlinearity"] = {"value": value, "corrections": 2.5 * waves + waves**2}
    return Case(
        f"{name}, {'with' if integral else 'without'} INL",
        {"data": data, "groupdq": groupdq, "pixeldq": rng.integers(0, 64, shape, dtype=np.uint32)},
        references,
        exposure=exposure(pattern, shape),
    )
