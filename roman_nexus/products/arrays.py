"""The arrays of each product: names, data types and shapes.

The schemas of the mission check data types and numbers of axes, but not shapes against each other. Here both are
checked, with symbolic lengths: F resultants, Y x X pixels of the full frame, y x x pixels of the image (the full frame
without its border), B border pixels, A columns of the reference output, J jumps (there may be none), C coordinates.
Source: the schemas of rad 1.2, and the 4096 x 4096 frame with 4 border pixels that they describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import ShapeError

__all__ = ["ARRAYS", "ArrayRule", "Kind", "check_arrays"]

Kind = Literal["science_raw", "ramp", "image", "wcs"]


@dataclass(frozen=True, slots=True)
class ArrayRule:
    """One array of a product.

    Attributes
    ----------
    dtype : str
    axes : str
        One letter per axis, see the text of the module.
    required : bool
    """

    dtype: str
    axes: str
    required: bool = True


_BORDER = {
    "border_ref_pix_left": ArrayRule("float32", "FYB"),
    "border_ref_pix_right": ArrayRule("float32", "FYB"),
    "border_ref_pix_top": ArrayRule("float32", "FBX"),
    "border_ref_pix_bottom": ArrayRule("float32", "FBX"),
    "dq_border_ref_pix_left": ArrayRule("uint32", "YB"),
    "dq_border_ref_pix_right": ArrayRule("uint32", "YB"),
    "dq_border_ref_pix_top": ArrayRule("uint32", "BX"),
    "dq_border_ref_pix_bottom": ArrayRule("uint32", "BX"),
}

#: Arrays by kind of product and name.
ARRAYS: dict[str, dict[str, ArrayRule]] = {
    "science_raw": {
        "data": ArrayRule("uint16", "FYX"),
        "amp33": ArrayRule("uint16", "FYA"),
        "resultantdq": ArrayRule("uint8", "FYX", required=False),
        "reference_read": ArrayRule("uint16", "YX", required=False),
        "reference_amp33": ArrayRule("uint16", "YA", required=False),
    },
    "ramp": {
        "data": ArrayRule("float32", "FYX"),
        "pixeldq": ArrayRule("uint32", "YX"),
        "pixeldq2": ArrayRule("uint32", "YX", required=False),  # filled by migration where the schema wants it
        "groupdq": ArrayRule("uint8", "FYX"),
        "amp33": ArrayRule("uint16", "FYA"),
        "reset_read": ArrayRule("uint16", "YX", required=False),
        "reset_amp33": ArrayRule("uint16", "YA", required=False),
        **_BORDER,
    },
    "image": {
        "data": ArrayRule("float32", "yx"),
        "dq": ArrayRule("uint32", "yx"),
        "dq2": ArrayRule("uint32", "yx", required=False),  # filled by migration where the schema wants it
        "err": ArrayRule("float16", "yx"),
        "var_poisson": ArrayRule("float16", "yx"),
        "var_rnoise": ArrayRule("float16", "yx", required=False),
        "var_flat": ArrayRule("float16", "yx", required=False),
        "chisq": ArrayRule("float16", "yx"),
        "dumo": ArrayRule("float16", "yx"),
        "jump_indices": ArrayRule("int16", "JC", required=False),  # not in the schema, but the mission writes it
        "amp33": ArrayRule("uint16", "FYA"),
        **_BORDER,
    },
    "wcs": {},
}


def check_arrays(kind: Kind, arrays: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Check names, data types and shapes of the arrays of a product.

    Parameters
    ----------
    kind : {"science_raw", "ramp", "image", "wcs"}
    arrays : mapping of str to array-like
        Nothing is copied if they are ndarrays.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    ShapeError
        If an array is missing, unknown, of another data type, or does not fit the others.

    Examples
    --------
    >>> import numpy as np
    >>> raw = {"data": np.zeros((2, 32, 32), np.uint16), "amp33": np.zeros((2, 32, 8), np.uint16)}
    >>> sorted(check_arrays("science_raw", raw))
    ['amp33', 'data']
    """
    rules = ARRAYS[kind]
    missing = [name for name, rule in rules.items() if rule.required and name not in arrays]
    unknown = [name for name in arrays if name not in rules]
    if missing or unknown:
        problem = f"needs also {', '.join(missing)}" if missing else f"has no array {', '.join(unknown)}"
        msg = f"a {kind} product {problem}; its arrays are {', '.join(rules) or 'none'}; give others as extra"
        raise ShapeError(msg)
    checked = {name: np.asarray(arrays[name]) for name in rules if name in arrays}
    lengths: dict[str, tuple[int, str]] = {}
    for name, array in checked.items():
        _check_one(kind, name, array, rules[name], lengths)
    _check_border(kind, lengths)
    return checked


def _check_one(
    kind: Kind, name: str, array: NDArray[Any], rule: ArrayRule, lengths: dict[str, tuple[int, str]]
) -> None:
    """Check one array; `lengths` gathers what each letter stands for and which array said so first."""
    if array.dtype.newbyteorder("=") != np.dtype(rule.dtype):
        msg = f"{kind} array {name} is {array.dtype}; the schema wants {rule.dtype}, convert it first"
        raise ShapeError(msg)
    if array.ndim != len(rule.axes) or not (array.size or "J" in rule.axes):
        msg = f"{kind} array {name} has shape {array.shape}; expected {len(rule.axes)} axes, {_axes(rule.axes)}"
        raise ShapeError(msg)
    for letter, length in zip(rule.axes, array.shape, strict=True):
        known, by = lengths.setdefault(letter, (length, name))
        if known != length:
            msg = (
                f"{kind} array {name} has shape {array.shape} ({_axes(rule.axes)}), which does not fit {by}: "
                f"{letter} is {known} there"
            )
            raise ShapeError(msg)


def _check_border(kind: Kind, lengths: Mapping[str, tuple[int, str]]) -> None:
    """Check that the image is the full frame without its border."""
    for inner, outer in ("yY", "xX"):
        if inner in lengths and outer in lengths and "B" in lengths:
            size, frame, border = lengths[inner][0], lengths[outer][0], lengths["B"][0]
            if frame != size + 2 * border:
                msg = (
                    f"the {kind} has {size} pixels along {inner}, its frame (array {lengths[outer][1]}) {frame}; with "
                    f"a border of {border} pixels on each side the frame must have {size + 2 * border}"
                )
                raise ShapeError(msg)


def _axes(axes: str) -> str:
    return "(" + ", ".join(axes) + ")"
