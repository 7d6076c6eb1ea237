"""Making a plan: which steps, with which options and references, found in the cache or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roman_nexus.engine import cost, pipelines
from roman_nexus.engine.cache import ResultCache
from roman_nexus.engine.plan import NOT_KEPT, Plan, PlannedStep, Status, chain_key, explain_change, select_steps
from roman_nexus.engine.source import ExposureInput
from roman_nexus.engine.stream import ROWS_PER_BLOCK
from roman_nexus.errors import InputError, OptionError, ReferenceMismatchError, StepError
from roman_nexus.steps.step import Needs, Options, Step

__all__ = ["Selected", "check_steps", "make_plan", "select"]

#: How thread time of the fused steps relates to wall time beyond the arithmetic: reading, copying, waiting.
_OVERHEAD = 1.3


@dataclass
class Selected:
    """The steps of a request before references are known.

    Attributes
    ----------
    done : list of str
        Steps that the input has already.
    names : list of str
        Steps to consider, in order.
    steps : dict of str to Step
    options : dict of str to Options
    left_out : dict of str to (status, why)
        Steps that will not run whatever the references are.
    """

    done: list[str]
    names: list[str]
    steps: dict[str, Step]
    options: dict[str, Options]
    left_out: dict[str, tuple[Status, str]]

    @property
    def active(self) -> list[Step]:
        """The steps that need their references."""
        return [self.steps[name] for name in self.names if name not in self.left_out]


def select(
    source: ExposureInput,
    *,
    start: str | None,
    stop: str | None,
    skip: Sequence[str],
    options: Mapping[str, Any],
) -> Selected:
    """Choose the steps and read their options.

    Raises
    ------
    StepError, OptionError, InputError
    """
    _check_names(start, stop, skip, options)
    names = list(pipelines.step_names())
    start = pipelines.canonical(start) if start else None
    stop = pipelines.canonical(stop) if stop else None
    skipped = {pipelines.canonical(name) for name in skip}
    done = _done_in_input(source, names, start)
    before, considered = select_steps(names, start, stop, done)
    steps = {name: pipelines.load_step(name) for name in considered}
    left_out: dict[str, tuple[Status, str]] = {}
    for name, step in steps.items():
        reason = pipelines.routed_out(name, source.info.exposure_type)
        if name in skipped:
            if step.level in ("raw", "fit"):
                made = "ramp" if step.level == "raw" else "image"
                msg = f"{name} cannot be skipped: it makes the {made}; use stop= instead"
                raise StepError(msg)
            left_out[name] = ("skip", "asked for")
        elif reason:
            left_out[name] = ("skip", reason)
        elif step.applies is not None and not step.applies(source.info):
            left_out[name] = ("n/a", f"not for {source.info.detector}")
    return Selected(before, considered, steps, _read_options(options, steps), left_out)


def _check_names(start: Any, stop: Any, skip: Any, options: Any) -> None:
    """Refuse what cannot name steps; a text as `skip` would be taken letter by letter."""
    if not all(isinstance(name, str) for name in (start or "", stop or "")):
        msg = f"start={start!r}, stop={stop!r}: give names of steps, such as 'linearity'"
        raise StepError(msg)
    if isinstance(skip, str) or not all(isinstance(name, str) for name in skip):
        msg = f"skip={skip!r} must be a list of step names, for example skip=['flat_field']"
        raise StepError(msg)
    if not isinstance(options, Mapping):
        msg = f"options={options!r} must be a mapping of step names to options, for example {{'refpix': {{...}}}}"
        raise OptionError(msg)


def _done_in_input(source: ExposureInput, names: Sequence[str], start: str | None) -> list[str]:
    """Tell which steps the input has, and refuse a start that would do one twice."""
    if source.kind == "science_raw":
        if source.completed:
            listed = ", ".join(sorted(source.completed))
            msg = (
                f"{source.where} is a Level 1 product, but its meta.cal_step says that {listed} is complete; that "
                "cannot be raw data. Give the file as it came from the archive"
            )
            raise InputError(msg)
        if start and start != names[0]:
            msg = f"a Level 1 file starts at {names[0]}, not at {start}; give a ramp product to start later"
            raise StepError(msg)
        return []
    levels = {name: pipelines.load_step(name).level for name in names}
    marks = [name for name in names if pipelines.load_step(name).cal_step in source.completed]
    if source.kind == "ramp":
        last = max((names.index(name) for name in marks), default=0)
        done = list(names[: last + 1])
        limit = names.index("ramp_fit")
        if len(done) > limit:
            msg = (
                f"{source.where} is a ramp, but its meta.cal_step says that {names[last]} is complete; that cannot be "
                "a ramp product. Give the ramp as it was before the fit, or the Level 2 image"
            )
            raise InputError(msg)
    else:
        done = [name for name in names if levels[name] in ("raw", "ramp", "fit")]
        last = max((names.index(name) for name in marks), default=len(done) - 1)
        done = list(names[: max(last + 1, len(done))])
    if start:
        if source.kind == "image" and levels[start] in ("raw", "ramp", "fit"):
            msg = f"a Level 2 image cannot start at {start}; give the Level 1 file or a ramp product"
            raise StepError(msg)
        if source.kind == "ramp" and levels[start] not in ("ramp", "fit"):
            msg = f"a ramp starts at one of its ramp steps or at ramp_fit, not at {start}"
            raise StepError(msg)
        position = names.index(start)
        redone = [name for name in marks if names.index(name) >= position and levels[name] != "meta"]
        if redone:
            msg = (
                f"{', '.join(redone)} is already complete in this input; starting at {start} would apply it twice. "
                "Start from a product made before it"
            )
            raise InputError(msg)
    return done


def _read_options(options: Mapping[str, Any], steps: Mapping[str, Step]) -> dict[str, Options]:
    known = {pipelines.canonical(name): values for name, values in options.items()}
    read: dict[str, Options] = {}
    for name, values in known.items():
        kind = pipelines.load_step(name).options
        if isinstance(values, kind):
            read[name] = values
        elif isinstance(values, Mapping):
            read[name] = kind.from_dict(values)
        else:
            msg = f"options for {name} are {values!r}; expected a mapping of option names to values or {kind.__name__}"
            raise OptionError(msg)
    return {name: read.get(name) or step.options() for name, step in steps.items()}


class _Lazy(Mapping[str, Any]):
    """What a reference holds, read when it is looked at."""

    def __init__(self, reference: Any, needs: Needs) -> None:
        arrays = (*needs.images, *needs.channels)
        self._readers = dict.fromkeys(arrays, reference.array) | dict.fromkeys(needs.whole, reference.value)

    def __getitem__(self, name: str) -> Any:
        return self._readers[name](name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def check_steps(source: ExposureInput, selected: Selected, references: Mapping[str, Any]) -> list[str]:
    """Ask every step that will run whether it can; return what the steps find odd.

    Raises
    ------
    InputError, ReferenceMismatchError
        Of all that speaks against the run.
    """
    notes: list[str] = []
    problems: list[InputError | ReferenceMismatchError] = []
    for name in selected.names:
        step = selected.steps[name]
        if step.check is None or _status(selected, name, references)[0] != "run":
            continue
        known = {
            needs.reftype: _Lazy(references[needs.reftype], needs)
            for needs in step.references
            if references.get(needs.reftype) is not None
        }
        try:
            notes += step.check(known, selected.options[name], source.info)
        except (InputError, ReferenceMismatchError) as error:
            problems.append(error)
    if problems:
        texts = list(dict.fromkeys([*map(str, problems), *source.warnings]))
        raise type(problems[0])(f"{source.where}: " + "; ".join(texts))
    return notes


def make_plan(
    source: ExposureInput,
    selected: Selected,
    references: Mapping[str, Any],
    *,
    cache: ResultCache | None,
    threads: int,
) -> Plan:
    """Make the plan of a run.

    Parameters
    ----------
    source : ExposureInput
    selected : Selected
    references : ReferenceSet
        Reference type to `Reference` or None.
    cache : ResultCache or None
    threads : int
    """
    components = {name: _components(selected, name, references) for name in selected.names}
    keys = _keys(source, selected, components, references)
    statuses = {name: _status(selected, name, references) for name in selected.names}
    running = [selected.steps[name] for name in selected.names if statuses[name][0] == "run"]
    cached_upto = _cached_upto(running, keys, cache)
    remembered = cache.last_plan(source.digest.replace(":", "-")) if cache else None
    measured = cache.last_plan("timings") if cache else None
    reads = sum(len(group) for group in source.info.read_pattern)
    to_run = [step for position, step in enumerate(running) if position > cached_upto and step.level != "meta"]
    # metadata that would come out as last time are made when somebody asks for them
    known = {name for name in components if (remembered or {}).get(name) == components[name]}
    fitted = any(step.level in ("raw", "ramp", "fit") for step in to_run)
    to_run += [step for step in running if step.level == "meta" and (fitted or step.name not in known)]
    seconds = cost.estimate_seconds(to_run, source.shape, reads, threads, measured)

    planned: list[PlannedStep] = []
    for name in selected.done:
        step = pipelines.load_step(name)
        planned.append(
            PlannedStep(name, step.title, "done", "in the input", "", {}, {}, 0.0, step.cal_step, step.level)
        )
    reasons = _reasons(selected, to_run, components, remembered or {})
    for name in selected.names:
        step = selected.steps[name]
        status, why = statuses[name]
        if status == "run":
            status, why = ("run", reasons[name]) if step in to_run else ("cached", "same input, options and references")
        planned.append(
            PlannedStep(
                name, step.title, status, why, keys[name], selected.options[name].to_dict(),
                components[name]["references"], seconds.get(name, 0.0), step.cal_step, step.level,
            )
        )  # fmt: skip
    plan = Plan(
        source.name, source.digest, source.kind, source.info.detector, source.info.optical_element,
        source.info.exposure_type, source.shape, tuple(planned), threads,
    )  # fmt: skip
    return _with_costs(plan, source, selected, references, to_run, seconds)


def _reasons(
    selected: Selected, to_run: Sequence[Step], components: Mapping[str, Any], remembered: Mapping[str, Any]
) -> dict[str, str]:
    """Say for each step that must run why it must."""
    reasons: dict[str, str] = {}
    upstream: str | None = None
    for name in (name for name in selected.names if selected.steps[name] in to_run):
        if selected.steps[name].level == "meta":
            why = explain_change(name, components[name], remembered.get(name), None)
            reasons[name] = "metadata of the new product" if why == NOT_KEPT else why
            continue
        reasons[name] = explain_change(name, components[name], remembered.get(name), upstream)
        if reasons[name] != NOT_KEPT:
            upstream = upstream or name
    # what did not change itself, and is not kept, is made again for the first that did
    return {
        name: f"needed again for {upstream}" if why == NOT_KEPT and upstream else why for name, why in reasons.items()
    }


def _components(selected: Selected, name: str, references: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what a step's numbers are made of, as plain values."""
    step = selected.steps[name]
    found = {}
    for needs in step.references if name not in selected.left_out else ():
        reference = references.get(needs.reftype)
        if reference is not None:
            found[needs.reftype] = {"name": reference.name, "digest": reference.digest, "origin": reference.origin}
    return {"version": step.version, "options": selected.options[name].to_dict(), "references": found}


