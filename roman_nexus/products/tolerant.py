"""A product opened without a schema: attribute access, lazy arrays, and nothing lost when it is saved again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from roman_nexus.errors import SchemaVersionError
from roman_nexus.products.saving import Compression, write_asdf

__all__ = ["Node", "TolerantModel"]


class Node(Mapping[str, Any]):
    """A branch of the tree: keys are attributes too.

    Examples
    --------
    >>> Node({"exposure": {"type": "WFI_IMAGE"}}).exposure.type
    'WFI_IMAGE'
    """

    __slots__ = ("_data",)

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._data:
            msg = f"no {name!r} here; there are {', '.join(map(str, self._data))}"
            raise AttributeError(msg)
        return _wrapped(self._data[name])

    def __getitem__(self, name: str) -> Any:
        return _wrapped(self._data[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *map(str, self._data)]

    def __repr__(self) -> str:
        return f"Node({dict(self._data)!r})"


def _wrapped(value: Any) -> Any:
    return Node(value) if isinstance(value, Mapping) and not isinstance(value, Node) else value


class TolerantModel:
    """A product whose schema is not known here; it has the accessors of a data model.

    Arrays are read when they are used. Nothing is validated. Saving keeps the tag and every key.

    Parameters
    ----------
    asdf_file : asdf.AsdfFile
        Open file; closed with the model.
    tag : str or None
    path : path
    """

    def __init__(self, asdf_file: Any, tag: str | None, path: str | os.PathLike[str]) -> None:
        self._asdf = asdf_file
        self._node = Node(asdf_file.tree["roman"])
        self.tag = tag
        self.path = Path(path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._node, name)

    def __getitem__(self, name: str) -> Any:
        return self._node[name]

    def __contains__(self, name: object) -> bool:
        return name in self._node

    def __iter__(self) -> Iterator[str]:
        return iter(self._node)

    def keys(self) -> list[str]:
        """Names below ``roman``."""
        return list(self._node)

    def validate(self) -> None:
        """Refuse: there is no schema to validate against.

        Raises
        ------
        SchemaVersionError
            Always.
        """
        msg = f"{self.path} cannot be validated: its schema {self.tag} is not installed; update roman_datamodels"
        raise SchemaVersionError(msg)

    def save(self, path: str | os.PathLike[str], compression: Compression = "lz4") -> Path:
        """Write everything, known or not, under the same tag.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        return write_asdf(self._asdf, Path(path), compression)

    def close(self) -> None:
        """Close the file; arrays that were not read yet can no longer be."""
        self._asdf.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TolerantModel {self.path.name}: {self.tag}, {', '.join(self._node)}>"
