"""Open and write products as data models: the only module that imports roman_datamodels.

`open` gives a model of roman_datamodels, or a `TolerantModel` for a file written by a newer schema than the installed
one (a new schema comes every three months, so that is the normal case). `write_product` writes arrays and metadata
under the newest schema or an older one. For reading pixels without models see `roman_nexus.products.blocks`.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from roman_nexus.errors import (
    FileFormatError,
    InputError,
    OptionError,
    OutputError,
    SchemaVersionError,
    SchemaVersionWarning,
)
from roman_nexus.products.arrays import ARRAYS, Kind, check_arrays
from roman_nexus.products.blocks import open_blocks, peek
from roman_nexus.products.header import read_header
from roman_nexus.products.layout import FileSource, read_bytes
from roman_nexus.products.migrate import migrate_arrays, migrate_meta
from roman_nexus.products.plain import plain
from roman_nexus.products.saving import Compression, write_asdf
from roman_nexus.products.schemas import TAG, SchemaVersion, parse_tag, target_tag
from roman_nexus.products.tolerant import TolerantModel

__all__ = ["SchemaVersion", "open", "peek", "read_meta", "schema_version", "write_product"]

_MODELS: dict[str, str] = {
    "science_raw": "ScienceRawModel",
    "ramp": "RampModel",
    "image": "ImageModel",
    "wcs": "WfiWcsModel",
}


# ---------------------------------------------------------------------------------------------------- reading
def schema_version(path: str | os.PathLike[str]) -> SchemaVersion:
    """Read from the header under which schema a file was written; costs milliseconds.

    Raises
    ------
    FileFormatError
        If the file is missing, not ASDF, or has no ``roman`` tree.
    SchemaVersionError
        If the ``roman`` tree has no tag of a Roman schema (community products have none).
    """
    source = FileSource(path)
    try:
        header = read_header(lambda start, count: read_bytes(source, start, count), source.name, lambda node: node)
    finally:
        source.close()
    if "roman" not in header.tree:
        msg = f"{source.name} is ASDF but no Roman product: it has no 'roman' tree"
        raise FileFormatError(msg)
    return parse_tag(header.roman_tag, source.name)


def open(path: str | os.PathLike[str], mode: Literal["auto", "strict", "tolerant"] = "auto") -> Any:
    """Open a product or a reference file; arrays are read when they are used.

    An array keeps the file open, so ``open(path).data`` works without holding the model.

    Parameters
    ----------
    path : path
    mode : {"auto", "strict", "tolerant"}
        "auto" gives a model, unvalidated, and falls back to "tolerant" for a schema that is not installed; "strict"
        validates and refuses such a schema; "tolerant" needs no schema at all.

    Returns
    -------
    roman_datamodels.datamodels.DataModel or TolerantModel

    Raises
    ------
    FileFormatError
        If the file is missing, not ASDF, truncated, has no ``roman`` tree, or (strict) is invalid under its schema.
    SchemaVersionError
        In strict mode, if the schema is not installed.
    OptionError
        If there is no such mode.

    Warns
    -----
    SchemaVersionWarning
        If "auto" had to be tolerant.
    """
    if mode not in ("auto", "strict", "tolerant"):
        msg = f"mode {mode!r} is not known; it is 'auto', 'strict' or 'tolerant'"
        raise OptionError(msg)
    tag, arrays = _checked(path)
    asdf_file = _open_asdf(path, lazy_tree=True)
    try:
        model = None if mode == "tolerant" else _as_model(asdf_file)
        if model is None and mode == "strict":
            raise SchemaVersionError(_unknown_schema(path, tag) + "; update roman_datamodels or open it in mode 'auto'")
        if model is not None and mode == "strict":
            _validate(model, path)
    except BaseException:
        asdf_file.close()
        raise
    if model is None:
        if mode == "auto":
            message = f"{_unknown_schema(path, tag)}: opened in tolerant mode, nothing is validated"
            warnings.warn(message, SchemaVersionWarning, stacklevel=2)
        model = TolerantModel(asdf_file, tag, path)
    _hold(asdf_file.tree["roman"], arrays, model)
    return model


def _checked(path: str | os.PathLike[str]) -> tuple[str | None, list[list[str]]]:
    """Check that the file is whole and has a ``roman`` tree; returns its tag and the places of its arrays."""
    with open_blocks(path) as blocks:
        if not isinstance(blocks.tree.get("roman"), dict):
            keys = ", ".join(map(str, blocks.tree))
            msg = f"{blocks.path} is ASDF but no Roman product: it has no 'roman' tree; its top keys are {keys}"
            raise FileFormatError(msg)
        return blocks.roman_tag, [place.split(".")[1:] for place in blocks.arrays() if place.startswith("roman.")]


class _ProductFile(io.FileIO):
    """A file that is closed without a warning when nothing needs it any more.

    Arrays hold the model and the model holds the arrays, so the order in which they go is not ours to choose.
    """

    def __del__(self) -> None:
        self.close()


def _open_asdf(path: str | os.PathLike[str], *, lazy_tree: bool) -> Any:
    """Open with asdf, without validation and without its warnings about versions of packages."""
    import asdf
    from asdf.generic_io import get_file

    file = _ProductFile(path)
    try:
        with asdf.config_context() as config:
            config.validate_on_read = False
            return asdf.open(
                get_file(file, mode="r", uri=Path(path).absolute().as_uri(), close=True),
                lazy_tree=lazy_tree,
                memmap=False,
                ignore_missing_extensions=True,
                ignore_unrecognized_tag=True,
            )
    except Exception as error:  # on a damaged tree the converters of several packages fail in any way they like
        file.close()
        msg = f"{os.fspath(path)} cannot be opened: {_first_line(error)}"
        raise FileFormatError(msg) from error


def _as_model(asdf_file: Any) -> Any:
    """Return the data model of an open file, or None if its schema is not installed."""
    from roman_datamodels import datamodels

    if type(asdf_file.tree["roman"]) not in datamodels.MODEL_REGISTRY:
        return None
    return datamodels.open(asdf_file)


def _validate(model: Any, path: str | os.PathLike[str]) -> None:
    try:
        model.validate()
    except Exception as error:  # validating converts what was not read yet, which may fail in any way
        msg = f"{os.fspath(path)} is not valid under its own schema: {_explained(error)}"
        raise FileFormatError(msg) from error


def _unknown_schema(path: str | os.PathLike[str], tag: str | None) -> str:
    installed = _version("roman-datamodels")
    found = TAG.fullmatch(tag or "")
    schema = f"schema {found['product']}-{found['version']}" if found else f"tag {tag!r}" if tag else "no schema"
    return (
        f"{Path(path).name} was written under {schema}, which the installed roman_datamodels {installed} does not know"
    )


def _hold(roman: Any, places: Iterable[list[str]], model: Any) -> None:
    """Let every array that is not read yet hold the model: the model closes the file when it is collected."""
    from asdf.tags.core import NDArrayType

    for place in places:
        if place[0] == "meta" or any(key.isdigit() for key in place):
            continue  # inside an object (coordinate system, table), which reads its arrays when it is made
        value = roman
        for key in place:
            value = value[key]
        if isinstance(value, NDArrayType):
            value._held_open_by = model


def read_meta(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read ``roman.meta`` as nested plain dicts and lists, with real objects: times, coordinate systems, tables.

    Any schema version can be read. The file is closed again.

    Raises
    ------
    FileFormatError
        If the file is missing, not ASDF, truncated, or has no ``roman.meta``.
    """
    _checked(path)
    with _open_asdf(path, lazy_tree=False) as asdf_file:
        roman = asdf_file.tree["roman"]
        if "meta" not in roman:
            msg = f"{os.fspath(path)} has a 'roman' tree without 'meta'; it is no product of the mission"
            raise FileFormatError(msg)
        values = plain(roman["meta"])
    assert isinstance(values, dict)
    return values


