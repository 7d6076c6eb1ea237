"""The contract between a calibration step and the engine.

A step is a module with four things: what it corrects and the equation with its source; its options, a
frozen dataclass derived from `Options`; a function on arrays; and a declaration, `Step`. The engine knows
steps by their declarations only.

How a ramp travels
------------------
The engine never holds a whole ramp. It hands a step `RampBlock` after `RampBlock`:

* a step that declares ``couples="pixel"`` gets row blocks: some rows, **all** columns, all resultants;
* a step that declares ``couples="channel"`` gets channel strips: all rows, the 128 columns of one read-out
  channel, all resultants.

A step must not care which rows or columns it gets beyond that; ``block.rows`` and ``block.columns`` tell
where the block lies in the full frame (including the 4-pixel reference border). Steps change the block in
place. Blocks are processed in several threads at once: heavy loops are ``numba.njit(nogil=True, cache=True)``
or NumPy/SciPy calls that release the GIL, and a step keeps no state between calls.

Reference arrays arrive cut to the block: ``references["saturation"]["data"]`` has the block's ``(ny, nx)`` as
its last two axes. They may be views of shared memory: never write to them. An array that is not an image of
the detector (a table, a coefficient per channel) is declared in `Needs.whole` and arrives whole, as the object
that the file holds.

A step that must see the whole exposure first has ``prepare(frame, references, options, exposure) -> state``;
the small state is then handed to every call of ``apply``.

What a step cannot work with, it says before the first pixel is touched, in ``check(references, options, exposure)``.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import OptionError

__all__ = [
    "BORDER",
    "CHANNEL_WIDTH",
    "ExposureInfo",
    "FitBlock",
    "ImageBlock",
    "Needs",
    "Options",
    "Pointing",
    "RampBlock",
    "RampFrame",
    "RawBlock",
    "Step",
]

BORDER = 4  #: reference pixels on each side of the full frame
CHANNEL_WIDTH = 128  #: columns read by one output amplifier

Arrays = Mapping[str, Any]
References = Mapping[str, Arrays]


# --------------------------------------------------------------------------- what a step may know
@dataclass(frozen=True, slots=True)
class Pointing:
    """Where the detector looked: the numbers of ``meta.wcsinfo`` and the velocity aberration.

    Attributes
    ----------
    v2_ref, v3_ref : float
        Reference point in the telescope frame, arcsec.
    ra_ref, dec_ref, roll_ref : float
        The same point on the sky (ICRS) and the roll there, degrees.
    vparity : int
        Handedness of the detector frame, -1 or 1.
    v3yangle : float
        Angle from V3 to the detector's y axis, degrees.
    scale_factor : float or None
        Velocity aberration, close to 1; None means not known.
    """

    v2_ref: float
    v3_ref: float
    ra_ref: float
    dec_ref: float
    roll_ref: float
    vparity: int = -1
    v3yangle: float = -60.0
    scale_factor: float | None = None


@dataclass(frozen=True, slots=True)
class ExposureInfo:
    """The metadata a step may use, as plain values.

    Attributes
    ----------
    detector : str
        "WFI01" to "WFI18".
    optical_element : str
        For example "F158", upper case.
    exposure_type : str
        For example "WFI_IMAGE".
    read_pattern : tuple of tuple of int
        Read numbers (from 1) that were averaged into each resultant.
    frame_time : float
        Seconds per read.
    start_time : str
        Start of the exposure, ISO 8601, UTC.
    shape : tuple of int
        Full frame (ny, nx) including the reference border.
    guide_window : tuple of int or None
        (xstart, xstop, ystart, ystop) in full-frame pixels, or None when not known.
    data_encoding_offset : int
        Subtracted from ``data`` and ``amp33``, DN.
    pointing : Pointing or None
        None when the file does not say where it looked.
    ma_table_number : int or None
        Multi-accumulation table.
    """

    detector: str
    optical_element: str
    exposure_type: str
    read_pattern: tuple[tuple[int, ...], ...]
    frame_time: float
    start_time: str = "2027-01-01T00:00:00.000"
    shape: tuple[int, int] = (4096, 4096)
    guide_window: tuple[int, int, int, int] | None = None
    data_encoding_offset: int = 0
    pointing: Pointing | None = None
    ma_table_number: int | None = None

    @property
    def sca(self) -> int:
        """Sensor chip assembly number, 1 to 18."""
        return int(self.detector[-2:])

    @property
    def nresultants(self) -> int:
        """Number of resultants F."""
        return len(self.read_pattern)

    @property
    def science_shape(self) -> tuple[int, int]:
        """Shape of the rate image: the full frame without the border."""
        return self.shape[0] - 2 * BORDER, self.shape[1] - 2 * BORDER


# ------------------------------------------------------------------------------- what a step works on
@dataclass(slots=True)
class RawBlock:
    """Some rows of a Level 1 file: what dq_init starts from.

    Attributes
    ----------
    data : (F, ny, nx) uint16 ndarray, DN
    rows, columns : slice
        Place in the full frame.
    resultantdq : (F, ny, nx) uint8 ndarray or None
    reference_read : (ny, nx) uint16 ndarray or None, DN
    """

    data: NDArray[np.uint16]
    rows: slice
    columns: slice
    resultantdq: NDArray[np.uint8] | None = None
    reference_read: NDArray[np.uint16] | None = None


@dataclass(slots=True)
class RampBlock:
    """A piece of a ramp.

    Attributes
    ----------
    data : (F, ny, nx) float32 ndarray, DN
    groupdq : (F, ny, nx) uint8 ndarray
    pixeldq : (ny, nx) uint32 ndarray
    rows, columns : slice
        Place in the full frame.
    """

    data: NDArray[np.float32]
    groupdq: NDArray[np.uint8]
    pixeldq: NDArray[np.uint32]
    rows: slice
    columns: slice


@dataclass(slots=True)
class FitBlock:
    """What a ramp fit makes of a `RampBlock`; all float arrays are float32 and (ny, nx).

    Attributes
    ----------
    rate : DN/s
    err : DN/s, total one sigma
    var_poisson, var_rnoise : DN2/s2
    chisq : chi-square of the final fit
    dumo : DN/s, uniform-weight slope minus `rate`
    dq : (ny, nx) uint32 ndarray
    jumps : (n, 3) int16 ndarray or None
        Resultant, y, x (full frame) of every jump, ordered by resultant, then y, then x.
    """

    rate: NDArray[np.float32]
    err: NDArray[np.float32]
    var_poisson: NDArray[np.float32]
    var_rnoise: NDArray[np.float32]
    chisq: NDArray[np.float32]
    dumo: NDArray[np.float32]
    dq: NDArray[np.uint32]
    jumps: NDArray[np.int16] | None = None


@dataclass(slots=True)
class ImageBlock:
    """Some rows of a rate image, in the science frame (border removed).

    Attributes
    ----------
    data : (ny, nx) float32 ndarray, DN/s
    dq : (ny, nx) uint32 ndarray
    err, var_poisson, chisq, dumo : (ny, nx) float16 ndarray
        DN/s, DN2/s2, -, DN/s. float16 is what the Level 2 schema stores.
    var_rnoise, var_flat : (ny, nx) float16 ndarray or None, DN2/s2
    rows, columns : slice
        Place in the science frame.
    """

    data: NDArray[np.float32]
    dq: NDArray[np.uint32]
    err: NDArray[np.float16]
    var_poisson: NDArray[np.float16]
    chisq: NDArray[np.float16]
    dumo: NDArray[np.float16]
    rows: slice
    columns: slice
    var_rnoise: NDArray[np.float16] | None = None
    var_flat: NDArray[np.float16] | None = None


class RampFrame(Protocol):
    """The whole exposure as it stands before a step, for that step's ``prepare``.

    Attributes
    ----------
    shape : (F, ny, nx)
    amp33 : (F, ny, 128) uint16 ndarray, DN
        The reference output. A step may replace it.
    """

    shape: tuple[int, int, int]
    amp33: NDArray[np.uint16]

    def cut(self, rows: slice, columns: slice) -> RampBlock:
        """Copy a small piece (border columns, border rows), processed by all earlier steps."""

    def row_blocks(self) -> Iterator[RampBlock]:
        """Iterate over copies of all row blocks, processed by all earlier steps."""

    def map(self, function: Callable[[int], Any], items: Iterable[int]) -> list[Any]:
        """Call `function` on each item in the threads of the run; the results come in order."""


# ------------------------------------------------------------------------------------------- options
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Parent of every step's options: frozen, keyword-only, checked when made.

    Derived classes are ``@dataclass(frozen=True, slots=True, kw_only=True)``; each field has a default (the
    mission's) and ``field(metadata={"doc": ..., "unit": ...})``. Ranges are checked in ``__post_init__``.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, in the order they are declared."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make options from plain values; refuses unknown names and wrong types.

        Raises
        ------
        OptionError
            Naming the option, the value and what is accepted.
        """
        hints = typing.get_type_hints(cls)
        names = [item.name for item in dataclasses.fields(cls)]
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name not in names:
                known = ", ".join(names) or "none"
                msg = f"{cls.__name__} has no option {name!r}; its options are: {known}"
                raise OptionError(msg)
            _check_type(cls.__name__, name, value, hints[name])
            # 2 and 2.0 are the same option: they must give the same key
            given[name] = float(value) if type(value) is int and float in _kinds(hints[name]) else value
        return cls(**given)


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Return the types that an annotation names."""
    return typing.get_args(hint) if typing.get_origin(hint) is not None else (hint,)


def _check_type(owner: str, name: str, value: Any, hint: Any) -> None:
    """Refuse a value of another type than the annotation says (int is accepted for float)."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        accepted: tuple[Any, ...] = typing.get_args(hint)
        if value not in accepted:
            msg = f"{owner}.{name} is {value!r}; accepted are {', '.join(map(repr, accepted))}"
            raise OptionError(msg)
        return
    kinds = _kinds(hint)
    if type(None) in kinds and value is None:
        return
    kinds = tuple(kind for kind in kinds if isinstance(kind, type))
    if float in kinds:
        kinds += (int,)
    if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
        msg = f"{owner}.{name} is {value!r}; expected {' or '.join(kind.__name__ for kind in kinds)}"
        raise OptionError(msg)


