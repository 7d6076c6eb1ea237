"""The input of a run: a Level 1 file, a ramp or a Level 2 image, checked before anything else happens.

Everything the metadata and the shapes of the arrays can tell is verified here, so that no step meets bad input.
Pixels are read later, block by block.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roman_nexus.engine.pipelines import EXPOSURE_TYPES
from roman_nexus.errors import InputError, ProductLevelError, ShapeError
from roman_nexus.steps.step import CHANNEL_WIDTH, ExposureInfo, Pointing, RampBlock, RawBlock

__all__ = ["ExposureInput", "open_input"]

Kind = Literal["science_raw", "ramp", "image"]
PLACEHOLDER = -999999
BORDER_ARRAYS = tuple(
    f"{prefix}border_ref_pix_{side}" for prefix in ("", "dq_") for side in ("left", "right", "top", "bottom")
)

_KINDS: dict[str, Kind] = {
    "wfi_science_raw": "science_raw",
    "ScienceRawModel": "science_raw",
    "ramp": "ramp",
    "RampModel": "ramp",
    "wfi_image": "image",
    "ImageModel": "image",
}


@dataclass
class ExposureInput:
    """An opened and checked input.

    Attributes
    ----------
    kind : {"science_raw", "ramp", "image"}
    info : ExposureInfo
    meta : mapping
        ``roman.meta`` as the file has it.
    arrays : mapping of str to array-like
        Arrays with basic indexing; they may be read lazily.
    path : Path or None
    name : str
        File name without its suffix, or a made-up one.
    digest : str
        Content of the input, ``sha256:...``.
    completed : frozenset of str
        Steps (``cal_step`` keys) that the file says are complete.
    tag : str
        Schema tag of the input; empty if it is not known.
    warnings : list of str
    """

    kind: Kind
    info: ExposureInfo
    meta: Mapping[str, Any]
    arrays: Mapping[str, Any]
    path: Path | None
    name: str
    digest: str
    completed: frozenset[str]
    tag: str = ""
    model: Any = None
    warnings: list[str] = field(default_factory=list)
    _blocks: Any = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(F, ny, nx) of the ramp in the full frame."""
        return (self.info.nresultants, *self.info.shape)

    def raw_block(self, rows: slice) -> RawBlock:
        """Read some rows of a Level 1 file."""
        cube = (Ellipsis, rows, slice(None))
        dq = self.arrays.get("resultantdq")
        read = self.arrays.get("reference_read")
        return RawBlock(
            data=np.asarray(self.arrays["data"][cube]),
            rows=rows,
            columns=slice(0, self.info.shape[1]),
            resultantdq=None if dq is None else np.asarray(dq[cube]),
            reference_read=None if read is None else np.asarray(read[rows]),
        )

    def ramp_block(self, rows: slice) -> RampBlock:
        """Read some rows of a ramp."""
        cube = (Ellipsis, rows, slice(None))
        return RampBlock(
            data=np.array(self.arrays["data"][cube], dtype=np.float32),
            groupdq=np.array(self.arrays["groupdq"][cube], dtype=np.uint8),
            pixeldq=np.array(self.arrays["pixeldq"][rows], dtype=np.uint32),
            rows=rows,
            columns=slice(0, self.info.shape[1]),
        )

    def whole(self, name: str) -> NDArray[Any] | None:
        """Return a whole (small) array, or None if the input has none of that name."""
        array = self.arrays.get(name)
        return None if array is None else np.array(array)

    def release(self) -> None:
        """Give back decoded pieces of the file; they are decoded again if they are needed again."""
        if self._blocks is not None:
            self._blocks.forget()

    def close(self) -> None:
        """Close the file."""
        if self._blocks is not None:
            self._blocks.close()
            self._blocks = None


