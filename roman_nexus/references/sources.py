"""Where reference files come from: one contract, several places.

A source answers two questions: which file applies (`ReferenceSource.find`), and where a file of a given name is
(`ReferenceSource.locate`). That no file applies is an answer, given with its reason; an error means that the source
itself cannot be used. The sources that follow a CRDS context are in ``crds_sources``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from roman_nexus.errors import DataWarning, FileFormatError, OptionError, ReferenceNotFoundError
from roman_nexus.references.rules import NOT_APPLICABLE, Candidate, Selection, select
from roman_nexus.references.types import CRDS_KEYS, REFERENCE_TYPES

__all__ = ["FolderSource", "RecordedSource", "ReferenceSource"]

CRDS_PREFIX = "crds://"
_INDEX_VERSION = 1
_Entry = dict[str, Any]


@runtime_checkable
class ReferenceSource(Protocol):
    """What every source of reference files offers.

    Attributes
    ----------
    name : str
        For people, for example "folder /data/references".
    context : str or None
        CRDS context that decides, for example "roman_0058.pmap".
    version : str or None
        Version of the CRDS client, where one is used.
    """

    @property
    def name(self) -> str:
        """What to call the source."""

    @property
    def context(self) -> str | None:
        """The CRDS context that decides."""

    @property
    def version(self) -> str | None:
        """The version of the CRDS client."""

    def find(self, reftype: str, parameters: Mapping[str, Any]) -> Selection:
        """Choose the file of a type; ``chosen`` is None where none applies.

        Parameters
        ----------
        reftype : str
        parameters : mapping
            As for `roman_nexus.references.rules.select`.

        Raises
        ------
        ReferenceNotFoundError
            If the source itself cannot be used.
        """

    def locate(self, name: str) -> Path | None:
        """Return where the file called ``crds://<file>`` (or ``<file>``) is, or None if it is not here."""


class FolderSource:
    """A folder of reference files, with all its subfolders.

    Which file applies is decided by what the files say of themselves (type, detector, optical element, exposure
    types, useafter), with the rule of CRDS. Headers are read once and remembered for as long as a file keeps its
    size and time of change; nothing is written into the folder.

    Parameters
    ----------
    path : path
        Folder.
    index : path or None, optional
        File in which headers are remembered between sessions. By default one in the cache folder of the settings;
        None keeps them in memory only.

    Raises
    ------
    ReferenceNotFoundError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     FolderSource(folder, index=None).find("flat", {"detector": "WFI01"}).chosen is None
    True
    """

    context: str | None = None
    version: str | None = None

    def __init__(self, path: str | os.PathLike[str], *, index: str | os.PathLike[str] | None = "default") -> None:
        self.path = Path(path).expanduser().resolve()
        if not self.path.is_dir():
            msg = f"{path} is not a folder of reference files; give the folder that holds the .asdf files"
            raise ReferenceNotFoundError(msg)
        self.name = f"folder {self.path}"
        self._index: Path | None = None
        if index is not None:
            self._index = _default_index(self.path) if index == "default" else Path(index)
        self._entries: dict[str, _Entry] = {}
        self._loaded = False
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"FolderSource({str(self.path)!r})"

    def find(self, reftype: str, parameters: Mapping[str, Any]) -> Selection:
        """Choose the file of a type; see `ReferenceSource.find`."""
        reftype = reftype.lower()
        self._refresh()
        candidates = [
            _candidate(self.path / name, entry["header"])
            for name, entry in self._entries.items()
            if entry.get("header") and entry["header"]["reftype"] == reftype
        ]
        found = select(reftype, parameters, candidates)
        if found.chosen is not None:
            return found
        text = f"{found.explanation}, in {self.name}"
        if broken := sum("problem" in entry for entry in self._entries.values()):
            text += f", where {broken} file{'' if broken == 1 else 's'} could not be read"
        return replace(found, explanation=text)

    def locate(self, name: str) -> Path | None:
        """Return where a file is; see `ReferenceSource.locate`."""
        file = name.removeprefix(CRDS_PREFIX)
        return next((path for path in sorted(self._files()) if path.name == file), None)

    def types(self) -> dict[str, int]:
        """Count the files of each reference type."""
        self._refresh()
        counts: dict[str, int] = {}
        for entry in self._entries.values():
            if header := entry.get("header"):
                counts[header["reftype"]] = counts.get(header["reftype"], 0) + 1
        return dict(sorted(counts.items()))

    def _files(self) -> Iterator[Path]:
        return (path for path in self.path.rglob("*.asdf") if path.is_file())

    def _refresh(self) -> None:
        """Read the headers of files that are new or changed, forget those that are gone."""
        with self._lock:
            if not self._loaded:
                self._entries = _load_index(self._index)
                self._loaded = True
            fresh: dict[str, _Entry] = {}
            for path in sorted(self._files()):
                name = str(path.relative_to(self.path))
                try:
                    status = path.stat()
                except FileNotFoundError:  # removed since the folder was listed
                    continue
                known = self._entries.get(name)
                if not known or known["state"] != [status.st_mtime_ns, status.st_size]:
                    known = {"state": [status.st_mtime_ns, status.st_size], **_read_entry(path)}
                fresh[name] = known
            if fresh != self._entries:
                self._entries = fresh
                _save_index(self._index, fresh)
            broken = [name for name, entry in fresh.items() if "problem" in entry]
        self._warn(broken)

    def _warn(self, broken: list[str]) -> None:
        new = [name for name in broken if name not in self._warned]
        if new:
            self._warned.update(new)
            shown = "; ".join(self._entries[name]["problem"] for name in new[:3])
            msg = f"{len(new)} file(s) in {self.path} cannot be read and are not considered: {shown}"
            warnings.warn(msg, DataWarning, stacklevel=4)


