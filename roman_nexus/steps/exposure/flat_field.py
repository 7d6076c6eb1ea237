"""flat_field: divide the rate image by the flat field.

With the flat f (1 where it is NaN, zero or flagged NO_FLAT_FIELD), as in ``romancal`` 1.1 ``do_flat_field``::

    data, dumo, err   divided by f
    var_poisson, var_rnoise   divided by f * f
    dq   joined with the flat's, and NO_FLAT_FIELD where f is NaN or zero

All arithmetic is float32; what is stored as float16 is rounded once more. A negative flat makes a negative err. With
``include_var_flat`` the error of the flat is propagated, with the data already divided::

    var_flat = data**2 / f**2 * flat_err**2,    err = sqrt(err**2 + var_flat)

where err**2 is rounded to float16 on the way. ``romancal`` leaves the two results as float32, which the Level 2 schema
refuses; here they become float16.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roman_nexus.dq import PixelFlag
from roman_nexus.errors import ReferenceMismatchError, ShapeError
from roman_nexus.steps.half_precision import narrow, widen
from roman_nexus.steps.step import ExposureInfo, ImageBlock, Needs, Options, References, Step

__all__ = ["STEP", "FlatFieldOptions", "apply"]

NO_FLAT_FIELD = np.uint32(PixelFlag.NO_FLAT_FIELD)
_PLANES = ("dq", "err", "var_poisson", "var_rnoise", "var_flat", "dumo")
ZERO, ONE = np.float32(0.0), np.float32(1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatFieldOptions(Options):
    """Options of `flat_field`."""

    include_var_flat: bool = field(
        default=False, metadata={"doc": "propagate the flat's error into err and add var_flat", "unit": ""}
    )


# ------------------------------------------------------------------------------------------ kernels
# Row by row: the rows stay in the first-level cache, and each loop touches few enough arrays to be vectorised.
@njit(nogil=True, cache=True, error_model="numpy")
def _prepare_row(flat, flat_dq, dq, divisor):  # type: ignore[no-untyped-def]
    """Put what to divide by into `divisor` and join the flags."""
    for x in range(flat.size):
        value = flat[x]
        flags = flat_dq[x] | (NO_FLAT_FIELD if (value != value) | (value == ZERO) else np.uint32(0))
        divisor[x] = ONE if flags & NO_FLAT_FIELD != 0 else value
        dq[x] |= flags


@njit(nogil=True, cache=True, error_model="numpy")
def _divide_half(plane, divisor):  # type: ignore[no-untyped-def]
    """Divide float16 bits by float32 numbers."""
    for x in range(plane.size):
        plane[x] = narrow(widen(plane[x]) / divisor[x])


@njit(nogil=True, cache=True, error_model="numpy")
def _divide(data, dq, linear, quadratic, flat, flat_dq):  # type: ignore[no-untyped-def]
    """Divide a block; `linear` and `quadratic` are the planes that go with f and with f * f."""
    ny, nx = data.shape
    divisor = np.empty(nx, dtype=np.float32)
    for y in range(ny):
        _prepare_row(flat[y], flat_dq[y], dq[y], divisor)
        row = data[y]
        for x in range(nx):
            row[x] /= divisor[x]
        for plane in linear:
            _divide_half(plane[y], divisor)
        for x in range(nx):
            divisor[x] = divisor[x] * divisor[x]
        for plane in quadratic:
            _divide_half(plane[y], divisor)


@njit(nogil=True, cache=True, error_model="numpy")
def _add_flat_variance(data, err, var_flat, flat, flat_dq, flat_err):  # type: ignore[no-untyped-def]
    """Propagate the flat's error; `data` and `err` are divided already."""
    ny, nx = data.shape
    for y in range(ny):
        for x in range(nx):
            value = flat[y, x]
            if (value != value) | (value == ZERO) | (flat_dq[y, x] & NO_FLAT_FIELD != 0):
                value = ONE
            variance = data[y, x] * data[y, x] / (value * value) * (flat_err[y, x] * flat_err[y, x])
            sigma = widen(err[y, x])
            err[y, x] = narrow(np.sqrt(widen(narrow(sigma * sigma)) + variance))
            var_flat[y, x] = narrow(variance)


