"""Does a reference belong to these data? Every doubt is found before the first pixel is touched.

Metadata that a reference states is compared with the exposure; arrays are compared with the frame; a few rows are
read to catch arrays that are empty of sense. What a reference does not state (a bare array has no metadata) is not
held against it. A user may waive a field, knowing better; only what the arithmetic itself needs cannot be waived.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roman_nexus.errors import InputError, OptionError, ReferenceMismatchError
from roman_nexus.references.reference import Reference
from roman_nexus.references.rules import parse_time
from roman_nexus.references.types import REFERENCE_TYPES, ArraySpec, ReferenceType
from roman_nexus.steps.step import CHANNEL_WIDTH, ExposureInfo

__all__ = ["FIELDS", "Mismatch", "check", "require"]

#: What is compared, and what each comparison is about.
FIELDS: Mapping[str, str] = {
    "type": "reference type",
    "telescope": "telescope and instrument",
    "detector": "detector",
    "optical_element": "optical element, for types that depend on it",
    "exposure_type": "exposure type, for types that depend on it",
    "useafter": "time from which the reference may be used",
    "ma_table": "multi-accumulation table, where the reference names one",
    "content": "arrays without a usable number, or of zeros only",
    "shape": "shapes of the arrays",
    "dtype": "data types of the arrays",
    "channels": "read-out channels of refpix and integralnonlinearity",
    "table": "entries of a table for this detector",
}
#: Steps index and compute with these, so they cannot be waived.
STRUCTURE = ("shape", "dtype", "channels", "table")

_ROW_TIME = 12  # pixel times between two rows: the length of a refpix Fourier series is ny * (128 + 12) / 2 + 1
_SAMPLED_ROWS = 4


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One way in which a reference does not fit an exposure.

    Attributes
    ----------
    reftype : str
    field : str
        One of `FIELDS`; this is what a waiver names.
    expected, found : str
    text : str
        One sentence for people.
    """

    reftype: str
    field: str
    expected: str
    found: str
    text: str

    @property
    def waivable(self) -> bool:
        """Whether a user may say that this does not matter."""
        return self.field not in STRUCTURE


def check(reference: Reference, exposure: ExposureInfo, *, waive: Collection[str] = ()) -> list[Mismatch]:
    """Compare a reference with an exposure.

    Parameters
    ----------
    reference : Reference
    exposure : ExposureInfo
    waive : collection of str, optional
        Fields that may differ.

    Returns
    -------
    list of Mismatch
        What does not fit, without what is waived; empty if all is well or the reference is "N/A".

    Raises
    ------
    OptionError
        If `waive` names a field that does not exist or cannot be waived.
    FileFormatError
        If the file cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.references.given import make_reference
    >>> info = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.04, shape=(256, 256))
    >>> [problem.field for problem in check(make_reference("gain", np.zeros((256, 250))), info)]
    ['shape', 'content']
    """
    check_waivers(reference.reftype, waive)
    if not reference.applies:
        return []
    known = REFERENCE_TYPES.get(reference.reftype)
    found = list(_metadata(reference, exposure, known))
    if known is not None:
        found += _arrays(reference, exposure, known)
        table = _TABLES.get(known.name)
        if table is not None:
            found += table(reference, exposure)
        for name in (*known.whole, *known.objects):
            if not reference.has(name):
                found.append(_mismatch(reference, "table", name, "nothing", f"has no {name}"))
    return [item for item in found if item.field not in waive]


def require(reference: Reference, exposure: ExposureInfo, waive: Collection[str] = ()) -> list[Mismatch]:
    """Demand that a reference fits; return what was waived.

    Raises
    ------
    ReferenceMismatchError
        Naming everything that does not fit and is not waived, and how to waive it.
    OptionError
        As `check`.
    """
    check_waivers(reference.reftype, waive)
    found = check(reference, exposure)
    remaining = [item for item in found if item.field not in waive]
    if remaining:
        raise ReferenceMismatchError(describe(reference, remaining))
    return found