# ---------------------------------------------------------------------------------------------------- writing
def write_product(
    kind: Kind,
    arrays: Mapping[str, Any],
    meta: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    schema: str = "newest",
    compression: Compression = "lz4",
    extra: Mapping[str, Any] | None = None,
    input_tag: str | None = None,
) -> Path:
    """Write a product: checked, brought up to date, validated, and there whole or not at all.

    Parameters
    ----------
    kind : {"science_raw", "ramp", "image", "wcs"}
    arrays : mapping of str to ndarray
        Data types and shapes as in `roman_nexus.products.arrays`; they are not copied.
    meta : mapping
        ``roman.meta``, as `read_meta` gives it. ``filename``, ``file_date`` and ``model_type`` are set here.
    path : path
        Name of the file, ending in ``.asdf``.
    schema : str, optional
        "newest" of the installed roman_datamodels; a version of the schema manifest, for example "2.1.0", which
        roman_datamodels 1.1 and romancal 1.1 read; or "as-input" for that of `input_tag`.
    compression : {"lz4", "zlib", "bzp2", None}, optional
    extra : mapping, optional
        What else to write, by dotted path below ``roman``: ``{"meta.nexus": {...}, "jump_indices": array}``.
    input_tag : str, optional
        With "as-input": the tag of the file from which this one was made (``schema_version(path).tag``).

    Returns
    -------
    Path

    Raises
    ------
    ShapeError
        If arrays are missing or do not fit.
    InputError
        If the metadata are not valid under the schema.
    SchemaVersionError
        If the schema version is not installed or too old to be written.
    OutputError
        If the file cannot be written; nothing is left behind.
    """
    from asdf.exceptions import ValidationError

    target = _checked_target(kind, path)
    tag, manifest = target_tag(kind, schema, input_tag)
    checked = check_arrays(kind, arrays)
    notes = migrate_arrays(kind, checked, manifest)
    values: dict[str, Any] = plain(meta)
    notes += migrate_meta(kind, values, manifest)
    values.update(_file_keys(kind, target))
    tree: dict[str, Any] = {"meta": values, **checked}
    _add_extra(tree, extra or {})
    asdf_file = _with_history(_node(kind, tag, tree), notes, tag)
    try:
        return write_asdf(asdf_file, target, compression)
    except ValidationError as error:
        msg = f"{target.name} would not be valid under {tag.rpartition('/')[2]}: {_explained(error)}"
        raise InputError(msg) from error
    finally:
        asdf_file.close()


