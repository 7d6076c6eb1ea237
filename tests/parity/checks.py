"""The acceptance checks on synthetic input, with the pass criteria of the specification."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from cases import JUMP_DET
from compare import (
    NOTHING,
    Row,
    agreement,
    combine,
    compare_all,
    failed,
    identical,
    mostly,
    pairs,
    row,
    statement,
    within_one,
)

from roman_nexus.verify.agreement import compare_arrays

FLAGS = ["groupdq", "pixeldq"]
FIT = ["rate", "err", "var_poisson", "var_rnoise", "chisq"]


def a1(folder: Path, quick: bool) -> list[Row]:
    names = ["data", "groupdq", "pixeldq", "amp33"]
    return compare_all(folder, "A1", quick, {"dq_init: all arrays": (names, identical)})


def a2(folder: Path, quick: bool) -> list[Row]:
    rows, total = [], NOTHING
    for pair in pairs(folder, "A2", quick):
        if pair.case.name == "resultantdq":
            total = combine(agreement(pair, name) for name in ("data", "groupdq", "pixeldq", "amp33"))
        else:
            refused = "ShapeError" in pair.about_ours.get("error", "")
            note = (
                f"documented difference: ours refuses the mask (ShapeError), romancal is {pair.about_theirs['status']}"
            )
            rows.append(statement("A2", "dq_init: mask of another shape", [refused], note))
    return [row("A2", "dq_init: resultantdq", total, identical), *rows]


def a3(folder: Path, quick: bool) -> list[Row]:
    return compare_all(folder, "A3", quick, {"saturation: groupdq and pixeldq": (FLAGS, identical)})


def a4(folder: Path, quick: bool) -> list[Row]:
    """One ulp is that of the pixel's largest count, the scale of the sums in between, not that of a value near zero."""
    total, largest = NOTHING, 0.0
    for pair in pairs(folder, "A4", quick):
        found = agreement(pair, "data")
        borders = [agreement(pair, f"border_ref_pix_{side}") for side in ("left", "right")]
        total = combine([total, found, *borders])
        counts = np.maximum(np.abs(pair.case.ramp["data"]).max(axis=0), np.abs(pair.theirs["data"]).max(axis=0))
        scale = np.spacing(counts)
        apart = np.abs(pair.ours["data"].astype(np.float64) - pair.theirs["data"])
        largest = max(largest, float((apart / scale).max()))
    note = f"largest difference {largest:.2f} ulp of the pixel's largest count"
    data = row(
        "A4",
        "refpix: data and side borders",
        total,
        lambda found: found.identical_fraction >= 0.999 and largest <= 1 and not found.nan_mismatch,
        note,
    )
    return [data, *compare_all(folder, "A4", quick, {"refpix: amp33": (["amp33"], mostly(0.9999, 1))})]


def a5(folder: Path, quick: bool) -> list[Row]:
    wanted = {"refpix without coupling: data": (["data"], mostly(0.99999, 1))}
    return compare_all(folder, "A5", quick, wanted)


def a6(folder: Path, quick: bool) -> list[Row]:
    """The ratio of the correction to the plain inverse transform, on both sides."""
    rows = compare_all(folder, "A6", quick, {"refpix, one coefficient: data": (["data"], mostly(0.999, 1))})
    for pair in pairs(folder, "A6", quick):
        columns = slice(128 * pair.case.extra["channel"], 128 * (pair.case.extra["channel"] + 1))
        theory = pair.case.extra["theory"]
        ratios = []
        for side in (pair.ours, pair.theirs):
            correction = pair.case.ramp["data"][0, :, columns].astype(np.float64) - side["data"][0, :, columns]
            ratios.append(float((correction * theory).sum() / (theory**2).sum()))
        wanted = pair.case.extra["ratio"]
        note = f"ours {ratios[0]:.8f}, romancal {ratios[1]:.8f}, expected {wanted:.8f}"
        good = [abs(ratio - wanted) < 1e-6 for ratio in ratios]
        rows.append(statement("A6", f"refpix factor (L + 2)/L, {pair.case.name}", good, note))
    return rows


def a7(folder: Path, quick: bool) -> list[Row]:
    return compare_all(folder, "A7", quick, {"dark_decay: data": (["data"], mostly(0.99999, 1))})


