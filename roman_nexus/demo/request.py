"""What an observer may ask of the simulator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from roman_nexus.demo import fields
from roman_nexus.demo.bands import Band, band
from roman_nexus.demo.pointing import TelescopePointing, parse_utc
from roman_nexus.demo.read_patterns import DEMO_TABLE, FRAME_TIME, MATable, ma_table, table_of
from roman_nexus.demo.references import ReferenceSet
from roman_nexus.demo.sky import SkyField
from roman_nexus.errors import InputError, OptionError
from roman_nexus.products.names import DetectorName

__all__ = ["EXPOSURE_TYPES", "ExposureRequest"]

#: Exposure types that can be simulated.
EXPOSURE_TYPES = ("WFI_IMAGE", "WFI_LOLO", "WFI_WFSC", "WFI_SPECTRAL", "WFI_FLAT", "WFI_IM_DARK", "WFI_SP_DARK")
FLAT_FIELDED = ("WFI_IMAGE", "WFI_LOLO", "WFI_WFSC")
DARKS = ("WFI_IM_DARK", "WFI_SP_DARK")
GUIDE_WINDOW_SIZE = 16
MAX_DROPOUTS = 100


@dataclass(frozen=True, kw_only=True)
class ExposureRequest:
    """One exposure of one detector.

    Attributes
    ----------
    detector : str
        "WFI01" to "WFI18".
    optical_element : str
        A filter, "GRISM", "PRISM" or "DARK".
    shape : tuple of int
        Full frame (ny, nx) including the 4-pixel border, multiples of 128. Pixels keep their size on the sky: a
        reduced frame sees the middle of the detector.
    ma_table : int
        Number of a multi-accumulation table; see `roman_nexus.demo.read_patterns`.
    read_pattern : sequence of sequence of int or None
        In place of a table.
    frame_time : float
        Seconds per read.
    pointing : TelescopePointing
        Where the middle of the focal plane looks, in truth.
    reported_offset : tuple of float
        By how much (arcsec in V2 and V3) the pointing that the file reports is wrong: work for tweakreg.
    sky : SkyField or None
        None means the field around the pointing that `seed` makes. Two exposures see the same sources only if they
        are given the same field.
    seed : int
        Of references, sky (if `sky` is None) and noise.
    exposure_type : str
        One of `EXPOSURE_TYPES`.
    visit_id : str
        19 digits: program, execution plan, pass, segment, observation, visit.
    exposure : int
        Number of the exposure in the visit; noise differs from one to the next.
    nexposures : int
        Exposures that the visit is planned to have.
    start_time : str
        ISO 8601, UTC.
    reference_read : bool
        Whether a read at the reset is subtracted, and kept, as the flight system may do.
    data_encoding_offset : int
        Added to counts where a reference read is subtracted, DN.
    cosmic_ray_rate : float
        Multiple of the usual rate; 0 switches cosmic rays off.
    correlated_noise : bool
        Whether the noise that refpix removes is there.
    defects : float
        Multiple of the usual number of bad pixels.
    dropouts : int
        Blocks of 16 rows by 128 columns of one resultant that are lost in transmission.
    saturated : bool
        Whether every pixel is saturated from the first read. The pipeline recognises this only if every pixel has a
        saturation threshold: use ``defects=0``.
    """

    detector: str = "WFI01"
    optical_element: str = "F158"
    shape: tuple[int, int] = (512, 512)
    ma_table: int = DEMO_TABLE
    read_pattern: Sequence[Sequence[int]] | None = None
    frame_time: float = FRAME_TIME
    pointing: TelescopePointing = TelescopePointing()  # noqa: RUF009 - frozen
    reported_offset: tuple[float, float] = (0.0, 0.0)
    sky: SkyField | None = None
    seed: int = 0
    exposure_type: str = "WFI_IMAGE"
    visit_id: str = "0099101001001001001"
    exposure: int = 1
    nexposures: int = 1
    start_time: str = "2027-04-01T00:00:00"
    reference_read: bool = False
    data_encoding_offset: int = 4000
    cosmic_ray_rate: float = 1.0
    correlated_noise: bool = True
    defects: float = 1.0
    dropouts: int = 0
    saturated: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "detector", f"WFI{fields.check_detector(self.detector):02d}")
        object.__setattr__(self, "shape", fields.check_shape(self.shape))
        object.__setattr__(self, "optical_element", band(self.optical_element).name)
        if self.exposure_type not in EXPOSURE_TYPES:
            msg = f"exposure_type is {self.exposure_type!r}; expected one of {', '.join(EXPOSURE_TYPES)}"
            raise OptionError(msg)
        self._check_element()
        self._check_numbers()
        parse_utc(self.start_time)
        table_of(self.table.pattern)

    def _check_element(self) -> None:
        """Refuse an optical element that does not go with the exposure type."""
        spectral = self.exposure_type == "WFI_SPECTRAL"
        fits = self.band.dispersed if spectral else not self.band.dispersed
        if self.exposure_type in FLAT_FIELDED:
            fits = fits and self.optical_element != "DARK"
        if not fits:
            msg = f"optical_element {self.optical_element} does not go with exposure_type {self.exposure_type}"
            raise OptionError(msg)

    def _check_numbers(self) -> None:
        if not re.fullmatch(r"\d{19}", self.visit_id):
            msg = f"visit_id is {self.visit_id!r}; expected 19 digits such as 0099101001001001001"
            raise InputError(msg)
        ranges = {
            "exposure": (1, 9999),
            "nexposures": (1, 9999),
            "frame_time": (0.1, 1000.0),
            "seed": (0, 2**63),
            "data_encoding_offset": (0, 65535),
            "cosmic_ray_rate": (0.0, 1000.0),
            "dropouts": (0, MAX_DROPOUTS),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"{name} is {value!r}; expected {low} to {high}"
                raise OptionError(msg)

    @property
    def band(self) -> Band:
        """The optical element."""
        return band(self.optical_element)

    @property
    def table(self) -> MATable:
        """The multi-accumulation table."""
        return ma_table(self.ma_table) if self.read_pattern is None else table_of(self.read_pattern)

    @property
    def references(self) -> ReferenceSet:
        """The references that belong to the exposure."""
        return ReferenceSet(self.detector, self.shape, self.seed, self.defects)

    @property
    def field(self) -> SkyField:
        """The sky."""
        return self.sky or SkyField(self.pointing.ra, self.pointing.dec, self.seed)

    @property
    def flat_fielded(self) -> bool:
        """Whether the pipeline divides this exposure type by the flat."""
        return self.exposure_type in FLAT_FIELDED

    @property
    def dark(self) -> bool:
        """Whether no light reaches the detector."""
        return self.exposure_type in DARKS

    @property
    def guide_window(self) -> tuple[int, int, int, int]:
        """(xstart, xstop, ystart, ystop) in full-frame pixels; a little different on each detector."""
        ny, nx = self.shape
        sca = fields.check_detector(self.detector)
        x, y = int((0.45 + 0.01 * sca) * nx), int((0.35 + 0.013 * sca) * ny)
        return x, x + GUIDE_WINDOW_SIZE, y, y + GUIDE_WINDOW_SIZE

    @property
    def name(self) -> DetectorName:
        """Name of the Level 1 product."""
        widths = {"program": 5, "execution_plan": 2, "pass_": 3, "segment": 3, "observation": 3, "visit": 3}
        numbers, start = {}, 0
        for part, width in widths.items():
            numbers[part] = int(self.visit_id[start : start + width])
            start += width
        return DetectorName(
            **numbers,
            exposure=self.exposure,
            detector=self.detector,
            optical_element=self.optical_element,
            suffix="uncal",
            ext="asdf",
        )

    def stream_names(self, *names: str | int) -> tuple[str | int, ...]:
        """Return the names of a random stream of this exposure; see `roman_nexus.demo.fields.stream`."""
        return (*names, self.visit_id, self.exposure, fields.check_detector(self.detector))
