"""A product for other programs and other people: FITS, and a PNG picture to look at."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roman_nexus.dq import PixelFlag
from roman_nexus.errors import InputError, OptionError, OutputError, ShapeError
from roman_nexus.products.fits_header import lookup, primary_keywords, wcs_header
from roman_nexus.products.saving import new_file

__all__ = ["to_fits", "to_png"]

Stretch = Literal["asinh", "zscale", "linear"]


class _Image(NamedTuple):
    """What an image product is here, whatever object it came from."""

    data: NDArray[np.float32]
    err: NDArray[np.float32] | None
    dq: NDArray[np.uint32] | None
    meta: Any
    wcs: Any


def to_fits(image: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write an image as FITS: extensions SCI, ERR and DQ with coordinates and units, and a table of the DQ bits.

    Parameters
    ----------
    image : path, model, or any object with ``data``, ``meta`` and maybe ``err``, ``dq``, ``wcs``
        Level 2 or Level 3. float16 errors become float32, which FITS can hold.
    path : path
    overwrite : bool, optional

    Returns
    -------
    Path

    Raises
    ------
    InputError, ShapeError
        If `image` is no image product.
    OutputError
        If the file is there already, or cannot be written.

    Warns
    -----
    DataWarning
        If the coordinates in the header are only approximate.
    """
    from astropy.io import fits

    target = _free(path, overwrite=overwrite)
    source = _as_image(image)
    coordinates = wcs_header(source.meta, source.data.shape, source.wcs)
    primary = fits.PrimaryHDU()
    for keyword, value, comment in primary_keywords(source.meta):
        primary.header[keyword] = (value, comment)
    hdus = [primary, _extension("SCI", source.data, coordinates, _unit(source.meta))]
    if source.err is not None:
        hdus.append(_extension("ERR", source.err, coordinates, _unit(source.meta)))
    if source.dq is not None:
        hdus += [_extension("DQ", source.dq, coordinates, None), _flag_table()]
    with new_file(target) as file:
        fits.HDUList(hdus).writeto(file)
    return target


def _extension(name: str, array: NDArray[Any], coordinates: Any, unit: str | None) -> Any:
    from astropy.io import fits

    hdu = fits.ImageHDU(array, name=name)
    if unit:
        hdu.header["BUNIT"] = unit
    hdu.header.extend(coordinates, unique=True, bottom=True)
    return hdu


def _flag_table() -> Any:
    """Say what each bit of the DQ extension means."""
    from astropy.io import fits

    flags = [flag for flag in PixelFlag if int(flag)]
    columns = [
        fits.Column("BIT", "I", array=np.array([int(flag).bit_length() - 1 for flag in flags])),
        fits.Column("VALUE", "K", array=np.array([int(flag) for flag in flags])),
        fits.Column("NAME", "20A", array=np.array([flag.name or "" for flag in flags])),
    ]
    return fits.BinTableHDU.from_columns(columns, name="DQ_DEF")


def _unit(meta: Any) -> str:
    """DN/s for a rate image; MJy/sr after the flux step and in mosaics."""
    mosaic = lookup(meta, "resample") is not None or lookup(meta, "coadd_info") is not None
    return "MJy/sr" if mosaic or lookup(meta, "cal_step.flux") == "COMPLETE" else "DN/s"


