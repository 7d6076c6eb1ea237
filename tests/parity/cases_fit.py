"""Inputs of the checks of the ramp fit: A12 to A18 and A20."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cases import (
    AD_FLOOR,
    DO_NOT_USE,
    DROPOUT,
    JUMP_DET,
    PATTERNS,
    SATURATED,
    WFI18_TRANSIENT,
    Case,
    check,
    exposure,
    seed,
    simulate_ramp,
)

LIKELY = ("F4", "F4 singles", "F5", "F6", "F7 late, gaps", "F10", "F10 long", "F16", "F21")


def _detector(rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, dict[str, np.ndarray]]:
    """Gain and read noise that vary from pixel to pixel."""
    return {
        "gain": {"data": rng.uniform(1.5, 2.2, shape).astype(np.float32)},
        "readnoise": {"data": np.exp(rng.normal(np.log(6), 0.3, shape)).astype(np.float32)},
    }


def _ramps(rng: np.random.Generator, name: str, shape: tuple[int, int], **simulation: object) -> dict[str, np.ndarray]:
    rate = 10 ** rng.uniform(-2, 4, shape)
    data = simulate_ramp(rng, PATTERNS[name], rate, **simulation)
    pixeldq = np.where(rng.random(shape) < 0.05, rng.integers(0, 1 << 32, shape, dtype=np.uint32), 0).astype(np.uint32)
    return {"data": data, "groupdq": np.zeros(data.shape, dtype=np.uint8), "pixeldq": pixeldq}


def _saturate(rng: np.random.Generator, groupdq: np.ndarray, share: float) -> None:
    """Saturate some ramps from a random resultant on, some after a partly saturated one."""
    nresultants = len(groupdq)
    first = rng.integers(1, nresultants, groupdq.shape[1:])
    first[rng.random(first.shape) > share] = nresultants + 1
    partly = rng.random(first.shape) < 0.5
    for i in range(nresultants):
        groupdq[i][first <= i] |= SATURATED
        groupdq[i][(first - 1 == i) & partly] |= DO_NOT_USE


@check("A12")
def likely_quiet(quick: bool) -> Iterator[Case]:
    """Ramps without cosmic rays."""
    shape = (40, 520) if quick else (136, 1032)
    for number, name in enumerate(LIKELY):
        rng = seed("A12", number)
        ramp = _ramps(rng, name, shape)
        yield Case(name, ramp, _detector(rng, shape), {"include_var_rnoise": True}, exposure(PATTERNS[name], shape))


@check("A13")
def likely_hit(quick: bool) -> Iterator[Case]:
    """Up to three cosmic rays a ramp, partial saturation."""
    shape = (40, 520) if quick else (136, 1032)
    for number, name in enumerate(LIKELY):
        rng = seed("A13", number)
        ramp = _ramps(rng, name, shape, hits=(3, 3.0, 40000.0))
        _saturate(rng, ramp["groupdq"], 0.25)
        single = rng.random(ramp["groupdq"].shape) < 0.01
        ramp["groupdq"][single] |= rng.choice([DO_NOT_USE, AD_FLOOR, DROPOUT], int(single.sum())).astype(np.uint8)
        yield Case(name, ramp, _detector(rng, shape), {}, exposure(PATTERNS[name], shape))


@check("A14")
def likely_pathological(quick: bool) -> Iterator[Case]:
    """One kind of trouble in each row of the frame."""
    shape = (48, 520)
    for number, name in enumerate(("F4", "F6", "F10")):
        rng = seed("A14", number)
        ramp = _ramps(rng, name, shape, hits=(1, 30.0, 3000.0))
        references = _detector(rng, shape)
        gain, noise = references["gain"]["data"], references["readnoise"]["data"]
        data, groupdq = ramp["data"], ramp["groupdq"]
        nresultants = len(data)
        where = rng.integers(0, nresultants, shape[1])
        columns = np.arange(shape[1])
        data[where, 4, columns] = np.nan
        data[:, 5] = np.nan
        gain[6], gain[7], gain[8], gain[9] = np.nan, 0, -1.8, np.inf
        noise[10], noise[11] = 0, np.nan
        groupdq[:, 12] = DO_NOT_USE
        groupdq[:, 13] = DO_NOT_USE
        groupdq[where, 13, columns] = 0  # one good resultant
        groupdq[1::2, 14] = DO_NOT_USE  # good ones that are not neighbours
        groupdq[where, 15, columns] = AD_FLOOR
        groupdq[0, 16] = WFI18_TRANSIENT
        groupdq[0, 17] = DO_NOT_USE | WFI18_TRANSIENT
        groupdq[:, 18] = SATURATED
        groupdq[:, 19] = AD_FLOOR | DO_NOT_USE
        groupdq[where, 20, columns] = JUMP_DET
        groupdq[:, 21] = DROPOUT
        groupdq[2:, 22] = SATURATED
        groupdq[1:, 23] = SATURATED
        data[:, 24] = 0
        data[:, 25] = data[:1, 25] - np.arange(nresultants, dtype=np.float32)[:, None] * 50  # falling
        data[where, 26, columns] = 1e6  # the most that linearity lets through
        data[:, 27] *= 1e6
        yield Case(name, ramp, references, {"include_var_rnoise": True}, exposure(PATTERNS[name], shape))


@check("A17")
def ols(quick: bool) -> Iterator[Case]:
    shape = (40, 520) if quick else (104, 1032)
    settings = {
        "jumps": {},
        "no jumps": {"use_ramp_jump_detection": False},
        "other thresholds": {"threshold_intercept": 4.5, "threshold_constant": 0.2},
    }
    names = ("F4", "F6", "F10", "F16", "F21")
    for number, name in enumerate(names):
        for setting, options in settings.items():
            rng = seed("A17", number)
            ramp = _ramps(rng, name, shape, hits=(2, 30.0, 30000.0))
            _saturate(rng, ramp["groupdq"], 0.2)
            ramp["groupdq"][:, 9] = DO_NOT_USE
            references = _detector(rng, shape)
            references["gain"]["data"][10, :200] = np.nan
            references["gain"]["data"][11, :200] = -1.5
            yield Case(
                f"{name}, {setting}",
                ramp,
                references,
                {"algorithm": "ols_cas22", "include_var_rnoise": True, **options},
                exposure(PATTERNS[name], shape),
            )


@check("A18")
def snowballs(quick: bool) -> Iterator[Case]:
    """Round blobs with saturated cores, blobs at the edge, long streaks."""
    shape = (264, 264)
    settings = {
        "defaults": {},
        "saturated core not required": {"sat_required_snowball": False},
        "edge 20, growth 2.5": {"edge_size": 20, "expand_factor": 2.5, "sat_expand": 4, "min_sat_radius_extend": 2.0},
    }
    for number, name in enumerate(("F6", "F10")):
        for setting, options in settings.items():
            rng = seed("A18", number)
            ramp = _blobs(rng, name, shape)
            options = {"expand_large_events": True, **options}
            yield Case(f"{name}, {setting}", ramp, _detector(rng, shape), options, exposure(PATTERNS[name], shape))


def _blobs(rng: np.random.Generator, name: str, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    pattern = PATTERNS[name]
    data = simulate_ramp(rng, pattern, rng.uniform(0.1, 3, shape))
    groupdq = np.zeros(data.shape, dtype=np.uint8)
    y, x = np.indices(shape)
    for blob in range(14):
        i = int(rng.integers(1, len(pattern)))
        cy, cx = rng.uniform(8, shape[0] - 8, 2) if blob % 4 else rng.uniform(0, 12, 2)
        angle, long, short = rng.uniform(0, np.pi), rng.uniform(3, 14), rng.uniform(2, 8)
        u, v = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle), (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        radius = np.hypot(u / max(long, short), v / min(long, short))
        data[i:, radius < 1] += np.float32(4000)
        if blob % 3:
            core = radius < rng.uniform(0.2, 0.6)
            groupdq[i:, core] |= SATURATED
            data[i:, core] = 60000
    return {"data": data, "groupdq": groupdq, "pixeldq": np.zeros(shape, dtype=np.uint32)}
