"""References made from what a user gives: a path, an array, a dictionary of arrays, a model, a FITS image, "skip".

A bare array is the main array of its type (``data`` of a flat); what else the type holds gets a default: data
quality and errors are zero. Arrays are converted to the type that the step works with, where that loses nothing but
precision.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import FileFormatError, OptionError, ReferenceNotFoundError
from roman_nexus.references.reference import FileContent, MemoryContent, Reference, not_applicable, tag_stem
from roman_nexus.references.rules import NOT_APPLICABLE
from roman_nexus.references.types import ArraySpec, ReferenceType, reference_type

if TYPE_CHECKING:
    from roman_nexus.products.digests import DigestMemory

__all__ = ["make_reference"]

OVERRIDE = "override"
GIVEN = "given by the user"
_SKIP = ("skip", "n/a")


def make_reference(
    reftype: str,
    given: Any,
    *,
    locate: Callable[[str], Path | None] | None = None,
    digests: DigestMemory | None = None,
) -> Reference:
    """Make a reference from what a user gives.

    Parameters
    ----------
    reftype : str
    given : path, str, ndarray, mapping, model or AsdfFile
        * a path of an ASDF reference file or of a FITS image;
        * ``crds://<file>``;
        * an array, which is the main array of the type;
        * a mapping of array and table names to values, with or without ``meta``, or an ASDF tree with ``roman``;
        * a ``roman_datamodels`` model or an open ``asdf.AsdfFile``;
        * "skip" or "N/A": use none.
    locate : callable, optional
        Where ``crds://`` names are looked up.
    digests : DigestMemory, optional
        Where digests of files are remembered.

    Returns
    -------
    Reference

    Raises
    ------
    OptionError
        If `given` cannot be a reference of this type.
    ReferenceNotFoundError
        If there is no such file.
    FileFormatError
        If the file is neither ASDF nor FITS.

    Examples
    --------
    >>> import numpy as np
    >>> flat = make_reference("flat", np.ones((8, 8)))
    >>> flat.name, flat.array("data").dtype.name, int(flat.array("dq").max())
    ('memory://flat', 'float32', 0)
    >>> make_reference("dark", "skip").applies
    False
    """
    known = reference_type(reftype)
    if isinstance(given, str) and given.strip().lower() in _SKIP:
        return not_applicable(known.name, OVERRIDE, "skipped by the user")
    if isinstance(given, Reference):
        if given.reftype != known.name:
            msg = (
                f"override of {known.name} is a {given.reftype} reference ({given.name}); give a {known.name} reference"
            )
            raise OptionError(msg)
        return given
    if isinstance(given, (str, PathLike)):
        return _from_file(known, str(given), locate, digests)
    if isinstance(given, np.ndarray):
        return _from_values(known, {_main_array(known, "an array").name: given})
    if hasattr(given, "tree") and isinstance(given.tree, Mapping):
        given = given.tree
    if isinstance(given, Mapping) or hasattr(given, "meta"):
        return _from_values(known, given)
    msg = (
        f"override of {known.name} is {type(given).__name__}; expected a path, an array, a mapping of arrays, a "
        f"{known.model}, or 'skip'"
    )
    raise OptionError(msg)


def file_reference(
    reftype: str, name: str, path: Path, origin: str, why: str, digests: DigestMemory | None = None
) -> Reference:
    """Make a reference from an ASDF file, without opening it."""
    return Reference(reftype, name, path, origin, why, FileContent(path, digests))


def _from_file(
    known: ReferenceType,
    given: str,
    locate: Callable[[str], Path | None] | None,
    digests: DigestMemory | None,
) -> Reference:
    """Make a reference from a path or a CRDS name."""
    if given.startswith("crds://"):
        found = locate(given) if locate is not None else None
        if found is None:
            msg = f"{known.name} reference {given} cannot be found in the reference source; give its path"
            raise ReferenceNotFoundError(msg)
        return file_reference(known.name, given, found, OVERRIDE, GIVEN, digests)
    path = Path(given).expanduser().absolute()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        msg = f"{known.name} reference {path} {what}; give the path of an ASDF reference file or of a FITS image"
        raise ReferenceNotFoundError(msg)
    kind = _kind_of_file(path)
    if kind == "asdf":
        return file_reference(known.name, str(path), path, OVERRIDE, GIVEN, digests)
    from roman_nexus.products.digests import file_digest

    tree = _complete(known, _fits_arrays(known, path))
    content = MemoryContent(tree, digest=file_digest(path, memory=digests))
    return Reference(known.name, str(path), path, OVERRIDE, f"{GIVEN} (FITS)", content)


def _kind_of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise FileFormatError(msg) from error
    if start.startswith(b"#ASDF"):
        return "asdf"
    if start.startswith((b"SIMPLE  =", b"\x1f\x8b")):
        return "fits"
    msg = f"{path} is neither ASDF nor FITS (it starts with {start!r}), so it cannot be a reference"
    raise FileFormatError(msg)


def _fits_arrays(known: ReferenceType, path: Path) -> dict[str, Any]:
    """Read the images of a FITS file: by extension name, else the first image is the main array."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning

    main = _main_array(known, "a FITS image").name
    arrays: dict[str, Any] = {}
    try:
        # astropy leaves a file open that it cannot read; this one is closed whatever happens
        with warnings.catch_warnings(), path.open("rb") as stream:
            # blemishes of the header do not matter here; a file that was cut short does
            warnings.simplefilter("ignore", AstropyUserWarning)
            warnings.filterwarnings("error", message=".*truncated", category=AstropyUserWarning)
            hdus = fits.open(stream, memmap=False)
            images = [(str(hdu.name).upper(), hdu.data) for hdu in hdus if hdu.is_image and hdu.data is not None]
    except (OSError, ValueError, TypeError, IndexError, KeyError, EOFError, AstropyUserWarning) as error:
        msg = f"{path} cannot be read as FITS: {error}"
        raise FileFormatError(msg) from error
    if not images:
        msg = f"{path} holds no FITS image; a {known.name} reference needs {main!r}"
        raise FileFormatError(msg)
    for name, data in images:
        target = main if name == "SCI" else name.lower()
        if known.array(target) is not None:
            arrays.setdefault(target, data)
    arrays.setdefault(main, images[0][1])
    return arrays


