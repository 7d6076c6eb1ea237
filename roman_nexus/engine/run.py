"""Carrying out a plan."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.engine import cost, pipelines
from roman_nexus.engine.binding import BoundReferences
from roman_nexus.engine.cache import ResultCache
from roman_nexus.engine.events import Event, Listener
from roman_nexus.engine.plan import Plan
from roman_nexus.engine.planes import PlaneWriter, release_rows
from roman_nexus.engine.planner import Selected
from roman_nexus.engine.source import BORDER_ARRAYS, ExposureInput
from roman_nexus.engine.store import TileStore, row_slices, scratch_array
from roman_nexus.engine.stream import RampStream, StreamResult
from roman_nexus.errors import RunCancelled
from roman_nexus.steps.step import ImageBlock, Step

__all__ = ["Carried", "carry_out"]

IMAGE_ROWS = 128
#: The step after which a fully saturated exposure is finished.
GATE = "saturation"
PLANES = ("data", "dq", "err", "var_poisson", "chisq", "dumo", "var_rnoise", "var_flat")


@dataclass
class Carried:
    """What carrying out a plan gives.

    Attributes
    ----------
    arrays : dict of str to ndarray
        All arrays of the product.
    updates : dict
        Dotted metadata path to value.
    later : callable or None
        Makes more of them when somebody asks for the metadata.
    seconds : dict of str to float
    saturated : bool
    """

    arrays: dict[str, NDArray[Any]]
    updates: dict[str, Any] = field(default_factory=dict)
    later: Callable[[], dict[str, Any]] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    saturated: bool = False


class _Executor:
    """One run: its inputs and where it may write."""

    def __init__(
        self,
        plan: Plan,
        selected: Selected,
        source: ExposureInput,
        references: Mapping[str, Any],
        *,
        cache: ResultCache | None,
        scratch: Path,
        listener: Listener,
        cancelled: threading.Event,
    ) -> None:
        self.plan = plan
        self.selected = selected
        self.source = source
        self.bound = BoundReferences(references, source.info)
        self.cache = cache
        self.scratch = scratch
        self.listener = listener
        self.cancelled = cancelled
        self.seconds: dict[str, float] = {}
        self.saturated = False

    def steps(self, *levels: str) -> list[Step]:
        return [self.selected.steps[step.name] for step in self.plan.to_run if step.level in levels]

    # ------------------------------------------------------------------------------------- image
    def image(self) -> Carried:
        """Make the rate image: from the cache, the ramp or the input, then the image steps."""
        steps = self.steps("image")
        # importing gwcs and reading the distortion take seconds: beside the pixels they cost nothing
        with ThreadPoolExecutor(1) as aside:
            metadata = aside.submit(self._run_meta_steps, self.steps("meta"))
            try:
                arrays, record = self._start_image()
                if steps and not self.saturated:
                    arrays = self._run_image_steps(arrays, steps)
                    record = {}
            except BaseException:
                metadata.cancel()
                raise
            updates = metadata.result()
        later = [self.selected.steps[step.name] for step in self.plan.steps
                 if step.level == "meta" and step.status == "cached"]  # fmt: skip
        if self.saturated:
            updates, later = {"wcs": None}, []
        statistics = record.get("statistics")
        if statistics is None:
            started = time.perf_counter()
            statistics = self._statistics(arrays)
            self.seconds["statistics"] = time.perf_counter() - started
            self._note_statistics(statistics)
        updates.update({f"statistics.{name}": value for name, value in statistics.items()})
        make_later = (lambda: self._run_meta_steps(later)) if later else None
        return Carried(arrays, updates, make_later, self.seconds, self.saturated)

    def _start_image(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        cached = [step for step in self.plan.steps if step.status == "cached" and step.level in ("fit", "image")]
        if cached and self.cache is not None:
            entry = self.cache.get(cached[-1].key)
            if entry is not None:
                names = " + ".join(step.name for step in self.plan.steps if step.status == "cached")
                self.listener(Event("cached", f"{names}: taken from the cache", step=names))
                self.saturated = bool(entry.record.get("saturated", False))
                self._key = cached[-1].key
                return entry.arrays, entry.record
        if self.source.kind == "image":
            names_here = [name for name in (*PLANES, "amp33", "jump_indices", *BORDER_ARRAYS)
                          if name in self.source.arrays]  # fmt: skip
            return {name: np.array(self.source.arrays[name]) for name in names_here}, {}
        return self._fit()

    def _fit(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Stream the ramp into an image."""
        folder = self.cache.results_folder if self.cache else self.scratch
        result = self._stream(self.steps("raw", "ramp", "fit"), folder)
        small = {"amp33": result.amp33, "jump_indices": result.jump_indices, **result.borders}
        self.saturated = result.saturated
        if result.saturated:
            return self._saturated_image(result) | small, {"saturated": True}
        assert result.planes is not None
        key = next(step.key for step in self.plan.steps if step.level == "fit")
        return self._keep(result.planes, small, key), {}

    def _stream(self, steps: Sequence[Step], folder: Path) -> StreamResult:
        ramp_mb = 4 * np.prod(self.source.shape) / 1e6
        stream = RampStream(
            self.source, self.bound, self.selected.options, threads=self.plan.threads,
            scratch_dir=self.scratch if ramp_mb > cost.IN_MEMORY_LIMIT_MB else None,
            listener=self.listener, cancelled=self.cancelled,
        )  # fmt: skip
        shape = self.source.info.science_shape
        result = stream.run(steps, gate=GATE, make_planes=lambda types: PlaneWriter(folder, shape, types))
        self.seconds.update(result.seconds)
        return result

    def _saturated_image(self, result: StreamResult) -> dict[str, NDArray[Any]]:
        from roman_nexus.engine.saturated import saturated_image

        self.listener(Event("warning", "every pixel is saturated: the rate image is zero and all flags say so"))
        assert result.store is not None
        try:
            return saturated_image(result.store, self.source.info)
        finally:
            result.store.close()

    def _keep(self, planes: PlaneWriter, small: Mapping[str, NDArray[Any]], key: str) -> dict[str, NDArray[Any]]:
        """Map finished planes, as an entry of the cache if there is one."""
        arrays = planes.finish() | dict(small)
        self._key = key
        if self.cache is not None:
            return self.cache.adopt(key, planes.folder, arrays, {"saturated": False}).arrays
        shutil.rmtree(planes.folder, ignore_errors=True)
        return arrays

    def _run_image_steps(self, arrays: dict[str, NDArray[Any]], steps: Sequence[Step]) -> dict[str, NDArray[Any]]:
        """Run the image steps on row blocks; the result goes to a new set of planes."""
        name = " + ".join(step.name for step in steps)
        folder = self.cache.results_folder if self.cache else self.scratch
        types = {plane: arrays[plane].dtype for plane in PLANES if plane in arrays}
        if any(getattr(self.selected.options[step.name], "include_var_flat", False) for step in steps):
            types["var_flat"] = np.dtype(np.float16)
        shape = arrays["data"].shape
        rows = row_slices(shape[0], IMAGE_ROWS)
        writer = PlaneWriter(folder, (shape[0], shape[1]), types)
        started = time.perf_counter()
        lock, spent = threading.Lock(), dict.fromkeys((step.name for step in steps), 0.0)

        def work(cut: slice) -> None:
            if self.cancelled.is_set():
                msg = "the run was cancelled; no result was written"
                raise RunCancelled(msg)
            block = _image_block(arrays, types, cut)
            for step in steps:
                begun = time.thread_time()
                references = self.bound.block(step, block.rows, block.columns)
                step.apply(block, references, self.selected.options[step.name], self.source.info, None)
                with lock:
                    spent[step.name] += time.thread_time() - begun
            for plane in types:
                writer.put(plane, cut.start, getattr(block, plane))
                if plane in arrays:
                    release_rows(arrays[plane], cut)

        self.listener(Event("stage", f"{name}: {len(rows)} blocks", step=name, total=len(rows)))
        try:
            with ThreadPoolExecutor(self.plan.threads) as pool:
                for done, _ in enumerate(pool.map(work, rows), start=1):
                    self.listener(Event("progress", name, step=name, done=done, total=len(rows)))
        except BaseException:
            self.cancelled.set()
            writer.discard()
            raise
        self.listener(Event("step", f"{name} done", step=name, seconds=time.perf_counter() - started))
        self.seconds.update(spent)
        small = {plane: array for plane, array in arrays.items() if plane not in types}
        key = [step.key for step in self.plan.steps if step.level == "image" and step.status == "run"][-1]
        return self._keep(writer, small, key)

    def _run_meta_steps(self, steps: Sequence[Step]) -> dict[str, Any]:
        updates: dict[str, Any] = {}
        for step in steps:
            started = time.thread_time()
            updates.update(
                step.apply(None, self.bound.whole(step), self.selected.options[step.name], self.source.info, None)
            )
            self.seconds[step.name] = time.thread_time() - started
        return updates

    def _statistics(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        from roman_nexus.steps.statistics import image_statistics

        return dict(image_statistics(arrays["data"], arrays["dq"], arrays["err"], threads=self.plan.threads))

    def _note_statistics(self, statistics: Mapping[str, float]) -> None:
        """Add the statistics to the cache entry, so that they are made once."""
        key = getattr(self, "_key", None)
        if self.cache is not None and key is not None:
            self.cache.note(key, {"statistics": dict(statistics), "saturated": self.saturated})

    # -------------------------------------------------------------------------------------- ramp
    def ramp(self) -> Carried:
        """Make a ramp product."""
        result = self._stream(self.steps("raw", "ramp"), self.scratch)
        assert result.store is not None
        with result.store as store:
            arrays = _whole_ramp(store, self.scratch)
        arrays |= {"amp33": result.amp33, **result.borders}
        return Carried(arrays, seconds=self.seconds, saturated=result.saturated)


def _image_block(arrays: Mapping[str, NDArray[Any]], types: Mapping[str, Any], rows: slice) -> ImageBlock:
    """Copy some rows of the planes."""
    planes = {name: np.array(arrays[name][rows]) for name in types if name in arrays}
    return ImageBlock(rows=rows, columns=slice(0, arrays["data"].shape[1]), **planes)


def _whole_ramp(store: TileStore, scratch: Path) -> dict[str, NDArray[Any]]:
    """Assemble the cubes of a ramp in an unlinked file that is mapped, or in memory if they are small."""
    n_res, n_rows, n_columns = store.shape
    if 4 * np.prod(store.shape) / 1e6 > cost.IN_MEMORY_LIMIT_MB:
        data: NDArray[np.float32] = scratch_array(scratch, store.shape, np.float32)
        groupdq: NDArray[np.uint8] = scratch_array(scratch, store.shape, np.uint8)
    else:
        data = np.empty((n_res, n_rows, n_columns), np.float32)
        groupdq = np.empty((n_res, n_rows, n_columns), np.uint8)
    for block in store.row_blocks():
        data[:, block.rows] = block.data
        groupdq[:, block.rows] = block.groupdq
    return {"data": data, "groupdq": groupdq, "pixeldq": store.pixeldq.copy()}


def carry_out(
    plan: Plan,
    selected: Selected,
    source: ExposureInput,
    references: Mapping[str, Any],
    *,
    cache: ResultCache | None,
    scratch: Path,
    listener: Listener,
    cancelled: threading.Event,
) -> Carried:
    """Carry out a plan.

    Raises
    ------
    RunCancelled, OutputError, CacheError, InputError
        Nothing is left under a final name.
    """
    executor = _Executor(
        plan, selected, source, references, cache=cache, scratch=scratch, listener=listener, cancelled=cancelled
    )
    last = pipelines.load_step(plan.steps[-1].name)
    if last.level in ("raw", "ramp"):
        return executor.ramp()
    return executor.image()
