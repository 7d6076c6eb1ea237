"""One exposure of one detector: from the sky to a Level 1 file, with the truth kept.

Each thing that a step of the exposure pipeline corrects is put in, in the opposite order: flat field, photons and
dark current, cosmic rays, non-linearity, the transient of WFI18, dark decay, correlated noise, saturation, bad pixels
and the guide window. The pieces come from a `ReferenceSet`, so that the same set calibrates the exposure.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.demo.metadata import level1_meta
from roman_nexus.demo.pointing import DetectorView, ephemeris, view
from roman_nexus.demo.ramp import make_ramp
from roman_nexus.demo.references import GAIN, ReferenceSet
from roman_nexus.demo.request import ExposureRequest
from roman_nexus.demo.sky import EXTENT, draw_sources
from roman_nexus.demo.truth import Truth
from roman_nexus.errors import OptionError
from roman_nexus.products.arrays import ARRAYS
from roman_nexus.products.files import write_product

__all__ = ["SimulatedExposure", "simulate"]

Image = NDArray[np.float32]

LAMP_RATE = 30.0  #: DN/s of the flat-field lamp
TRACE_PIXELS = {"GRISM": 850, "PRISM": 400}  #: length of a spectrum


@dataclass(frozen=True)
class SimulatedExposure:
    """A simulated Level 1 exposure.

    Attributes
    ----------
    request : ExposureRequest
    data : (F, ny, nx) uint16 ndarray, DN
    amp33 : (F, ny, 128) uint16 ndarray, DN
    truth : Truth
    resultantdq : (F, ny, nx) uint8 ndarray or None
    reference_read : (ny, nx) uint16 ndarray or None
    reference_amp33 : (ny, 128) uint16 ndarray or None
    """

    request: ExposureRequest
    data: NDArray[np.uint16]
    amp33: NDArray[np.uint16]
    truth: Truth
    resultantdq: NDArray[np.uint8] | None = None
    reference_read: NDArray[np.uint16] | None = None
    reference_amp33: NDArray[np.uint16] | None = None

    @property
    def references(self) -> ReferenceSet:
        """The references that calibrate it."""
        return self.request.references

    def write_l1(self, path: str | Path, schema: str = "2.1.0") -> Path:
        """Write the Level 1 file.

        Parameters
        ----------
        path : str or Path
            A file, or an existing folder in which the file gets its mission name.
        schema : str
            Schema version: "2.1.0" is read by roman_datamodels 1.1 and later; "newest" may need the newest.

        Returns
        -------
        Path

        Raises
        ------
        SchemaVersionError
            If the schema version cannot be written.
        OutputError
            If the file cannot be written.
        """
        target = Path(path) / str(self.request.name) if Path(path).is_dir() else Path(path)
        arrays = {name: array for name in ARRAYS["science_raw"] if (array := getattr(self, name)) is not None}
        return write_product("science_raw", arrays, level1_meta(self.request), target, schema=schema)


def simulate(request: ExposureRequest | None = None, /, *, threads: int = 2, **fields: Any) -> SimulatedExposure:
    """Simulate an exposure of one detector.

    Parameters
    ----------
    request : ExposureRequest, optional
        What to simulate; or give its fields as keywords: ``simulate(detector="WFI05", shape=(512, 512), seed=1)``.
    threads : int
        Read-out channels worked on at once. The result does not depend on it.
    **fields
        Fields of `ExposureRequest`.

    Returns
    -------
    SimulatedExposure

    Raises
    ------
    OptionError, InputError, ShapeError
        If the request makes no sense.

    Examples
    --------
    >>> from roman_nexus.demo.exposure import simulate
    >>> exposure = simulate(detector="WFI05", shape=(128, 128), seed=1)
    >>> exposure.data.shape, exposure.truth.rate.shape, str(exposure.request.name)
    ((8, 128, 128), (120, 120), 'r0099101001001001001_0001_wfi05_f158_uncal.asdf')
    """
    if request is None:
        try:
            request = ExposureRequest(**fields)
        except TypeError as error:
            known = ", ".join(ExposureRequest.__dataclass_fields__)
            msg = f"simulate: {error}; the fields of an exposure are {known}"
            raise OptionError(msg) from error
    elif fields:
        msg = f"simulate takes either a request or its fields, not both; got a request and {', '.join(fields)}"
        raise OptionError(msg)

    references = request.references
    seen = view(request.detector, request.shape, request.pointing, ephemeris(request.start_time), request.seed)
    scene, sources = _scene(request, references, seen)
    response = references.response(request.optical_element)
    ramp = make_ramp(request, references, scene * response, threads)
    truth = Truth(
        rate=scene if request.flat_fielded else scene * response,
        electrons=ramp.electrons,
        first_saturated=ramp.first_saturated,
        cosmic_rays=ramp.cosmic_rays,
        resultant_of_read=ramp.resultant_of_read,
        view=seen,
        **sources,
    )
    return SimulatedExposure(
        request, ramp.data, ramp.amp33, truth, ramp.resultantdq, ramp.reference_read, ramp.reference_amp33
    )


def _scene(request: ExposureRequest, references: ReferenceSet, seen: DetectorView) -> tuple[Image, dict[str, Any]]:
    """Return the flat-fielded rate of light (DN/s, science frame), and the sources on the frame."""
    found = request.field.sources_around(seen.corners(EXTENT))
    per_dn = references.unit_flux(request.optical_element) * GAIN
    area = references.distortion.area_map(seen.shape)
    area /= np.float32(references.distortion.nominal_area)
    if request.exposure_type == "WFI_FLAT" or request.dark:
        scene = np.full(seen.shape, 0.0 if request.dark else LAMP_RATE, dtype=np.float32)
        x, y = seen.sky_to_pixel(found.ra, found.dec)
        on_frame = np.zeros(len(found), dtype=bool)
    else:
        scene, x, y = draw_sources(found, seen, request.optical_element)
        if request.band.dispersed:
            scene = _dispersed(scene, TRACE_PIXELS[request.optical_element])
        scene /= area * np.float32(per_dn)
        scene += np.float32(request.band.background / GAIN)
        on_frame = seen.contains(x, y)
    chosen = found.select(on_frame)
    rates = chosen.flux_in(request.band) / per_dn
    return scene, {"sources": chosen, "x": x[on_frame], "y": y[on_frame], "source_rate": rates}


def _dispersed(image: Image, length: int) -> Image:
    """Spread every source evenly along the columns: a spectrum without lines, zeroth order or curvature."""
    from scipy.ndimage import uniform_filter1d

    return np.asarray(uniform_filter1d(image, length, axis=0, mode="constant"), dtype=np.float32)