def _from_values(known: ReferenceType, given: Any) -> Reference:
    """Make a reference from a mapping, a tree or a model."""
    tag = tag_stem(str(getattr(given, "tag", "") or ""))
    node = given
    if isinstance(given, Mapping) and isinstance(given.get("roman"), Mapping):
        node = given["roman"]
        tag = tag_stem(str(getattr(node, "tag", "") or getattr(node, "_tag", "") or ""))
    names = [spec.name for spec in known.arrays]
    names += [name for name in (*known.whole, *known.objects) if name not in names]
    has_meta = (isinstance(node, Mapping) and "meta" in node) or not isinstance(node, Mapping)
    if not has_meta:
        unknown = [str(name) for name in node if name not in names]
        if unknown:
            msg = (
                f"override of {known.name} has {', '.join(unknown)}; a {known.name} reference holds {', '.join(names)}"
            )
            raise OptionError(msg)
    values = {name: _get(node, name) for name in names}
    tree = {name: _plain(value, known, name) for name, value in values.items() if value is not None}
    if has_meta:
        tree["meta"] = _plain(_get(node, "meta"), known, "meta")
    return Reference(
        known.name, f"memory://{known.name}", None, OVERRIDE, GIVEN, MemoryContent(_complete(known, tree), tag)
    )


def _get(node: Any, name: str) -> Any:
    return node.get(name) if isinstance(node, Mapping) else getattr(node, name, None)


