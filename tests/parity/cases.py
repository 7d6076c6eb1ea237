"""Synthetic inputs of the acceptance checks: the same numbers in both environments, made from a seed.

Only NumPy is used. A `Case` says what goes in; it knows nothing of either pipeline. `digest` proves that both sides
started from the same bits. The registry `CHECKS` maps a check of the specification to a function that yields its cases.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FRAME_TIME = 3.16247
DO_NOT_USE, SATURATED, JUMP_DET, DROPOUT, AD_FLOOR, WFI18_TRANSIENT = 1, 2, 4, 8, 64, 128
GW_AFFECTED_DATA, NO_SAT_CHECK, NO_LIN_CORR, BAD_REF_PIXEL, NO_FLAT_FIELD = 1 << 4, 1 << 21, 1 << 20, 1 << 17, 1 << 18


def consecutive(*lengths: int, start: int = 1) -> list[list[int]]:
    """Read pattern of consecutive reads, with so many in each resultant."""
    pattern, read = [], start
    for length in lengths:
        pattern.append(list(range(read, read + length)))
        read += length
    return pattern


PATTERNS = {
    "F2": [[1], [2, 3]],
    "F3": [[1, 2], [3, 4], [5, 6]],
    "F4": consecutive(1, 2, 2, 1),
    "F4 singles": consecutive(1, 1, 1, 1),
    "F5": consecutive(1, 3, 3, 3, 2),
    "F6": consecutive(1, 2, 4, 4, 4, 1),
    "F6 singles": consecutive(1, 1, 1, 1, 1, 1),
    "F7 late, gaps": [[3], [6, 7], [10, 11, 12], [16], [20, 21], [25, 26], [31]],
    "F10": consecutive(1, 2, *[4] * 7, 1),
    "F10 long": consecutive(*[8] * 10),
    "F16": consecutive(1, *[2] * 14, 1),
    "F21": consecutive(*[1] * 10, *[2] * 11),
}


@dataclass
class Case:
    """One input.

    ``exposure`` holds plain metadata, ``ramp`` the arrays of a ramp, a raw file or an image, ``references`` arrays by
    reference type, ``options`` a step's parameters.
    """

    name: str
    ramp: dict[str, Any] = field(default_factory=dict)
    references: dict[str, dict[str, Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    exposure: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def pattern(self) -> list[list[int]]:
        return self.exposure["read_pattern"]


def exposure(pattern: list[list[int]], shape: tuple[int, int], **values: Any) -> dict[str, Any]:
    """Plain metadata of an exposure."""
    usual = {"detector": "WFI01", "optical_element": "F158", "exposure_type": "WFI_IMAGE", "frame_time": FRAME_TIME}
    return {**usual, "read_pattern": pattern, "shape": shape, **values}


def seed(check: str, number: int = 0) -> np.random.Generator:
    """Random numbers of one case."""
    return np.random.default_rng([int(check[1:]), number])


def digest(case: Case) -> str:
    """Digest of everything in a case."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value):
                found.update(str(key).encode())
                add(value[key])
        elif isinstance(value, np.ndarray):
            found.update(f"{value.dtype}{value.shape}".encode())
            found.update(np.ascontiguousarray(value))
        else:
            found.update(json.dumps(value, default=str).encode())

    add(case.__dict__)
    return found.hexdigest()[:16]


def simulate_ramp(
    rng: np.random.Generator,
    pattern: list[list[int]],
    rate: np.ndarray,
    *,
    gain: float = 1.8,
    noise: float = 6.0,
    pedestal: float = 100.0,
    hits: tuple[int, float, float] | None = None,
    ceiling: np.ndarray | None = None,
) -> np.ndarray:
    """Resultants (F, ny, nx) float32, DN, of a source of `rate` (ny, nx) DN/s.

    ``hits = (most, smallest, largest)``: up to `most` cosmic rays a ramp, of a size in DN between the two, at any time.
    ``ceiling``: no read exceeds it.
    """
    last = pattern[-1][-1]
    shape = rate.shape
    kicks = np.zeros((last + 1, *shape), dtype=np.float32)
    if hits:
        number = rng.integers(0, hits[0] + 1, shape)
        for k in range(hits[0]):
            when = rng.integers(1, last + 1, shape)
            size = np.exp(rng.uniform(np.log(hits[1]), np.log(hits[2]), shape)) * (k < number)
            np.add.at(kicks, (when, *np.indices(shape)), size)
    total = np.full(shape, pedestal, dtype=np.float64)
    out = np.zeros((len(pattern), *shape), dtype=np.float32)
    resultant = {read: i for i, reads in enumerate(pattern) for read in reads}
    electrons = np.maximum(rate, 0) * gain * FRAME_TIME
    for read in range(1, last + 1):
        total += rng.poisson(electrons) / gain + kicks[read]
        if read in resultant:
            value = total + rng.normal(0, noise, shape)
            if ceiling is not None:
                value = np.minimum(value, ceiling)
            i = resultant[read]
            out[i] += (value / len(pattern[i])).astype(np.float32)
    return out


CHECKS: dict[str, Callable[[bool], Iterator[Case]]] = {}


def check(name: str) -> Callable[[Callable[[bool], Iterator[Case]]], Callable[[bool], Iterator[Case]]]:
    """Register the function that yields a check's cases; it is told whether to be quick."""

    def register(function: Callable[[bool], Iterator[Case]]) -> Callable[[bool], Iterator[Case]]:
        CHECKS[name] = function
        return function

    return register
