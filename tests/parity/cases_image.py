"""Inputs of the checks of the image steps: A19, A21, A23 and A27."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cases import NO_FLAT_FIELD, PATTERNS, Case, check, exposure, seed


def rate_image(rng: np.random.Generator, shape: tuple[int, int], with_rnoise: bool = False) -> dict[str, np.ndarray]:
    """Arrays of a Level 2 image of realistic range, with NaN and infinite values."""
    data = (10 ** rng.uniform(-2, 4, shape) * rng.choice([1, 1, 1, -0.1], shape)).astype(np.float32)
    image = {
        "data": data,
        "dq": np.where(rng.random(shape) < 0.2, rng.integers(0, 1 << 32, shape, dtype=np.uint32), 0).astype(np.uint32),
        "err": np.sqrt(np.abs(data) / 100 + 0.01).astype(np.float16),
        "var_poisson": (np.abs(data) / 100).astype(np.float16),
        "chisq": rng.chisquare(5, shape).astype(np.float16),
        "dumo": (data * rng.normal(0, 0.01, shape)).astype(np.float16),
    }
    if with_rnoise:
        image["var_rnoise"] = rng.uniform(1e-7, 0.01, shape).astype(np.float16)
    for array in image.values():
        if array.dtype.kind == "f":
            array[rng.random(shape) < 0.005] = np.nan
    image["var_poisson"][rng.random(shape) < 0.002] = np.inf
    return image


@check("A19")
def dark_and_flat(quick: bool) -> Iterator[Case]:
    full = (72, 264) if quick else (264, 1032)
    science = (full[0] - 8, full[1] - 8)
    settings = [("plain", False, False), ("var_rnoise", True, False), ("var_flat", False, True)]
    for number, (name, with_rnoise, var_flat) in enumerate(settings):
        rng = seed("A19", number)
        dark = rng.normal(0.005, 0.01, full).astype(np.float32)
        dark[rng.random(full) < 0.01] = np.nan
        flat = rng.normal(1, 0.05, science).astype(np.float32)
        for value in (0.0, np.nan, -0.9, np.inf):
            flat[rng.random(science) < 0.01] = value
        flat_dq = np.where(rng.random(science) < 0.02, NO_FLAT_FIELD, 0).astype(np.uint32)
        flat_dq[rng.random(science) < 0.02] |= 1 << 13
        yield Case(
            name,
            rate_image(rng, science, with_rnoise),
            {
                "dark": {"dark_slope": dark, "dq": rng.integers(0, 1 << 32, full, dtype=np.uint32)},
                "flat": {"data": flat, "dq": flat_dq, "err": np.full(science, 0.002, dtype=np.float32)},
            },
            {"include_var_flat": var_flat},
            exposure(PATTERNS["F6"], full),
        )


def distortion(scale: float) -> dict[str, list[list[float]]]:
    """Coefficients of a distortion polynomial of degree 2: pixel - 2043.5 in units of 1000 to arcsec."""
    return {
        "v2": [[1312.9, 110.0 * scale, 0.12], [-0.4, 0.05, 0.0], [0.31, 0.0, 0.0]],
        "v3": [[-1040.8, 0.7, 0.21], [109.3 * scale, -0.03, 0.0], [0.17, 0.0, 0.0]],
    }


@check("A21")
def world_coordinates(quick: bool) -> Iterator[Case]:
    pointings = {
        "field": (10.0, 60.0, 33.0),
        "RA 0": (0.001, 2.0, 150.0),
        "RA 360": (359.9995, -33.0, 289.0),
        "north pole": (120.0, 89.95, 12.0),
        "south pole": (300.0, -90.0, 200.0),
        "bulge": (268.3, -29.2, 91.0),
    }
    for name, (ra, dec, roll) in pointings.items():
        for scale in (1.0, None, 1.0001, 0.9999, 0.0, -1.0):
            for boxed in (False, True):
                pointing = {"v2_ref": 1312.949, "v3_ref": -1040.785, "ra_ref": ra, "dec_ref": dec, "roll_ref": roll,
                            "vparity": -1, "v3yangle": -60.0, "scale_factor": scale}  # fmt: skip
                yield Case(
                    f"{name}, scale {scale}, {'boxed' if boxed else 'no box'}",
                    exposure=exposure(PATTERNS["F6"], (4096, 4096), pointing=pointing),
                    extra={"boxed": boxed},
                )


@check("A23")
def photom(quick: bool) -> Iterator[Case]:
    rows = {}
    for number, name in enumerate(("F062", "F087", "F106", "F129", "F146", "F158", "F184", "F213")):
        rows[name] = {"photmjsr": 0.3 + 0.1 * number, "uncertainty": 0.003 * (number + 1), "pixelareasr": 2.8e-13}
    for name in ("GRISM", "PRISM", "DARK"):
        rows[name] = {"photmjsr": None, "uncertainty": None, "pixelareasr": None}
    for element in [*rows, "F999"]:
        yield Case(
            element,
            references={"photom": {"phot_table": rows}},
            exposure=exposure(PATTERNS["F6"], (4096, 4096), optical_element=element),
        )


@check("A27")
def statistics(quick: bool) -> Iterator[Case]:
    for number, (name, shape) in enumerate((("even", (200, 300)), ("odd", (201, 301)), ("large", (1500, 2000)))):
        rng = seed("A27", number)
        image = rate_image(rng, shape)
        image["err"][rng.random(shape) < 0.01] = 0
        image["err"][rng.random(shape) < 0.01] = np.inf
        yield Case(name, image, exposure=exposure(PATTERNS["F6"], shape))
    rng = seed("A27", 9)
    nothing = rate_image(rng, (50, 60))
    nothing["dq"] |= 1
    yield Case("no good pixel", nothing, exposure=exposure(PATTERNS["F6"], (50, 60)))
    few = rate_image(rng, (50, 60))
    few["dq"] |= 1
    few["dq"][3, 4] = few["dq"][5, 6] = 0
    for array in (few["data"], few["err"]):
        array[3, 4], array[5, 6] = 1.5, 2.25
    yield Case("two good pixels", few, exposure=exposure(PATTERNS["F6"], (50, 60)))
