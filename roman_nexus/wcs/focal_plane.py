"""Where the 18 detectors of the Wide Field Instrument lie in the focal plane.

Source: the Roman science instrument aperture file (SIAF) of 2022 January 21, apertures ``WFInn_FULL``, as distributed
with ``pysiaf`` 0.29. It predates launch. Use it to plan, to draw and to simulate; for a real exposure the reference
point is in ``meta.wcsinfo`` and the scale in the distortion reference, which varies by several percent over the array.
"""

from __future__ import annotations

from dataclasses import dataclass

from roman_nexus.errors import InputError

__all__ = ["DETECTORS", "WFI_CENTRE", "DetectorPlace", "detector_place"]

WFI_CENTRE = (1546.385, -892.792)  #: (v2, v3) of aperture WFI_CEN, arcsec
SCIENCE_PIXELS = 4088  #: along each side; the reference point is the centre, pixel (2043.5, 2043.5), 0-based


@dataclass(frozen=True, slots=True)
class DetectorPlace:
    """A detector in the telescope frame.

    Attributes
    ----------
    name : str
        "WFI01" to "WFI18".
    v2_ref, v3_ref : float
        Centre of the science frame, arcsec.
    det_sci_y_angle : int
        Angle from the detector's y axis (read-out frame) to that of the science frame, 0 or -180 degrees.
    v3_ideal_y_angle : float
        Angle from V3 to the y axis of the ideal frame, degrees.
    parity : int
        Handedness of the ideal frame with respect to V2, V3.
    """

    name: str
    v2_ref: float
    v3_ref: float
    det_sci_y_angle: int
    v3_ideal_y_angle: float = -60.0
    parity: int = -1


_CENTRES = (
    (1312.949, -1040.785), (1769.430, -1304.002), (2177.850, -1539.221),
    (984.272, -1414.951), (1441.449, -1679.194), (1848.907, -1913.775),
    (536.014, -1718.748), (995.139, -1984.946), (1397.070, -2221.324),
    (1557.340, -617.416), (2013.739, -880.918), (2421.763, -1116.823),
    (1717.075, -145.628), (2174.723, -409.269), (2581.781, -644.617),
    (1756.051, 394.633), (2216.380, 130.234), (2622.293, -99.464),
)  # fmt: skip

#: Name to place, in order of the names. Every third detector is mounted the other way round.
DETECTORS: dict[str, DetectorPlace] = {
    f"WFI{sca:02d}": DetectorPlace(f"WFI{sca:02d}", v2, v3, 0 if sca % 3 == 0 else -180)
    for sca, (v2, v3) in enumerate(_CENTRES, start=1)
}


def detector_place(name: str) -> DetectorPlace:
    """Look up a detector.

    Parameters
    ----------
    name : str
        "WFI01" to "WFI18", in either case.

    Returns
    -------
    DetectorPlace

    Raises
    ------
    InputError
        If there is no such detector.

    Examples
    --------
    >>> from roman_nexus.wcs import detector_place
    >>> detector_place("WFI01").v2_ref
    1312.949
    """
    place = DETECTORS.get(name.upper())
    if place is None:
        msg = f"there is no detector {name!r}; the detectors are WFI01 to WFI18"
        raise InputError(msg)
    return place
