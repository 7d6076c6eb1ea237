"""A matching set of references for one detector: what the simulator puts in, the pipeline takes out.

Every array varies over the detector as real ones do: smooth structure, the read-out channels, pixel scatter, and bad
pixels of each kind. A set is a recipe: an array is made when it is asked for, always the same one, so that a full
detector's gigabyte of references need not be in memory to simulate an exposure of it.

`ReferenceSet` has the detector's truth (`gain`, `curvature`, ...); `ReferenceSet.contents` has what a reference file
holds, including what such files get wrong: unknown pixels (NaN, zero) with their flags.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roman_nexus.demo import fields
from roman_nexus.demo.bands import BANDS, band
from roman_nexus.demo.correlated_noise import Coupling, make_coupling
from roman_nexus.demo.distortion import Distortion, make_distortion
from roman_nexus.demo.fields import channel_field, scatter, smooth_field
from roman_nexus.demo.nonlinearity import CURVATURE, CURVATURE_RANGE, correcting_coefficients, measuring_coefficients
from roman_nexus.dq import PixelFlag
from roman_nexus.errors import OptionError
from roman_nexus.steps.step import BORDER, CHANNEL_WIDTH
from roman_nexus.wcs import DETECTORS

__all__ = ["REFERENCE_TYPES", "ReferenceSet", "science"]

Image = NDArray[np.float32]
Flags = NDArray[np.uint32]
Mask = NDArray[np.bool_]

#: Types of a set, in the order in which the exposure pipeline reads them.
REFERENCE_TYPES = (
    "mask", "saturation", "refpix", "darkdecaysignal", "linearity", "inverselinearity", "integralnonlinearity",
    "gain", "readnoise", "dark", "distortion", "photom", "flat",
)  # fmt: skip

GAIN = 1.8  #: electrons per DN
READ_NOISE = 5.0  #: DN in one read
BORDER_NOISE = 0.5  #: of reference pixels, times that of the others
DARK_RATE = 0.003  #: DN/s
SATURATION = 55000.0  #: DN
SQUARE_ARCSEC = (np.pi / 180 / 3600) ** 2  #: sr
COLLECTING_AREA = 3.757  #: m2
INL_STEP = 1024.0  #: the integral non-linearity is known to 1/1024 DN
FLAT_ERROR = 0.001
BAD_SHARES = {"DEAD": 2e-4, "LOW_QE": 5e-4, "TELEGRAPH": 5e-4, "OTHER_BAD_PIXEL": 2e-4, "NO_GAIN_VALUE": 1e-5}


@dataclass(frozen=True)
class ReferenceSet:
    """The references of a detector.

    Attributes
    ----------
    detector : str
        "WFI01" to "WFI18".
    shape : tuple of int
        Full frame (ny, nx) including the border, multiples of 128.
    seed : int
        Equal seeds give equal references.
    defects : float
        Multiple of the usual number of bad and unknown pixels; 0 makes a perfect detector.

    Examples
    --------
    >>> from roman_nexus.demo.references import ReferenceSet
    >>> references = ReferenceSet("WFI01", shape=(128, 128))
    >>> references.contents("gain")["data"].shape
    (128, 128)
    >>> references.contents("flat", "F158")["data"].shape
    (120, 120)
    """

    detector: str = "WFI01"
    shape: tuple[int, int] = (512, 512)
    seed: int = 0
    defects: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.defects <= 10:
            msg = f"defects is {self.defects!r}; expected a multiple of the usual number, 0 to 10"
            raise OptionError(msg)
        object.__setattr__(self, "detector", f"WFI{fields.check_detector(self.detector):02d}")
        object.__setattr__(self, "shape", fields.check_shape(self.shape))

    # ------------------------------------------------------------------------- the detector as it is
    def gain(self) -> Image:
        """Electrons per DN, (ny, nx)."""
        return GAIN * self._varied("gain", smooth=0.012, channel=0.004, pixel=0.002)

    def read_noise(self) -> Image:
        """Noise of one read, DN, (ny, nx)."""
        noise = READ_NOISE * self._varied("readnoise", smooth=0.05, channel=0.03, pixel=0.08)
        rng, noisy = self._some("readnoise tail", 0.002)
        noise[noisy] *= rng.uniform(2.0, 6.0, int(noisy.sum())).astype(np.float32)
        noise[fields.border_mask(self.shape)] *= BORDER_NOISE
        return noise

    def dark_rate(self) -> Image:
        """Dark current, DN/s, (ny, nx); zero in the border."""
        dark = np.maximum(self._varied("dark", smooth=0.25, channel=0.0, pixel=0.2), np.float32(0.1))
        dark *= np.float32(DARK_RATE)
        ny, nx = self.shape
        y, x = np.arange(ny, dtype=np.float32)[:, None], np.arange(nx, dtype=np.float32)
        edge = np.minimum(np.minimum(y, ny - 1 - y), np.minimum(x, nx - 1 - x))
        dark += np.float32(0.02) * np.exp(-edge / np.float32(60.0))
        rng, hot = self._some("hot", 0.003)
        dark[hot] += (10 ** rng.uniform(-1.7, 1.5, int(hot.sum()))).astype(np.float32)
        dark[fields.border_mask(self.shape)] = 0.0
        return dark

    def saturation(self) -> Image:
        """Saturation threshold, DN as read out, (ny, nx)."""
        return SATURATION * self._varied("saturation", smooth=0.022, channel=0.007, pixel=0.011)

    def curvature(self) -> Image:
        """Curvature of the response, (ny, nx); see `roman_nexus.demo.nonlinearity`."""
        curvature = CURVATURE * self._varied("curvature", smooth=0.10, channel=0.02, pixel=0.02)
        return np.asarray(np.clip(curvature, *CURVATURE_RANGE))

    def integral_nonlinearity(self) -> NDArray[np.float64]:
        """Correction to be added to a count of 0 to 65535 DN, (channels, 65536), DN."""
        rng = self._stream("inl")
        count = np.arange(65536.0)
        tables = np.zeros((self.shape[1] // CHANNEL_WIDTH, count.size))
        for table in tables:
            for period in (65536.0, 16384.0, 4096.0, 1024.0):
                table += rng.uniform(0.3, 1.5) * np.sin(2 * np.pi * (count / period + rng.random()))
        return np.asarray(np.round(tables * INL_STEP) / INL_STEP)

    def bad_pixels(self) -> dict[str, Mask]:
        """Return where pixels are DEAD, LOW_QE, TELEGRAPH, OTHER_BAD_PIXEL, NO_GAIN_VALUE, BAD_REF_PIXEL."""
        border = fields.border_mask(self.shape)
        bad = {name: self._some(name, share)[1] & ~border for name, share in BAD_SHARES.items()}
        bad["BAD_REF_PIXEL"] = self._some("BAD_REF_PIXEL", 0.004)[1] & border
        if not self.defects:
            return bad
        rng = self._stream("clusters")
        ny, nx = self.shape
        for _ in range(max(1, round(40 * ny * nx / 4096**2))):
            y, x = rng.integers(20, ny - 20), rng.integers(20, nx - 20)
            height, width = rng.integers(2, 9, 2)
            bad["OTHER_BAD_PIXEL"][y : y + height, x : x + width] = True
        bad["OTHER_BAD_PIXEL"][:, int(0.735 * nx)] = True
        bad["OTHER_BAD_PIXEL"] &= ~border
        return bad

    def response(self, optical_element: str) -> Image:
        """Electrons of a pixel relative to a uniform field, per DN of the mean gain: (ny, nx), science frame."""
        rng = self._stream("flat", optical_element)
        shape = self.science_shape
        y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in shape)
        response = 1 + 0.01 * smooth_field(rng, shape) + 0.004 * scatter(rng, shape)
        response *= 1 - 0.015 * (y[:, None] ** 2 + x**2)
        bad = self.bad_pixels()
        low = science(bad["LOW_QE"])
        response[low] *= rng.uniform(0.3, 0.8, int(low.sum())).astype(np.float32)
        response *= self.distortion.area_map(shape) / np.float32(self.distortion.nominal_area)
        response *= GAIN / science(self.gain())
        response[science(bad["DEAD"])] = 0.0
        return response

    @cached_property
    def coupling(self) -> Coupling:
        """Coupling of the channels to the reference output."""
        return make_coupling(self.detector, self.shape[1], self.seed)

    @property
    def distortion(self) -> Distortion:
        """Map from pixels of the science frame to (V2, V3)."""
        return make_distortion(self.detector, self.shape, self.seed)

    def dark_decay(self) -> tuple[float, float]:
        """Amplitude (DN) and time constant (s) of the dark decay signal of this detector."""
        row = _dark_decay_table(self.seed)[self.detector]
        return row["amplitude"], row["time_constant"]

    def unit_flux(self, optical_element: str) -> float:
        """Flux density that gives one electron per second, nJy: a per cent apart from detector to detector."""
        return band(optical_element).unit_flux * (1 + 0.02 * float(self._stream("zero point").standard_normal()))

    @property
    def science_shape(self) -> tuple[int, int]:
        """Frame without its border."""
        return self.shape[0] - 2 * BORDER, self.shape[1] - 2 * BORDER

    # ---------------------------------------------------------------------- what reference files hold
    def contents(self, reftype: str, optical_element: str | None = None) -> dict[str, Any]:
        """Return what a reference file holds below ``roman``, but for its metadata.

        Parameters
        ----------
        reftype : str
            One of `REFERENCE_TYPES`.
        optical_element : str or None
            Needed for "flat".

        Raises
        ------
        OptionError
            If the type is unknown, or is a flat without an imaging filter.
        """
        if reftype == "flat":
            return self._flat(optical_element)
        makers = {name: getattr(self, f"_{name}") for name in REFERENCE_TYPES if name != "flat"}
        if reftype not in makers:
            msg = f"no reference of type {reftype!r} can be made; the types are {', '.join(REFERENCE_TYPES)}"
            raise OptionError(msg)
        made: dict[str, Any] = makers[reftype]()
        return made

    def _mask(self) -> dict[str, Flags]:
        dq = np.zeros(self.shape, dtype=np.uint32)
        dq[fields.border_mask(self.shape)] = PixelFlag.REFERENCE_PIXEL
        for name, where in self.bad_pixels().items():
            dq[where] |= np.uint32(PixelFlag[name])
            if name not in ("LOW_QE", "TELEGRAPH"):
                dq[where] |= np.uint32(PixelFlag.DO_NOT_USE)
        return {"dq": dq}

    def _saturation(self) -> dict[str, Any]:
        dq = self._flagged(PixelFlag.NO_SAT_CHECK, 5e-5)
        return {"data": self.saturation(), "dq": dq}

    def _refpix(self) -> dict[str, Any]:
        return dict(self.coupling.coefficients(self.shape[0]))

    def _darkdecaysignal(self) -> dict[str, Any]:
        return {"decay_table": _dark_decay_table(self.seed)}

    def _linearity(self) -> dict[str, Any]:
        return {"coeffs": self._with_unknown(correcting_coefficients(self.curvature())), "dq": self._no_linearity()}

    def _inverselinearity(self) -> dict[str, Any]:
        return {"coeffs": self._with_unknown(measuring_coefficients(self.curvature())), "dq": self._no_linearity()}

    def _integralnonlinearity(self) -> dict[str, Any]:
        table = {
            f"science_channel_{i + 1:02d}": {"instrument_channel": i, "correction": correction}
            for i, correction in enumerate(self.integral_nonlinearity())
        }
        return {"value": np.arange(65536, dtype=np.uint16), "inl_table": table}

    def _gain(self) -> dict[str, Any]:
        gain = self.gain()
        gain[self.bad_pixels()["NO_GAIN_VALUE"]] = np.nan
        return {"data": gain}

    def _readnoise(self) -> dict[str, Any]:
        return {"data": self.read_noise()}

    def _dark(self) -> dict[str, Any]:
        dark = self.dark_rate()
        dq = np.zeros(self.shape, dtype=np.uint32)
        dq[dark > 0.1] |= np.uint32(PixelFlag.WARM)
        dq[dark > 1.0] |= np.uint32(PixelFlag.HOT)
        dq[dark > 10.0] |= np.uint32(PixelFlag.DO_NOT_USE | PixelFlag.UNRELIABLE_DARK)
        return {"dark_slope": dark, "dark_slope_error": np.full(self.shape, 4e-4, dtype=np.float32), "dq": dq}

    def _distortion(self) -> dict[str, Any]:
        return {"coordinate_distortion_transform": self.distortion.astropy_model()}

    def _photom(self) -> dict[str, Any]:
        return {"phot_table": photometric_table(self)}

    def _flat(self, optical_element: str | None) -> dict[str, Any]:
        if optical_element is None or band(optical_element).dispersed or optical_element == "DARK":
            msg = f"a flat is made for an imaging filter such as F158, not for {optical_element!r}"
            raise OptionError(msg)
        flat = self.response(optical_element)
        rng = self._stream("unknown flat", optical_element)
        dq = np.zeros(flat.shape, dtype=np.uint32)
        dq[science(self.bad_pixels()["LOW_QE"])] |= np.uint32(PixelFlag.LOW_QE)
        unknown = rng.random(flat.shape, dtype=np.float32) < 2e-5 * self.defects
        flat[unknown] = np.nan
        dq[unknown | (flat == 0)] |= np.uint32(PixelFlag.NO_FLAT_FIELD | PixelFlag.DO_NOT_USE)
        doubtful = rng.random(flat.shape, dtype=np.float32) < 1e-4 * self.defects
        dq[doubtful] |= np.uint32(PixelFlag.UNRELIABLE_FLAT)
        return {"data": flat, "err": np.full(flat.shape, FLAT_ERROR, dtype=np.float32), "dq": dq}

    # --------------------------------------------------------------------------------------- pieces
    def _stream(self, *names: str) -> np.random.Generator:
        return fields.stream(self.seed, *names, fields.check_detector(self.detector))

    def _some(self, name: str, share: float) -> tuple[np.random.Generator, Mask]:
        """Pick a share of the pixels; returns the stream too, for more about them."""
        rng = self._stream(name)
        return rng, rng.random(self.shape, dtype=np.float32) < share * self.defects

    def _varied(self, name: str, *, smooth: float, channel: float, pixel: float) -> Image:
        """Return 1 plus structure of all three kinds, (ny, nx)."""
        rng = self._stream(name)
        field = smooth * smooth_field(rng, self.shape)
        field += channel * channel_field(rng, self.shape)
        field += pixel * scatter(rng, self.shape)
        field += 1.0
        return field

    def _flagged(self, flag: PixelFlag, share: float) -> Flags:
        return np.where(self._some(str(flag.name), share)[1], np.uint32(flag), np.uint32(0))

    def _no_linearity(self) -> Flags:
        return self._flagged(PixelFlag.NO_LIN_CORR, 3e-4)

    def _with_unknown(self, coefficients: Image) -> Image:
        """Make the coefficients of a few pixels unknown."""
        coefficients[:, self._some("unknown linearity", 2e-5)[1]] = np.nan
        return coefficients


def science(full: NDArray[Any]) -> NDArray[Any]:
    """Return a full frame without its border."""
    return full[..., BORDER:-BORDER, BORDER:-BORDER]


def _dark_decay_table(seed: int) -> dict[str, dict[str, float]]:
    rng = fields.stream(seed, "dark decay")
    return {
        detector: {"amplitude": float(rng.uniform(0.5, 2.0)), "time_constant": float(rng.uniform(15.0, 40.0))}
        for detector in DETECTORS
    }


def photometric_table(references: ReferenceSet) -> Mapping[str, Mapping[str, Any]]:
    """Return the rows of a photom reference: how a rate in DN/s becomes a surface brightness."""
    pixel = references.distortion.nominal_area * SQUARE_ARCSEC
    names = ("photmjsr", "uncertainty", "pixelareasr", "collecting_area", "wavelength", "effective_area")
    table: dict[str, dict[str, Any]] = {name: dict.fromkeys(names) for name in ("DARK", "NOT_CONFIGURED")}
    rows = {**{name: item for name, item in BANDS.items() if name != "DARK"}}
    rows["GRISM_0"] = dataclasses.replace(rows["GRISM"], name="GRISM_0")
    for name, item in rows.items():
        wavelength = np.linspace(item.wavelength - 0.6 * item.width, item.wavelength + 0.6 * item.width, 101)
        inside = np.exp(-0.5 * ((wavelength - item.wavelength) / (0.45 * item.width)) ** 8)
        table[name] = dict.fromkeys(names) | {
            "collecting_area": COLLECTING_AREA,
            "wavelength": wavelength.astype(np.float32),
            "effective_area": (0.5 * COLLECTING_AREA * inside).astype(np.float32),
        }
        if not item.dispersed:
            per_dn = references.unit_flux(name) * 1e-15 * GAIN / pixel  # nJy -> MJy
            table[name] |= {"photmjsr": per_dn, "uncertainty": 0.01 * per_dn, "pixelareasr": pixel}
    return table
