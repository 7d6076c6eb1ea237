"""The reference file types that the pipelines read: what selects them and what they must hold.

Selection keys are those of the ``crds`` package, ``crds/roman/specs/combined_specs.json`` (July 2026): values that
a file must match, beside ``useafter`` against the start of the exposure. Arrays are those of the rad 1.2 schemas;
where the schema fixes only the number of dimensions, the frame is what the step assumes (romancal 1.1.0).

A type that is not in this table can still be selected by a CRDS context; it is only not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from roman_nexus.errors import OptionError

__all__ = ["CRDS_KEYS", "REFERENCE_TYPES", "START_TIME", "ArraySpec", "ReferenceType", "reference_type"]

Frame = Literal["full", "science", "full or science", "channels", "other"]

START_TIME = "ROMAN.META.EXPOSURE.START_TIME"  #: what ``useafter`` is compared with

#: Short name of a selection key -> name in CRDS rules.
CRDS_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "detector": "ROMAN.META.INSTRUMENT.DETECTOR",
        "optical_element": "ROMAN.META.INSTRUMENT.OPTICAL_ELEMENT",
        "exposure_type": "ROMAN.META.EXPOSURE.TYPE",
    }
)


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array of a reference file.

    Attributes
    ----------
    name : str
        Path below ``roman``.
    ndim : int
    dtype : str
        NumPy name; the schema demands exactly this type.
    frame : str
        What the last two axes are: "full" (4096 x 4096), "science" (4088 x 4088), either of them, "channels" (one
        row per read-out channel and one column per Fourier mode of the refpix correction), or "other".
    fill : float or None
        Value that a user's bare array gets for this array if it is not given; None means it must be given.
    zeros : bool
        Whether an array of zeros makes sense.
    """

    name: str
    ndim: int
    dtype: str
    frame: Frame
    fill: float | None = None
    zeros: bool = True


@dataclass(frozen=True, slots=True)
class ReferenceType:
    """What is known of one reference type.

    Attributes
    ----------
    name : str
        CRDS name, lower case; ``meta.reftype`` is the same in upper case.
    title : str
    tag : str
        Stem of the schema tag ``asdf://stsci.edu/datamodels/roman/tags/reference_files/<tag>-x.y.z``.
    model : str
        Class in ``roman_datamodels.datamodels``.
    keys : tuple of str
        Selection keys, short names of `CRDS_KEYS`.
    arrays : tuple of ArraySpec
        The first one is what a bare array given by the user is.
    whole : tuple of str
        Tables, as paths below ``roman``.
    objects : tuple of str
        Things that plain values cannot hold (an astropy model), as paths below ``roman``.
    """

    name: str
    title: str
    tag: str
    model: str
    keys: tuple[str, ...]
    arrays: tuple[ArraySpec, ...] = ()
    whole: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()

    @property
    def crds_keys(self) -> tuple[str, ...]:
        """Selection keys as CRDS names them."""
        return tuple(CRDS_KEYS[key] for key in self.keys)

    @property
    def useafter_key(self) -> str:
        """Value of the exposure that ``useafter`` is compared with."""
        return START_TIME

    def array(self, name: str) -> ArraySpec | None:
        """Return what is known of an array, or None."""
        return next((spec for spec in self.arrays if spec.name == name), None)


def _image(name: str, *, zeros: bool = True, frame: Frame = "full", fill: float | None = None) -> ArraySpec:
    return ArraySpec(name, 2, "float32", frame, fill, zeros)


def _dq(frame: Frame = "full", fill: float | None = 0.0) -> ArraySpec:
    return ArraySpec("dq", 2, "uint32", frame, fill)


_COEFFICIENTS = ArraySpec("coeffs", 3, "float32", "full", zeros=False)
_DETECTOR = ("detector",)
_DETECTOR_TYPE = ("detector", "exposure_type")
_DETECTOR_ELEMENT = ("detector", "optical_element")