def a8(folder: Path, quick: bool) -> list[Row]:
    total = combine(
        agreement(pair, name) for pair in pairs(folder, "A8", quick) for name in ("some rows", "some columns")
    )
    note = f"largest difference {total.max_difference:.1e} s, allowed 1e-13 s"
    return [row("A8", "pixel times", total, lambda found: found.max_difference <= 1e-13, note)]


def a9(folder: Path, quick: bool) -> list[Row]:
    rows = compare_all(folder, "A9", quick, {"wfi18: resultant 0": (["first resultant"], mostly(0.0, 1))})
    for pair in pairs(folder, "A9", quick):
        mine, other = pair.ours["parameters"], pair.theirs["parameters"]
        apart = float(np.max(np.abs(mine / other - 1)))
        untouched = pair.about_ours["others untouched"] and pair.about_theirs["others untouched"]
        note = f"{pair.case.name}: parameters differ by {apart:.1e} relative; other resultants untouched: {untouched}"
        rows.append(statement("A9", f"wfi18: fit, {pair.case.name}", [apart <= 1e-6, untouched], note))
    return rows


def a10(folder: Path, quick: bool) -> list[Row]:
    wanted = {"wfi18 fallback: groupdq and data": (["groupdq", "first resultant"], identical)}
    return compare_all(folder, "A10", quick, wanted)


def a11(folder: Path, quick: bool) -> list[Row]:
    wanted = {"linearity: data": (["data"], mostly(0.99999, 1)), "linearity: groupdq and pixeldq": (FLAGS, identical)}
    return compare_all(folder, "A11", quick, wanted)


def halves(folder: Path, check: str, quick: bool, names: list[str]) -> Row:
    """Compare as the float16 of the product."""
    total = NOTHING
    with np.errstate(all="ignore"):
        for pair in pairs(folder, check, quick):
            agreement(pair, names[0])
            both = [(pair.ours[name].astype(np.float16), pair.theirs[name].astype(np.float16)) for name in names]
            total = combine([total, *(compare_arrays(*item).labelled(pair.case.name) for item in both)])
    return row(check, f"likelihood: {', '.join(names)} as float16", total, mostly(0.999, 1))


def a12(folder: Path, quick: bool) -> list[Row]:
    wanted = {
        "likelihood, no cosmic rays: rate, err, variances, chi2": (FIT, within_one(0.9999)),
        "likelihood, no cosmic rays: dq": (["dq"], mostly(0.99999, 32)),
    }
    return [*compare_all(folder, "A12", quick, wanted), halves(folder, "A12", quick, ["err", "var_poisson", "chisq"])]


