"""All references of a run, found, opened and checked before the first pixel is touched.

Every problem with every type is gathered and told at once: a run that would fail on its ninth step should fail
before its first.
"""

from __future__ import annotations

import html
import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from roman_nexus.errors import (
    FileFormatError,
    MissingReferenceWarning,
    OptionError,
    ReferenceFileError,
    ReferenceMismatchError,
    ReferenceNotFoundError,
    RomanNexusError,
)
from roman_nexus.references.compatibility import Mismatch, check_waivers, require
from roman_nexus.references.given import file_reference, make_reference, means_none, skips
from roman_nexus.references.reference import Reference, not_applicable
from roman_nexus.references.rules import selection_parameters
from roman_nexus.references.sources import ReferenceSource
from roman_nexus.steps.step import ExposureInfo, Needs

if TYPE_CHECKING:
    from roman_nexus.products.digests import DigestMemory

__all__ = ["ReferenceSet", "resolve"]

_STRICTNESS = {"without": 0, "skip": 1, "error": 2}


class ReferenceSet(Mapping[str, Reference | None]):
    """The references of a run: type to `Reference`, or to None where none is used. A context manager.

    Parameters
    ----------
    records : mapping of str to Reference
        Also those that do not apply, with their reasons.
    context, version : str or None
        CRDS context and client that chose.
    waived : mapping of str to sequence of Mismatch
        What the user said does not matter, and was indeed different.

    Examples
    --------
    >>> from roman_nexus.references.reference import not_applicable
    >>> references = ReferenceSet({"dark": not_applicable("dark", "override", "skipped by the user")})
    >>> references["dark"] is None
    True
    """

    def __init__(
        self,
        records: Mapping[str, Reference],
        *,
        context: str | None = None,
        version: str | None = None,
        waived: Mapping[str, Sequence[Mismatch]] | None = None,
    ) -> None:
        self.records = dict(records)
        self.context = context
        self.version = version
        self.waived = {reftype: tuple(items) for reftype, items in (waived or {}).items() if items}

    def __getitem__(self, reftype: str) -> Reference | None:
        record = self.records[reftype]
        return record if record.applies else None

    def __iter__(self) -> Iterator[str]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        for record in self.records.values():
            record.close()

    def ref_file(self) -> dict[str, Any]:
        """Return what ``meta.ref_file`` of the product must say."""
        names: dict[str, Any] = {reftype: record.name for reftype, record in self.records.items()}
        return names | {"crds": {"context": self.context or "N/A", "version": self.version or "N/A"}}

    def explain(self) -> str:
        """Return, type by type, which file was chosen and why, and what was waived."""
        lines = []
        for reftype, record in self.records.items():
            lines.append(f"{reftype}: {record.name} ({record.origin or 'no source'})")
            lines += [f"  {line}" for line in record.why.splitlines()]
            lines += [f"  waived {item.field}: {item.text}" for item in self.waived.get(reftype, ())]
        return "\n".join(lines)

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows = []
        for reftype, record in self.records.items():
            file = record.path.name if record.path is not None else record.name
            why = record.why.splitlines()[0] if record.why else ""
            waived = ", ".join(item.field for item in self.waived.get(reftype, ()))
            rows.append((reftype, file, record.origin, f"{why}; waived {waived}" if waived else why))
        return rows

    def __repr__(self) -> str:
        rows = [("type", "file", "origin", "why"), *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]])
            for row in rows
        ]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("type", "file", "origin", "why"))
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def resolve(
    needs: Sequence[Needs],
    exposure: ExposureInfo,
    *,
    source: ReferenceSource | None,
    overrides: Mapping[str, Any] | None = None,
    waive: Mapping[str, Sequence[str]] | None = None,
    parameters: Mapping[str, Any] | None = None,
    strict: bool = False,
    digests: DigestMemory | None = None,
) -> ReferenceSet:
    """Find, open and check every reference that the steps of a run need.

    Parameters
    ----------
    needs : sequence of Needs
        What the steps declare; a type may occur more than once.
    exposure : ExposureInfo
    source : ReferenceSource or None
        Where references come from; None means that all must be given as overrides.
    overrides : mapping, optional
        Type to what the user gives, as for `roman_nexus.references.given.make_reference`; "skip" uses none. None and
        "" mean no override, as in the mission pipeline.
    waive : mapping, optional
        Type to the fields of `roman_nexus.references.compatibility.FIELDS` in which it may differ.
    parameters : mapping, optional
        Selection parameters that are added to, or replace, those of the exposure.
    strict : bool, optional
        Treat a missing optional reference as an error.
    digests : DigestMemory, optional
        Where digests of files are remembered.

    Returns
    -------
    ReferenceSet

    Raises
    ------
    ReferenceNotFoundError
        If a reference that must be there is not; the message tells all problems, also mismatches.
    ReferenceMismatchError
        If all are there but some do not fit the exposure.
    FileFormatError
        If a file, or a rule file, cannot be read.
    OptionError
        If an override or a waiver makes no sense.

    Warns
    -----
    MissingReferenceWarning
        For each optional reference that is missing.
    """
    wanted = _strictest(needs)
    given = _check_overrides(overrides or {}, wanted)
    waivers = _check_waivers(waive or {}, wanted)
    asked = selection_parameters(exposure, parameters)
    asks_source = source is not None and bool(set(wanted) - set(given))
    # asked before anything else, so that a source that cannot be used says so once and not for every type
    context = source.context if source is not None and asks_source else None
    records: dict[str, Reference] = {}
    waived: dict[str, list[Mismatch]] = {}
    problems: list[RomanNexusError] = []
    notices: list[str] = []
    for reftype, need in wanted.items():
        try:
            if reftype in given:
                record = make_reference(
                    reftype, given[reftype], locate=source.locate if source is not None else None, digests=digests
                )
            else:
                record = _from_source(need, exposure, source, asked, digests)
                if not record.applies:
                    notices.append(_missing_text(need, exposure, record.why))
            waived[reftype] = require(record, exposure, waivers.get(reftype, ()))
            records[reftype] = record
        except (ReferenceFileError, FileFormatError, OptionError) as error:
            problems.append(error)
    if strict:
        problems += [ReferenceNotFoundError(text) for text in notices]
    found = ReferenceSet(
        records,
        context=context,
        version=source.version if source is not None and asks_source else None,
        waived=waived,
    )
    if problems:
        found.close()
        raise _combined(problems)
    for text in notices:
        warnings.warn(text, MissingReferenceWarning, stacklevel=2)
    return found


