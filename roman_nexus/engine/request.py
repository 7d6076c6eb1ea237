"""Understanding a request: the input opened, the references resolved and checked, the plan made."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from roman_nexus import settings as settings_module
from roman_nexus.engine import cost, level2, pipelines
from roman_nexus.engine.cache import ResultCache
from roman_nexus.engine.events import Event, Listener
from roman_nexus.engine.plan import Plan
from roman_nexus.engine.planner import Selected, check_steps, make_plan, select
from roman_nexus.engine.result import RampProduct, RateImage, Run
from roman_nexus.engine.run import Carried, carry_out
from roman_nexus.engine.source import ExposureInput, lookup, open_input
from roman_nexus.engine.watch import FileWatch
from roman_nexus.errors import (
    CacheError,
    DataWarning,
    OptionError,
    RomanNexusError,
    RomanNexusWarning,
    RunCancelled,
)

__all__ = ["Request", "open_request"]

_INPUT, _REFERENCE = "the input", "the {} reference"  #: what files are called in messages
_LEVELS = {"L2": None, "cal": None, "rate": None}
#: Catching warnings changes the state of the whole process: one thread at a time.
_CATCHING = threading.Lock()


class Request:
    """A request that was understood: opened input, resolved references, plan."""

    def __init__(
        self,
        settings: settings_module.Settings,
        source: ExposureInput,
        selected: Selected,
        references: Any,
        made: Plan,
        cache: ResultCache | None,
        notes: list[str],
        watch: FileWatch,
    ) -> None:
        self.settings = settings
        self.source = source
        self.selected = selected
        self.references = references
        self.plan = made
        self.cache = cache
        self.notes = notes
        self.watch = watch

    def carry_out(self, tell: Listener, cancelled: threading.Event) -> Run:
        """Carry out the plan, telling the listener and remembering what it took."""
        log: list[Event] = []

        def listener(event: Event) -> None:
            log.append(event)
            tell(event)

        started = time.perf_counter()
        listener(Event("plan", str(self.plan).splitlines()[0]))
        for note in self.notes:
            listener(Event("warning", note))
        scratch = self.settings.scratch_path
        try:
            with _compile_reports(listener):
                carried = carry_out(
                    self.plan, self.selected, self.source, self.references, cache=self.cache, scratch=scratch,
                    listener=listener, cancelled=cancelled,
                )  # fmt: skip
            self._check_unchanged()
        except KeyboardInterrupt:
            listener(Event("cancel", "interrupted"))
            raise
        except RunCancelled as error:
            listener(Event("cancel", str(error)))
            raise
        except RomanNexusError as error:
            listener(Event("fail", str(error)))
            raise
        self._remember(carried)
        carried.seconds["wall"] = time.perf_counter() - started
        listener(Event("finish", f"done in {carried.seconds['wall']:.1f} s", seconds=carried.seconds["wall"]))
        product = self._product(carried, [event for event in log if event.kind != "progress"])
        return Run(self.plan, self.references, product, carried.seconds, log, self.notes, cost.peak_rss_mb())

    def _check_unchanged(self) -> None:
        """Throw away a result whose input or references were rewritten while it was made."""
        try:
            if self.plan.to_run:
                self.watch.check()
        except RomanNexusError:
            for step in self.plan.to_run:
                if self.cache is not None:
                    self.cache.remove(step.key)
            raise

    def _product(self, carried: Carried, log: Sequence[Event]) -> RateImage | RampProduct:
        """Wrap the arrays; the metadata are made when somebody asks for them."""
        kind = "ramp" if "groupdq" in carried.arrays else "image"
        before = dict(lookup(self.source.meta, "cal_step") or {})
        without = [
            step.name
            for step in self.selected.active
            if step.level == "raw" and any(self.references.get(needs.reftype) is None for needs in step.references)
        ]
        status = level2.calibration_status(self.plan, before, without=without, saturated=carried.saturated)
        needed = {needs.reftype for step in self.selected.steps.values() for needs in step.references}
        names = {}
        for reftype in sorted(needed):
            reference = self.references.get(reftype)
            names[reftype] = "N/A" if reference is None else reference.name
        read, watch = _metadata_reader(self.source), self.watch
        meta_steps = [step for step in self.selected.steps.values() if step.level == "meta" and carried.later]
        again = {_REFERENCE.format(needs.reftype) for step in meta_steps for needs in step.references}

        def make() -> dict[str, Any]:
            watch.check(_INPUT, *again)
            updates = carried.updates | (carried.later() if carried.later else {})
            return level2.product_metadata(
                read(), self.plan, kind=kind, status=status, references=names, updates=updates, log=log,
                seconds=carried.seconds,
            )  # fmt: skip

        last = pipelines.load_step(self.plan.steps[-1].name)
        whole = last.name == pipelines.step_names()[-1]
        suffix = "cal" if whole else last.suffix
        maker = RampProduct if kind == "ramp" else RateImage
        return maker(carried.arrays, make, self.source.name, suffix, self.source.tag, self.source.path)

    def _remember(self, carried: Carried) -> None:
        """Keep what the plan was made of and what the steps took, for the next plan's reasons and estimate."""
        if self.cache is None:
            return
        name = self.source.digest.replace(":", "-")
        components = dict(self.cache.last_plan(name) or {})
        for step in self.plan.steps:
            if step.status in ("run", "cached"):
                declared = self.selected.steps[step.name]
                components[step.name] = {
                    "version": declared.version, "options": step.options, "references": step.references
                }  # fmt: skip
        self.cache.remember_plan(name, components)
        samples = self.source.shape[1] * self.source.shape[2] / 1e6
        measured = dict(self.cache.last_plan("timings") or {})
        if samples > 1.0:  # small frames are all overhead
            for step_name, seconds in carried.seconds.items():
                if step_name in self.selected.steps:
                    level = self.selected.steps[step_name].level
                    count = samples * (self.source.shape[0] if level in ("raw", "ramp", "fit") else 1)
                    measured[step_name] = seconds / count
            self.cache.remember_plan("timings", measured)


