"""From a request to the least work: what runs, what the cache holds, what it costs, and why.

A plan is data. Each step has a key, the hash of its name and version, its options, the digests of its references and
the key of the step before it; the first key is the digest of the input. Two plans with the same key give the same
numbers, whatever machine or number of threads, so a key is where a result lies in the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Literal

from roman_nexus.errors import StepError
from roman_nexus.steps.step import Options, Step

__all__ = ["Plan", "PlannedStep", "Status"]

Status = Literal["run", "cached", "skip", "n/a", "done"]

NOT_KEPT = "its result is not in the cache"

_WORDS = {
    "run": "run",
    "cached": "cached",
    "skip": "skip",
    "n/a": "n/a",
    "done": "in input",
}


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a plan.

    Attributes
    ----------
    name, title : str
    status : {"run", "cached", "skip", "n/a", "done"}
        "done" means that the input already has it.
    why : str
        The reason for the status.
    key : str
        Hash of everything the step's numbers depend on.
    options : dict
    references : dict of str to dict
        Reference type to ``{"name", "digest", "origin"}``.
    seconds : float
        Expected time on this machine, added up over the threads; 0 where nothing runs.
    cal_step : str
        Key in ``meta.cal_step``.
    level : str
    """

    name: str
    title: str
    status: Status
    why: str
    key: str
    options: dict[str, Any]
    references: dict[str, dict[str, str]]
    seconds: float
    cal_step: str
    level: str


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes
    ----------
    input_name, input_digest, input_kind : str
    detector, optical_element, exposure_type : str
    shape : tuple of int
        (F, ny, nx).
    steps : tuple of PlannedStep
    threads : int
    memory_mb : float
        Expected peak resident memory.
    memory_items : dict of str to float
        What it is made of, MB.
    scratch_mb : float
        Size of the scratch file; 0 when the ramp waits in memory or need not wait.
    read_mb : float
        What will be read from input and references.
    seconds : float
        Expected wall time.
    """

    input_name: str
    input_digest: str
    input_kind: str
    detector: str
    optical_element: str
    exposure_type: str
    shape: tuple[int, int, int]
    steps: tuple[PlannedStep, ...]
    threads: int
    memory_mb: float = 0.0
    memory_items: dict[str, float] = field(default_factory=dict)
    scratch_mb: float = 0.0
    read_mb: float = 0.0
    seconds: float = 0.0

    def __getitem__(self, name: str) -> PlannedStep:
        for step in self.steps:
            if step.name == name:
                return step
        msg = f"the plan has no step {name!r}; it has {', '.join(step.name for step in self.steps)}"
        raise StepError(msg)

    @property
    def to_run(self) -> tuple[PlannedStep, ...]:
        """The steps that must run."""
        return tuple(step for step in self.steps if step.status == "run")

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return asdict(self)

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows = []
        for step in self.steps:
            names = ", ".join(f"{reftype} {_short(record['name'])}" for reftype, record in step.references.items())
            rows.append((step.name, _WORDS[step.status], step.why, names))
        return rows

    def _head(self) -> str:
        frame = f"{self.shape[0]} resultants of {self.shape[1]} x {self.shape[2]}" if self.shape[0] else "image"
        return f"{self.input_name} ({self.detector}, {self.optical_element}, {self.exposure_type}, {frame})"

    def _foot(self) -> str:
        n_run = len(self.to_run)
        if not n_run:
            return "nothing to run: everything is in the cache"
        scratch = f", scratch file {self.scratch_mb:.0f} MB" if self.scratch_mb else ""
        return (
            f"{n_run} step{'s' if n_run > 1 else ''} to run, about {self.seconds:.1f} s on {self.threads} "
            f"thread{'s' if self.threads > 1 else ''}, peak memory {self.memory_mb:.0f} MB{scratch}, "
            f"reads {self.read_mb:.0f} MB"
        )

    def __str__(self) -> str:
        rows = self._rows()
        width = max((len(row[0]) for row in rows), default=4)
        why = max((len(row[2]) for row in rows), default=4)
        lines = [f"Plan for {self._head()}"]
        lines += [
            f"  {name:<{width}}  {status:<8}  {reason:<{why}}  {refs}".rstrip() for name, status, reason, refs in rows
        ]
        lines.append(f"  {self._foot()}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        body = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in row) + "</tr>"
            for row in self._rows()
        )
        head = "".join(f'<th style="text-align:left">{name}</th>' for name in ("step", "status", "why", "references"))
        return (
            f"<div><p><b>Plan</b> for {escape(self._head())}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table><p>{escape(self._foot())}</p></div>"
        )


def _short(name: str) -> str:
    """Return the file name of a reference without its folder."""
    return name.rstrip("/").rsplit("/", 1)[-1] or name


def chain_key(previous: str, step: Step, options: Options, digests: Mapping[str, str]) -> str:
    """Return the key of a step: everything its numbers depend on."""
    parts = {
        "previous": previous,
        "step": step.name,
        "version": step.version,
        "options": options.to_dict(),
        "references": dict(sorted(digests.items())),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def explain_change(step: str, now: Mapping[str, Any], before: Mapping[str, Any] | None, upstream: str | None) -> str:
    """Say why a step must run, from what it was made of now and last time.

    Parameters
    ----------
    step : str
    now, before : mapping
        ``{"version", "options", "references": {type: {"name", "digest"}}}``; `before` is None if the step was never
        planned for this input.
    upstream : str or None
        Name of an earlier step that must run.
    """
    if before is None:
        return "first run on this input"
    changes = []
    for reftype, record in now["references"].items():
        old = before["references"].get(reftype)
        if old is None:
            changes.append(f"{reftype} reference is new")
        elif old["digest"] != record["digest"]:
            before_name, now_name = _short(old["name"]), _short(record["name"])
            renamed = f" ({before_name} -> {now_name})" if before_name != now_name else ""
            changes.append(f"{reftype} reference changed{renamed}")
    changes += [f"{reftype} reference is gone" for reftype in before["references"] if reftype not in now["references"]]
    changes += [
        f"{name} {before['options'][name]} -> {value}" if name in before["options"] else f"{name} is new"
        for name, value in now["options"].items()
        if before["options"].get(name, None) != value
    ]
    if before["version"] != now["version"]:
        changes.append("the step itself is newer")
    if changes:
        return "; ".join(changes)
    if upstream:
        return f"follows {upstream}"
    return NOT_KEPT


def select_steps(
    names: Sequence[str], start: str | None, stop: str | None, completed: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Split the pipeline into the steps that the input already has and those to consider.

    Raises
    ------
    StepError
        If `start` or `stop` cannot be.
    """
    names = list(names)
    first = names.index(start) if start else len(completed)
    last = names.index(stop) if stop else len(names) - 1
    if last < first:
        msg = f"stop={names[last]!r} comes before start={start!r}"
        if not start:
            msg = f"the input already has every step up to {names[first - 1]!r}: nothing to do until {names[last]!r}"
        raise StepError(msg)
    return names[:first], names[first : last + 1]