_TYPES = (
    ReferenceType("mask", "bad pixels", "mask", "MaskRefModel", _DETECTOR, (_dq(fill=None),)),
    ReferenceType(
        "saturation",
        "saturation threshold",
        "saturation",
        "SaturationRefModel",
        _DETECTOR,
        (_image("data", zeros=False), _dq()),
    ),
    ReferenceType(
        "refpix",
        "reference-pixel correction",
        "refpix",
        "RefpixRefModel",
        _DETECTOR,
        tuple(ArraySpec(name, 2, "complex128", "channels") for name in ("gamma", "zeta", "alpha")),
    ),
    ReferenceType(
        "darkdecaysignal",
        "dark decay signal",
        "darkdecaysignal",
        "DarkdecaysignalRefModel",
        (),
        whole=("decay_table",),
    ),
    ReferenceType("linearity", "linearity", "linearity", "LinearityRefModel", _DETECTOR, (_COEFFICIENTS, _dq())),
    ReferenceType(
        "inverselinearity",
        "inverse linearity",
        "inverselinearity",
        "InverselinearityRefModel",
        _DETECTOR,
        (_COEFFICIENTS, _dq()),
    ),
    ReferenceType(
        "integralnonlinearity",
        "integral non-linearity",
        "integralnonlinearity",
        "IntegralnonlinearityRefModel",
        _DETECTOR,
        whole=("inl_table", "value"),
    ),
    ReferenceType("gain", "gain", "gain", "GainRefModel", _DETECTOR, (_image("data", zeros=False),)),
    ReferenceType(
        "readnoise", "read noise", "readnoise", "ReadnoiseRefModel", _DETECTOR_TYPE, (_image("data", zeros=False),)
    ),
    ReferenceType(
        "dark",
        "dark current",
        "dark",
        "DarkRefModel",
        _DETECTOR_TYPE,
        (_image("dark_slope"), _image("dark_slope_error", fill=0.0), _dq()),
    ),
    ReferenceType(
        "distortion",
        "distortion",
        "distortion",
        "DistortionRefModel",
        _DETECTOR_ELEMENT,
        objects=("coordinate_distortion_transform",),
    ),
    ReferenceType(
        "photom", "photometric calibration", "wfi_img_photom", "WfiImgPhotomRefModel", _DETECTOR, whole=("phot_table",)
    ),
    ReferenceType(
        "flat",
        "flat field",
        "flat",
        "FlatRefModel",
        _DETECTOR_ELEMENT,
        (
            _image("data", zeros=False, frame="full or science"),
            _image("err", frame="full or science", fill=0.0),
            _dq("full or science"),
        ),
    ),
    ReferenceType(
        "area",
        "pixel area",
        "pixelarea",
        "PixelareaRefModel",
        _DETECTOR,
        (_image("data", zeros=False, frame="full or science"),),
    ),
    ReferenceType(
        "epsf",
        "empirical point spread function",
        "epsf",
        "EpsfRefModel",
        _DETECTOR_ELEMENT,
        (ArraySpec("psf", 5, "float32", "other", zeros=False),),
    ),
    ReferenceType("apcorr", "aperture correction", "apcorr", "ApcorrRefModel", _DETECTOR, whole=("data",)),
    ReferenceType(
        "abvegaoffset", "AB - Vega offset", "abvegaoffset", "AbvegaoffsetRefModel", _DETECTOR, whole=("data",)
    ),
    ReferenceType(
        "matable",
        "multi-accumulation tables",
        "matable",
        "MATableRefModel",
        (),
        whole=("science_tables", "guide_window_tables"),
    ),
    ReferenceType(
        "skycells", "skycell definitions", "skycells", "SkycellsRefModel", (), whole=("projection_regions", "skycells")
    ),
)

#: Every type of the table, by name.
REFERENCE_TYPES: Mapping[str, ReferenceType] = MappingProxyType({item.name: item for item in _TYPES})


def reference_type(name: str) -> ReferenceType:
    """Look up a reference type by its CRDS name (any case).

    Raises
    ------
    OptionError
        If the table has no such type.

    Examples
    --------
    >>> from roman_nexus.references.types import reference_type
    >>> reference_type("FLAT").keys
    ('detector', 'optical_element')
    """
    found = REFERENCE_TYPES.get(str(name).lower())
    if found is None:
        msg = f"{name!r} is not a reference type that is read here; known types: {', '.join(REFERENCE_TYPES)}"
        raise OptionError(msg)
    return found