class RecordedSource:
    """Exactly the files that a product was made with, as its ``meta.ref_file`` names them.

    This is the only way to repeat a prompt product: the rules of a context may name other files since.

    Parameters
    ----------
    meta : mapping
        ``roman.meta`` of the product, or its ``ref_file``.
    underlying : ReferenceSource or None
        Where files named ``crds://...`` are looked for; None means that only files named by a path can be found.

    Examples
    --------
    >>> source = RecordedSource({"ref_file": {"dark": "N/A"}}, None)
    >>> source.find("dark", {}).not_applicable
    True
    """

    def __init__(self, meta: Mapping[str, Any], underlying: ReferenceSource | None) -> None:
        recorded = meta.get("ref_file", meta)
        if not isinstance(recorded, Mapping):
            msg = f"meta.ref_file is {recorded!r}; expected a mapping of reference types to file names"
            raise OptionError(msg)
        self._names = {str(key).lower(): str(value) for key, value in recorded.items() if isinstance(value, str)}
        crds = recorded.get("crds")
        self.context = str(crds["context"]) if isinstance(crds, Mapping) and crds.get("context") else None
        self.version = str(crds["version"]) if isinstance(crds, Mapping) and crds.get("version") else None
        self._underlying = underlying
        self.name = "references recorded in the product"
        if underlying is not None:
            self.name += f", files from {underlying.name}"

    def __repr__(self) -> str:
        return f"RecordedSource({len(self._names)} names, {self._underlying!r})"

    def find(self, reftype: str, parameters: Mapping[str, Any]) -> Selection:
        """Return the recorded file; see `ReferenceSource.find`. `parameters` do not matter."""
        reftype = reftype.lower()
        name = self._names.get(reftype, "").strip()
        if name in ("", "?", "None", "UNDEFINED"):
            return Selection(reftype, None, f"the product does not record a {reftype} reference")
        if name.upper() == NOT_APPLICABLE:
            text = f"the product records that {reftype} did not apply (N/A)"
            return Selection(reftype, Candidate(NOT_APPLICABLE), text)
        text = f"the product records {name}"
        return Selection(reftype, Candidate(name, path=self.locate(name)), text)

    def locate(self, name: str) -> Path | None:
        """Return where a file is; see `ReferenceSource.locate`."""
        if name.startswith(CRDS_PREFIX):
            return None if self._underlying is None else self._underlying.locate(name)
        return Path(name).expanduser()


# ------------------------------------------------------------------------------ what files say of themselves
def _read_entry(path: Path) -> _Entry:
    """Read the header of a file: what selects it, None if it is no reference file, or what is wrong with it."""
    from roman_nexus.products.blocks import peek

    try:
        meta = peek(path).get("meta")
    except FileFormatError as error:
        return {"problem": str(error)}
    if not isinstance(meta, Mapping) or not meta.get("reftype"):
        return {"header": None}
    instrument = meta.get("instrument") or {}
    exposure = meta.get("exposure") or {}
    return {
        "header": {
            "reftype": str(meta["reftype"]).lower(),
            "detector": str(instrument.get("detector") or ""),
            "optical_element": str(instrument.get("optical_element") or ""),
            "exposure_type": str(exposure.get("p_exptype") or exposure.get("type") or ""),
            "useafter": str(meta.get("useafter") or ""),
        }
    }


def _candidate(path: Path, header: Mapping[str, str]) -> Candidate:
    known = REFERENCE_TYPES.get(header["reftype"])
    # a type outside the table is selected by everything that its file states
    keys = known.keys if known is not None else tuple(key for key in CRDS_KEYS if header[key])
    match = tuple((CRDS_KEYS[key], header[key]) for key in keys)
    return Candidate(str(path), match, header["useafter"], path)


# --------------------------------------------------------------------------------------- remembered headers
def _default_index(folder: Path) -> Path:
    from roman_nexus.settings import load

    return load().cache_path / "references" / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.json"


def _load_index(path: Path | None) -> dict[str, _Entry]:
    """Read remembered headers; whatever cannot be read is read anew from the files."""
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or content.get("version") != _INDEX_VERSION:
        return {}
    entries = content.get("files")
    return entries if isinstance(entries, dict) and all(_is_entry(entry) for entry in entries.values()) else {}


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict) and isinstance(entry.get("state"), list) and ("header" in entry or "problem" in entry)
    )


def _save_index(path: Path | None, entries: Mapping[str, _Entry]) -> None:
    """Remember headers; a folder that cannot be written only costs the time of reading them again."""
    if path is None:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump({"version": _INDEX_VERSION, "files": entries}, file)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