def _plain(value: Any, known: ReferenceType, path: str) -> Any:
    """Turn model nodes into plain dictionaries, times into text and lazily read arrays into ndarrays."""
    if path in known.objects:
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item, known, f"{path}.{key}") for key, item in value.items()}
    if known.array(path) is not None:
        return value
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _ndarray(known.name, path, value)
    if isinstance(value, (list, tuple)):
        return [_plain(item, known, path) for item in value]
    if hasattr(value, "isot"):
        return str(value.isot)
    return str(value) if isinstance(value, str) else value


def _complete(known: ReferenceType, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the arrays and add those that have a default."""
    full = dict(tree)
    for spec in known.arrays:
        if full.get(spec.name) is not None:
            full[spec.name] = _converted(known.name, spec, full[spec.name])
    main = known.arrays[0] if known.arrays else None
    for spec in known.arrays:
        if full.get(spec.name) is not None:
            continue
        if spec.fill is None or main is None:
            msg = f"override of {known.name} has no {spec.name!r}; it needs {_required(known)}"
            raise OptionError(msg)
        full[spec.name] = np.full(full[main.name].shape[-2:], spec.fill, spec.dtype)
    missing = [name for name in (*known.whole, *known.objects) if full.get(name) is None]
    if missing:
        msg = f"override of {known.name} has no {', '.join(missing)}; it needs {_required(known)}"
        raise OptionError(msg)
    return full


def _required(known: ReferenceType) -> str:
    return ", ".join([spec.name for spec in known.arrays if spec.fill is None] + [*known.whole, *known.objects])


def _main_array(known: ReferenceType, what: str) -> ArraySpec:
    needed = [spec for spec in known.arrays if spec.fill is None]
    if len(needed) != 1 or known.whole or known.objects:
        msg = f"override of {known.name} is {what}, but the type needs {_required(known)}; give a mapping or a file"
        raise OptionError(msg)
    return needed[0]


def _ndarray(reftype: str, name: str, value: Any) -> NDArray[Any]:
    """Make an ndarray, refusing what would lose a unit or a mask."""
    problem = ""
    if getattr(value, "unit", None) is not None:
        problem = f"has the unit {value.unit}; give bare numbers in the unit of the reference type"
    elif isinstance(value, np.ma.MaskedArray):
        problem = "is a masked array; fill it, and flag the pixels in dq"
    else:
        try:
            return np.asarray(value)
        except (ValueError, TypeError, OSError) as error:
            problem = f"is no array ({error})"
    msg = f"override of {reftype}: {name} {problem}"
    raise OptionError(msg)


def _converted(reftype: str, spec: ArraySpec, array: Any) -> NDArray[Any]:
    """Bring an array to the wanted type, refusing what would change its meaning."""
    values, wanted = _ndarray(reftype, spec.name, array), np.dtype(spec.dtype)
    if values.dtype == wanted and values.flags.c_contiguous:
        return values
    kinds = {"f": "fiub", "c": "cfiub", "u": "uib"}[wanted.kind]
    if values.dtype.kind not in kinds:
        msg = f"override of {reftype}: {spec.name} is {values.dtype}, which cannot become {wanted}"
        raise OptionError(msg)
    if wanted.kind == "u" and values.size and not 0 <= int(values.min()) <= int(values.max()) <= np.iinfo(wanted).max:
        msg = (
            f"override of {reftype}: {spec.name} has values from {values.min()} to {values.max()}; {wanted} holds 0 "
            f"to {np.iinfo(wanted).max}"
        )
        raise OptionError(msg)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=wanted)


def means_none(given: Any) -> bool:
    """Tell whether an override is none at all: None or empty text, as in the mission pipeline."""
    return given is None or (isinstance(given, str) and not given.strip())


def skips(given: Any) -> bool:
    """Tell whether an override asks for no reference."""
    if isinstance(given, Reference):
        return given.name == NOT_APPLICABLE
    return isinstance(given, str) and given.strip().lower() in _SKIP