def _keys(
    source: ExposureInput, selected: Selected, components: Mapping[str, Any], references: Mapping[str, Any]
) -> dict[str, str]:
    """Chain the keys; steps that touch no pixel do not change the key of the next."""
    keys: dict[str, str] = {}
    previous = f"{source.digest}:{','.join(selected.done)}"
    for name in selected.names:
        step = selected.steps[name]
        if _status(selected, name, references)[0] != "run":
            keys[name] = previous
            continue
        digests = {reftype: record["digest"] for reftype, record in components[name]["references"].items()}
        keys[name] = chain_key(previous, step, selected.options[name], digests)
        if step.level != "meta":
            previous = keys[name]
    return keys


def _status(selected: Selected, name: str, references: Mapping[str, Any]) -> tuple[Status, str]:
    if name in selected.left_out:
        return selected.left_out[name]
    step = selected.steps[name]
    if step.level != "raw":
        for needs in step.references:
            if needs.missing == "skip" and references.get(needs.reftype) is None:
                return "skip", f"no {needs.reftype} reference"
    return "run", ""


def _cached_upto(running: Sequence[Step], keys: Mapping[str, str], cache: ResultCache | None) -> int:
    """Position of the last step whose result the cache has (and holds for the run), or -1. Only images are kept."""
    if cache is None:
        return -1
    for position in range(len(running) - 1, -1, -1):
        if running[position].level in ("fit", "image") and cache.hold(keys[running[position].name]):
            return position
    return -1


def _with_costs(
    plan: Plan,
    source: ExposureInput,
    selected: Selected,
    references: Mapping[str, Any],
    to_run: Sequence[Step],
    seconds: Mapping[str, float],
) -> Plan:
    prepared = [
        step.name
        for step in to_run
        if step.needs_prepare is not None
        and step.prepare is not None
        and step.name in ("saturation", "ramp_fit")
        and step.needs_prepare(selected.options[step.name], source.info)
    ]
    items, scratch = cost.estimate_memory(source.shape, to_run, plan.threads, ROWS_PER_BLOCK, prepared)
    read = 0.0
    if any(step.level in ("raw", "ramp", "fit") for step in to_run) and source.path is not None:
        read += source.path.stat().st_size
    for reftype in {needs.reftype for step in to_run for needs in step.references}:
        reference = references.get(reftype)
        if reference is not None and reference.path is not None:
            read += reference.path.stat().st_size
    return replace(
        plan,
        memory_items={name: round(size, 1) for name, size in items.items()},
        memory_mb=round(sum(items.values()), 1),
        scratch_mb=round(scratch, 1),
        read_mb=round(read / 1e6, 1),
        seconds=round(sum(seconds.values()) / plan.threads * _OVERHEAD, 2),
    )