def _strictest(needs: Sequence[Needs]) -> dict[str, Needs]:
    """Keep one declaration a type: the one that cares most."""
    wanted: dict[str, Needs] = {}
    for need in needs:
        known = wanted.get(need.reftype)
        if known is None or _STRICTNESS[need.missing] > _STRICTNESS[known.missing]:
            wanted[need.reftype] = need
    return wanted


def _check_overrides(overrides: Mapping[str, Any], wanted: Mapping[str, Needs]) -> dict[str, Any]:
    """Refuse overrides of types that no step needs, and skips of types that no step can do without."""
    unknown = [name for name in overrides if name.lower() not in wanted]
    if unknown:
        msg = (
            f"reference {', '.join(map(repr, unknown))} is not used by the steps of this run; they use "
            f"{', '.join(wanted) or 'none'}"
        )
        raise OptionError(msg)
    given = {name.lower(): value for name, value in overrides.items() if not means_none(value)}
    needed = [name for name, value in given.items() if skips(value) and wanted[name].missing == "error"]
    if needed:
        msg = f"{', '.join(needed)} cannot be skipped: the run needs it; give a file, or leave the override out"
        raise OptionError(msg)
    return given


def _check_waivers(waive: Mapping[str, Sequence[str]], wanted: Mapping[str, Needs]) -> dict[str, Sequence[str]]:
    unknown = [name for name in waive if name.lower() not in wanted]
    if unknown:
        msg = f"waive names {', '.join(map(repr, unknown))}; the steps of this run use {', '.join(wanted) or 'none'}"
        raise OptionError(msg)
    for name, fields in waive.items():
        check_waivers(name.lower(), fields)
    return {name.lower(): fields for name, fields in waive.items()}


def _from_source(
    need: Needs,
    exposure: ExposureInfo,
    source: ReferenceSource | None,
    parameters: Mapping[str, Any],
    digests: DigestMemory | None,
) -> Reference:
    """Ask the source for a reference; a missing one is an error only if the step says so."""
    if source is None:
        origin, why, chosen = "no source", "no reference source is set and no override is given", None
    else:
        selection = source.find(need.reftype, parameters)
        origin, why, chosen = source.name, selection.explain(), selection.chosen
        if chosen is not None and not selection.not_applicable:
            if chosen.path is None or not chosen.path.is_file():
                where = f"not at {chosen.path}" if chosen.path is not None else f"not in {source.name}"
                msg = (
                    f"{need.reftype} reference {chosen.name} applies ({selection.explanation}), but the file is "
                    f"{where}; fetch it, or give another with references={{{need.reftype!r}: path}}"
                )
                raise ReferenceNotFoundError(msg)
            return file_reference(need.reftype, chosen.name, chosen.path, origin, why, digests)
    if need.missing == "error":
        msg = (
            f"no {need.reftype} reference for {_exposure_text(exposure)}: {why.splitlines()[0]}; give one with "
            f"references={{{need.reftype!r}: path}} or use another reference source"
        )
        raise ReferenceNotFoundError(msg)
    return not_applicable(need.reftype, origin, why)


def _missing_text(need: Needs, exposure: ExposureInfo, why: str) -> str:
    effect = "the step that needs it is skipped" if need.missing == "skip" else "the step runs without it"
    return f"no {need.reftype} reference for {_exposure_text(exposure)}: {effect} ({why.splitlines()[0]})"


def _exposure_text(exposure: ExposureInfo) -> str:
    return (
        f"detector {exposure.detector}, optical element {exposure.optical_element}, exposure type "
        f"{exposure.exposure_type} at {exposure.start_time or 'an unknown time'}"
    )


def _combined(problems: Sequence[RomanNexusError]) -> RomanNexusError:
    """Make one error of all; its class is that of the gravest."""
    texts = list(dict.fromkeys(str(problem) for problem in problems))
    kinds = (ReferenceNotFoundError, FileFormatError, OptionError, ReferenceMismatchError, ReferenceFileError)
    kind = next(kind for kind in kinds if any(isinstance(problem, kind) for problem in problems))
    if len(texts) == 1:
        return kind(texts[0])
    return kind(f"{len(texts)} problems with references:\n" + "\n".join(f"- {text}" for text in texts))
