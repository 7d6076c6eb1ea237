"""The input of a run: a Level 1 file, a ramp or a Level 2 image, checked before anything else happens.

Everything the metadata and the shapes of the arrays can tell is verified here, so that no step meets bad input.
Pixels are read later, block by block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roman_nexus.engine.metadata import check_count, check_read_pattern, exposure_info, lookup
from roman_nexus.errors import FileFormatError, InputError, ProductLevelError, ShapeError
from roman_nexus.steps.step import BORDER, CHANNEL_WIDTH, ExposureInfo, RampBlock, RawBlock

__all__ = ["PLANES", "ExposureInput", "lookup", "open_input"]

Kind = Literal["science_raw", "ramp", "image"]
#: Planes of an image; the last two are optional.
PLANES = ("data", "dq", "err", "var_poisson", "chisq", "dumo", "var_rnoise", "var_flat")
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
    def where(self) -> str:
        """The input, for messages."""
        return str(self.path or self.name)

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
            data=np.asarray(self.arrays["data"][cube], dtype=np.uint16),
            rows=rows,
            columns=slice(0, self.info.shape[1]),
            resultantdq=None if dq is None else np.asarray(dq[cube]),
            reference_read=None if read is None else np.asarray(read[rows], dtype=np.uint16),
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
        return None if array is None else np.array(array, dtype=array.dtype.newbyteorder("="))

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
    return _open_file(Path(product), digests) if isinstance(product, (str, Path)) else _open_model(product)


def _open_file(path: Path, digests: Any) -> ExposureInput:
    from roman_nexus.products.blocks import open_blocks
    from roman_nexus.products.digests import file_digest

    if not path.is_file():
        found = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
        msg = f"{found}; give the path of a Level 1, ramp or Level 2 ASDF file"
        raise InputError(msg)
    blocks = open_blocks(path)
    try:
        tree = blocks.tree.get("roman")
        if not isinstance(tree, dict):
            keys = ", ".join(map(str, blocks.tree)) or "none"
            msg = f"{path} is ASDF but no Roman product: it has no 'roman' tree; its top keys are {keys}"
            raise FileFormatError(msg)
        kind = _kind(re.sub(r".*/|-[\d.]+$", "", blocks.roman_tag or ""), str(path))
        arrays = {name: value for name, value in tree.items() if hasattr(value, "dtype")}
        opened = _checked(kind, tree.get("meta"), arrays, path.stem, path)
        opened.digest = file_digest(path, memory=digests)
    except BaseException:
        blocks.close()
        raise
    opened._blocks, opened.tag = blocks, blocks.roman_tag or ""
    return opened


def _open_model(product: Any) -> ExposureInput:
    from roman_nexus.products.digests import array_digest, value_digest

    tag = str(getattr(product, "tag", "") or "")
    name = type(product).__name__
    kind = _kind(name if name in _KINDS or not tag else re.sub(r".*/|-[\d.]+$", "", tag), f"the {name} given")
    names = ("data", "amp33", "resultantdq", "reference_read", "reference_amp33", "groupdq", "pixeldq", *PLANES,
             "jump_indices", *BORDER_ARRAYS)  # fmt: skip
    arrays = {name: product[name] for name in names if name in product and hasattr(product[name], "dtype")}
    meta = product.meta if "meta" in product else None
    stem = Path(str(lookup(meta, "filename") or "unnamed")).stem
    opened = _checked(kind, meta, arrays, stem, None)
    opened.model, opened.tag = product, tag
    # a model can be changed in memory: the numbers follow from its metadata too
    opened.digest = value_digest(
        {name: array_digest(np.asarray(array)) for name, array in arrays.items()}
        | {"kind": kind, "exposure": asdict(opened.info)}
    )
    return opened


def _kind(tag: str, what: str) -> Kind:
    if tag in _KINDS:
        return _KINDS[tag]
    if tag.lower() in ("fps", "tvac", "fpsmodel", "tvacmodel"):
        msg = f"{what} is a ground-test product ({tag}); convert it first with ScienceRawModel.create_from_model"
        raise ProductLevelError(msg)
    msg = (
        f"{what} is {repr(tag) if tag else 'an untagged tree'}; a run starts from a Level 1 file (wfi_science_raw), "
        "a ramp (ramp) or a Level 2 image (wfi_image)"
    )
    raise ProductLevelError(msg)


def _checked(kind: Kind, meta: Any, arrays: dict[str, Any], name: str, path: Path | None) -> ExposureInput:
    """Gather the facts a run needs and refuse what cannot be calibrated."""
    where = str(path or name)
    if not hasattr(meta, "keys"):
        msg = (
            f"{where} has no metadata (roman.meta is {type(meta).__name__}); give the file as it came from the archive"
        )
        raise InputError(msg)
    if "data" not in arrays:
        msg = f"{where} has no array 'data', only {', '.join(arrays) or 'none'}; is it a whole Roman product?"
        raise ShapeError(msg)
    warnings: list[str] = []
    shape = _check_image(arrays, where) if kind == "image" else _check_ramp(kind, arrays, where)
    info = exposure_info(meta, shape, where, warnings)
    if kind != "image":
        check_read_pattern(info.read_pattern, arrays["data"].shape[0], where)
    if kind == "science_raw":
        check_count(meta, arrays["data"].shape[0], where, reference_read="reference_read" in arrays)
    cal_step = lookup(meta, "cal_step")
    cal_step = cal_step if hasattr(cal_step, "items") else {}
    completed = frozenset(str(step) for step, status in cal_step.items() if str(status) == "COMPLETE")
    stem = re.sub(r"_(uncal|cal|[a-z0-9]+)$", "", name) if kind != "science_raw" else name.removesuffix("_uncal")
    return ExposureInput(kind, info, meta, arrays, path, stem, "", completed, warnings=warnings)


def _check_image(arrays: Mapping[str, Any], where: str) -> tuple[int, int]:
    """Check the planes of an image; return the full-frame shape."""
    data = arrays["data"]
    if data.ndim != 2 or data.dtype != np.float32 or 0 in data.shape:
        msg = f"{where}: data is {data.dtype} {tuple(data.shape)}; expected float32 (ny, nx)"
        raise ShapeError(msg)
    half = dict.fromkeys(PLANES, np.dtype(np.float16)) | {"data": np.dtype(np.float32), "dq": np.dtype(np.uint32)}
    optional = ("var_rnoise", "var_flat")
    missing = [name for name in PLANES if name not in arrays and name not in optional]
    if missing:
        msg = f"{where} has no {', '.join(missing)}, which a Level 2 image has; start from the Level 1 file"
        raise ShapeError(msg)
    for name, dtype in half.items():
        _check_array(arrays.get(name), name, dtype, data.shape, where)
    return data.shape[0] + 2 * BORDER, data.shape[1] + 2 * BORDER


def _check_ramp(kind: Kind, arrays: Mapping[str, Any], where: str) -> tuple[int, int]:
    """Check the arrays of a Level 1 file or a ramp; return the full-frame shape."""
    data = arrays["data"]
    wanted = np.dtype(np.uint16 if kind == "science_raw" else np.float32)
    if data.ndim != 3 or data.dtype.newbyteorder("=") != wanted:
        msg = f"{where}: data is {data.dtype} {tuple(data.shape)}; expected {wanted} (resultants, ny, nx)"
        raise ShapeError(msg)
    n_res, n_rows, n_columns = data.shape
    if n_columns % CHANNEL_WIDTH or n_rows < 16 or not n_columns or not n_res:
        msg = (
            f"{where}: data is {n_res} x {n_rows} x {n_columns}, which cannot be a WFI detector; expected at least one "
            f"resultant, 16 rows or more and a multiple of {CHANNEL_WIDTH} columns (full frame: 4096 x 4096)"
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
    for name in required:
        if name not in arrays:
            msg = f"{where} has no array {name!r}; a {kind} product needs {', '.join(('data', *required))}"
            raise ShapeError(msg)
    for name, (dtype, shape) in rules.items():
        _check_array(arrays.get(name), name, np.dtype(dtype), shape, where)
    return n_rows, n_columns


def _check_array(array: Any, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], where: str) -> None:
    if array is not None and (tuple(array.shape) != tuple(shape) or array.dtype.newbyteorder("=") != dtype):
        msg = f"{where}: {name} is {array.dtype} {tuple(array.shape)}; expected {dtype} {tuple(shape)}, to go with data"
        raise ShapeError(msg)
