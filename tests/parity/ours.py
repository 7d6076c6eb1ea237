"""Run the synthetic cases through the steps of roman_nexus.

    python ours.py FOLDER CHECK [CHECK ...] [--quick]

A driver of its own, independent of the engine, calls the steps as their contract says: row blocks of uneven height,
channel strips, references cut to the block. FOLDER/<check>/<number>.ours.npz receives the arrays.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cases
import cases_fit  # noqa: F401 - registers its checks
import cases_image  # noqa: F401
import cases_ramp  # noqa: F401
import numpy as np

from roman_nexus.engine.binding import BoundReferences
from roman_nexus.engine.pipelines import load_step
from roman_nexus.steps.step import BORDER, CHANNEL_WIDTH, ExposureInfo, FitBlock, ImageBlock, Pointing, RampBlock, Step

ROWS = (1, 7, 32, 100)  # heights of row blocks, taken in turn


@dataclass
class Given:
    """A reference that is only in memory."""

    arrays: dict[str, Any]

    def array(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def value(self, name: str) -> Any:
        return self.arrays[name]


def info(case: cases.Case) -> ExposureInfo:
    """Metadata of a case as the steps see it."""
    given = dict(case.exposure)
    given["read_pattern"] = tuple(tuple(reads) for reads in given["read_pattern"])
    if "pointing" in given:
        given["pointing"] = Pointing(**given["pointing"])
    return ExposureInfo(**given)


def references(case: cases.Case) -> dict[str, Given]:
    """References of a case; objects that a file would hold are built from their numbers."""
    found = {reftype: Given(dict(arrays)) for reftype, arrays in case.references.items()}
    if integral := found.get("integralnonlinearity"):
        corrections = integral.arrays.pop("corrections")
        rows = {f"science_channel_{i:02d}": {"correction": row} for i, row in enumerate(corrections, start=1)}
        integral.arrays["inl_table"] = rows
    if decay := found.get("darkdecaysignal"):
        decay.arrays = {"decay_table": {case.exposure["detector"]: dict(decay.arrays)}}
    return found


def ramp_block(case: cases.Case) -> RampBlock:
    """Whole ramp of a case; the arrays are copies."""
    data = np.array(case.ramp["data"])
    _, ny, nx = data.shape
    groupdq = np.array(case.ramp.get("groupdq", np.zeros(data.shape, dtype=np.uint8)))
    pixeldq = np.array(case.ramp.get("pixeldq", np.zeros((ny, nx), dtype=np.uint32)))
    return RampBlock(data, groupdq, pixeldq, slice(0, ny), slice(0, nx))


def cut(ramp: RampBlock, rows: slice, columns: slice) -> RampBlock:
    """Copy a piece of a ramp."""
    here = (rows, columns)
    return RampBlock(
        ramp.data[:, *here].copy(), ramp.groupdq[:, *here].copy(), ramp.pixeldq[here].copy(), rows, columns
    )


def paste(ramp: RampBlock, piece: RampBlock) -> None:
    """Put a piece back."""
    here = (piece.rows, piece.columns)
    ramp.data[:, *here], ramp.groupdq[:, *here], ramp.pixeldq[here] = piece.data, piece.groupdq, piece.pixeldq


def row_slices(ny: int, heights: tuple[int, ...] = ROWS) -> Iterator[slice]:
    """Rows in blocks of uneven height."""
    first, number = 0, 0
    while first < ny:
        last = min(ny, first + heights[number % len(heights)])
        yield slice(first, last)
        first, number = last, number + 1


class Frame:
    """The whole exposure, for a step's `prepare`."""

    def __init__(self, ramp: RampBlock, amp33: np.ndarray | None) -> None:
        self._ramp = ramp
        self.shape = ramp.data.shape
        self.amp33 = amp33

    def cut(self, rows: slice, columns: slice) -> RampBlock:
        return cut(self._ramp, rows, columns)

    def row_blocks(self) -> Iterator[RampBlock]:
        for rows in row_slices(self.shape[1]):
            yield cut(self._ramp, rows, slice(0, self.shape[2]))

    def map(self, function: Callable[[int], Any], items: Iterable[int]) -> list[Any]:
        return [function(item) for item in items]