@contextlib.contextmanager
def open_request(
    product: Any,
    to: str,
    references: Any,
    source: Any,
    options: Mapping[str, Any] | None,
    start: str | None,
    stop: str | None,
    skip: Sequence[str],
    waive: Mapping[str, Sequence[str]] | None,
    strict: bool,
    cache: bool | str | Path | None,
    threads: int | None,
    memory_budget_mb: float | None,
) -> Iterator[Request]:
    """Understand a request; closes the input and the references at the end."""
    from roman_nexus.references import resolve

    folder = str(cache) if isinstance(cache, (str, Path)) else None
    settings = settings_module.load(threads=threads, memory_budget_mb=memory_budget_mb, cache_dir=folder)
    results = None
    if cache is not False and settings.cache_limit_gb > 0:
        results = ResultCache(settings.cache_path, settings.cache_limit_gb * 1e9)
    overrides, source = _split_references(references, source)
    if to not in _LEVELS:
        if stop is not None:
            msg = f"to={to!r} and stop={stop!r} both say where to stop; give one of them"
            raise OptionError(msg)
        stop = to
    with contextlib.ExitStack() as stack:
        digests = _digest_memory(settings, wanted=results is not None)
        watch = FileWatch()
        if isinstance(product, (str, Path)):
            watch.add(_INPUT, Path(product))
        opened = open_input(product, digests=digests)
        stack.callback(opened.close)
        selected = select(opened, start=start, stop=stop, skip=skip, options=options or {})
        needs = [item for step in selected.active for item in step.references]
        notes = list(opened.warnings)
        early = stack.enter_context(ThreadPoolExecutor(1))  # files are hashed while they are looked into
        hashing = [early.submit(_hash, given, digests) for given in overrides.values()]
        with _CATCHING, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RomanNexusWarning)
            found = resolve(
                needs, opened.info, source=_reference_source(source, settings, opened), overrides=overrides,
                waive=waive or {}, strict=strict, digests=digests,
            )  # fmt: skip
        stack.callback(found.close)
        notes += [str(item.message) for item in caught if issubclass(item.category, RomanNexusWarning)]
        for reftype, record in found.records.items():
            if record.path is not None:
                watch.add(_REFERENCE.format(reftype), record.path)
        notes += check_steps(opened, selected, found)
        for note in notes:
            warnings.warn(note, DataWarning, stacklevel=4)
        wait(hashing)
        with ThreadPoolExecutor(settings.worker_threads) as pool:  # a new file is read whole for its digest
            list(pool.map(lambda reference: reference.digest, (item for item in found.values() if item is not None)))
        made = make_plan(opened, selected, found, cache=results, threads=settings.worker_threads)
        cost.check_budget(made.memory_mb, made.memory_items, settings.memory_budget_mb)
        yield Request(settings, opened, selected, found, made, results, notes, watch)