def open_input(product: Any, *, digests: Any = None) -> ExposureInput:
    """Open a product as the input of a run and check it.

    Parameters
    ----------
    product : path or model
        Path of an ASDF file, or an open model with ``meta`` and arrays.
    digests : DigestMemory, optional
        Where digests of files are remembered.

    Raises
    ------
    FileFormatError, ProductLevelError, InputError, ShapeError
    """
    from roman_nexus.products.blocks import open_blocks
    from roman_nexus.products.digests import array_digest, file_digest, value_digest

    if isinstance(product, (str, Path)):
        path = Path(product)
        if not path.is_file():
            msg = f"there is no file {path}; give the path of a Level 1, ramp or Level 2 ASDF file"
            raise InputError(msg)
        blocks = open_blocks(path)
        try:
            tree = blocks.tree["roman"]
            kind = _kind(re.sub(r".*/|-[\d.]+$", "", blocks.roman_tag or ""), str(path))
            arrays = {name: value for name, value in tree.items() if hasattr(value, "dtype")}
            opened = _checked(kind, tree["meta"], arrays, path.stem, path)
            opened.digest = file_digest(path, memory=digests)
        except BaseException:
            blocks.close()
            raise
        opened._blocks, opened.tag = blocks, blocks.roman_tag or ""
        return opened
    model_type = type(product).__name__
    kind = _kind(model_type, model_type)
    names = ("data", "amp33", "resultantdq", "reference_read", "reference_amp33", "groupdq", "pixeldq", "dq", "err",
             "var_poisson", "var_rnoise", "var_flat", "chisq", "dumo", "jump_indices", *BORDER_ARRAYS)  # fmt: skip
    arrays = {name: product[name] for name in names if name in product}
    meta = product["meta"]
    stem = Path(str(meta.get("filename", "unnamed"))).stem
    opened = _checked(kind, meta, arrays, stem, None)
    opened.model, opened.tag = product, str(getattr(product, "tag", "") or "")
    opened.digest = value_digest({name: array_digest(np.asarray(array)) for name, array in arrays.items()})
    return opened


def _kind(tag: str, what: str) -> Kind:
    if tag in _KINDS:
        return _KINDS[tag]
    if tag.lower() in ("fps", "tvac", "fpsmodel", "tvacmodel"):
        msg = f"{what} is a ground-test product ({tag}); convert it first with ScienceRawModel.create_from_model"
        raise ProductLevelError(msg)
    msg = (
        f"{what} holds {tag or 'an untagged tree'!r}; a run starts from a Level 1 file (wfi_science_raw), "
        "a ramp (ramp) or a Level 2 image (wfi_image)"
    )
    raise ProductLevelError(msg)


def _checked(kind: Kind, meta: Any, arrays: dict[str, Any], name: str, path: Path | None) -> ExposureInput:
    """Gather the facts a run needs and refuse what cannot be calibrated."""
    where = str(path or name)
    if "data" not in arrays:
        msg = f"{where} has no array 'data'; found {', '.join(arrays) or 'no arrays'}"
        raise ShapeError(msg)
    warnings: list[str] = []
    shape = _check_arrays(kind, arrays, where)
    info = _info(meta, shape, where, warnings)
    if kind == "science_raw":
        _check_read_pattern(info.read_pattern, arrays["data"].shape[0], where)
        _check_count(meta, arrays, where)
    elif kind == "ramp":
        _check_read_pattern(info.read_pattern, arrays["data"].shape[0], where)
    cal_step = lookup(meta, "cal_step") or {}
    completed = frozenset(str(step) for step, status in cal_step.items() if str(status) == "COMPLETE")
    stem = re.sub(r"_(uncal|cal|[a-z0-9]+)$", "", name) if kind != "science_raw" else name.removesuffix("_uncal")
    return ExposureInput(kind, info, meta, arrays, path, stem, "", completed, warnings=warnings)


def lookup(meta: Any, dotted: str, default: Any = None) -> Any:
    """Return a value of nested metadata by its dotted path."""
    node = meta
    for part in dotted.split("."):
        try:
            node = node[part]
        except (KeyError, TypeError, AttributeError):
            return default
    return node


