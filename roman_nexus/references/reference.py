"""One reference, whatever it is made of: a file on disk or arrays in memory.

A `Reference` says what it is and why it was chosen, and gives its arrays and tables. Files are opened when something
is first read from them, and arrays read only the part that is asked for; several threads may read at once.
"""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from roman_nexus.errors import FileFormatError, ReferenceMismatchError
from roman_nexus.references.rules import NOT_APPLICABLE
from roman_nexus.references.types import REFERENCE_TYPES

if TYPE_CHECKING:
    from roman_nexus.products.blocks import AsdfBlocks
    from roman_nexus.products.digests import DigestMemory

__all__ = ["Content", "FileContent", "MemoryContent", "Reference", "not_applicable"]


class Content(Protocol):
    """What a reference is made of.

    Attributes
    ----------
    tree : mapping
        The ``roman`` node as plain values; arrays are array-like with basic indexing.
    tag : str
        Stem of the schema tag, for example "flat"; empty where there is none.
    digest : str
        ``sha256:...``; equal content has the same digest.
    """

    @property
    def tree(self) -> Mapping[str, Any]:
        """The ``roman`` node."""

    @property
    def tag(self) -> str:
        """Stem of the schema tag."""

    @property
    def digest(self) -> str:
        """Digest of the content."""

    def load(self, dotted: str) -> Any:
        """Return an object that plain values cannot hold."""

    def release(self) -> None:
        """Give memory back that only makes the next read quicker."""

    def close(self) -> None:
        """Close what was opened."""


@dataclass(frozen=True)
class Reference:
    """A reference that a run uses, or the fact that it uses none.

    Attributes
    ----------
    reftype : str
        CRDS name, lower case.
    name : str
        What goes into ``meta.ref_file``: ``crds://<file>``, the absolute path of a user's file, ``memory://<type>`` for
        arrays, or "N/A".
    path : Path or None
        Where the file is.
    origin : str
        Which source it came from, or "override".
    why : str
        Why this one, for people.
    content : Content or None
        None for "N/A".

    Examples
    --------
    >>> import numpy as np
    >>> content = MemoryContent({"data": np.full((4, 4), 2.0, np.float32)})
    >>> gain = Reference("gain", "memory://gain", None, "override", "given", content)
    >>> float(gain.array("data")[0, 0])
    2.0
    """

    reftype: str
    name: str
    path: Path | None = None
    origin: str = ""
    why: str = ""
    content: Content | None = field(default=None, repr=False, compare=False)

    @property
    def applies(self) -> bool:
        """False for "N/A"."""
        return self.content is not None

    @property
    def digest(self) -> str:
        """Digest of the content, ``sha256:...``; computed when first asked for, empty for "N/A"."""
        return self.content.digest if self.content is not None else ""

    @property
    def header(self) -> dict[str, Any]:
        """``roman.meta`` as plain values; empty for bare arrays."""
        if self.content is None:
            return {}
        meta = self.content.tree.get("meta")
        return dict(meta) if isinstance(meta, Mapping) else {}

    @property
    def tag(self) -> str:
        """Stem of the schema tag of the file, for example "flat"; empty where there is none."""
        return self.content.tag if self.content is not None else ""

    def array(self, name: str) -> Any:
        """Return an array: something with ``shape``, ``dtype`` and basic indexing.

        Parameters
        ----------
        name : str
            Path below ``roman``, for example "data" or "inl_table.science_channel_01.correction".

        Raises
        ------
        ReferenceMismatchError
            If there is no such array.
        FileFormatError
            If the file cannot be read.
        """
        found = self._node(name)
        if not _is_array(found):
            msg = f"{self.reftype} reference {self.name} has no array {name!r}; it has {self._names()}"
            raise ReferenceMismatchError(msg)
        return found

    def has(self, name: str) -> bool:
        """Tell whether the reference holds something (not null) at a path below ``roman``."""
        return self._node(name) is not None

    def value(self, name: str) -> Any:
        """Return a table as nested dictionaries with whole ndarrays, an array in full, or an object such as a model.

        Parameters
        ----------
        name : str
            Path below ``roman``, for example "phot_table.F158" or "coordinate_distortion_transform".

        Raises
        ------
        ReferenceMismatchError
            If there is no such value.
        FileFormatError
            If the file cannot be read.
        """
        known = REFERENCE_TYPES.get(self.reftype)
        found = self._node(name)
        if found is None or self.content is None:
            msg = f"{self.reftype} reference {self.name} has no {name!r}; it has {self._names()}"
            raise ReferenceMismatchError(msg)
        if known is not None and name in known.objects:
            return self.content.load(name)
        return _in_memory(found)

    def release(self) -> None:
        """Give memory back that only makes the next read quicker."""
        if self.content is not None:
            self.content.release()

    def close(self) -> None:
        """Close the file; its arrays can then no longer be read, but `array` opens it again."""
        if self.content is not None:
            self.content.close()

    def _node(self, dotted: str) -> Any:
        node: Any = self.content.tree if self.content is not None else None
        for key in dotted.split("."):
            node = node.get(key) if isinstance(node, Mapping) else None
        return node

    def _names(self) -> str:
        names = [key for key in (self.content.tree if self.content is not None else {}) if key != "meta"]
        return ", ".join(names) or "nothing"


