"""The two sides of a comparison, whatever they come as: a path, a result of a run, a model, an archive's row."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import FileFormatError, InputError, ProductLevelError, ShapeError

__all__ = ["KIND_TITLES", "Side", "check_pair", "open_side"]

KIND_TITLES = {"image": "Level 2 image", "ramp": "ramp", "science_raw": "Level 1 file"}
_KINDS = {
    "wfi_image": "image",
    "ImageModel": "image",
    "ramp": "ramp",
    "RampModel": "ramp",
    "wfi_science_raw": "science_raw",
    "ScienceRawModel": "science_raw",
}
_USUAL = ("data", "dq", "err", "var_poisson", "var_rnoise", "var_flat", "chisq", "dumo", "jump_indices",
          "groupdq", "pixeldq", "resultantdq", "amp33")  # fmt: skip


@dataclass
class Side:
    """One product, open.

    Attributes
    ----------
    label : {"rerun", "archive"}
    name : str
        File name, or what stands for it.
    kind : {"image", "ramp", "science_raw"}
    arrays : mapping of str to array-like
        Shape, dtype and basic indexing; they may be read lazily.
    meta : mapping
        Nested; may be empty.
    """

    label: str
    name: str
    kind: str
    arrays: Mapping[str, Any]
    meta: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of ``data``."""
        return tuple(self.arrays["data"].shape)

    def read(self, name: str, key: Any) -> NDArray[Any]:
        """Read a piece of an array in native byte order."""
        piece = np.asarray(self.arrays[name][key])
        return piece if piece.dtype.isnative else piece.astype(piece.dtype.newbyteorder("="))


@contextmanager
def open_side(product: Any, label: str) -> Iterator[Side]:
    """Open one side of a comparison; a file is closed again at the end.

    Parameters
    ----------
    product : path, RateImage, RampProduct, Run, model, or object with ``data``
        A row of an archive's result, that is an object without ``data`` which can be opened, is opened.
    label : {"rerun", "archive"}

    Raises
    ------
    FileFormatError
        If the file cannot be read.
    InputError
        If `product` is nothing of this.
    ProductLevelError
        If it is a product that cannot be compared.
    """
    if isinstance(product, (str, os.PathLike)):
        with _open_file(Path(product), label) as side:
            yield side
        return
    if _member(product, "data") is None and _member(product, "product") is not None:
        product = product.product  # a finished run
    close: Callable[[], Any] | None = None
    if _member(product, "data") is None and callable(getattr(product, "open", None)):
        product = product.open()
        close = getattr(product, "close", None)
    try:
        yield _from_object(product, label)
    finally:
        if close is not None:
            close()


@contextmanager
def _open_file(path: Path, label: str) -> Iterator[Side]:
    from roman_nexus.products import files
    from roman_nexus.products.blocks import open_blocks

    with open_blocks(path) as blocks:
        tree = blocks.tree.get("roman")
        if not isinstance(tree, dict):
            msg = f"{path} is ASDF but no Roman product: it has no 'roman' tree; give a Level 1, ramp or Level 2 file"
            raise FileFormatError(msg)
        kind = _kind_of(re.sub(r".*/|-[\d.]+$", "", blocks.roman_tag or ""), str(path))
        arrays = {name: value for name, value in tree.items() if hasattr(value, "dtype")}
        yield _checked(Side(label, path.name, kind, arrays, files.read_meta(path)))


def _from_object(product: Any, label: str) -> Side:
    data = _member(product, "data")
    if data is None or not hasattr(data, "shape"):
        msg = (
            f"cannot compare a {type(product).__name__}; give the path of an ASDF file, the image or ramp of a run, "
            "an open model, or an object with data, dq, err and meta"
        )
        raise InputError(msg)
    arrays = getattr(product, "arrays", None)
    if not isinstance(arrays, Mapping):
        names = list(product) if isinstance(product, Mapping) else _model_names(product)
        members = {str(name): _member(product, name) for name in names}
        arrays = {name: value for name, value in members.items() if hasattr(value, "dtype") and hasattr(value, "shape")}
    meta = _member(product, "meta")
    meta = meta if isinstance(meta, Mapping) else {}
    kind = getattr(product, "kind", None)
    if kind not in KIND_TITLES:
        kind = _KINDS.get(type(product).__name__) or _guess_kind(product, arrays)
    name = getattr(product, "filename", None) or meta.get("filename") or type(product).__name__
    return _checked(Side(label, str(name), kind, arrays, meta))


