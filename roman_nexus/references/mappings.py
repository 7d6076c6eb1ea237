"""CRDS rule files (``.pmap``, ``.imap``, ``.rmap``) read as data.

A rule file is a piece of Python text: ``header = {...}`` and ``selector = ...``, the latter a dictionary of file
names (pipeline and instrument rules) or ``Match({...: UseAfter({time: file})})`` (rules of one reference type). It
is parsed, never executed: literals and the two selector names are understood, anything else is refused. Format:
CRDS user documentation, "Rules"; the nesting and key forms are those of the Roman rules, July 2026.

Rules can also hold what only the ``crds`` package can work out (conditions on other values, hooks). Such a file is
refused, because a wrong reference is worse than none.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from roman_nexus.errors import FileFormatError, InputError
from roman_nexus.references.rules import NOT_APPLICABLE, Candidate, parse_time

__all__ = ["RuleFile", "read_rmap"]

_LEVELS: dict[str, Literal["pmap", "imap", "rmap"]] = {"PIPELINE": "pmap", "INSTRUMENT": "imap", "REFERENCE": "rmap"}
_NEEDS_CRDS = ("rmap_omit", "parkey_relevance", "hooks", "extra_keys")
_NO_FILE = ("N/A", "TEMP_N/A", "OMIT", "TEMP_OMIT")


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A rule file.

    Attributes
    ----------
    level : {"pmap", "imap", "rmap"}
        Rules of the pipeline, of an instrument, or of a reference type.
    header : dict
        As written in the file.
    files : dict of str to str
        Of a pmap or imap: instrument or type, lower case, and the name of the next rule file (or "N/A").
    candidates : tuple of Candidate
        Of an rmap: every file it could choose.
    """

    level: Literal["pmap", "imap", "rmap"]
    header: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()

    @property
    def name(self) -> str:
        """Name that the file gives itself."""
        return str(self.header.get("name", "unnamed rules"))


def read_rmap(text: str, name: str = "rules") -> RuleFile:
    """Read the text of a CRDS rule file (rmap, imap or pmap).

    Parameters
    ----------
    text : str
    name : str
        What to call it in errors.

    Raises
    ------
    FileFormatError
        If it is not a rule file, or uses rules that cannot be read without the ``crds`` package.

    Examples
    --------
    >>> text = '''
    ... header = {'mapping': 'REFERENCE', 'name': 'roman_wfi_gain_0001.rmap', 'filekind': 'GAIN',
    ...           'parkey': (('ROMAN.META.INSTRUMENT.DETECTOR',), ('ROMAN.META.EXPOSURE.START_TIME',))}
    ... selector = Match({'WFI01': UseAfter({'2020-01-01 00:00:00': 'roman_wfi_gain_0001.asdf'})})
    ... '''
    >>> read_rmap(text).candidates[0].name
    'crds://roman_wfi_gain_0001.asdf'
    """
    sections = _sections(text, name)
    header = _literal(sections["header"], name, "header")
    if not isinstance(header, dict) or str(header.get("mapping", "")).upper() not in _LEVELS:
        msg = f"{name}: the header has no 'mapping'; expected one of {', '.join(_LEVELS)}"
        raise FileFormatError(msg)
    level = _LEVELS[str(header["mapping"]).upper()]
    if level != "rmap":
        return RuleFile(level, header, files=_file_names(sections["selector"], name))
    _refuse_conditions(header, name)
    return RuleFile(level, header, candidates=tuple(_rmap_candidates(sections["selector"], header, name)))


