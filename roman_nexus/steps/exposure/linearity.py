"""linearity: bring counts to a linear scale, read by read.

A resultant is the average of several reads, and the average of a non-linear function is not the function of the
average. So the reads are rebuilt first. With the linearising polynomial L of a pixel, its inverse I, read numbers r and
mean read numbers rbar_i (``stcal`` 1.20 ``linearity_correction``, ``romancal`` 1.1):

1. A straight line through the linearised first and last usable resultant gives linear counts of every read,
   ``first + rate * (r - rbar_0)``, and with I the counts that the converter saw. The very last usable resultant is left
   out, because saturation may have begun in it.
2. They are shifted so that their mean is the resultant.
3. The integral non-linearity of the analogue-to-digital converter, a table per read-out channel, is added.
4. L of each read, averaged, is the new resultant. Saturated resultants keep their counts.

L and I become the identity (and NO_LIN_CORR is set) where a coefficient is NaN or the linear term is zero, and where
the linearity reference says NO_LIN_CORR. Results beyond 1e6 DN are clipped and the resultant gets DO_NOT_USE.

The line is in float32 at its ends and in float64 from there on, and polynomials are evaluated by Horner's rule without
fused operations: that is what makes the counts equal to the mission's in every bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import InputError, ReferenceMismatchError, ShapeError
from roman_nexus.steps.exposure.linearity_kernel import correct
from roman_nexus.steps.step import CHANNEL_WIDTH, ExposureInfo, Needs, Options, RampBlock, RampFrame, References, Step

__all__ = ["STEP", "IntegralNonlinearity", "LinearityOptions", "apply", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearityOptions(Options):
    """`linearity` has no options."""


@dataclass(frozen=True, slots=True)
class IntegralNonlinearity:
    """The converter's correction tables of all read-out channels.

    Attributes
    ----------
    abscissa : (n,) float64 ndarray
        Counts at which the correction is given, DN, increasing.
    correction : (n_channels, n + 1) float64 ndarray
        Correction to add, DN; the last entry is repeated, so that every point has a right neighbour.
    direct : bool
        The abscissa is 0, 1, 2, …: a count is its own place in the table.
    """

    abscissa: NDArray[np.float64]
    correction: NDArray[np.float64]
    direct: bool


def prepare(
    frame: RampFrame, references: References, options: LinearityOptions, exposure: ExposureInfo
) -> IntegralNonlinearity | None:
    """Gather the converter's correction tables of the channels in use.

    Parameters
    ----------
    frame : RampFrame
        Not used: the correction does not depend on the exposure.
    references : mapping
        ``references["integralnonlinearity"]``, if there is one: ``value`` (n,), DN, and ``inl_table``, a mapping of
        ``science_channel_01`` … to mappings with ``correction`` (n,), DN.
    options : LinearityOptions
    exposure : ExposureInfo

    Returns
    -------
    IntegralNonlinearity or None
        None when there is no such reference.

    Raises
    ------
    ReferenceMismatchError
        If a channel is missing, holds no numbers or has another length than the abscissa, or if the abscissa does not
        increase.
    """
    if "integralnonlinearity" not in references:
        return None
    reference = references["integralnonlinearity"]
    # romancal looks counts up in float32 abscissas
    abscissa = np.asarray(reference["value"]).astype(np.float32).astype(np.float64)
    if abscissa.ndim != 1 or abscissa.size < 2 or not np.all(np.diff(abscissa) > 0):
        msg = (
            f"integralnonlinearity value has shape {abscissa.shape}; "
            "expected a list of at least 2 increasing counts: use another reference file"
        )
        raise ReferenceMismatchError(msg)
    n_channels = -(-exposure.shape[1] // CHANNEL_WIDTH)
    correction = np.empty((n_channels, abscissa.size + 1))
    for channel in range(n_channels):
        name = f"science_channel_{channel + 1:02d}"
        correction[channel, :-1] = _channel_correction(reference["inl_table"], name, abscissa.size)
    correction[:, -1] = correction[:, -2]
    direct = bool(np.array_equal(abscissa, np.arange(abscissa.size)))
    return IntegralNonlinearity(abscissa, correction, direct)


def _channel_correction(table: Any, name: str, size: int) -> NDArray[np.float64]:
    """Take one channel's correction out of the reference's table."""
    try:
        values = table[name]["correction"]
    except KeyError:
        values = None
    if values is None:
        msg = f"integralnonlinearity reference has no correction for {name}; expected {size} numbers for every channel"
        raise ReferenceMismatchError(msg)
    correction = np.asarray(values, dtype=np.float64)
    if correction.shape != (size,) or not np.all(np.isfinite(correction)):
        msg = (
            f"integralnonlinearity correction of {name} has shape {correction.shape}; "
            f"expected {size} finite numbers, one for each value"
        )
        raise ReferenceMismatchError(msg)
    return correction


def apply(
    block: RampBlock,
    references: References,
    options: LinearityOptions,
    exposure: ExposureInfo,
    state: IntegralNonlinearity | None = None,
) -> None:
    """Linearise a block in place.

    Parameters
    ----------
    block : RampBlock
        ``data`` changes, ``groupdq`` gains DO_NOT_USE where a count was clipped, ``pixeldq`` gains the flags of the
        linearity reference and NO_LIN_CORR.
    references : mapping
        ``references["linearity"]``: ``coeffs`` (n, ny, nx) float32, n >= 2, ascending powers of DN, and ``dq`` (ny, nx)
        uint32; ``references["inverselinearity"]``: ``coeffs`` likewise.
    options : LinearityOptions
    exposure : ExposureInfo
    state : IntegralNonlinearity or None
        From `prepare`; None leaves that part out.

    Raises
    ------
    ReferenceMismatchError
        If a reference array has another shape than the data, or fewer than two coefficients.
    InputError
        If the read pattern does not belong to the ramp, or does not order the resultants in time.
    ShapeError
        If the arrays of the block do not fit together, or the block is wider than what `prepare` was told.

    Examples
    --------
    Counts of a detector that shows half of the light, c = f / 2:

    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.linearity import STEP
    >>> from roman_nexus.steps.step import ExposureInfo, RampBlock
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,), (3, 4)), 3.16, shape=(1, 2))
    >>> data = np.array([10, 20, 35], dtype=np.float32).repeat(2).reshape(3, 1, 2)
    >>> block = RampBlock(data, np.zeros((3, 1, 2), np.uint8), np.zeros((1, 2), np.uint32), slice(0, 1), slice(0, 2))
    >>> double = np.array([0, 2], dtype=np.float32).repeat(2).reshape(2, 1, 2)
    >>> references = {
    ...     "linearity": {"coeffs": double, "dq": np.zeros((1, 2), np.uint32)},
    ...     "inverselinearity": {"coeffs": double / 4},
    ... }
    >>> STEP.apply(block, references, STEP.options(), exposure, None)
    >>> block.data[:, 0, 0]
    array([20., 40., 70.], dtype=float32)
    """
    nresultants, ny, nx = block.data.shape
    if block.groupdq.shape != block.data.shape or block.pixeldq.shape != (ny, nx):
        shapes = f"{block.data.shape}, {block.groupdq.shape} and {block.pixeldq.shape}"
        msg = f"data, groupdq and pixeldq have shapes {shapes}; expected (F, ny, nx) twice and (ny, nx)"
        raise ShapeError(msg)
    if state is not None and block.columns.stop > len(state.correction) * CHANNEL_WIDTH:
        msg = (
            f"columns up to {block.columns.stop} need more read-out channels than the {len(state.correction)} prepared"
        )
        raise ShapeError(msg)
    reads, starts, means = _read_times(exposure, nresultants)
    reference = references["linearity"]
    dq = _plane(reference["dq"], np.uint32)
    if dq.shape != (ny, nx):
        msg = f"linearity reference dq has shape {dq.shape}; expected {(ny, nx)}, like the data"
        raise ReferenceMismatchError(msg)
    correct(
        block.data,
        block.groupdq,
        block.pixeldq,
        block.columns.start,
        _coefficients(reference["coeffs"], "linearity", (ny, nx)),
        _coefficients(references["inverselinearity"]["coeffs"], "inverselinearity", (ny, nx)),
        dq,
        reads,
        starts,
        means,
        np.empty(0) if state is None or state.direct else state.abscissa,
        np.empty((0, 0)) if state is None else state.correction,
    )


def _read_times(
    exposure: ExposureInfo, nresultants: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return read numbers since the mean of the first resultant, where each resultant begins, and mean reads."""
    pattern = exposure.read_pattern
    if len(pattern) != nresultants or nresultants < 2:
        msg = (
            f"read_pattern lists {len(pattern)} resultants and the ramp has {nresultants}; expected the same, 2 or more"
        )
        raise InputError(msg)
    empty = [i for i, numbers in enumerate(pattern) if not numbers]
    if empty:
        msg = f"read_pattern has no reads in resultant {empty[0]}; expected at least one in each"
        raise InputError(msg)
    means = np.array([np.mean(numbers) for numbers in pattern])
    if np.any(means[1:] == means[0]):
        msg = (
            f"read_pattern {pattern} has resultants with the mean read of the first; expected resultants in time order"
        )
        raise InputError(msg)
    reads = np.array([number for numbers in pattern for number in numbers]) - means[0]
    starts = np.concatenate([[0], np.cumsum([len(numbers) for numbers in pattern])])
    return reads, starts, means


