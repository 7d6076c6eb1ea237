"""dark_current: subtract the dark rate from the rate image.

``data - dark_slope`` in float32, and the dark's flags join the image's (``romancal`` 1.1 ``subtract_dark_current``).
Errors and variances stay as they are: the reference's uncertainty and the shot noise of the dark current are not
propagated.

Where the dark is NaN the mission's pipeline makes the rate NaN, although its documentation promises zero. The option
``nan_dark`` chooses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from roman_nexus.errors import ReferenceMismatchError
from roman_nexus.steps.step import ExposureInfo, ImageBlock, Needs, Options, References, Step

__all__ = ["STEP", "DarkCurrentOptions", "apply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkCurrentOptions(Options):
    """Options of `dark_current`."""

    nan_dark: Literal["romancal", "zero"] = field(
        default="romancal",
        metadata={
            "doc": 'NaN darks: "romancal" lets them make the rate NaN, "zero" subtracts nothing there',
            "unit": "",
        },
    )


def apply(
    block: ImageBlock, references: References, options: DarkCurrentOptions, exposure: ExposureInfo, state: None = None
) -> None:
    """Subtract the dark rate in place.

    Parameters
    ----------
    block : ImageBlock
        ``data`` (DN/s) and ``dq`` change.
    references : mapping
        ``references["dark"]``: ``dark_slope`` (ny, nx) float32, DN/s, and ``dq`` (ny, nx) uint32.
    options : DarkCurrentOptions
    exposure : ExposureInfo
    state : None

    Raises
    ------
    ReferenceMismatchError
        If a reference array has another shape than the data.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.dark_current import STEP
    >>> from roman_nexus.steps.step import ExposureInfo, ImageBlock
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16)
    >>> half = [np.zeros((1, 2), dtype=np.float16) for _ in range(4)]
    >>> rate = np.array([[1.5, 2.0]], dtype=np.float32)
    >>> block = ImageBlock(rate, np.zeros((1, 2), np.uint32), *half, slice(0, 1), slice(0, 2))
    >>> dark = {"dark_slope": np.array([[0.25, 0.5]], np.float32), "dq": np.array([[0, 2048]], np.uint32)}
    >>> STEP.apply(block, {"dark": dark}, STEP.options(), exposure, None)
    >>> block.data, block.dq
    (array([[1.25, 1.5 ]], dtype=float32), array([[   0, 2048]], dtype=uint32))
    """
    dark = references["dark"]
    for name in ("dark_slope", "dq"):
        if dark[name].shape != block.data.shape:
            msg = (
                f"dark reference {name} has shape {dark[name].shape}; expected {block.data.shape}, like the rate image"
            )
            raise ReferenceMismatchError(msg)
    slope = dark["dark_slope"]
    if options.nan_dark == "zero":
        slope = np.where(np.isnan(slope), np.float32(0.0), slope)
    block.data -= slope
    block.dq |= dark["dq"]


STEP = Step(
    name="dark_current",
    level="image",
    options=DarkCurrentOptions,
    apply=apply,
    references=(Needs("dark", images=("dark_slope", "dq"), missing="skip"),),
    cal_step="dark",
    suffix="darkcurrent",
    title="Subtract the dark rate",
    quirks={"nan_dark": "a NaN dark rate makes the rate NaN; the mission's documentation promises zero"},
)
