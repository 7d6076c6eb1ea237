"""ramp_fit: from a ramp to a rate, its error, and the jumps on the way.

Two algorithms. *likelihood* (the mission's default) maximises the likelihood of the differences of neighbouring
resultants with their full covariance V (Brandt 2024, PASP 136, 045004), and leaves out differences that hold a jump
(Brandt 2024, PASP 136, 045005)::

    rate = 1' W d / 1' W 1,   err^2 = 1 / 1' W 1,   chi^2 = d' W d - rate^2 / err^2,   W = V^-1       [DN/s]

*ols_cas22* (Casertano 2022; deprecated upstream) weights resultants with a power of their distance from the middle
of the ramp. Both agree with ``romancal`` 1.1 / ``stcal`` 1.20. Where those have slips they are followed by default;
``STEP.quirks`` names them and the option that undoes each.

===================  =========================================================================
`options`            what can be set
`covariance`         times of a read pattern, coefficients of V
`likelihood`         the likelihood fit of a block
`likelihood_fast`    nearly all pixels, vectorised
`likelihood_exact`   pixels with jumps or few differences, in the mission's order of operations
`casertano`          the ols_cas22 fit
`casertano_fast`     ramps without flags and jumps, vectorised
`uniform`            the equally weighted slope, for dumo
`flags`              flags of the rate image
`snowballs`          growth of large events (off by default)
===================  =========================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.errors import InputError, ShapeError
from roman_nexus.steps.exposure.ramp_fit.covariance import RampTimes, ramp_times
from roman_nexus.steps.exposure.ramp_fit.flags import JUMP_DET
from roman_nexus.steps.exposure.ramp_fit.options import RampFitOptions
from roman_nexus.steps.step import ExposureInfo, FitBlock, Needs, RampBlock, RampFrame, References, Step

__all__ = ["FEWEST_RESULTANTS", "STEP", "RampFitOptions", "apply", "check_resultants", "prepare"]

FEWEST_RESULTANTS = {"likelihood": 4, "ols_cas22": 2}  #: resultants each algorithm needs


def check_resultants(options: RampFitOptions, exposure: ExposureInfo) -> RampTimes:
    """Refuse an exposure that the algorithm cannot fit; return its times.

    Parameters
    ----------
    options : RampFitOptions
    exposure : ExposureInfo

    Returns
    -------
    RampTimes

    Raises
    ------
    InputError
        If there are too few resultants, or the read pattern or frame time is impossible.
    """
    fewest = FEWEST_RESULTANTS[options.algorithm]
    if exposure.nresultants < fewest:
        msg = (
            f"ramp_fit with algorithm {options.algorithm!r} needs at least {fewest} resultants; "
            f"the exposure has {exposure.nresultants}"
        )
        if exposure.nresultants >= FEWEST_RESULTANTS["ols_cas22"]:
            msg += "; algorithm 'ols_cas22' can fit it"
        raise InputError(msg)
    return ramp_times(tuple(tuple(reads) for reads in exposure.read_pattern), float(exposure.frame_time))


def apply(
    block: RampBlock, references: References, options: RampFitOptions, exposure: ExposureInfo, state: Any = None
) -> FitBlock:
    """Fit the ramps of a block.

    Parameters
    ----------
    block : RampBlock
        Not changed.
    references : mapping
        ``references["gain"]["data"]`` (e-/DN) and ``references["readnoise"]["data"]`` (DN per read), (ny, nx) float32.
    options : RampFitOptions
    exposure : ExposureInfo
    state : (F, NY, NX) uint8 ndarray or None
        Flags of the whole frame from `prepare`, when large events are grown.

    Returns
    -------
    FitBlock
        Rates in DN/s. Pixels that cannot be fitted are NaN (likelihood) or 0 (ols_cas22). ``dumo`` is rounded so that
        rounding it to float16 gives what rounding the float64 value would. ``jumps`` is None for ols_cas22.

    Raises
    ------
    InputError
        If there are too few resultants, or the read pattern or frame time is impossible.
    ShapeError
        If data, flags and references do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.steps.exposure.ramp_fit import STEP
    >>> from roman_nexus.steps.step import ExposureInfo, RampBlock
    >>> exposure = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,), (3,), (4,)), 2.0)
    >>> ramp = np.array([10, 30, 50, 70], dtype=np.float32).reshape(4, 1, 1)
    >>> zero = np.zeros((1, 1), dtype=np.uint32)
    >>> block = RampBlock(ramp, np.zeros((4, 1, 1), dtype=np.uint8), zero, slice(0, 1), slice(0, 1))
    >>> one = np.ones((1, 1), dtype=np.float32)
    >>> fit = STEP.apply(block, {"gain": {"data": one}, "readnoise": {"data": one}}, STEP.options(), exposure, None)
    >>> float(fit.rate[0, 0])
    10.0
    """
    times = check_resultants(options, exposure)
    gain = _image(references, "gain", block)
    readnoise = _image(references, "readnoise", block)
    ramp = _contiguous(block, exposure)
    if options.algorithm == "ols_cas22":
        from roman_nexus.steps.exposure.ramp_fit.casertano import fit_ols

        return fit_ols(ramp, gain, readnoise, options, exposure)
    from roman_nexus.steps.exposure.ramp_fit.likelihood import fit_likelihood

    expanded = None if state is None else np.ascontiguousarray(state[:, block.rows, block.columns])
    return fit_likelihood(ramp, gain, readnoise, times, options, expanded)


def prepare(
    frame: RampFrame, references: References, options: RampFitOptions, exposure: ExposureInfo
) -> NDArray[np.uint8]:
    """Find the jumps of the whole frame and grow large events.

    Parameters
    ----------
    frame : RampFrame
    references : mapping
        As for `apply`, whole.
    options : RampFitOptions
    exposure : ExposureInfo

    Returns
    -------
    (F, NY, NX) uint8 ndarray
        Flags of the resultants.
    """
    from dataclasses import replace

    from roman_nexus.steps.exposure.ramp_fit.snowballs import expand_large_events, make_rules

    recording = replace(options, record_jumps=True)
    flags = np.zeros(frame.shape, dtype=np.uint8)
    for block in frame.row_blocks():
        cut = {
            name: {"data": np.asarray(references[name]["data"][block.rows, block.columns])}
            for name in ("gain", "readnoise")
        }
        jumps = apply(block, cut, recording, exposure).jumps
        flags[:, block.rows, block.columns] = block.groupdq
        if jumps is not None:
            flags[tuple(jumps.T.astype(np.intp))] |= JUMP_DET
    expand_large_events(flags, make_rules(options))
    return flags


def _needs_prepare(options: RampFitOptions, exposure: ExposureInfo) -> bool:
    return options.expand_large_events and options.algorithm == "likelihood"


def _check(references: References, options: RampFitOptions, exposure: ExposureInfo) -> tuple[str, ...]:
    check_resultants(options, exposure)
    return ()


def _image(references: References, name: str, block: RampBlock) -> NDArray[np.float32]:
    image = np.ascontiguousarray(references[name]["data"], dtype=np.float32)
    if image.shape != block.pixeldq.shape:
        msg = f"the {name} reference has shape {image.shape} here; expected {block.pixeldq.shape}, like the ramp"
        raise ShapeError(msg)
    # a read-only array would have the kernels compiled once more, for its type
    return image if image.flags.writeable else image.copy()


def _contiguous(block: RampBlock, exposure: ExposureInfo) -> RampBlock:
    """Return the block with arrays as the kernels want them; no copy if they are so."""
    expected = (exposure.nresultants, *block.pixeldq.shape)
    for name, array in (("data", block.data), ("groupdq", block.groupdq)):
        if array.shape != expected:
            msg = f"{name} of the ramp has shape {array.shape}; expected {expected} from read pattern and pixeldq"
            raise ShapeError(msg)
    return RampBlock(
        np.ascontiguousarray(block.data, dtype=np.float32),
        np.ascontiguousarray(block.groupdq, dtype=np.uint8),
        np.ascontiguousarray(block.pixeldq, dtype=np.uint32),
        block.rows,
        block.columns,
    )


STEP = Step(
    name="ramp_fit",
    level="fit",
    options=RampFitOptions,
    apply=apply,
    references=(Needs("gain", images=("data",)), Needs("readnoise", images=("data",))),
    prepare=prepare,
    needs_prepare=_needs_prepare,
    check=_check,
    suffix="rampfit",
    title="Fit a rate to every ramp, leaving out cosmic-ray jumps",
    quirks={
        "rejection_threshold": "romancal ignores the option and uses 4.5 sigma; here a number is honoured, None is 4.5",
        "one_omission_rule": "stcal tests n_j n_(j+1) >= 1, which always holds; option 'reads' tests == 1",
        "first_guess": "stcal takes the median of all differences, flagged ones too; option 'usable' leaves those out",
        "flag_unfitted": "romancal leaves dq alone where the likelihood fit gives NaN; option flag_unfitted marks them",
    },
)