def describe(reference: Reference, mismatches: Collection[Mismatch]) -> str:
    """Say in words what does not fit, and how it can be waived."""
    lines = [f"{reference.reftype} reference {reference.name} does not fit this exposure:"]
    lines += [f"  {item.field}: {item.text}" for item in mismatches]
    fields = list(dict.fromkeys(item.field for item in mismatches if item.waivable))
    if fields:
        lines.append(f"  to use it all the same: waive={{{reference.reftype!r}: {fields!r}}}")
    fixed = list(dict.fromkeys(item.field for item in mismatches if not item.waivable))
    if fixed:
        lines.append(
            f"  {', '.join(fixed)} cannot be waived: give another reference, or 'skip' if the step may be left out"
        )
    return "\n".join(lines)


def check_waivers(reftype: str, waive: Collection[str]) -> None:
    """Refuse waivers of fields that do not exist or cannot be waived.

    Raises
    ------
    OptionError
    """
    if isinstance(waive, str):
        msg = f"waive={{{reftype!r}: {waive!r}}} must be a list of fields, for example {[waive]!r}"
        raise OptionError(msg)
    allowed = [name for name in FIELDS if name not in STRUCTURE]
    wrong = [name for name in waive if name not in allowed]
    if wrong:
        reason = "cannot be waived" if set(wrong) <= set(STRUCTURE) else "is not something that is compared"
        msg = (
            f"waive={{{reftype!r}: {list(waive)!r}}}: {', '.join(map(repr, wrong))} {reason}; accepted are "
            f"{', '.join(allowed)}"
        )
        raise OptionError(msg)


# --------------------------------------------------------------------------------------------- metadata
def _metadata(reference: Reference, exposure: ExposureInfo, known: ReferenceType | None) -> Iterator[Mismatch]:
    """Compare what the file states of itself."""
    header = reference.header
    instrument = _section(header, "instrument")
    yield from _type(reference, header, known)
    for label, stated, wanted in (
        ("telescope", header.get("telescope"), "ROMAN"),
        ("instrument", instrument.get("name"), "WFI"),
    ):
        if stated and str(stated).upper() != wanted:
            yield _mismatch(reference, "telescope", wanted, stated, f"is for {label} {stated}, not {wanted}")
    keys = known.keys if known is not None else ()
    if "detector" in keys:
        yield from _stated(reference, "detector", instrument.get("detector"), exposure.detector)
    if "optical_element" in keys:
        yield from _stated(reference, "optical_element", instrument.get("optical_element"), exposure.optical_element)
    if "exposure_type" in keys:
        section = _section(header, "exposure")
        stated = section.get("p_exptype") or section.get("type")
        yield from _stated(reference, "exposure_type", stated, exposure.exposure_type)
    yield from _useafter(reference, header.get("useafter"), exposure)
    yield from _ma_table(reference, _section(header, "exposure").get("ma_table_number"), exposure)


def _type(reference: Reference, header: Mapping[str, Any], known: ReferenceType | None) -> Iterator[Mismatch]:
    stated = str(header.get("reftype") or "").lower()
    wanted = reference.reftype.upper()
    if stated and stated != reference.reftype:
        yield _mismatch(reference, "type", wanted, stated.upper(), f"is a {stated.upper()} reference, not {wanted}")
    elif not stated and header:
        what = f"a {reference.tag}" if reference.tag else "an untagged tree"
        yield _mismatch(reference, "type", wanted, reference.tag, f"is no reference file ({what} without meta.reftype)")
    elif known is not None and reference.tag and reference.tag.lower() not in (known.tag, known.model.lower()):
        yield _mismatch(reference, "type", known.tag, reference.tag, f"has the schema {reference.tag}, not {known.tag}")