def jump_cube(indices: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Where jumps were flagged, in the science frame."""
    cube = np.zeros(shape, dtype=np.bool_)
    cube[tuple(indices.T.astype(np.intp))] = True
    return cube


def a13(folder: Path, quick: bool) -> list[Row]:
    totals = {"many": NOTHING, "dq": NOTHING, "few": NOTHING, "fit": NOTHING}
    for pair in pairs(folder, "A13", quick):
        agreement(pair, "rate")
        inner = (slice(4, -4), slice(4, -4))
        good = pair.case.ramp["groupdq"][:, *inner] == 0
        usable = (good[1:] & good[:-1]).sum(axis=0)
        cubes = [jump_cube(side["jump_indices"], good.shape) for side in (pair.ours, pair.theirs)]
        many = np.broadcast_to(usable >= 4, good.shape)
        ill = (usable >= 2) & (usable <= 3) & (cubes[1].any(axis=0) | (pair.theirs["chisq"][inner] > 20.25))
        dq = [side["dq"][inner] for side in (pair.ours, pair.theirs)]
        found = {
            "many": compare_arrays(*cubes, where=many),
            "dq": compare_arrays(*dq, flags=True, where=usable >= 4),
            "few": compare_arrays(*((flags & JUMP_DET) > 0 for flags in dq), where=ill),
        }
        same = (cubes[0] == cubes[1]).all(axis=0) & (usable >= 4)
        fits = [compare_arrays(pair.ours[name][inner], pair.theirs[name][inner], where=same) for name in FIT]
        found["fit"] = combine(fits)
        for what, item in found.items():
            totals[what] = combine([totals[what], item.labelled(pair.case.name)])
    nearly = mostly(1 - 1e-5, 32)
    return [
        row("A13", "likelihood, jumps flagged, >= 4 usable differences", totals["many"], nearly),
        row("A13", "likelihood, dq, >= 4 usable differences", totals["dq"], nearly),
        row("A13", "likelihood, jumps flagged, 2 or 3 usable, chi2 > 20.25", totals["few"], mostly(0.95, 1)),
        row("A13", "likelihood, fit where the jumps are the same", totals["fit"], within_one(0.9999)),
    ]


def a14(folder: Path, quick: bool) -> list[Row]:
    nan, dq = NOTHING, NOTHING
    for pair in pairs(folder, "A14", quick):
        agreement(pair, "rate")
        pattern = [compare_arrays(np.isnan(pair.ours[name]), np.isnan(pair.theirs[name])) for name in FIT]
        nan = combine([nan, *(item.labelled(pair.case.name) for item in pattern)])
        dq = combine([dq, agreement(pair, "dq")])
    return [
        row("A14", "likelihood, pathological: NaN pattern", nan, identical),
        row("A14", "likelihood, pathological: dq", dq, identical),
    ]


def a15(folder: Path, quick: bool) -> list[Row]:
    """The list itself; it can only be the same where the same jumps were found (A13)."""
    total = NOTHING
    for check in ("A12", "A13", "A14"):
        for pair in pairs(folder, check, quick):
            mine, other = pair.ours["jump_indices"], pair.theirs["jump_indices"]
            common = {tuple(item) for item in mine.tolist()} & {tuple(item) for item in other.tolist()}
            kept = [np.array([item for item in side.tolist() if tuple(item) in common], dtype=np.int16).reshape(-1, 3)
                    for side in (mine, other)]  # fmt: skip
            total = combine([total, compare_arrays(*kept).labelled(pair.case.name)])
            if mine.dtype != other.dtype:
                return [failed("A15", "jump_indices", f"dtype {mine.dtype}, expected {other.dtype}")]
    return [row("A15", "jump_indices: order, of the jumps both found", total, identical)]


def a16(folder: Path, quick: bool) -> list[Row]:
    total = NOTHING
    for check in ("A12", "A13"):
        total = combine([total, *(agreement(pair, "dumo") for pair in pairs(folder, check, quick))])
    return [row("A16", "dumo as float16", total, mostly(0.999, 1))]


def a17(folder: Path, quick: bool) -> list[Row]:
    wanted = {
        "ols_cas22: slope, err, variances": (FIT[:4], within_one(0.9999)),
        "ols_cas22: dq": (["dq"], identical),
    }
    return compare_all(folder, "A17", quick, wanted)


def a18(folder: Path, quick: bool) -> list[Row]:
    wanted = {"snowballs: jump_indices and dq": (["jump_indices", "dq"], identical)}
    return compare_all(folder, "A18", quick, wanted)


def a19(folder: Path, quick: bool) -> list[Row]:
    names = ["data", "dq", "err", "var_poisson", "var_rnoise", "dumo", "chisq"]
    dark = {"dark: data and dq": (["dark data", "dark dq"], identical)}
    rows = compare_all(folder, "A19", quick, dark)
    total, var_flat = NOTHING, NOTHING
    for pair in pairs(folder, "A19", quick):
        if not pair.case.options["include_var_flat"]:
            total = combine(
                [total, *(agreement(pair, f"flat {name}") for name in names if f"flat {name}" in pair.theirs)]
            )
            continue
        with np.errstate(all="ignore"):  # theirs is float32, which the schema rejects
            both = [compare_arrays(pair.ours[f"flat {name}"], pair.theirs[f"flat {name}"].astype(np.float16))
                    for name in ("err", "var_flat")]  # fmt: skip
        var_flat = combine([var_flat, *both])
    rows.append(row("A19", "flat: all arrays", total, identical))
    note = "romancal's is float32 and cannot be saved; compared as float16"
    rows.append(row("A19", "flat: err and var_flat", var_flat, mostly(0.999, 1), note))
    return rows


def a20(folder: Path, quick: bool) -> list[Row]:
    found = halves(folder, "A12", quick, ["var_rnoise"])
    found.check, found.what = "A20", "var_rnoise as float16"
    return [found]


def a21(folder: Path, quick: bool) -> list[Row]:
    found = {"A21": (NOTHING, 0.0), "A22": (NOTHING, 0.0)}
    same: list[bool] = []
    boxes: list[bool] = []
    problems = []
    for pair in pairs(folder, "A21", quick):
        for check, prefix in (("A21", ""), ("A22", "level 1 ")):
            total, apart = found[check]
            items = [agreement(pair, f"{prefix}{name}") for name in ("ra", "dec")]
            found[check] = combine([total, *items]), max(apart, separation(pair.ours, pair.theirs, prefix))
        for key in ("s_region", "frames", "bounding_box", "reopened"):
            wanted = pair.about_theirs.get(key, True)
            same.append(pair.about_ours[key] == wanted)
            if not same[-1]:
                problems.append(f"{pair.case.name}: {key} is {pair.about_ours[key]}, romancal has {wanted}")
        boxes.append(pair.about_ours["level 1 bounding_box"] == pair.about_theirs["level 1 bounding_box"])
    rows = []
    for check, what in (("A21", "assign_wcs: sky positions"), ("A22", "_wcs product: wcs_l1(x + 4, y + 4)")):
        total, apart = found[check]
        note = f"largest separation {apart:.1e} deg, allowed 1e-12 deg"
        rows.append(row(check, what, total, lambda _, apart=apart: apart <= 1e-12, note))
    rows.insert(1, statement("A21", "assign_wcs: s_region, frames, box, re-opened file", same, "; ".join(problems[:2])))
    rows.append(statement("A22", "_wcs product: bounding box", boxes))
    return rows


def separation(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], prefix: str) -> float:
    """Largest angle between two lists of sky positions, degrees; NaN on one side only counts as infinite."""
    vectors = []
    for side in (ours, theirs):
        ra, dec = np.radians(side[f"{prefix}ra"]), np.radians(side[f"{prefix}dec"])
        vectors.append(np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]))
    if (np.isnan(vectors[0]) != np.isnan(vectors[1])).any():
        return float("inf")
    return float(np.degrees(np.nanmax(np.linalg.norm(vectors[0] - vectors[1], axis=0))))


def a23(folder: Path, quick: bool) -> list[Row]:
    same, problems = [], []
    for pair in pairs(folder, "A23", quick):
        mine, other = pair.about_ours.get("photometry", pair.about_ours.get("error")), pair.about_theirs["photometry"]
        same.append(mine == other)
        if not same[-1]:
            problems.append(f"{pair.case.name}: {mine}, romancal has {other}")
    return [statement("A23", "photom: metadata", same, "; ".join(problems[:2]))]


def a27(folder: Path, quick: bool) -> list[Row]:
    same, problems = [], []
    for pair in pairs(folder, "A27", quick):
        mine, other = pair.about_ours.get("statistics", {}), pair.about_theirs["statistics"]
        for key, value in other.items():
            kind = np.float64 if key == "good_pixel_fraction" else np.float32
            equal = key in mine and np.array_equal(kind(mine[key]), kind(value), equal_nan=True)
            same.append(bool(equal))
            if not equal:
                problems.append(f"{pair.case.name}: {key} is {mine.get(key)}, romancal has {value}")
    return [statement("A27", "statistics", same, "; ".join(problems[:2]))]


#: Check -> the function that judges it, and the checks whose cases it needs.
SYNTHETIC: dict[str, tuple[Callable[[Path, bool], list[Row]], tuple[str, ...]]] = {
    "A1": (a1, ("A1",)),
    "A2": (a2, ("A2",)),
    "A3": (a3, ("A3",)),
    "A4": (a4, ("A4",)),
    "A5": (a5, ("A5",)),
    "A6": (a6, ("A6",)),
    "A7": (a7, ("A7",)),
    "A8": (a8, ("A8",)),
    "A9": (a9, ("A9",)),
    "A10": (a10, ("A10",)),
    "A11": (a11, ("A11",)),
    "A12": (a12, ("A12",)),
    "A13": (a13, ("A13",)),
    "A14": (a14, ("A14",)),
    "A15": (a15, ("A12", "A13", "A14")),
    "A16": (a16, ("A12", "A13")),
    "A17": (a17, ("A17",)),
    "A18": (a18, ("A18",)),
    "A19": (a19, ("A19",)),
    "A20": (a20, ("A12",)),
    "A21": (a21, ("A21",)),
    "A22": (a21, ("A21",)),
    "A23": (a23, ("A23",)),
    "A27": (a27, ("A27",)),
}