def _hash(given: Any, digests: Any) -> None:
    """Have the digest of a user's file remembered; what is wrong with the file is told where it is resolved."""
    from roman_nexus.products.digests import file_digest

    if digests is not None and isinstance(given, (str, Path)) and Path(given).is_file():
        with contextlib.suppress(RomanNexusError, OSError):
            file_digest(Path(given), memory=digests)


def _digest_memory(settings: settings_module.Settings, *, wanted: bool) -> Any:
    """Open the memory of digests; without a cache, a folder that cannot be used does not matter."""
    from roman_nexus.products.digests import DigestMemory

    try:
        return DigestMemory(settings.cache_path)
    except CacheError as error:
        if not wanted:
            return None
        msg = (
            f"the cache folder {settings.cache_path} cannot be used ({error.__cause__ or error}); set "
            "ROMAN_NEXUS_CACHE_DIR to a folder that can be written, or say cache=False"
        )
        raise CacheError(msg) from error


def _split_references(references: Any, source: Any) -> tuple[dict[str, Any], Any]:
    """Tell overrides from a source."""
    if references is None:
        return {}, source
    if isinstance(references, Mapping):
        return dict(references), source
    if source is not None:
        msg = "references is a source and source= is given too; give references as a mapping of types to files"
        raise OptionError(msg)
    return {}, references


def _reference_source(source: Any, settings: settings_module.Settings, opened: ExposureInput) -> Any:
    """Decide where references come from.

    Without a word from the user: the folder beside the input; else CRDS for a Level 1 file or a ramp, which do not
    record the references of steps to come, and the recorded files for an image.
    """
    from roman_nexus.references import CrdsCacheSource, CrdsSource, FolderSource, RecordedSource

    chosen = source if source is not None else settings.references or None
    if chosen is None:
        parents = [] if opened.path is None else [opened.path.parent, opened.path.parent.parent]
        folder = next((path / "references" for path in parents if (path / "references").is_dir()), None)
        chosen = folder or ("recorded" if opened.kind == "image" else "crds")
    if not isinstance(chosen, (str, Path)):
        return chosen
    word, _, context = str(chosen).partition(":")
    if word == "recorded":
        return RecordedSource(opened.meta, CrdsSource())
    if word == "crds":
        return CrdsSource(context=context or None)
    if word == "crds-cache":
        return CrdsCacheSource(context=context or None)
    return FolderSource(Path(chosen).expanduser())


def _metadata_reader(source: ExposureInput) -> Callable[[], dict[str, Any]]:
    """Return a function that reads the input's metadata with real objects."""
    if source.path is not None:
        from roman_nexus.products.files import read_meta

        path = source.path
        return lambda: read_meta(path)
    from roman_nexus.products.plain import plain

    meta = source.model["meta"]
    return lambda: dict(plain(meta))


@contextlib.contextmanager
def _compile_reports(listener: Listener) -> Iterator[None]:
    """Tell, once, that kernels are being compiled: the only part of a first run that later ones do not have."""
    from numba.core import event as numba_event

    spent: list[float] = []

    class Recorder(numba_event.Listener):
        def on_start(self, event: Any) -> None:
            if not spent:
                listener(Event("compile", "compiling kernels for this machine; this happens once"))
            spent.append(-time.perf_counter())

        def on_end(self, event: Any) -> None:
            if spent:
                spent[-1] += time.perf_counter()

    with numba_event.install_listener("numba:compile", Recorder()):
        yield
    if spent:
        total = max(sum(value for value in spent if value > 0), 0.0)
        listener(Event("compile", f"kernels compiled in {total:.0f} s and kept for later runs", seconds=total))
