"""Reading the metadata of an input: everything a step may know, checked value by value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from roman_nexus.engine.pipelines import EXPOSURE_TYPES
from roman_nexus.errors import InputError
from roman_nexus.steps.step import ExposureInfo, Pointing

__all__ = ["check_count", "check_read_pattern", "exposure_info", "lookup"]

PLACEHOLDER = -999999


def lookup(meta: Any, dotted: str, default: Any = None) -> Any:
    """Return a value of nested metadata by its dotted path."""
    node = meta
    for part in dotted.split("."):
        try:
            node = node[part]
        except (KeyError, TypeError, AttributeError):
            return default
    return node


def exposure_info(meta: Any, shape: tuple[int, int], where: str, warnings: list[str]) -> ExposureInfo:
    """Read what steps may know from the metadata of a product.

    Parameters
    ----------
    meta : mapping
        ``roman.meta``.
    shape : tuple of int
        (ny, nx) of the full frame.
    where : str
        The product, for messages.
    warnings : list of str
        Sentences about what is odd but usable are added to it.

    Raises
    ------
    InputError
        Naming the item, its value and what was expected.
    """
    detector = str(lookup(meta, "instrument.detector", ""))
    if not re.fullmatch(r"WFI(0[1-9]|1[0-8])", detector):
        msg = f"{where}: meta.instrument.detector is {detector!r}; expected WFI01 to WFI18"
        raise InputError(msg)
    exposure_type = str(lookup(meta, "exposure.type", ""))
    if exposure_type not in EXPOSURE_TYPES:
        msg = f"{where}: meta.exposure.type is {exposure_type!r}; expected one of {', '.join(EXPOSURE_TYPES)}"
        raise InputError(msg)
    frame_time = _number(lookup(meta, "exposure.frame_time"))
    if frame_time is None or frame_time <= 0:
        msg = f"{where}: meta.exposure.frame_time is {lookup(meta, 'exposure.frame_time')!r}; expected seconds above 0"
        raise InputError(msg)
    read_pattern = _read_pattern(lookup(meta, "exposure.read_pattern") or (), where)
    offset = _whole_number(meta, "instrument.data_encoding_offset", where) or 0
    if not 0 <= offset <= 65535:
        msg = f"{where}: meta.instrument.data_encoding_offset is {offset}; expected 0 to 65535 DN"
        raise InputError(msg)
    return ExposureInfo(
        detector=detector,
        optical_element=str(lookup(meta, "instrument.optical_element", "")).upper(),
        exposure_type=exposure_type,
        read_pattern=read_pattern,
        frame_time=frame_time,
        start_time=_time(lookup(meta, "exposure.start_time")),
        shape=shape,
        guide_window=_guide_window(meta),
        data_encoding_offset=offset,
        pointing=_pointing(meta, warnings),
        ma_table_number=_whole_number(meta, "exposure.ma_table_number", where),
    )


def check_read_pattern(pattern: tuple[tuple[int, ...], ...], n_resultants: int, where: str) -> None:
    """Refuse a pattern that does not belong to the data, or in which reads do not ascend."""
    if len(pattern) != n_resultants:
        msg = (
            f"{where}: the read pattern (meta.exposure.read_pattern) lists {len(pattern)} resultants but data has "
            f"{n_resultants}; give the pattern with which the data were taken"
        )
        raise InputError(msg)
    previous = 0
    for index, reads in enumerate(pattern):
        if not reads:
            msg = f"{where}: resultant {index} of meta.exposure.read_pattern has no reads; expected one or more"
            raise InputError(msg)
        for read in reads:
            if read <= previous:
                msg = (
                    f"{where}: meta.exposure.read_pattern has read {read} in resultant {index} after read {previous}; "
                    "reads must be numbered from 1 and ascend"
                )
                raise InputError(msg)
            previous = read


def check_count(meta: Any, found: int, where: str, *, reference_read: bool) -> None:
    """``nresultants`` may count the reference read that was subtracted on board."""
    stated = lookup(meta, "exposure.nresultants")
    accepted = (found, found + 1) if reference_read else (found,)
    if stated is not None and stated != PLACEHOLDER and _number(stated) not in accepted:
        msg = (
            f"{where}: meta.exposure.nresultants is {stated!r} but data has {found} resultants; one of them is wrong, "
            "fetch the file again"
        )
        raise InputError(msg)


def _read_pattern(pattern: Any, where: str) -> tuple[tuple[int, ...], ...]:
    """Return the read pattern as whole numbers."""
    try:
        read_pattern = tuple(tuple(int(read) for read in reads) for reads in pattern)
        whole = all(read == own for row, reads in zip(pattern, read_pattern, strict=True)
                    for read, own in zip(row, reads, strict=True))  # fmt: skip
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        msg = (
            f"{where}: meta.exposure.read_pattern is {pattern!r}; expected lists of read numbers, such as "
            "[[1], [2, 3], [4]]"
        )
        raise InputError(msg)
    return read_pattern


def _whole_number(meta: Any, dotted: str, where: str) -> int | None:
    """Return an integer of the metadata, or None where there is none."""
    stated = lookup(meta, dotted)
    if stated is None or stated == PLACEHOLDER:
        return None
    number = _number(stated)
    if number is None or number != int(number):
        msg = f"{where}: meta.{dotted} is {stated!r}; expected a whole number"
        raise InputError(msg)
    return int(number)


def _number(value: Any) -> float | None:
    """Return a finite number, or None for what stands for "missing"."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number != PLACEHOLDER else None


def _time(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("value", "")
    return str(getattr(value, "isot", value or ""))


def _guide_window(meta: Any) -> tuple[int, int, int, int] | None:
    limits = [_number(lookup(meta, f"guide_star.window_{name}")) for name in ("xstart", "xstop", "ystart", "ystop")]
    if any(limit is None for limit in limits):
        return None
    xstart, xstop, ystart, ystop = (int(limit) for limit in limits if limit is not None)
    return xstart, xstop, ystart, ystop


def _pointing(meta: Any, warnings: list[str]) -> Pointing | None:
    names = ("v2_ref", "v3_ref", "ra_ref", "dec_ref", "roll_ref")
    numbers = {name: _number(lookup(meta, f"wcsinfo.{name}")) for name in names}
    unknown = {name: lookup(meta, f"wcsinfo.{name}") for name, number in numbers.items() if number is None}
    if unknown:
        listed = ", ".join(f"{name} is {stated}" for name, stated in unknown.items())
        warnings.append(f"the pointing of this exposure is not known: in meta.wcsinfo {listed}")
        return None
    parity, angle = _number(lookup(meta, "wcsinfo.vparity")), _number(lookup(meta, "wcsinfo.v3yangle"))
    return Pointing(
        **{name: number for name, number in numbers.items() if number is not None},
        vparity=-1 if parity is None else int(parity),
        v3yangle=-60.0 if angle is None else angle,
        scale_factor=_scale_factor(meta, warnings),
    )


def _scale_factor(meta: Any, warnings: list[str]) -> float | None:
    """Return the velocity aberration; what is no positive number counts as 1, with a word about it."""
    stated = lookup(meta, "velocity_aberration.scale_factor")
    number = _number(stated)
    if stated is not None and (number is None or number <= 0):
        warnings.append(
            f"meta.velocity_aberration.scale_factor is {stated}, expected a number close to 1: it is taken as 1"
        )
        return 1.0
    return number
