"""Reference files on disk, as the calibration reference system would deliver them.

Names follow its grammar, ``roman_wfi_<type>_<serial>.asdf``. The serial is the detector's number, plus a hundred for
each optical element before it in the list of elements where a type depends on the element.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roman_nexus.demo.bands import BANDS, band
from roman_nexus.demo.fields import check_detector
from roman_nexus.demo.references import REFERENCE_TYPES, ReferenceSet
from roman_nexus.demo.saving import replacing
from roman_nexus.errors import OptionError
from roman_nexus.products.names import ReferenceName
from roman_nexus.steps.step import CHANNEL_WIDTH

__all__ = ["USEAFTER", "reference_model", "reference_name", "reference_paths", "write_references"]

USEAFTER = "2020-01-01T00:00:00"
_TAG = "asdf://stsci.edu/datamodels/roman/tags/reference_files/{}-2.0.0"  # equal in manifests 2.1.0 and 2.2.0
_MODELS = {
    "mask": "MaskRefModel",
    "saturation": "SaturationRefModel",
    "refpix": "RefpixRefModel",
    "darkdecaysignal": "DarkdecaysignalRefModel",
    "linearity": "LinearityRefModel",
    "inverselinearity": "InverselinearityRefModel",
    "integralnonlinearity": "IntegralnonlinearityRefModel",
    "gain": "GainRefModel",
    "readnoise": "ReadnoiseRefModel",
    "dark": "DarkRefModel",
    "distortion": "DistortionRefModel",
    "photom": "WfiImgPhotomRefModel",
    "flat": "FlatRefModel",
}
_OF_ELEMENT = ("distortion", "flat", "dark")  # with an optical element in their metadata
_NAMED_BY_ELEMENT = ("distortion", "flat")
_OF_EXPOSURE_TYPE = ("dark", "readnoise", "refpix")
_ALL_EXPOSURES = "WFI_IMAGE|WFI_LOLO|WFI_WFSC|WFI_SPECTRAL|WFI_FLAT|WFI_IM_DARK|WFI_SP_DARK|"


def reference_name(reftype: str, detector: str = "WFI01", optical_element: str = "F158") -> str:
    """Return the file name of a reference.

    Examples
    --------
    >>> from roman_nexus.demo.reference_files import reference_name
    >>> reference_name("gain", "WFI07"), reference_name("flat", "WFI07", "F062")
    ('roman_wfi_gain_0007.asdf', 'roman_wfi_flat_0107.asdf')
    """
    serial = 1 if reftype == "darkdecaysignal" else check_detector(detector)
    if reftype in _NAMED_BY_ELEMENT:
        serial += 100 * (1 + list(BANDS).index(band(optical_element).name))
    return str(ReferenceName("wfi", reftype, serial, "asdf"))


def reference_paths(
    folder: str | Path, detector: str, optical_element: str, reftypes: Iterable[str] = REFERENCE_TYPES
) -> dict[str, Path]:
    """Return the files in a folder that calibrate a detector and element, by type; only those that are there."""
    paths = {name: Path(folder) / reference_name(name, detector, optical_element) for name in reftypes}
    return {name: path for name, path in paths.items() if path.is_file()}


def reference_model(references: ReferenceSet, reftype: str, optical_element: str = "F158") -> Any:
    """Return a reference as a `roman_datamodels` model.

    Parameters
    ----------
    references : ReferenceSet
    reftype : str
    optical_element : str

    Raises
    ------
    OptionError
        If there is no such type, or no flat for the element.
    """
    import roman_datamodels.datamodels as rdm

    content = references.contents(reftype, optical_element)
    name = _MODELS[reftype]
    tag = _TAG.format("wfi_img_photom" if reftype == "photom" else reftype)
    meta = _meta(references, reftype, optical_element)
    transform = content.pop("coordinate_distortion_transform", None)
    model = getattr(rdm, name).create_fake_data({"meta": meta, **content}, tag=tag)
    if transform is not None:
        model["coordinate_distortion_transform"] = transform
    return model


def write_references(
    references: ReferenceSet,
    folder: str | Path,
    optical_elements: Iterable[str] = ("F158",),
    reftypes: Iterable[str] = REFERENCE_TYPES,
    *,
    overwrite: bool = True,
) -> list[Path]:
    """Write the reference files of a detector.

    Parameters
    ----------
    references : ReferenceSet
    folder : str or Path
        Must exist.
    optical_elements : iterable of str
        For which flats and distortions are written; there are no flats for the grism and prism.
    reftypes : iterable of str
    overwrite : bool
        False leaves files that are there as they are.

    Returns
    -------
    list of Path
        All files of the set, in the order of `reftypes`.

    Raises
    ------
    OptionError
        If a type or element is unknown.
    OutputError
        If a file cannot be written.
    """
    elements = [band(name).name for name in optical_elements]
    if not elements:
        msg = "optical_elements is empty; name at least one, such as F158"
        raise OptionError(msg)
    written: list[Path] = []
    for reftype in reftypes:
        for element in elements if reftype in _NAMED_BY_ELEMENT else elements[:1]:
            if reftype == "flat" and (BANDS[element].dispersed or element == "DARK"):
                continue
            path = Path(folder) / reference_name(reftype, references.detector, element)
            if overwrite or not path.is_file():
                model = reference_model(references, reftype, element)
                with replacing(path) as temporary:
                    model.save(temporary)
            written.append(path)
    return written


def _meta(references: ReferenceSet, reftype: str, optical_element: str) -> dict[str, Any]:
    from astropy.time import Time

    shared = reftype == "darkdecaysignal"
    meta: dict[str, Any] = {
        "reftype": reftype.upper(),
        "pedigree": "DUMMY",
        "description": f"Simulated {reftype} reference of the roman_nexus demo, seed {references.seed}",
        "author": "roman_nexus.demo",
        "origin": "STSCI",
        "telescope": "ROMAN",
        "useafter": Time(USEAFTER, format="isot", scale="utc"),
        "instrument": {"name": "WFI", "detector": "NOT_CONFIGURED" if shared else references.detector},
    }
    if reftype in _OF_ELEMENT:
        meta["instrument"]["optical_element"] = optical_element
    if reftype in _OF_EXPOSURE_TYPE:
        meta["exposure"] = {"type": "WFI_IMAGE", "p_exptype": _ALL_EXPOSURES}
    if reftype == "integralnonlinearity":
        meta["n_channels"] = references.shape[1] // CHANNEL_WIDTH
        meta["n_pixels_per_channel"] = references.shape[0] * CHANNEL_WIDTH
    return meta
