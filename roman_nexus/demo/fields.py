"""Reproducible random fields over a detector: smooth structure, read-out channels, pixel scatter.

Every random quantity of the demo has a stream of its own, named by what it is for. So a quantity does not change
when another one is added, computed earlier, or left out.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import ShapeError
from roman_nexus.steps.step import BORDER, CHANNEL_WIDTH
from roman_nexus.wcs import detector_place

__all__ = ["border_mask", "channel_field", "check_detector", "check_shape", "scatter", "smooth_field", "stream"]

Shape = tuple[int, int]


def check_detector(detector: str) -> int:
    """Return the number of a detector name, 1 to 18.

    Raises
    ------
    InputError
        If it is not "WFI01" to "WFI18".

    Examples
    --------
    >>> from roman_nexus.demo.fields import check_detector
    >>> check_detector("WFI07")
    7
    """
    return int(detector_place(str(detector)).name[3:])


def check_shape(shape: Shape) -> Shape:
    """Return a frame shape as two ints.

    Raises
    ------
    ShapeError
        If ny or nx is not a multiple of 128 between 128 and 4096.
    """
    try:
        ny, nx = (int(size) for size in shape)
    except (TypeError, ValueError) as error:
        msg = f"shape is {shape!r}; expected (ny, nx) of the full frame including the 4-pixel border"
        raise ShapeError(msg) from error
    if any(size % CHANNEL_WIDTH or not CHANNEL_WIDTH <= size <= 4096 for size in (ny, nx)):
        msg = f"shape is {(ny, nx)}; expected multiples of {CHANNEL_WIDTH} from {CHANNEL_WIDTH} to 4096"
        raise ShapeError(msg)
    return ny, nx


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random stream of a name; equal arguments give equal numbers.

    Examples
    --------
    >>> from roman_nexus.demo.fields import stream
    >>> stream(1, "gain", 3).random() == stream(1, "gain", 3).random()
    True
    """
    words = [zlib.crc32(name.encode()) if isinstance(name, str) else int(name) for name in names]
    return np.random.default_rng(np.random.SeedSequence([int(seed), *words]))


def smooth_field(rng: np.random.Generator, shape: Shape, nodes: int = 9) -> NDArray[np.float32]:
    """Draw a smooth field of zero mean and unit variance: a spline through random nodes.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    nodes : int
        Nodes on each side.

    Returns
    -------
    (ny, nx) float32 ndarray
    """
    from scipy.interpolate import CubicSpline

    grid = rng.standard_normal((nodes, nodes))
    identity = np.eye(nodes)
    down, across = (CubicSpline(np.linspace(0, size - 1, nodes), identity)(np.arange(size)) for size in shape)
    # einsum, not BLAS: nothing is gained by threads here, and the sum has a fixed order
    field = np.einsum("ik,jk->ij", (down @ grid).astype(np.float32), across.astype(np.float32))
    field -= field.mean(dtype=np.float64)
    field /= field.std(dtype=np.float64)
    return np.asarray(field, dtype=np.float32)


def channel_field(rng: np.random.Generator, shape: Shape) -> NDArray[np.float32]:
    """Draw one number of unit variance for each read-out channel (128 columns).

    Returns
    -------
    (nx,) float32 ndarray
        To be broadcast over rows.
    """
    values = rng.standard_normal(-(-shape[1] // CHANNEL_WIDTH), dtype=np.float32)
    return np.repeat(values, CHANNEL_WIDTH)[: shape[1]]


def scatter(rng: np.random.Generator, shape: Shape) -> NDArray[np.float32]:
    """Draw an independent number of unit variance for each pixel.

    Returns
    -------
    (ny, nx) float32 ndarray
    """
    return rng.standard_normal(shape, dtype=np.float32)


def border_mask(shape: Shape) -> NDArray[np.bool_]:
    """Return True in the reference border of a full frame.

    Returns
    -------
    (ny, nx) bool ndarray
    """
    border = np.ones(shape, dtype=bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    return border