# --------------------------------------------------------------------------------------------- step
def apply(
    block: ImageBlock, references: References, options: FlatFieldOptions, exposure: ExposureInfo, state: None = None
) -> None:
    """Divide by the flat in place.

    Parameters
    ----------
    block : ImageBlock
        ``data``, ``err``, ``var_poisson``, ``var_rnoise`` (if there is one), ``dumo`` and ``dq`` change;
        ``var_flat`` is set with ``include_var_flat``.
    references : mapping
        ``references["flat"]``: ``data`` and ``err`` (ny, nx) float32, ``dq`` (ny, nx) uint32.
    options : FlatFieldOptions
    exposure : ExposureInfo
    state : None

    Raises
    ------
    ReferenceMismatchError
        If a reference array has another shape than the data.
    ShapeError
        If the planes of the block have different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.flat_field import STEP
    >>> from roman_nexus.steps.step import ExposureInfo, ImageBlock
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16)
    >>> half = [np.ones((1, 2), dtype=np.float16) for _ in range(4)]
    >>> rate = np.array([[1.0, 2.0]], dtype=np.float32)
    >>> block = ImageBlock(rate, np.zeros((1, 2), np.uint32), *half, slice(0, 1), slice(0, 2))
    >>> flat = {name: np.array([[0.5, 0.0]], np.float32) for name in ("data", "err")}
    >>> STEP.apply(block, {"flat": flat | {"dq": np.zeros((1, 2), np.uint32)}}, STEP.options(), exposure, None)
    >>> block.data, block.var_poisson, block.dq
    (array([[2., 2.]], dtype=float32), array([[4., 1.]], dtype=float16), array([[     0, 262144]], dtype=uint32))
    """
    for name in _PLANES:
        plane = getattr(block, name)
        if plane is not None and plane.shape != block.data.shape:
            msg = f"{name} of the rate image has shape {plane.shape}; expected {block.data.shape}, like data"
            raise ShapeError(msg)
    flat, flat_dq, flat_err = _flat_arrays(references["flat"], block.data.shape)
    quadratic = [block.var_poisson] if block.var_rnoise is None else [block.var_poisson, block.var_rnoise]
    _divide(block.data, block.dq, _bits(block.dumo, block.err), _bits(*quadratic), flat, flat_dq)
    if options.include_var_flat:
        if block.var_flat is None:
            block.var_flat = np.empty(block.data.shape, dtype=np.float16)
        err, var_flat = _bits(block.err, block.var_flat)
        _add_flat_variance(block.data, err, var_flat, flat, flat_dq, flat_err)


def _bits(*planes: NDArray[np.float16]) -> tuple[NDArray[np.uint16], ...]:
    """View float16 planes as the integers that compiled code understands."""
    return tuple(plane.view(np.uint16) for plane in planes)


def _flat_arrays(flat: Any, shape: tuple[int, ...]) -> list[NDArray[Any]]:
    """Return data, dq and err of the reference as the one kind of array for which the kernels are compiled."""
    views = []
    for name, dtype in (("data", np.float32), ("dq", np.uint32), ("err", np.float32)):
        if flat[name].shape != shape:
            msg = f"flat reference {name} has shape {flat[name].shape}; expected {shape}, like the rate image"
            raise ReferenceMismatchError(msg)
        view = np.require(flat[name], dtype, ["C", "A"]).view()
        view.flags.writeable = False
        views.append(view)
    return views


STEP = Step(
    name="flat_field",
    level="image",
    options=FlatFieldOptions,
    apply=apply,
    references=(Needs("flat", images=("data", "dq", "err"), missing="skip"),),
    suffix="flat",
    title="Divide by the flat field",
    quirks={"include_var_flat": "romancal writes err and var_flat as float32, which cannot be saved; here float16"},
)