def _checked_target(kind: str, path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if kind not in ARRAYS:
        msg = f"cannot write a product of kind {kind!r}; the kinds are {', '.join(ARRAYS)}"
        raise InputError(msg)
    if target.suffix != ".asdf":
        msg = f"cannot write {target}: the name of an ASDF product ends in .asdf"
        raise OutputError(msg)
    return target


def _file_keys(kind: str, target: Path) -> dict[str, Any]:
    from astropy.time import Time

    return {"filename": target.name, "file_date": Time(Time.now(), format="isot"), "model_type": _MODELS[kind]}


def _add_extra(tree: dict[str, Any], extra: Mapping[str, Any]) -> None:
    for dotted, value in extra.items():
        *groups, last = dotted.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                msg = f"extra {dotted!r} cannot be written: {group!r} is not a group"
                raise InputError(msg)
        place[last] = value


@cache
def _node_class(kind: str) -> Any:
    from roman_datamodels import datamodels

    model = getattr(datamodels, _MODELS[kind])
    return next(node for node, known in datamodels.MODEL_REGISTRY.items() if known is model)


def _node(kind: str, tag: str, tree: Mapping[str, Any]) -> Any:
    """Make the node that carries the tag; `create_minimal` is the public way to ask for another than the newest."""
    node = _node_class(kind).create_minimal(tag=tag)
    node.clear()
    node.update(tree)
    return node


def _with_history(node: Any, notes: list[str], tag: str) -> Any:
    import asdf

    software = {"name": "roman_nexus", "author": "roman_nexus developers", "version": _version("roman-nexus")}
    asdf_file = asdf.AsdfFile()
    asdf_file["roman"] = node
    for note in (f"written under {tag.rpartition('/')[2]}", *notes):
        asdf_file.add_history_entry(note, dict(software))
    return asdf_file


# ------------------------------------------------------------------------------------------------------ messages
def _version(package: str) -> str:
    """Version of an installed package; a checkout that was never installed has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def _explained(error: Any) -> str:
    """Say where in the tree a value is wrong, and how."""
    place = ".".join(str(key) for key in getattr(error, "absolute_path", ()) or ())
    return f"{place or 'roman'}: {_first_line(error)}"