# --------------------------------------------------------------------------------------- declaration
@dataclass(frozen=True, slots=True)
class Needs:
    """One reference type that a step reads.

    Attributes
    ----------
    reftype : str
        CRDS name in lower case, for example "saturation".
    images : tuple of str
        Arrays whose last two axes are the detector (full frame, or science frame for image steps); they
        arrive cut to the block.
    whole : tuple of str
        Arrays or objects that arrive whole (attribute path below ``roman``, for example "inl_table").
    channels : tuple of str
        Arrays with one row per read-out channel on axis 0; a channel step gets only the row of its channel.
    missing : {"error", "skip", "without"}
        What happens when there is no such reference: refuse to run, skip the step, or run without it.
    """

    reftype: str
    images: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    missing: Literal["error", "skip", "without"] = "error"


@dataclass(frozen=True, slots=True)
class Step:
    """The declaration of a calibration step.

    Attributes
    ----------
    name : str
        Name of the step and its module.
    level : {"raw", "ramp", "fit", "image", "meta"}
        What ``apply`` takes and gives. All are called as ``apply(block, references, options, exposure, state)``:

        * "raw": `RawBlock` -> `RampBlock` (dq_init only)
        * "ramp": changes a `RampBlock` in place, returns None
        * "fit": `RampBlock` -> `FitBlock`
        * "image": changes an `ImageBlock` in place, returns None
        * "meta": ``apply(None, references, options, exposure, state)`` returns a dict of metadata, keys are dotted
          paths below ``meta``

    options : type of Options
    apply : callable
    references : tuple of Needs
    prepare : callable or None
        ``prepare(frame, references, options, exposure) -> state``; in it every reference array is whole
        (array-like with basic indexing, possibly lazily read).
    needs_prepare : callable or None
        ``needs_prepare(options, exposure) -> bool``; None means that `prepare` is always called.
    check : callable or None
        ``check(references, options, exposure)`` raises InputError where the step cannot work, and returns sentences
        about what is odd. It is called when a run is planned; what it takes from `references` is read then.
    couples : {"pixel", "channel"}
        Which pixels the step mixes; see the module's text.
    applies : callable or None
        ``applies(exposure) -> bool``; where False the status is "N/A".
    cal_step : str
        Key in ``meta.cal_step``; equal to `name` except for dark_current ("dark").
    suffix : str
        File-name suffix of the step's product, for example "linearity".
    version : str
        Changes whenever the numbers change; part of the cache key.
    title : str
        One line for people.
    """

    name: str
    level: Literal["raw", "ramp", "fit", "image", "meta"]
    options: type[Options]
    apply: Callable[..., Any]
    references: tuple[Needs, ...] = ()
    prepare: Callable[..., Any] | None = None
    needs_prepare: Callable[[Any, ExposureInfo], bool] | None = None
    check: Callable[[References, Any, ExposureInfo], Sequence[str]] | None = None
    couples: Literal["pixel", "channel"] = "pixel"
    applies: Callable[[ExposureInfo], bool] | None = None
    cal_step: str = ""
    suffix: str = ""
    version: str = "1"
    title: str = ""
    quirks: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.cal_step:
            object.__setattr__(self, "cal_step", self.name)
        if not self.suffix:
            object.__setattr__(self, "suffix", self.name)