def _check_arrays(kind: Kind, arrays: Mapping[str, Any], where: str) -> tuple[int, int]:
    """Check shapes and types; return the full-frame shape."""
    data = arrays["data"]
    if kind == "image":
        if data.ndim != 2 or data.dtype != np.float32:
            msg = f"{where}: data is {data.dtype} {data.shape}; expected float32 (ny, nx)"
            raise ShapeError(msg)
        return data.shape[0] + 8, data.shape[1] + 8
    wanted = np.uint16 if kind == "science_raw" else np.float32
    if data.ndim != 3 or data.dtype != wanted:
        msg = f"{where}: data is {data.dtype} {tuple(data.shape)}; expected {np.dtype(wanted)} (resultants, ny, nx)"
        raise ShapeError(msg)
    n_res, n_rows, n_columns = data.shape
    if n_columns % CHANNEL_WIDTH or n_rows < 16 or not n_columns:
        msg = (
            f"{where}: a frame of {n_rows} x {n_columns} cannot be a WFI detector; the number of columns must be a "
            f"multiple of {CHANNEL_WIDTH} (full frame: 4096 x 4096)"
        )
        raise ShapeError(msg)
    rules: dict[str, tuple[Any, tuple[int, ...]]] = {
        "amp33": (np.uint16, (n_res, n_rows, CHANNEL_WIDTH)),
        "resultantdq": (np.uint8, (n_res, n_rows, n_columns)),
        "reference_read": (np.uint16, (n_rows, n_columns)),
        "reference_amp33": (np.uint16, (n_rows, CHANNEL_WIDTH)),
        "groupdq": (np.uint8, (n_res, n_rows, n_columns)),
        "pixeldq": (np.uint32, (n_rows, n_columns)),
    }
    required = ("amp33",) if kind == "science_raw" else ("amp33", "groupdq", "pixeldq")
    for name, (dtype, shape) in rules.items():
        array = arrays.get(name)
        if array is None:
            if name in required:
                msg = f"{where} has no array {name!r}; a {kind} product needs {', '.join(('data', *required))}"
                raise ShapeError(msg)
            continue
        if tuple(array.shape) != shape or array.dtype != dtype:
            msg = f"{where}: {name} is {array.dtype} {tuple(array.shape)}; expected {np.dtype(dtype)} {shape}"
            raise ShapeError(msg)
    return n_rows, n_columns


def _check_read_pattern(pattern: tuple[tuple[int, ...], ...], n_resultants: int, where: str) -> None:
    if len(pattern) != n_resultants:
        msg = f"{where}: the read pattern has {len(pattern)} resultants but data has {n_resultants}"
        raise InputError(msg)
    previous = 0
    for index, reads in enumerate(pattern):
        if not reads:
            msg = f"{where}: resultant {index} of the read pattern has no reads"
            raise InputError(msg)
        for read in reads:
            if read <= previous:
                msg = (
                    f"{where}: read {read} of resultant {index} does not come after read {previous}; "
                    "reads must be numbered from 1 and ascend"
                )
                raise InputError(msg)
            previous = read


def _check_count(meta: Any, arrays: Mapping[str, Any], where: str) -> None:
    """``nresultants`` may count the reference read that was subtracted on board."""
    stated, found = lookup(meta, "exposure.nresultants"), arrays["data"].shape[0]
    accepted = (found, found + 1) if "reference_read" in arrays else (found,)
    if stated is not None and stated != PLACEHOLDER and int(stated) not in accepted:
        msg = f"{where}: meta.exposure.nresultants is {stated} but data has {found} resultants"
        raise InputError(msg)


def _info(meta: Any, shape: tuple[int, int], where: str, warnings: list[str]) -> ExposureInfo:
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
    pattern = lookup(meta, "exposure.read_pattern") or ()
    try:
        read_pattern = tuple(tuple(int(read) for read in reads) for reads in pattern)
    except (TypeError, ValueError) as error:
        msg = f"{where}: meta.exposure.read_pattern is {pattern!r}; expected a list of lists of read numbers"
        raise InputError(msg) from error
    offset = lookup(meta, "instrument.data_encoding_offset", 0) or 0
    if offset == PLACEHOLDER:
        offset = 0
    if not 0 <= int(offset) <= 65535:
        msg = f"{where}: meta.instrument.data_encoding_offset is {offset}; expected 0 to 65535 DN"
        raise InputError(msg)
    table = lookup(meta, "exposure.ma_table_number")
    return ExposureInfo(
        detector=detector,
        optical_element=str(lookup(meta, "instrument.optical_element", "")),
        exposure_type=exposure_type,
        read_pattern=read_pattern,
        frame_time=frame_time,
        start_time=_time(lookup(meta, "exposure.start_time")),
        shape=shape,
        guide_window=_guide_window(meta),
        data_encoding_offset=int(offset),
        pointing=_pointing(meta, warnings),
        ma_table_number=None if table in (None, PLACEHOLDER) else int(table),
    )


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
    missing = [name for name, number in numbers.items() if number is None]
    if missing:
        warnings.append(f"meta.wcsinfo lacks {', '.join(missing)}: the pointing of this exposure is not known")
        return None
    parity, angle = _number(lookup(meta, "wcsinfo.vparity")), _number(lookup(meta, "wcsinfo.v3yangle"))
    return Pointing(
        **{name: number for name, number in numbers.items() if number is not None},
        vparity=-1 if parity is None else int(parity),
        v3yangle=-60.0 if angle is None else angle,
        scale_factor=_number(lookup(meta, "velocity_aberration.scale_factor")),
    )