def _member(product: Any, name: str) -> Any:
    """Return an item of a mapping or an attribute of anything else, None if there is none."""
    if isinstance(product, Mapping):
        return product.get(name)
    return getattr(product, name, None)


def _model_names(product: Any) -> list[str]:
    """Return the names of what may be arrays: a model lists its own."""
    keys = getattr(product, "keys", None)
    if callable(keys):
        return [str(name) for name in keys()]
    members = (name for name in getattr(product, "__dict__", {}) if not name.startswith("_"))
    return list(dict.fromkeys((*(name for name in _USUAL if hasattr(product, name)), *members)))


def _kind_of(tag: str, what: str) -> str:
    if tag in _KINDS:
        return _KINDS[tag]
    msg = (
        f"{what} holds {tag or 'an untagged tree'}; what can be compared is a Level 1 file (wfi_science_raw), "
        "a ramp (ramp) or a Level 2 image (wfi_image)"
    )
    raise ProductLevelError(msg)


def _guess_kind(product: Any, arrays: Mapping[str, Any]) -> str:
    """Tell what an object holds by the shape and type of its data."""
    type_name = type(product).__name__
    if type_name.endswith("Model"):
        return _kind_of(type_name, f"the {type_name}")
    data = arrays["data"]
    if data.ndim == 2:
        return "image"
    if data.ndim == 3:
        return "science_raw" if data.dtype.kind == "u" else "ramp"
    msg = f"data of the {type_name} has shape {tuple(data.shape)}; expected (ny, nx) or (resultants, ny, nx)"
    raise ShapeError(msg)


def _checked(side: Side) -> Side:
    """Refuse a product whose arrays do not fit together."""
    if "data" not in side.arrays:
        msg = f"{side.name} has no array 'data'; its arrays are {', '.join(side.arrays) or 'none'}"
        raise ShapeError(msg)
    shape = side.shape
    wanted = 2 if side.kind == "image" else 3
    if len(shape) != wanted or 0 in shape:
        axes = "(ny, nx)" if wanted == 2 else "(resultants, ny, nx)"
        msg = f"{side.name}: data has shape {shape}; a {KIND_TITLES[side.kind]} has {axes}, none of them 0"
        raise ShapeError(msg)
    expected = dict.fromkeys(("err", "dq", "var_poisson", "var_rnoise", "var_flat", "chisq", "dumo"), shape)
    expected |= {"groupdq": shape, "resultantdq": shape, "pixeldq": shape[-2:]}
    for name, array in side.arrays.items():
        if name in expected and tuple(array.shape) != expected[name]:
            msg = f"{side.name}: {name} has shape {tuple(array.shape)} but data has {shape}; the product is damaged"
            raise ShapeError(msg)
    return side


def check_pair(new: Side, old: Side) -> None:
    """Refuse two products that have nothing to do with each other.

    Raises
    ------
    ProductLevelError
        If one is a ramp and the other an image.
    ShapeError
        If their shapes differ.
    """
    if new.kind != old.kind:
        msg = (
            f"cannot compare a {KIND_TITLES[new.kind]} ({new.label}: {new.name}) with a {KIND_TITLES[old.kind]} "
            f"({old.label}: {old.name}); run with stop= at the step that made the archive's product, or give the "
            "product of the same level"
        )
        raise ProductLevelError(msg)
    if new.shape != old.shape:
        msg = (
            f"cannot compare data of shape {new.shape} ({new.label}: {new.name}) with {old.shape} ({old.label}: "
            f"{old.name}); give two products of the same detector frame"
            + (" and read pattern" if len(new.shape) == 3 and new.shape[0] != old.shape[0] else "")
        )
        raise ShapeError(msg)
