"""Which metadata, references and calibration states differ.

Nested metadata become dotted keys with plain values: a time is its ISO 8601 text, a placeholder that stands for
"missing" (``?``, -999999) stays what the file says. Keys that a rerun always changes are kept apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "EXPECTED",
    "KeyDifference",
    "ReferenceDifference",
    "compare_keys",
    "compare_references",
    "flatten",
]

#: what a rerun changes in any case
EXPECTED = (
    "file_date",
    "filename",
    "cal_logs",
    "nexus",
    "calibration_software_name",
    "calibration_software_version",
)
_ELSEWHERE = ("wcs", "ref_file", "cal_step")  # have their own sections
_UNUSED = ("?", "N/A", "", "None")
_LONG = 120


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """One key of the metadata.

    Attributes
    ----------
    key : str
        Dotted path below ``meta``.
    new, old : plain value
        Of the rerun and of the archive's product.
    only_in : str
        "rerun" or "archive" if the other has no such key, else empty.
    """

    key: str
    new: Any
    old: Any
    only_in: str = ""


@dataclass(frozen=True, slots=True)
class ReferenceDifference:
    """One reference type.

    Attributes
    ----------
    reftype : str
    new, old : str
        What the products record; empty where a product used none.
    why : str
        In words.
    matters : bool
        False if only the place or the name of the file differs, as far as the record tells.
    """

    reftype: str
    new: str
    old: str
    why: str
    matters: bool


def flatten(meta: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and plain values of nested metadata.

    Examples
    --------
    >>> from roman_nexus.comparison.metadata import flatten
    >>> dict(flatten({"exposure": {"nresultants": 9, "read_pattern": [[1], [2, 3]]}}))
    {'exposure.nresultants': 9, 'exposure.read_pattern': [[1], [2, 3]]}
    """
    for key, value in meta.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping) and not _is_time(value):
            yield from flatten(value, path)
        else:
            yield path, _plain(value)


def compare_keys(
    new: Mapping[str, Any], old: Mapping[str, Any]
) -> tuple[tuple[KeyDifference, ...], tuple[KeyDifference, ...], tuple[KeyDifference, ...]]:
    """Compare metadata.

    Returns
    -------
    metadata, expected, calibration : tuple of KeyDifference
        Keys that should be equal; keys that a rerun changes in any case, shortened; states of the steps.
    """
    groups = (*_ELSEWHERE, *EXPECTED)
    plain = [{key: value for key, value in meta.items() if key not in groups} for meta in (new, old)]
    steps = [meta.get("cal_step") or {} for meta in (new, old)]
    return _differing(plain[0], plain[1]), _expected(new, old), _differing(steps[0], steps[1])


def compare_references(new: Mapping[str, Any], old: Mapping[str, Any]) -> tuple[ReferenceDifference, ...]:
    """Compare the references that two products record, by name, and by digest where both record it.

    Parameters
    ----------
    new, old : mapping
        ``meta``.
    """
    names = [dict(flatten(meta.get("ref_file") or {})) for meta in (new, old)]
    digests = [_recorded_digests(meta) for meta in (new, old)]
    found = []
    for reftype in dict.fromkeys([*names[1], *names[0]]):
        mine, other = (_used(record.get(reftype)) for record in names)
        contents = [record.get(reftype, "") for record in digests]
        group, _, entry = reftype.partition(".")
        if group == "crds":  # how the files were chosen; which they are is in the other entries
            verdict = (f"another {entry}", False) if mine != other else None
        else:
            verdict = _judge(mine, other, contents[0], contents[1])
        if verdict is not None:
            found.append(ReferenceDifference(reftype, mine, other, *verdict))
    return tuple(found)


def _judge(new: str, old: str, digest_new: str, digest_old: str) -> tuple[str, bool] | None:
    """Say how two references differ and whether it matters; None if they do not."""
    known = bool(digest_new and digest_old)
    if known and digest_new != digest_old:
        return ("same name, other content" if new == old else "another file"), True
    if new == old:
        return None
    if not new or not old:
        return f"used in the {'rerun' if new else 'archive'} only", True
    if known:
        return "same content under another name", False
    if new.rpartition("/")[2] == old.rpartition("/")[2]:
        return "same name in another place, content not recorded", False
    return "another file", True


def _used(value: Any) -> str:
    """Return the name of a reference; empty for what stands for "not used"."""
    text = "" if value is None else str(value)
    return "" if text in _UNUSED else text


def _recorded_digests(meta: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of each reference from the provenance that roman_nexus writes, the latest run last."""
    found: dict[str, str] = {}
    record = meta.get("nexus")
    history = record.get("history", []) if isinstance(record, Mapping) else []
    for run in history:
        for step in run.get("steps", []) if isinstance(run, Mapping) else []:
            references = step.get("references", {}) if isinstance(step, Mapping) else {}
            for reftype, item in references.items():
                if isinstance(item, Mapping) and item.get("digest"):
                    found[str(reftype)] = str(item["digest"])
    return found


def _differing(new: Mapping[str, Any], old: Mapping[str, Any]) -> tuple[KeyDifference, ...]:
    mine, other = dict(flatten(new)), dict(flatten(old))
    found = []
    for key in sorted({*mine, *other}):
        if key not in other:
            found.append(KeyDifference(key, mine[key], None, "rerun"))
        elif key not in mine:
            found.append(KeyDifference(key, None, other[key], "archive"))
        elif mine[key] != other[key]:
            found.append(KeyDifference(key, mine[key], other[key]))
    return tuple(found)


def _expected(new: Mapping[str, Any], old: Mapping[str, Any]) -> tuple[KeyDifference, ...]:
    """Compare what a rerun changes in any case; long values are shortened only after they were compared."""
    found = []
    for key in EXPECTED:
        mine, other = (_plain(meta[key]) if key in meta else None for meta in (new, old))
        if mine != other:
            only_in = "rerun" if key not in old else "archive" if key not in new else ""
            found.append(KeyDifference(key, _summary(mine), _summary(other), only_in))
    return tuple(found)


def _is_time(value: Mapping[str, Any]) -> bool:
    """Whether this is how a time looks in the header of a file."""
    return "value" in value and "base_format" in value


def _plain(value: Any) -> Any:
    """Return what JSON can hold and what compares by value."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)  # nodes of roman_datamodels derive from str
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if np.isfinite(number) else str(number)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if hasattr(value, "isot"):
        return str(value.isot)
    return _plain_container(value)


def _plain_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return str(value["value"]) if _is_time(value) else {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
        return _plain_container(value) if isinstance(value, list) else _plain(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_plain(item) for item in value]
    text = repr(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _summary(plain: Any) -> Any:
    """Shorten a plain value to what fits in a line."""
    if isinstance(plain, list):
        return f"{len(plain)} " + ("entry" if len(plain) == 1 else "entries")
    if isinstance(plain, dict):
        return f"{len(plain)} " + ("key" if len(plain) == 1 else "keys")
    return plain
