"""Streaming a ramp through its steps: the heart of the engine.

Consecutive steps that want their pixels in the same order form a *segment* and are run together on one block after
another; between two segments the ramp waits in a `TileStore`. So the ramp is never held as a whole in memory, and the
peak does not grow with the number of steps or resultants.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.engine.binding import BoundReferences
from roman_nexus.engine.events import Event, Listener
from roman_nexus.engine.planes import PlaneWriter, return_free_memory
from roman_nexus.engine.source import ExposureInput
from roman_nexus.engine.store import TileStore, row_slices
from roman_nexus.errors import RunCancelled
from roman_nexus.steps.step import BORDER, ExposureInfo, FitBlock, Options, RampBlock, Step

__all__ = ["RampStream", "StreamResult", "segments"]

ROWS_PER_BLOCK = 32  #: 9 resultants of 32 rows are 4.7 MB: small enough for the caches, large enough to read


@dataclass
class StreamResult:
    """What is left of a ramp after its steps.

    Attributes
    ----------
    amp33 : (F, ny, 128) uint16 ndarray
    borders : dict of str to ndarray
        The eight reference-border arrays of the product.
    store : TileStore or None
        The ramp, if the steps end before the fit.
    planes : PlaneWriter or None
        Planes of the fit in the science frame, if there was one; the caller finishes or discards them.
    jump_indices : (n, 3) int16 ndarray
        Resultant, y, x (science frame) of the jumps that the fit found.
    saturated : bool
        Every pixel is saturated: nothing after the gate was run.
    seconds : dict of str to float
        Processor time of each step, added up over the threads.
    """

    amp33: NDArray[np.uint16]
    borders: dict[str, NDArray[Any]]
    store: TileStore | None = None
    planes: PlaneWriter | None = None
    jump_indices: NDArray[np.int16] = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int16))
    saturated: bool = False
    seconds: dict[str, float] = field(default_factory=dict)


def segments(steps: Sequence[Step], gate: str | None) -> list[list[Step]]:
    """Group consecutive steps that couple pixels alike; a segment also ends after the step named `gate`."""
    groups: list[list[Step]] = []
    for step in steps:
        if groups and groups[-1][-1].couples == step.couples and groups[-1][-1].name != gate:
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


class _Frame:
    """The exposure as it stands before a step (see `roman_nexus.steps.step.RampFrame`)."""

    def __init__(self, stream: RampStream, earlier: Sequence[Step]) -> None:
        self._stream = stream
        self._earlier = earlier
        self.shape = stream.source.shape
        self.amp33 = stream.amp33

    def row_blocks(self) -> Iterator[RampBlock]:
        for rows in self._stream.rows:
            self._stream.check_cancelled()
            yield self._stream.load_rows(rows, self._earlier)

    def map(self, function: Callable[[int], Any], items: Iterable[int]) -> list[Any]:
        with ThreadPoolExecutor(self._stream.threads) as pool:
            return list(pool.map(function, items))

    def cut(self, rows: slice, columns: slice) -> RampBlock:
        store = self._stream.store
        if store is not None and not self._earlier:
            return store.cut(rows, columns)
        wanted = [block for block in self._stream.rows if block.start < rows.stop and block.stop > rows.start]
        pieces = [self._stream.load_rows(block, self._earlier) for block in wanted]
        inside = slice(rows.start - wanted[0].start, rows.stop - wanted[0].start)
        return RampBlock(
            np.concatenate([piece.data[:, :, columns] for piece in pieces], axis=1)[:, inside],
            np.concatenate([piece.groupdq[:, :, columns] for piece in pieces], axis=1)[:, inside],
            np.concatenate([piece.pixeldq[:, columns] for piece in pieces], axis=0)[inside],
            rows,
            columns,
        )


class RampStream:
    """Runs the ramp steps of one exposure.

    Parameters
    ----------
    source : ExposureInput
    references : BoundReferences
    options : dict of str to Options
    threads : int
    scratch_dir : Path or None
        None keeps the ramp in memory between segments.
    listener : callable
    cancelled : threading.Event
    """

    def __init__(
        self,
        source: ExposureInput,
        references: BoundReferences,
        options: dict[str, Options],
        *,
        threads: int,
        scratch_dir: Path | None,
        listener: Listener,
        cancelled: threading.Event,
        rows_per_block: int = ROWS_PER_BLOCK,
    ) -> None:
        self.source = source
        self.exposure: ExposureInfo = source.info
        self.references = references
        self.options = options
        self.threads = threads
        self.scratch_dir = scratch_dir
        self.listener = listener
        self.cancelled = cancelled
        self.rows = row_slices(source.info.shape[0], rows_per_block)
        self.rows_per_block = rows_per_block
        self.store: TileStore | None = None
        self.states: dict[str, Any] = {}
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._saturated = True
        self._jumps: list[NDArray[np.int16]] = []
        self.amp33 = self._initial_amp33()
        self.borders = _empty_borders(source)

    # ------------------------------------------------------------------------------------- running
    def run(
        self, steps: Sequence[Step], *, gate: str | None, make_planes: Callable[[dict[str, Any]], PlaneWriter]
    ) -> StreamResult:
        """Run `steps`; the caller closes the store of the result, or finishes its planes."""
        groups = segments(steps, gate)
        refpix_ran = any(step.couples == "channel" for step in steps)
        planes: PlaneWriter | None = None
        try:
            for number, group in enumerate(groups):
                last = number == len(groups) - 1
                if group[0].couples == "channel" and self.store is None:
                    self._fill_store()
                self._prepare(group)
                if group[-1].level == "fit":
                    planes = make_planes(self._plane_types(group[-1]))
                if group[0].couples == "channel":
                    self._run_channels(group)
                else:
                    self._run_rows(group, planes, processed_borders=refpix_ran and last)
                self.source.release()
                self.references.release()
                return_free_memory()
                if group[-1].name == gate and self._saturated and not last:
                    return self._result(saturated=True)
            if groups[-1][0].couples == "channel":
                self._take_stored_borders()
            result = self._result(planes=planes, jump_indices=sorted_jumps(self._jumps))
            if planes is not None:
                self._drop_store()
                result.store = None
        except BaseException:
            self._drop_store()
            if planes is not None:
                planes.discard()
            raise
        return result

    def _plane_types(self, fit: Step) -> dict[str, Any]:
        """Name the planes of the image and their types."""
        types = {"data": np.float32, "dq": np.uint32, "err": np.float16, "var_poisson": np.float16,
                 "chisq": np.float16, "dumo": np.float16}  # fmt: skip
        if getattr(self.options[fit.name], "include_var_rnoise", False):
            types["var_rnoise"] = np.float16
        return types

    def _result(self, **values: Any) -> StreamResult:
        return StreamResult(self.amp33, self.borders, self.store, seconds=dict(self.seconds), **values)

    def _drop_store(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None

    def _prepare(self, group: Sequence[Step]) -> None:
        for position, step in enumerate(group):
            options = self.options[step.name]
            if step.prepare is None or (step.needs_prepare and not step.needs_prepare(options, self.exposure)):
                continue
            started = time.thread_time()
            frame = _Frame(self, group[:position])
            self.states[step.name] = step.prepare(frame, self.references.whole(step), options, self.exposure)
            self.amp33 = frame.amp33
            self._add_time(step.name, started)

    def _run_rows(self, group: Sequence[Step], planes: PlaneWriter | None, *, processed_borders: bool) -> None:
        """Run a segment on row blocks; keep the ramp in a store unless a fit consumes it."""
        target = self.store
        if planes is None and target is None:
            target = TileStore(self.source.shape, self.rows_per_block, self.scratch_dir)

        def work(index: int) -> None:
            block = self.load_rows(self.rows[index], group)
            if processed_borders:
                self._take_side_borders(block)
            if planes is None:
                assert target is not None
                target.write_rows(index, block)
                self._note_saturation(block)
            else:
                self._put(planes, self._fit(group[-1], block), block.rows)

        try:
            self._each(work, len(self.rows), group)
        except BaseException:
            if target is not None and target is not self.store:
                target.close()
            raise
        if planes is None:
            self.store = target

    def _run_channels(self, group: Sequence[Step]) -> None:
        """Run a segment on channel strips, in place in the store."""
        store = self.store
        assert store is not None

        def work(channel: int) -> None:
            block = store.read_channel(channel)
            for step in group:
                self._apply(step, block)
            store.write_channel(channel, block)

        self._each(work, store.n_channels, group)

    def _fill_store(self) -> None:
        """Bring a ramp input into a store, for a run that starts with a channel step."""
        store = TileStore(self.source.shape, self.rows_per_block, self.scratch_dir)
        self.store = store
        for index, rows in enumerate(self.rows):
            self.check_cancelled()
            store.write_rows(index, self.source.ramp_block(rows))

    def _each(self, work: Callable[[int], None], count: int, group: Sequence[Step]) -> None:
        """Do `work` on every block in the worker threads and tell how far it is."""
        name = " + ".join(step.name for step in group)
        self.listener(Event("stage", f"{name}: {count} blocks", step=name, total=count))
        started = time.perf_counter()

        def guarded(index: int) -> None:
            self.check_cancelled()
            work(index)

        with ThreadPoolExecutor(self.threads, thread_name_prefix="roman-nexus") as pool:
            pending = {pool.submit(guarded, index) for index in range(count)}
            done = 0
            try:
                while pending:
                    finished, pending = wait(pending, timeout=0.2, return_when="FIRST_COMPLETED")
                    for future in finished:
                        future.result()
                    if finished:
                        done += len(finished)
                        self.listener(Event("progress", name, step=name, done=done, total=count))
            except BaseException:
                self.cancelled.set()
                for future in pending:
                    future.cancel()
                raise
        self.listener(Event("step", f"{name} done", step=name, done=count, total=count,
                            seconds=time.perf_counter() - started))  # fmt: skip

    def check_cancelled(self) -> None:
        """Stop here if somebody asked for it."""
        if self.cancelled.is_set():
            msg = "the run was cancelled; no result was written"
            raise RunCancelled(msg)

    # -------------------------------------------------------------------------------------- blocks
    def load_rows(self, rows: slice, steps: Sequence[Step]) -> RampBlock:
        """Read a row block as it stands before this segment and apply `steps` (up to a fit) to it."""
        todo = list(steps)
        if self.store is not None:
            block = self.store.read_rows(rows.start // self.rows_per_block)
        elif self.source.kind == "ramp":
            block = self.source.ramp_block(rows)
        else:
            first = todo.pop(0)
            raw = self.source.raw_block(rows)
            started = time.thread_time()
            block = first.apply(
                raw, self.references.block(first, rows, raw.columns), self.options[first.name], self.exposure,
                self.states.get(first.name),
            )  # fmt: skip
            self._add_time(first.name, started)
            self._take_borders(block)
        for step in todo:
            if step.level == "ramp":
                self._apply(step, block)
        return block

    def _apply(self, step: Step, block: RampBlock) -> None:
        started = time.thread_time()
        references = self.references.block(step, block.rows, block.columns)
        step.apply(block, references, self.options[step.name], self.exposure, self.states.get(step.name))
        self._add_time(step.name, started)

    def _fit(self, step: Step, block: RampBlock) -> FitBlock:
        started = time.thread_time()
        references = self.references.block(step, block.rows, block.columns)
        fit = step.apply(block, references, self.options[step.name], self.exposure, self.states.get(step.name))
        self._add_time(step.name, started)
        assert isinstance(fit, FitBlock)
        return fit

    def _put(self, planes: PlaneWriter, fit: FitBlock, rows: slice) -> None:
        """Trim a fitted block to the science frame and write it to its place."""
        from roman_nexus.steps.half_precision import to_float16

        n_rows, n_columns = self.exposure.shape
        first, last = max(rows.start, BORDER), min(rows.stop, n_rows - BORDER)
        if first >= last:
            return
        here = (slice(first - rows.start, last - rows.start), slice(BORDER, n_columns - BORDER))
        planes.put("data", first - BORDER, fit.rate[here])
        planes.put("dq", first - BORDER, fit.dq[here])
        half = np.empty((last - first, n_columns - 2 * BORDER), dtype=np.float16)
        for name in planes.dtypes:
            if name not in ("data", "dq"):
                to_float16(getattr(fit, name)[here], half)
                planes.put(name, first - BORDER, half)
        if fit.jumps is not None and len(fit.jumps):
            y, x = fit.jumps[:, 1], fit.jumps[:, 2]
            inside = (y >= BORDER) & (y < n_rows - BORDER) & (x >= BORDER) & (x < n_columns - BORDER)
            trimmed = fit.jumps[inside] - np.array([0, BORDER, BORDER], dtype=np.int16)
            with self._lock:
                self._jumps.append(trimmed.astype(np.int16))

    def _add_time(self, name: str, started: float) -> None:
        elapsed = time.thread_time() - started
        with self._lock:
            self.seconds[name] += elapsed

    def _note_saturation(self, block: RampBlock) -> None:
        """Remember whether all is saturated so far: all resultants, or all pixels, of the full frame."""
        if self._saturated and not (
            bool((block.groupdq & np.uint8(2)).all()) or bool((block.pixeldq & np.uint32(2)).all())
        ):
            self._saturated = False

    # ------------------------------------------------------------------- reference border and amp33
    def _initial_amp33(self) -> NDArray[np.uint16]:
        amp33 = self.source.whole("amp33")
        assert amp33 is not None
        if self.source.kind == "science_raw":
            from roman_nexus.steps.exposure.dq_init import initial_amp33

            amp33 = initial_amp33(amp33, self.source.whole("reference_amp33"), self.exposure.data_encoding_offset)
        return amp33

    def _take_borders(self, block: RampBlock) -> None:
        """Copy the border as it is right after dq_init."""
        n_rows, borders, rows = self.source.shape[1], self.borders, block.rows
        borders["dq_border_ref_pix_left"][rows] = block.pixeldq[:, :BORDER]
        borders["dq_border_ref_pix_right"][rows] = block.pixeldq[:, -BORDER:]
        self._take_side_borders(block)
        for side, first in (("top", 0), ("bottom", n_rows - BORDER)):
            begin, end = max(first, rows.start), min(first + BORDER, rows.stop)
            if begin < end:
                here, there = slice(begin - rows.start, end - rows.start), slice(begin - first, end - first)
                borders[f"border_ref_pix_{side}"][:, there] = block.data[:, here]
                borders[f"dq_border_ref_pix_{side}"][there] = block.pixeldq[here]

    def _take_stored_borders(self) -> None:
        """Take the side borders from the store, where the run ends with a channel step."""
        assert self.store is not None
        n_rows, n_columns = self.exposure.shape
        everything = slice(0, n_rows)
        self.borders["border_ref_pix_left"][:] = self.store.cut(everything, slice(0, BORDER)).data
        self.borders["border_ref_pix_right"][:] = self.store.cut(everything, slice(n_columns - BORDER, n_columns)).data

    def _take_side_borders(self, block: RampBlock) -> None:
        """Left and right border follow the ramp once refpix has run (in romancal they are views of it)."""
        self.borders["border_ref_pix_left"][:, block.rows] = block.data[:, :, :BORDER]
        self.borders["border_ref_pix_right"][:, block.rows] = block.data[:, :, -BORDER:]


def _empty_borders(source: ExposureInput) -> dict[str, NDArray[Any]]:
    n_res, n_rows, n_columns = source.shape
    if source.kind == "ramp":
        from roman_nexus.engine.source import BORDER_ARRAYS

        found = {name: source.whole(name) for name in BORDER_ARRAYS}
        if all(array is not None for array in found.values()):
            return {name: array for name, array in found.items() if array is not None}
    borders: dict[str, NDArray[Any]] = {}
    for side in ("left", "right"):
        borders[f"border_ref_pix_{side}"] = np.zeros((n_res, n_rows, BORDER), dtype=np.float32)
        borders[f"dq_border_ref_pix_{side}"] = np.zeros((n_rows, BORDER), dtype=np.uint32)
    for side in ("top", "bottom"):
        borders[f"border_ref_pix_{side}"] = np.zeros((n_res, BORDER, n_columns), dtype=np.float32)
        borders[f"dq_border_ref_pix_{side}"] = np.zeros((BORDER, n_columns), dtype=np.uint32)
    return borders


def sorted_jumps(pieces: list[NDArray[np.int16]]) -> NDArray[np.int16]:
    """Join jump lists of row blocks in the order resultant, y, x."""
    if not pieces:
        return np.zeros((0, 3), dtype=np.int16)
    jumps = np.concatenate(pieces)
    return np.ascontiguousarray(jumps[np.lexsort((jumps[:, 2], jumps[:, 1], jumps[:, 0]))])