def _stated(reference: Reference, name: str, stated: Any, wanted: str) -> Iterator[Mismatch]:
    """Compare a value that may name several alternatives."""
    alternatives = [part.strip().upper() for part in str(stated or "").split("|") if part.strip()]
    if alternatives and wanted.upper() not in alternatives and not {"*", "ANY", "N/A"} & set(alternatives):
        text = f"is for {name.replace('_', ' ')} {' or '.join(alternatives)}; the exposure has {wanted}"
        yield _mismatch(reference, name, wanted, "|".join(alternatives), text)


def _useafter(reference: Reference, stated: Any, exposure: ExposureInfo) -> Iterator[Mismatch]:
    if not stated or not exposure.start_time:
        return
    try:
        first, start = parse_time(stated), parse_time(exposure.start_time)
    except InputError as error:
        yield _mismatch(reference, "useafter", "ISO 8601", stated, f"{error}")
        return
    if first > start:
        text = f"may be used from {first.isoformat()}; the exposure started at {start.isoformat()}"
        yield _mismatch(reference, "useafter", f"not after {start.isoformat()}", first.isoformat(), text)


def _ma_table(reference: Reference, stated: Any, exposure: ExposureInfo) -> Iterator[Mismatch]:
    wanted = exposure.ma_table_number
    if stated is None or wanted is None or str(stated) == str(wanted):
        return
    text = f"is for multi-accumulation table {stated}; the exposure has {wanted}"
    yield _mismatch(reference, "ma_table", str(wanted), stated, text)


# ----------------------------------------------------------------------------------------------- arrays
def _arrays(reference: Reference, exposure: ExposureInfo, known: ReferenceType) -> Iterator[Mismatch]:
    """Compare shapes and types, and sample the content."""
    shapes = {}
    for spec in known.arrays:
        if not reference.has(spec.name):
            yield _mismatch(reference, "shape", spec.name, "nothing", f"has no array {spec.name}")
            continue
        array = reference.array(spec.name)
        shape = tuple(array.shape)
        accepted = _accepted_shapes(spec, exposure)
        if array.ndim != spec.ndim or (accepted and shape[-2:] not in accepted) or 0 in shape:
            lead = "any number of terms, then " if spec.ndim == 3 else ""
            wanted = f"{lead}{' or '.join(map(str, accepted))}" if accepted else f"{spec.ndim} axes, none empty"
            field = "channels" if spec.frame == "channels" else "shape"
            yield _mismatch(reference, field, wanted, shape, f"{spec.name} has shape {shape}; expected {wanted}")
        if array.ndim != spec.ndim:
            continue
        if spec.frame != "other":
            shapes[spec.name] = shape[-2:]
        if array.dtype.newbyteorder("=") != np.dtype(spec.dtype):
            text = f"{spec.name} is {array.dtype}; expected {spec.dtype}"
            yield _mismatch(reference, "dtype", spec.dtype, array.dtype, text)
        elif array.size and array.dtype.kind in "fc":
            yield from _content(reference, spec, array)
    if len(set(shapes.values())) > 1:
        text = "arrays have different shapes: " + ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        yield _mismatch(reference, "shape", "one shape", ", ".join(map(str, shapes.values())), text)


