"""The optical elements as a simulator needs them: wavelength, sharpness, sensitivity and background.

Wavelengths, image widths, zodiacal and thermal count rates and zero points are those of the Roman Technical
Information repository 1.5.0 (CC0): ``filter_parameters``, ``zodiacal_light``, ``internal_thermal_backgrounds``,
``grism_prism_zodiacal_light`` and ``Roman_zeropoints_20240301`` (mean of the 18 detectors).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from roman_nexus.errors import OptionError

__all__ = ["BANDS", "Band", "band"]

ZODIACAL_FACTOR = 1.4  #: a usual field over the darkest one


@dataclass(frozen=True, slots=True)
class Band:
    """One optical element.

    Attributes
    ----------
    name : str
        As in ``meta.instrument.optical_element``.
    wavelength : float
        Centre, micron.
    width : float
        Micron.
    fwhm : float
        Width of a star's image, arcsec.
    unit_flux : float
        Flux density that gives one electron per second, nJy (AB). That of the grism and prism is a round number:
        they have no photometric zero point.
    zodiacal, thermal : float
        Electrons per second and pixel.
    dispersed : bool
        Grism or prism.
    """

    name: str
    wavelength: float
    width: float
    fwhm: float
    unit_flux: float
    zodiacal: float
    thermal: float
    dispersed: bool = False

    @property
    def background(self) -> float:
        """Sky and telescope, electrons per second and pixel."""
        return ZODIACAL_FACTOR * self.zodiacal + self.thermal


_TABLE = (
    Band("F062", 0.620, 0.280, 0.058, 81.87, 0.250, 0.003),
    Band("F087", 0.869, 0.217, 0.073, 109.46, 0.251, 0.003),
    Band("F106", 1.060, 0.265, 0.087, 104.32, 0.277, 0.003),
    Band("F129", 1.293, 0.323, 0.106, 104.48, 0.267, 0.003),
    Band("F146", 1.464, 1.030, 0.105, 33.62, 0.781, 1.03),
    Band("F158", 1.577, 0.394, 0.128, 102.28, 0.244, 0.048),
    Band("F184", 1.842, 0.317, 0.146, 156.77, 0.141, 0.155),
    Band("F213", 2.125, 0.350, 0.169, 164.04, 0.118, 4.38),
    Band("GRISM", 1.465, 0.930, 0.120, 40.0, 0.65, 0.1, dispersed=True),
    Band("PRISM", 1.275, 1.050, 0.105, 40.0, 0.95, 0.1, dispersed=True),
    Band("DARK", 1.577, 0.0, 0.128, 102.28, 0.0, 0.0),
)

#: Every optical element that can be simulated, by name.
BANDS: Mapping[str, Band] = MappingProxyType({item.name: item for item in _TABLE})


def band(optical_element: str) -> Band:
    """Look up an optical element (any case).

    Raises
    ------
    OptionError
        If it is not one of `BANDS`.

    Examples
    --------
    >>> from roman_nexus.demo.bands import band
    >>> band("f158").fwhm
    0.128
    """
    found = BANDS.get(str(optical_element).upper())
    if found is None:
        msg = f"optical_element {optical_element!r} cannot be simulated; choose one of {', '.join(BANDS)}"
        raise OptionError(msg)
    return found