def prepare(step: Step, frame: Frame, bound: BoundReferences, options: Any, exposure: ExposureInfo) -> Any:
    """Call a step's `prepare` if it has one and wants it called."""
    if step.prepare is None or (step.needs_prepare and not step.needs_prepare(options, exposure)):
        return None
    return step.prepare(frame, bound.whole(step), options, exposure)


def run_ramp_step(
    name: str, ramp: RampBlock, given: dict[str, Any], options: dict[str, Any], exposure: ExposureInfo,
    amp33: np.ndarray | None = None, heights: tuple[int, ...] = ROWS,
) -> tuple[np.ndarray | None, Any]:  # fmt: skip
    """Run a ramp step on a whole ramp, in place; returns the reference output and the step's state."""
    step = load_step(name)
    bound = BoundReferences(given, exposure)
    choices = step.options.from_dict(options)
    _, ny, nx = ramp.data.shape
    frame = Frame(ramp, amp33)
    state = prepare(step, frame, bound, choices, exposure)
    if step.couples == "channel":
        pieces = [(slice(0, ny), slice(x, x + CHANNEL_WIDTH)) for x in range(0, nx, CHANNEL_WIDTH)]
    else:
        pieces = [(rows, slice(0, nx)) for rows in row_slices(ny, heights)]
    for rows, columns in pieces:
        piece = cut(ramp, rows, columns)
        step.apply(piece, bound.block(step, rows, columns), choices, exposure, state)
        paste(ramp, piece)
    return frame.amp33, state


def run_fit(
    ramp: RampBlock, given: dict[str, Any], options: dict[str, Any], exposure: ExposureInfo,
    heights: tuple[int, ...] = ROWS,
) -> Iterator[FitBlock]:  # fmt: skip
    """Fit a whole ramp, block by block."""
    step = load_step("ramp_fit")
    bound = BoundReferences(given, exposure)
    choices = step.options.from_dict(options)
    _, ny, nx = ramp.data.shape
    state = prepare(step, Frame(ramp, None), bound, choices, exposure)
    for rows in row_slices(ny, heights):
        columns = slice(0, nx)
        piece = cut(ramp, rows, columns)
        yield step.apply(piece, bound.block(step, rows, columns), choices, exposure, state)


def run_image_step(
    name: str, image: dict[str, np.ndarray], given: dict[str, Any], options: dict[str, Any], exposure: ExposureInfo,
    heights: tuple[int, ...] = ROWS,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Run an image step on a whole image and return the new one."""
    step = load_step(name)
    bound = BoundReferences(given, exposure)
    choices = step.options.from_dict(options)
    ny, nx = image["data"].shape
    pieces: list[ImageBlock] = []
    for rows in row_slices(ny, heights):
        columns = slice(0, nx)
        planes = {key: np.array(array[rows]) for key, array in image.items()}
        piece = ImageBlock(**planes, rows=rows, columns=columns)
        step.apply(piece, bound.block(step, rows, columns), choices, exposure, None)
        pieces.append(piece)
    names = [*image, "var_flat"] if pieces[0].var_flat is not None else list(image)
    return {key: np.concatenate([getattr(piece, key) for piece in pieces]) for key in names}


def bound_references(step: Step, given: dict[str, Any], exposure: ExposureInfo) -> dict[str, Any]:
    """References of a step that takes no block."""
    return BoundReferences(given, exposure).whole(step)


def science(array: np.ndarray) -> np.ndarray:
    """Cut off the reference border."""
    return array[..., BORDER:-BORDER, BORDER:-BORDER]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("checks", nargs="+")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    from ours_image import RUN as RUN_IMAGE
    from ours_ramp import RUN as RUN_RAMP

    runners = {**RUN_RAMP, **RUN_IMAGE}
    for check in arguments.checks:
        folder = arguments.folder / check
        folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        for number, case in enumerate(cases.CHECKS[check](arguments.quick)):
            digest = cases.digest(case)
            try:
                found = runners[check](case, folder)
            except Exception as error:  # the row of this check says what failed
                found = {"about": {"error": f"{type(error).__name__}: {error}"}}
            about = {"name": case.name, "digest": digest, **found.pop("about", {})}
            np.savez(folder / f"{number:02d}.ours.npz", about=json.dumps(about), **found)
        print(f"{check}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
