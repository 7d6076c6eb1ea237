"""One visit: the same field seen by many detectors in a few dithered exposures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np

from roman_nexus.demo.distortion import PIXEL_SCALE
from roman_nexus.demo.pointing import TelescopePointing, ephemeris, parse_utc, view
from roman_nexus.demo.read_patterns import DEMO_TABLE
from roman_nexus.demo.request import ExposureRequest
from roman_nexus.demo.sky import SkyField
from roman_nexus.errors import OptionError
from roman_nexus.wcs import DETECTORS

__all__ = ["Visit"]

MAX_DITHERS = 9
DITHER = 0.08  #: of the frame, between the first exposure and the second
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
OVERHEAD = 60.0  #: s between exposures


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What the exposures of a demo archive have in common.

    Attributes
    ----------
    shape : tuple of int
        Full frame of each detector (ny, nx) including the border, multiples of 128.
    detectors : sequence of str
    dithers : int
        Exposures, 1 to 9. Every second one is encoded with a reference read. Their offsets are a spiral of steps of
        a twelfth of the frame.
    optical_element : str
        An imaging filter.
    ma_table : int
        See `roman_nexus.demo.read_patterns`.
    pointing : TelescopePointing
        Of the first exposure.
    reported_offset : tuple of float
        Error of the reported pointing, arcsec in V2 and V3.
    visit_id : str
        19 digits.
    start_time : str
        Of the first exposure, ISO 8601, UTC.
    seed : int
        Equal visits give equal arrays.
    schema : str
        Schema version of the Level 1 files; "2.1.0" is read by roman_datamodels 1.1 and later.

    Examples
    --------
    >>> from roman_nexus.demo.visit import Visit
    >>> visit = Visit(detectors=["WFI01", "WFI02"], dithers=2)
    >>> [(request.detector, request.exposure) for request in visit.requests]
    [('WFI01', 1), ('WFI02', 1), ('WFI01', 2), ('WFI02', 2)]
    """

    shape: tuple[int, int] = (512, 512)
    detectors: Sequence[str] = tuple(DETECTORS)
    dithers: int = 2
    optical_element: str = "F158"
    ma_table: int = DEMO_TABLE
    pointing: TelescopePointing = TelescopePointing()  # noqa: RUF009 - frozen
    reported_offset: tuple[float, float] = (0.0, 0.0)
    visit_id: str = ExposureRequest.visit_id
    start_time: str = ExposureRequest.start_time
    seed: int = 0
    schema: str = "2.1.0"

    def __post_init__(self) -> None:
        if not 1 <= self.dithers <= MAX_DITHERS:
            msg = f"dithers is {self.dithers!r}; expected 1 to {MAX_DITHERS}"
            raise OptionError(msg)
        if isinstance(self.detectors, str) or not self.detectors:
            msg = f"detectors is {self.detectors!r}; expected a list of names such as ['WFI01', 'WFI02']"
            raise OptionError(msg)
        _ = self.requests  # checks the rest

    @cached_property
    def requests(self) -> tuple[ExposureRequest, ...]:
        """Every exposure, ordered by exposure, then detector."""
        sky = SkyField(self.pointing.ra, self.pointing.dec, self.seed)
        start = parse_utc(self.start_time).replace(tzinfo=None)
        requests: list[ExposureRequest] = []
        for dither in range(self.dithers):
            looks = self._dithered(dither)
            for detector in dict.fromkeys(self.detectors):
                request = ExposureRequest(
                    detector=detector,
                    optical_element=self.optical_element,
                    shape=self.shape,
                    ma_table=self.ma_table,
                    pointing=looks,
                    reported_offset=self.reported_offset,
                    sky=sky,
                    seed=self.seed,
                    visit_id=self.visit_id,
                    exposure=dither + 1,
                    nexposures=self.dithers,
                    reference_read=dither % 2 == 1,
                    start_time=start.isoformat(),
                )
                requests.append(request)
            start += timedelta(seconds=OVERHEAD + request.frame_time * request.table.pattern[-1][-1])
        return tuple(requests)

    def _dithered(self, dither: int) -> TelescopePointing:
        if dither == 0:
            return self.pointing
        step, angle = DITHER * PIXEL_SCALE * min(self.shape) * np.sqrt(dither), GOLDEN_ANGLE * dither
        return self.pointing.moved(float(step * np.cos(angle)), float(step * np.sin(angle)))

    @property
    def firsts(self) -> dict[str, ExposureRequest]:
        """The first exposure of every detector."""
        return {request.detector: request for request in self.requests if request.exposure == 1}

    @property
    def parameters(self) -> dict[str, Any]:
        """What the arrays depend on, as plain values."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        values["shape"] = list(self.requests[0].shape)
        values["detectors"] = list(self.firsts)
        values["pointing"] = [self.pointing.ra, self.pointing.dec, self.pointing.pa_aperture]
        values["reported_offset"] = list(self.reported_offset)
        return values

    def catalog(self) -> Any:
        """Return every source that lies on one of the frames, once, as an astropy Table."""
        from astropy.table import unique, vstack

        tables = []
        for request in self.requests:
            seen = view(request.detector, request.shape, request.pointing, ephemeris(request.start_time), self.seed)
            sources = request.field.sources_around(seen.corners())
            on_frame = seen.contains(*seen.sky_to_pixel(sources.ra, sources.dec))
            tables.append(sources.select(on_frame).to_table())
        return unique(vstack(tables), keys="id")
