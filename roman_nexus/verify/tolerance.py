"""How close is close enough: the pass criteria of a comparison with the mission's pipeline.

Numbers differ in the last bits for reasons that no care removes (order of sums inside an FFT, the power function of
another processor), and steps amplify the bits of the steps before them. So flags must be the same in all but one
pixel of ten thousand, and values within a few units in the last place of the largest counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roman_nexus.verify.agreement import Agreement

__all__ = ["COUNTS", "FLAGS", "HALF", "RAMP", "Tolerance", "rate_tolerance", "tolerance_for"]

#: Four units in the last place of 10 000 DN, float32.
FOUR_ULP_DN = float(4 * np.spacing(np.float32(1e4)))


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A pass criterion.

    Attributes
    ----------
    share : float
        At least this share of the values must be close.
    allowed : (relative, absolute) or None
        What is close, see `roman_nexus.verify.agreement.compare_arrays`; None means one unit in the last place.
    text : str
        The same for people.
    exact : bool
        Only identical values are close.

    Examples
    --------
    >>> import numpy as np
    >>> from roman_nexus.verify.agreement import compare_arrays
    >>> from roman_nexus.verify.tolerance import RAMP
    >>> ours, theirs = np.float32([100.0, 5.0]), np.float32([100.001, 5.0])
    >>> RAMP.judge(compare_arrays(ours, theirs, allowed=RAMP.allowed))
    True
    """

    share: float
    allowed: tuple[float, float] | None
    text: str
    exact: bool = False

    def judge(self, agreement: Agreement) -> bool:
        """Tell whether a comparison passes; one of nothing does not."""
        found = agreement.identical_fraction if self.exact else agreement.close_fraction
        return agreement.compared > 0 and found >= self.share


RAMP = Tolerance(0.9999, (0.0, FOUR_ULP_DN), f"99.99 % within {FOUR_ULP_DN:.4f} DN")
FLAGS = Tolerance(0.9999, None, "99.99 % identical", exact=True)
COUNTS = Tolerance(0.9999, (0.0, 1.0), "99.99 % within one count")
HALF = Tolerance(0.999, None, "99.9 % within one unit of float16")


def rate_tolerance(read_pattern: Sequence[Sequence[int]], frame_time: float) -> Tolerance:
    """Return the criterion of a rate image: 2e-6 of the rate, and four ulp of 10 000 DN over the exposure.

    Parameters
    ----------
    read_pattern : sequence of sequences of int
    frame_time : float
        Seconds per read.

    Examples
    --------
    >>> from roman_nexus.verify.tolerance import rate_tolerance
    >>> rate_tolerance([[1], [2], [9]], 3.16).text
    '99.99 % within 2e-06 of the value + 1.5e-04 DN/s'
    """
    span = frame_time * float(np.mean(read_pattern[-1]) - np.mean(read_pattern[0]))
    absolute = FOUR_ULP_DN / span
    return Tolerance(0.9999, (2e-6, absolute), f"99.99 % within 2e-06 of the value + {absolute:.1e} DN/s")


def tolerance_for(name: str, dtype: np.dtype[np.generic], rate: Tolerance | None = None) -> Tolerance:
    """Return the criterion for an array of a product.

    Parameters
    ----------
    name : str
        For example "groupdq" or "border_ref_pix_left".
    dtype : dtype
    rate : Tolerance, optional
        For ``data`` of an image; without it ``data`` is that of a ramp.
    """
    if "dq" in name or name == "jump_indices":
        return FLAGS
    if dtype == np.float16:
        return HALF
    if dtype.kind in "iu":
        return COUNTS
    return rate if rate is not None and name == "data" else RAMP