def not_applicable(reftype: str, origin: str, why: str) -> Reference:
    """Return the record that no reference of a type is used."""
    return Reference(reftype, NOT_APPLICABLE, None, origin, why)


class FileContent:
    """An ASDF reference file, opened when it is first read.

    Parameters
    ----------
    path : Path
    digests : DigestMemory, optional
        Where digests of files are remembered.
    """

    def __init__(self, path: Path, digests: DigestMemory | None = None) -> None:
        self.path = path
        self._digests = digests
        self._blocks: AsdfBlocks | None = None
        self._objects: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def tree(self) -> Mapping[str, Any]:
        """The ``roman`` node; empty if the file has none."""
        roman = self._open().tree.get("roman")
        return roman if isinstance(roman, Mapping) else {}

    @property
    def tag(self) -> str:
        """Stem of the schema tag."""
        return tag_stem(self._open().roman_tag or "")

    @cached_property
    def digest(self) -> str:
        """Digest of the file."""
        from roman_nexus.products.digests import file_digest

        return file_digest(self.path, memory=self._digests)

    def load(self, dotted: str) -> Any:
        """Read an object with the asdf library."""
        with self._lock:
            if dotted not in self._objects:
                self._objects[dotted] = _load_object(self.path, dotted)
            return self._objects[dotted]

    def release(self) -> None:
        """Give memory back; what is read again is decoded again."""
        with self._lock:
            if self._blocks is not None:
                self._blocks.forget()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._blocks is not None:
                self._blocks.close()
            self._blocks = None

    def _open(self) -> AsdfBlocks:
        from roman_nexus.products.blocks import open_blocks

        with self._lock:
            if self._blocks is None:
                self._blocks = open_blocks(self.path)
            return self._blocks


class MemoryContent:
    """Arrays and tables in memory, for example a user's own; do not change them while a run uses them.

    Parameters
    ----------
    tree : mapping
        The ``roman`` node.
    tag : str, optional
        Stem of the schema tag.
    digest : str, optional
        Digest of the file that the arrays were read from; without it, one of the values is computed.
    """

    def __init__(self, tree: Mapping[str, Any], tag: str = "", digest: str = "") -> None:
        self.tree = dict(tree)
        self.tag = tag
        self._digest = digest

    @property
    def digest(self) -> str:
        """Digest of the values, whatever the order of their names."""
        if not self._digest:
            from roman_nexus.products.digests import value_digest

            self._digest = value_digest(_digestible(self.tree))
        return self._digest

    def load(self, dotted: str) -> Any:
        """Return an object as it was given."""
        node: Any = self.tree
        for key in dotted.split("."):
            node = node[key]
        return node

    def release(self) -> None:
        """Do nothing; the arrays belong to the user."""

    def close(self) -> None:
        """Do nothing; the arrays belong to the user."""


def tag_stem(tag: str) -> str:
    """Return "flat" of ``asdf://stsci.edu/datamodels/roman/tags/reference_files/flat-2.0.0``."""
    return tag.rsplit("/", 1)[-1].rsplit("-", 1)[0]


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _in_memory(value: Any) -> Any:
    """Copy nested values, with every array read in full."""
    if isinstance(value, Mapping):
        return {key: _in_memory(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_in_memory(item) for item in value]
    return np.asarray(value) if _is_array(value) else value


def _load_object(path: Path, dotted: str) -> Any:
    """Read an object with the asdf library and copy it, so that the file can be closed again."""
    from roman_nexus.products import files

    # no schema is needed to read a model, and the file may be newer than the schemas that are installed
    with files.open(path, "tolerant") as opened:
        node: Any = opened
        try:
            for key in dotted.split("."):
                node = node[key]
            found = copy.deepcopy(node) if callable(node) else None
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            msg = f"{path}: {dotted} cannot be read: {error}"
            raise FileFormatError(msg) from error
    if found is None:
        msg = (
            f"{path}: {dotted} is a {type(node).__name__}, not a model; no asdf extension that is installed can read it"
        )
        raise FileFormatError(msg)
    return found


def _digestible(value: Any) -> Any:
    """Replace everything that is no plain value by its digest."""
    from roman_nexus.products.digests import array_digest

    if isinstance(value, Mapping):
        return {str(key): _digestible(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_digestible(item) for item in value]
    if _is_array(value):
        return array_digest(np.asarray(value))
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        return value
    if isinstance(value, (datetime, Path)):
        return str(value)
    if isinstance(value, complex):
        return [value.real, value.imag]
    return str(value.isot) if hasattr(value, "isot") else _object_digest(value)


def _object_digest(value: Any) -> str:
    """Return the digest of an object (an astropy model) by way of its ASDF form."""
    import hashlib

    import asdf

    buffer = io.BytesIO()
    asdf.AsdfFile({"value": value}).write_to(buffer)
    return hashlib.sha256(buffer.getvalue()).hexdigest()