def _check(references: References, options: LinearityOptions, exposure: ExposureInfo) -> tuple[str, ...]:
    """Refuse an exposure without a slope, and polynomials without a linear term."""
    _read_times(exposure, exposure.nresultants)
    for reftype in ("linearity", "inverselinearity"):
        _check_coefficients(references[reftype]["coeffs"].shape, reftype, exposure.shape)
    return ()


def _check_coefficients(found: tuple[int, ...], reftype: str, shape: tuple[int, int]) -> None:
    if len(found) != 3 or tuple(found[1:]) != shape or found[0] < 2:
        msg = f"{reftype} reference coeffs has shape {tuple(found)}; expected (2 or more, {shape[0]}, {shape[1]})"
        raise ReferenceMismatchError(msg)


def _coefficients(coeffs: Any, reftype: str, shape: tuple[int, int]) -> tuple[NDArray[Any], ...]:
    """Return the planes of a coefficient cube."""
    _check_coefficients(coeffs.shape, reftype, shape)
    return tuple(_plane(plane, np.float32) for plane in coeffs)


def _plane(plane: Any, dtype: type[np.generic]) -> NDArray[Any]:
    """View (or copy, where it must be) a plane as the one kind of array for which the kernel is compiled."""
    view = np.require(plane, dtype, ["C", "A"]).view()
    view.flags.writeable = False
    return view


STEP = Step(
    name="linearity",
    level="ramp",
    options=LinearityOptions,
    apply=apply,
    references=(
        Needs("linearity", images=("coeffs", "dq"), missing="skip"),
        Needs("inverselinearity", images=("coeffs",), missing="skip"),
        Needs("integralnonlinearity", whole=("value", "inl_table"), missing="without"),
    ),
    prepare=prepare,
    check=_check,
    title="Bring counts to a linear scale, read by read",
)