# ---------------------------------------------------------------------------------------------------- picture
def to_png(
    image: Any,
    path: str | os.PathLike[str],
    *,
    stretch: Stretch = "asinh",
    size: int = 1024,
    overwrite: bool = False,
) -> Path:
    """Write a grey picture; x runs to the right and y up, and the file says so and where north is.

    Pixels flagged DO_NOT_USE or not finite are left out of the means of the blocks that become one grey value; a block
    with nothing else is black.

    Parameters
    ----------
    image : path, model, or any object with ``data``, ``meta`` and maybe ``dq``, ``wcs``
    path : path
    stretch : {"asinh", "zscale", "linear"}, optional
        "asinh": 0.5 to 99.8 percentile, compressed; "linear": the same range; "zscale": linear over the range that the
        zscale algorithm finds.
    size : int, optional
        Longest side of the picture in pixels.
    overwrite : bool, optional

    Returns
    -------
    Path

    Raises
    ------
    OptionError
        If `stretch` or `size` is not possible.
    InputError, ShapeError
        If `image` is no image product.
    OutputError
        If the file is there already, or cannot be written.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if stretch not in ("asinh", "zscale", "linear"):
        msg = f"stretch {stretch!r} is not known; it is 'asinh', 'zscale' or 'linear'"
        raise OptionError(msg)
    if not 16 <= size <= 20000:
        msg = f"size {size} is not possible; the longest side of the picture has 16 to 20000 pixels"
        raise OptionError(msg)
    target = _free(path, overwrite=overwrite)
    source = _as_image(image)
    block = math.ceil(max(source.data.shape) / size)
    means = _block_means(source.data, source.dq, block)
    grey, low, high = _grey(means, stretch)
    text = PngInfo()
    for key, value in {
        "Title": str(lookup(source.meta, "filename") or "Roman WFI image"),
        "Software": "roman_nexus",
        "Orientation": _orientation(source),
        "Stretch": f"{stretch}, {low:.6g} to {high:.6g} {_unit(source.meta)}",
        "Scale": f"one pixel is the mean of {block} x {block} pixels of the product",
    }.items():
        text.add_text(key, value)
    with new_file(target) as file:
        Image.fromarray(grey[::-1]).save(file, format="PNG", pnginfo=text)
    return target


def _block_means(data: NDArray[np.float32], dq: NDArray[np.uint32] | None, block: int) -> NDArray[np.float32]:
    """Mean of the good pixels of each block; NaN where there is none. Blocks at the upper edges may be cut off."""
    starts = [np.arange(0, length, block) for length in data.shape]
    out = np.empty((starts[0].size, starts[1].size), np.float32)
    for row, start in enumerate(starts[0]):  # one row of blocks at a time keeps memory small
        rows = slice(start, start + block)
        good = np.isfinite(data[rows])
        if dq is not None:
            good &= (dq[rows] & np.uint32(PixelFlag.DO_NOT_USE)) == 0
        sums = np.add.reduceat(np.where(good, data[rows], 0).sum(axis=0, dtype=np.float64), starts[1])
        counts = np.add.reduceat(good.sum(axis=0), starts[1])
        out[row] = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return out


def _grey(means: NDArray[np.float32], stretch: Stretch) -> tuple[NDArray[np.uint8], float, float]:
    """Turn values into 0 to 255; returns the range of values too."""
    from astropy.visualization import AsinhStretch, ZScaleInterval

    known = means[np.isfinite(means)]
    if not known.size:
        return np.zeros(means.shape, np.uint8), 0.0, 0.0
    if stretch == "zscale":
        low, high = ZScaleInterval().get_limits(known)
    else:
        low, high = np.percentile(known, [0.5, 99.8])
    width = float(high - low) or 1.0
    scaled = np.clip((np.nan_to_num(means, nan=float(low)) - low) / width, 0, 1)
    if stretch == "asinh":
        scaled = AsinhStretch(0.1)(scaled)
    return np.round(255 * scaled).astype(np.uint8), float(low), float(high)


def _orientation(source: _Image) -> str:
    """Say how the picture lies: pixel axes, and north and east if the coordinates are known."""
    axes = "x to the right, y up, pixel (0, 0) at the lower left"
    if not callable(source.wcs):
        return axes
    ny, nx = source.data.shape
    x, y = (nx - 1) / 2, (ny - 1) / 2
    ra, dec = np.array(source.wcs([x, x + 1, x], [y, y, y + 1]), dtype=float)
    east = np.array([(ra[1] - ra[0] + 180) % 360 - 180, (ra[2] - ra[0] + 180) % 360 - 180]) * np.cos(np.radians(dec[0]))
    north = np.array([dec[1] - dec[0], dec[2] - dec[0]])
    matrix = np.array([east, north])
    determinant = np.linalg.det(matrix)
    if not np.isfinite(determinant) or determinant == 0:
        return axes
    # the step in pixels that goes north
    step = np.linalg.solve(matrix, [0.0, 1.0])
    angle = math.degrees(math.atan2(-step[0], step[1])) % 360
    side = "left" if determinant < 0 else "right"
    return f"{axes}; north is {angle:.1f} deg counter-clockwise from up, east is to the {side} of north"


# ------------------------------------------------------------------------------------------------------ input
def _as_image(image: Any) -> _Image:
    """Take the parts of an image product from a path, a model or any object that has them."""
    if isinstance(image, (str, os.PathLike)):
        from roman_nexus.products import files

        image = files.open(image)
    data = getattr(image, "data", None)
    if data is None or not hasattr(image, "meta"):
        msg = f"a {type(image).__name__} cannot be exported: an image product with data and meta is needed"
        raise InputError(msg)
    pixels = np.asarray(data)
    if pixels.ndim != 2 or not pixels.size:
        msg = f"only images can be exported, with shape (ny, nx); the data have shape {pixels.shape}"
        raise ShapeError(msg)
    err, dq = (_plane(image, name, pixels.shape) for name in ("err", "dq"))
    wcs = lookup(image.meta, "wcs") or getattr(image, "wcs", None)
    return _Image(
        pixels.astype(np.float32, copy=False),
        None if err is None else err.astype(np.float32, copy=False),
        None if dq is None else dq.astype(np.uint32, copy=False),
        image.meta,
        wcs,
    )


def _plane(image: Any, name: str, shape: tuple[int, ...]) -> NDArray[Any] | None:
    value = getattr(image, name, None)
    if value is None:
        return None
    plane = np.asarray(value)
    if plane.shape != shape:
        msg = f"{name} has shape {plane.shape}, the data have {shape}"
        raise ShapeError(msg)
    return plane


def _free(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    target = Path(path)
    if target.exists() and not overwrite:
        msg = f"{target} is there already; choose another name or say overwrite=True"
        raise OutputError(msg)
    return target
