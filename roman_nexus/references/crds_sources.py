"""Reference files chosen by a CRDS context: from a cache folder on disk, or through the ``crds`` package.

A context (``roman_0058.pmap``) names rules of the instrument (``.imap``), which name rules of each type (``.rmap``).
`CrdsCacheSource` follows them in a cache folder, offline and without the package; `CrdsSource` asks the package,
which fetches what is missing.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from roman_nexus.errors import FileFormatError, MissingSoftwareError, OptionError, ReferenceNotFoundError
from roman_nexus.references.mappings import RuleFile, read_rmap
from roman_nexus.references.rules import NOT_APPLICABLE, Candidate, Selection, normalize_parameters, select
from roman_nexus.references.sources import CRDS_PREFIX

__all__ = ["CrdsCacheSource", "CrdsSource"]

_SYMBOLIC = {"latest": "latest_context", "operational": "operational_context", "edit": "edit_context"}


class CrdsCacheSource:
    """A CRDS cache folder, read offline.

    Parameters
    ----------
    path : path or None, optional
        Cache folder, with ``mappings/roman`` and ``references/roman`` in it; by default ``CRDS_PATH``.
    context : str or None, optional
        For example "roman_0058.pmap", or "roman-latest"; by default ``CRDS_CONTEXT``, then what the server last
        named as its latest, then the highest number that is there.
    allow_bad : bool, optional
        Accept files that the server has marked as scientifically bad.

    Raises
    ------
    ReferenceNotFoundError
        If the folder or the context is not there.

    Notes
    -----
    Rules are followed exactly as the ``crds`` package does; rules that need the package are refused.
    """

    version: str | None = None

    def __init__(
        self, path: str | os.PathLike[str] | None = None, context: str | None = None, *, allow_bad: bool = False
    ) -> None:
        place = path if path is not None else os.environ.get("CRDS_PATH", "")
        self.path = Path(place).expanduser().absolute()
        self._mappings = self.path / "mappings" / "roman"
        if not place or not self._mappings.is_dir():
            msg = (
                f"{place or 'CRDS_PATH'} is not a CRDS cache with a folder mappings/roman; give path= or set CRDS_PATH"
            )
            raise ReferenceNotFoundError(msg)
        self._server = _server_config(self.path / "config" / "roman" / "server_config")
        self._allow_bad = allow_bad
        self._rules: dict[str, RuleFile] = {}
        self.context: str | None = self._context(context or os.environ.get("CRDS_CONTEXT", ""))
        self.name = f"CRDS cache {self.path}, {self.context}"

    def __repr__(self) -> str:
        return f"CrdsCacheSource({str(self.path)!r}, {self.context!r})"

    def find(self, reftype: str, parameters: Mapping[str, Any]) -> Selection:
        """Choose the file of a type; see `ReferenceSource.find`."""
        reftype = reftype.lower()
        rules = self.rules(reftype)
        if rules is None:
            return Selection(reftype, None, f"{self.context} has no rules for {reftype}")
        if isinstance(rules, str):
            return Selection(reftype, Candidate(NOT_APPLICABLE), f"{self.context} says that {reftype} does not apply")
        chosen = select(reftype, parameters, rules.candidates)
        text = f"{chosen.explanation} ({self.context}, {rules.name})"
        candidate = chosen.chosen
        if candidate is None or chosen.not_applicable:
            return Selection(reftype, candidate, text, chosen.rejected)
        self._refuse_bad(candidate.file, reftype)
        located = Candidate(candidate.name, candidate.match, candidate.useafter, self._reference_path(candidate.file))
        return Selection(reftype, located, text, chosen.rejected)

    def locate(self, name: str) -> Path | None:
        """Return where a file is; see `ReferenceSource.locate`."""
        path = self._reference_path(name.removeprefix(CRDS_PREFIX))
        return path if path.is_file() else None

    def _reference_path(self, file: str) -> Path:
        """Return where the cache has a file, or would have it: by instrument, or all in one folder."""
        folder = self.path / "references" / "roman"
        flat = folder / file
        return flat if flat.is_file() else folder / "wfi" / file

    def rules(self, reftype: str) -> RuleFile | str | None:
        """Return the rules of a type; "N/A" if the context says that it does not apply, None if it has none.

        Raises
        ------
        ReferenceNotFoundError
            If a rule file is not in the cache.
        FileFormatError
            If a rule file cannot be read.
        """
        file = self.context
        for level in ("wfi", reftype.lower()):
            rules = self._read(str(file))
            if rules.level == "imap" and level == "wfi":
                continue  # the context is an instrument context
            file = rules.files.get(level)
            if file is None:
                return None
            if not file.endswith("map"):
                return NOT_APPLICABLE
        return self._read(str(file))

    def types(self) -> tuple[str, ...]:
        """Return the types that the context has rules for."""
        rules = self._read(str(self.context))
        if rules.level == "pmap":
            rules = self._read(rules.files["wfi"]) if "wfi" in rules.files else RuleFile("imap", {})
        return tuple(sorted(rules.files))

    def _read(self, file: str) -> RuleFile:
        if file not in self._rules:
            path = self._mappings / file
            try:
                text = path.read_text()
            except OSError as error:
                msg = (
                    f"rule file {file} is not in {self._mappings}; fetch the context with "
                    f"'crds sync --contexts {self.context}' or use CrdsSource"
                )
                raise ReferenceNotFoundError(msg) from error
            self._rules[file] = read_rmap(text, str(path))
        return self._rules[file]

    def _context(self, wanted: str) -> str:
        """Turn what was asked for into the name of a file in the cache."""
        names = sorted(path.name for path in self._mappings.glob("roman*.[pi]map"))
        if wanted.endswith((".pmap", ".imap")):
            found = wanted
        elif wanted:
            found = self._server.get(_SYMBOLIC.get(wanted.removeprefix("roman-"), ""), "")
            if not found:
                msg = (
                    f"context {wanted!r} cannot be worked out from this cache; expected a name such as roman_0058.pmap"
                    f", roman-latest or roman-operational; here are {', '.join(names) or 'none'}"
                )
                raise OptionError(msg)
        else:
            stated = self._server.get("latest_context") or self._server.get("operational_context") or ""
            pmaps = [name for name in names if name.endswith(".pmap")]
            found = stated if stated in names else max(pmaps, key=_number, default="")
        if found not in names:
            msg = f"context {found or 'any .pmap'} is not in {self._mappings}; here are {', '.join(names) or 'none'}"
            raise ReferenceNotFoundError(msg)
        return found

    def _refuse_bad(self, file: str, reftype: str) -> None:
        bad = self._server.get("bad_files_list") or ()
        if file in bad and not self._allow_bad:
            msg = (
                f"{self.context} names {file} for {reftype}, which CRDS has marked as scientifically bad; use a later "
                "context, override the type, or pass allow_bad=True"
            )
            raise ReferenceNotFoundError(msg)


class CrdsSource:
    """The ``crds`` package, which asks the server and fetches files into its cache.

    Server and cache folder are set by the package's own variables ``CRDS_SERVER_URL`` and ``CRDS_PATH``.

    Parameters
    ----------
    context : str or None, optional
        For example "roman_0058.pmap"; by default what the package decides (``CRDS_CONTEXT``, else the latest).

    Notes
    -----
    The package is imported when something is first asked; `MissingSoftwareError` is raised if it is not installed.
    """

    def __init__(self, context: str | None = None) -> None:
        self._wanted = context
        self._resolved: str | None = None

    def __repr__(self) -> str:
        return f"CrdsSource({self._wanted!r})"

    @property
    def name(self) -> str:
        """What to call the source."""
        server = os.environ.get("CRDS_SERVER_URL", "its default server")
        return f"CRDS {self._resolved or self._wanted or 'latest context'} at {server}"

    @property
    def version(self) -> str | None:
        """The version of the package."""
        return str(getattr(_crds_package(), "__version__", "")) or None

    @property
    def context(self) -> str:
        """The context that decides, asked of the package once."""
        if self._resolved is None:
            self._resolved = str(
                self._call("find the context", _crds_package().get_context_name, "roman", self._wanted)
            )
        return self._resolved

    def find(self, reftype: str, parameters: Mapping[str, Any]) -> Selection:
        """Choose the file of a type and fetch it; see `ReferenceSource.find`."""
        reftype = reftype.lower()
        try:
            answer = self._call(
                f"choose a {reftype} reference",
                _crds_package().getreferences,
                normalize_parameters(parameters),
                reftypes=[reftype],
                context=self.context,
                observatory="roman",
            )
        except LookupError as error:
            if isinstance(error, ReferenceNotFoundError):
                raise
            return Selection(reftype, None, f"CRDS {self.context}: {error}")
        found = str(answer.get(reftype, "NOT FOUND"))
        if found.upper().startswith("NOT FOUND N/A") or found.upper() == NOT_APPLICABLE:
            text = f"CRDS {self.context} says that {reftype} does not apply"
            return Selection(reftype, Candidate(NOT_APPLICABLE), text)
        if found.upper().startswith("NOT FOUND"):
            return Selection(reftype, None, f"CRDS {self.context}: {found}")
        path = Path(found)
        return Selection(
            reftype, Candidate(CRDS_PREFIX + path.name, path=path), f"CRDS {self.context} chose {path.name}"
        )

    def locate(self, name: str) -> Path | None:
        """Return where a file is, fetched if necessary; see `ReferenceSource.locate`."""
        file = name.removeprefix(CRDS_PREFIX)
        path = Path(str(self._call(f"locate {file}", _crds_package().locate_file, file, "roman")))
        if not path.is_file():
            fetch = importlib.import_module("crds.client.api").dump_references
            fetched = self._call(f"fetch {file}", fetch, self.context, [file], raise_exceptions=True)
            path = Path(str(fetched.get(file, path)))
        return path if path.is_file() else None

    def _call(self, what: str, function: Any, *arguments: Any, **options: Any) -> Any:
        """Call the package; turn its failures, among them the end of the process, into one error.

        "No file applies" (a LookupError of the package) is passed on.
        """
        try:
            return function(*arguments, **options)
        except (Exception, SystemExit) as error:
            if isinstance(error, LookupError):
                raise
            reason = str(error) or type(error).__name__
            if isinstance(error, SystemExit):
                reason = f"it tried to end the process (exit code {error.code})"
            msg = (
                f"the crds package could not {what}: {reason}. Check CRDS_SERVER_URL "
                f"({os.environ.get('CRDS_SERVER_URL', 'not set')}; Roman: https://roman-crds.stsci.edu) and CRDS_PATH "
                f"({os.environ.get('CRDS_PATH', 'not set')}); without a connection use CrdsCacheSource"
            )
            raise ReferenceNotFoundError(msg) from error


def _crds_package() -> ModuleType:
    """Import the package.

    Raises
    ------
    MissingSoftwareError
    """
    try:
        return importlib.import_module("crds")
    except ImportError as error:
        msg = (
            "the crds package is not installed, so CRDS cannot be asked; install it with "
            "'pip install roman-nexus[crds]', or use a folder of reference files or a CRDS cache on disk"
        )
        raise MissingSoftwareError(msg) from error


def _server_config(path: Path) -> Mapping[str, Any]:
    """Read what the server last said of itself, as the package keeps it in the cache; empty if there is nothing."""
    try:
        content = ast.literal_eval(path.read_text())
    except OSError:
        return {}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        msg = f"{path} cannot be read: {error}; remove it or sync the CRDS cache again"
        raise FileFormatError(msg) from error
    return content if isinstance(content, dict) else {}


def _number(name: str) -> int:
    found = re.search(r"(\d+)", name)
    return int(found.group(1)) if found else -1