def _sections(text: str, name: str) -> dict[str, ast.expr]:
    """Return the expressions assigned to ``header`` and ``selector``."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        msg = f"{name} is not a CRDS rule file: {error}"
        raise FileFormatError(msg) from error
    sections: dict[str, ast.expr] = {}
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id="header" | "selector" | "comment" as section)], value=value):
                sections[section] = value
            case _:
                msg = f"{name}, line {node.lineno}: a rule file holds only 'header', 'selector' and 'comment'"
                raise FileFormatError(msg)
    missing = [part for part in ("header", "selector") if part not in sections]
    if missing:
        msg = f"{name} is not a CRDS rule file: it has no {' and no '.join(missing)}"
        raise FileFormatError(msg)
    return sections


def _literal(node: ast.expr, name: str, what: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        msg = f"{name}, line {node.lineno}: {what} must be plain text, numbers, tuples and dictionaries"
        raise FileFormatError(msg) from error


def _file_names(node: ast.expr, name: str) -> dict[str, str]:
    """Read the selector of a pmap or imap."""
    selector = _literal(node, name, "selector")
    if not isinstance(selector, dict) or not all(isinstance(value, str) for value in selector.values()):
        msg = f"{name}: the selector must be a dictionary of rule file names"
        raise FileFormatError(msg)
    return {str(key).lower(): value for key, value in selector.items()}


def _refuse_conditions(header: Mapping[str, Any], name: str) -> None:
    """Refuse headers whose conditions would change the answer."""
    used = [key for key in _NEEDS_CRDS if header.get(key)]
    if str(header.get("rmap_relevance", "ALWAYS")).strip("()").upper() not in ("ALWAYS", "TRUE"):
        used.append("rmap_relevance")
    if used:
        msg = f"{name} uses {', '.join(used)}, which only the crds package can work out; use CrdsSource"
        raise FileFormatError(msg)


def _rmap_candidates(node: ast.expr, header: Mapping[str, Any], name: str) -> list[Candidate]:
    """Flatten ``Match({...: UseAfter({...: file})})`` to a list of candidates."""
    classes, parkeys = _shape(header, name)
    found: list[Candidate] = []
    match_keys = parkeys[0] if classes[0] == "Match" else ()
    if classes[0] == "UseAfter":
        return _useafter_candidates(node, (), name)
    for key_node, value in _entries(node, "Match", name):
        values = _literal(key_node, name, "a match key")
        values = values if isinstance(values, tuple) else (values,)
        if len(values) != len(match_keys):
            msg = f"{name}, line {key_node.lineno}: {values!r} has {len(values)} values for the keys {match_keys!r}"
            raise FileFormatError(msg)
        match = tuple((key, _rule(rule, name, key_node.lineno)) for key, rule in zip(match_keys, values, strict=True))
        if classes == ("Match",):
            found.append(_candidate(value, match, "", name))
        else:
            found += _useafter_candidates(value, match, name)
    return found


def _shape(header: Mapping[str, Any], name: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the kinds of nested selectors and the values each of them looks at."""
    classes = tuple(header.get("classes", ("Match", "UseAfter")))
    parkey = header.get("parkey", ())
    levels = tuple((level,) if isinstance(level, str) else tuple(level) for level in parkey)
    if classes not in (("Match", "UseAfter"), ("Match",), ("UseAfter",)) or len(levels) != len(classes):
        msg = (
            f"{name}: selectors {classes!r} on {parkey!r} cannot be read; Roman rules are Match, then UseAfter "
            "(use CrdsSource for other kinds)"
        )
        raise FileFormatError(msg)
    return classes, tuple(tuple(str(key).upper() for key in level) for level in levels)


def _entries(node: ast.expr, kind: str, name: str) -> list[tuple[ast.expr, ast.expr]]:
    """Return the key and value expressions of ``kind({...})``."""
    if (
        not isinstance(node, ast.Call)
        or not isinstance(node.func, ast.Name)
        or node.func.id != kind
        or node.keywords
        or len(node.args) != 1
        or not isinstance(node.args[0], ast.Dict)
        or None in node.args[0].keys
    ):
        msg = f"{name}, line {node.lineno}: expected {kind}({{...}}) as the header's 'classes' say"
        raise FileFormatError(msg)
    table = node.args[0]
    pairs = [(key, value) for key, value in zip(table.keys, table.values, strict=True) if key is not None]
    seen = set()
    for key, _ in pairs:
        text = ast.unparse(key)
        if text in seen:
            msg = f"{name}, line {key.lineno}: {text} occurs twice, so the rules contradict themselves"
            raise FileFormatError(msg)
        seen.add(text)
    return pairs


def _rule(value: Any, name: str, line: int) -> str:
    """Return one value of a match key; a tuple is the same as alternatives separated by ``|``."""
    text = "|".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    upper = text.strip().upper()
    patterns = any(set(part.strip()) & set("*?[") and part.strip() != "*" for part in upper.split("|"))
    if patterns or upper[:1] in ("(", "{", "#", "<", ">") or upper.startswith(("BETWEEN", "NOT ")):
        msg = f"{name}, line {line}: rule {text!r} can only be worked out by the crds package; use CrdsSource"
        raise FileFormatError(msg)
    return text


def _useafter_candidates(node: ast.expr, match: tuple[tuple[str, str], ...], name: str) -> list[Candidate]:
    found = []
    for key_node, value in _entries(node, "UseAfter", name):
        time = str(_literal(key_node, name, "a useafter time"))
        try:
            parse_time(time)
        except InputError as error:
            msg = f"{name}, line {key_node.lineno}: {error}"
            raise FileFormatError(msg) from error
        found.append(_candidate(value, match, time, name))
    return found


def _candidate(node: ast.expr, match: tuple[tuple[str, str], ...], useafter: str, name: str) -> Candidate:
    file = _literal(node, name, "a file name")
    if isinstance(file, str) and file.upper() in _NO_FILE:
        return Candidate(NOT_APPLICABLE, match, useafter)
    if not isinstance(file, str) or not file or "/" in file:
        msg = f"{name}, line {node.lineno}: {file!r} is not the name of a reference file"
        raise FileFormatError(msg)
    return Candidate(f"crds://{file}", match, useafter)