def _accepted_shapes(spec: ArraySpec, exposure: ExposureInfo) -> list[tuple[int, int]]:
    """Return the shapes that the last two axes may have."""
    n_rows, n_columns = exposure.shape
    if spec.frame == "channels":
        return [(n_columns // CHANNEL_WIDTH, n_rows * (CHANNEL_WIDTH + _ROW_TIME) // 2 + 1)]
    frames = {"full": exposure.shape, "science": exposure.science_shape}
    return [shape for name, shape in frames.items() if name in spec.frame.split(" or ")]


def _content(reference: Reference, spec: ArraySpec, array: Any) -> Iterator[Mismatch]:
    """Say so where an array has no finite number, or only zeros where zeros make no sense."""
    if not any(np.isfinite(piece).any() for piece in _pieces(array)):
        yield _mismatch(reference, "content", "finite values", "none", f"{spec.name} has no finite value")
    elif not spec.zeros and not any(np.any(piece) for piece in _pieces(array)):
        yield _mismatch(reference, "content", "values", "zeros", f"{spec.name} is zero everywhere")


def _pieces(array: Any) -> Iterator[Any]:
    """Yield a few rows spread over the array and, for a caller that goes on, all of it piece by piece.

    A sound array is recognised by its first rows, so little is read; only a suspicious one is read in full.
    """
    n_rows = array.shape[-2] if array.ndim > 1 else 1
    # the second term of a polynomial is the one that is never zero
    lead = (min(1, array.shape[0] - 1),) if array.ndim == 3 else (0,) * (array.ndim - 2)
    for k in range(_SAMPLED_ROWS):
        row = (2 * k + 1) * n_rows // (2 * _SAMPLED_ROWS)
        yield np.asarray(array[(*lead, slice(row, row + 1))] if array.ndim > 1 else array[...])
    for index in range(array.shape[0]):
        yield np.asarray(array[index])


# ----------------------------------------------------------------------------------------------- tables
def _decay_table(reference: Reference, exposure: ExposureInfo) -> Iterator[Mismatch]:
    """Amplitude (DN) and time constant (s) of this detector must be numbers, the latter above zero."""
    table = reference.value("decay_table") if reference.has("decay_table") else {}
    entry = table.get(exposure.detector) if isinstance(table, Mapping) else None
    if not isinstance(entry, Mapping):
        yield _mismatch(reference, "table", exposure.detector, "nothing", f"decay_table has no {exposure.detector}")
        return
    for name in ("amplitude", "time_constant"):
        value = entry.get(name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number or (name == "time_constant" and value is not None and value <= 0):
            wanted = "seconds above 0" if name == "time_constant" else "a number (DN)"
            text = f"decay_table.{exposure.detector}.{name} is {'null' if value is None else value}; expected {wanted}"
            yield _mismatch(reference, "table", wanted, value, text)


def _inl_table(reference: Reference, exposure: ExposureInfo) -> Iterator[Mismatch]:
    """Every channel needs a correction at each abscissa, and the abscissae must ascend."""
    if not reference.has("value") or not reference.has("inl_table"):
        return
    abscissa = np.asarray(reference.array("value")[...]).astype(np.float64)
    if abscissa.ndim != 1 or abscissa.size < 2 or not np.all(np.diff(abscissa) > 0):
        text = "value (the abscissa, DN) does not ascend strictly"
        yield _mismatch(reference, "table", "ascending", abscissa.shape, text)
    table = reference.content.tree["inl_table"] if reference.content is not None else {}
    missing, unfit = [], []
    for channel in range(1, exposure.shape[1] // CHANNEL_WIDTH + 1):
        name = f"science_channel_{channel:02d}"
        entry = table.get(name) if isinstance(table, Mapping) else None
        correction = entry.get("correction") if isinstance(entry, Mapping) else None
        if correction is None:
            missing.append(name)
        elif tuple(np.shape(correction)) != abscissa.shape:
            unfit.append(name)
    if missing:
        text = f"inl_table has no correction for {_shortened(missing)}"
        yield _mismatch(reference, "channels", "a correction per channel", "null", text)
    if unfit:
        text = f"inl_table has another number of values than the abscissa ({abscissa.size}) for {_shortened(unfit)}"
        yield _mismatch(reference, "channels", abscissa.shape, "other lengths", text)


_TABLES: Mapping[str, Callable[[Reference, ExposureInfo], Iterator[Mismatch]]] = {
    "darkdecaysignal": _decay_table,
    "integralnonlinearity": _inl_table,
}


# ---------------------------------------------------------------------------------------------- wording
def _mismatch(reference: Reference, field: str, expected: Any, found: Any, text: str) -> Mismatch:
    return Mismatch(reference.reftype, field, str(expected), "null" if found is None else str(found), text)


def _section(header: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = header.get(name)
    return found if isinstance(found, Mapping) else {}


def _shortened(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"
