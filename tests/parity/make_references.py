"""Make a consistent set of full-size reference files of one detector; needs the environment `.venv-parity`.

Every reference varies over the detector (smooth structure, channels, pixel scatter, bad pixels) and follows from a
seed. The files are valid reference models: romancal takes them as overrides, romanisim simulates with them, so a
calibrated rate should recover the simulated scene. Noise levels, couplings and polynomials are plausible but invented;
the distortion is that of the Roman SIAF.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import RectBivariateSpline

NPIX, BORDER, CHANNEL = 4096, 4, 128
NSCI = NPIX - 2 * BORDER
FULL, SCIENCE = (NPIX, NPIX), (NSCI, NSCI)
SEED = 20270101
ELEMENT = "F158"
SCALE_DN = 50000.0  # of the non-linearity
DEGREE = 5  # of the linearity polynomials
VERSION = 1  # of the recipe


# -------------------------------------------------------------------------------------------- fields
def smooth_field(rng: np.random.Generator, shape: tuple[int, int] = FULL, n: int = 9) -> np.ndarray:
    """Random field of unit variance, smooth over a ninth of the detector."""
    knots = [np.linspace(0, size - 1, n) for size in shape]
    field = RectBivariateSpline(*knots, rng.standard_normal((n, n)))(*map(np.arange, shape)).astype("f4")
    return (field - field.mean()) / field.std()


def channel_field(rng: np.random.Generator) -> np.ndarray:
    """Random field of unit variance that is constant in a channel."""
    return np.broadcast_to(np.repeat(rng.standard_normal(NPIX // CHANNEL).astype("f4"), CHANNEL), FULL)


def border() -> np.ndarray:
    """Where the reference pixels are."""
    mask = np.ones(FULL, bool)
    mask[BORDER:-BORDER, BORDER:-BORDER] = False
    return mask


class Set:
    """The files of one detector, as they are written."""

    def __init__(self, folder: Path, detector: str) -> None:
        self.folder, self.detector = folder, detector
        self.files: dict[str, str] = {}

    def rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([SEED, int(self.detector[3:]), number])

    def write(self, reftype: str, model: Any, *, element: bool = False, exposure: bool = False) -> None:
        from astropy.time import Time

        meta = model.meta
        meta.reftype = reftype.upper()
        meta.pedigree, meta.author, meta.origin, meta.telescope = "DUMMY", "roman_nexus", "STSCI", "ROMAN"
        meta.description = "Synthetic reference file to compare pipelines with; not a calibration."
        meta.useafter = Time("2020-01-01T00:00:00")
        meta.instrument = {"name": "WFI", "detector": self.detector}
        if element:
            meta.instrument["optical_element"] = ELEMENT
        if exposure:
            meta.exposure = {"type": "WFI_IMAGE", "p_exptype": "WFI_IMAGE|"}
        name = f"{reftype}_{self.detector}.asdf"
        part = self.folder / f".{name}.part.asdf"
        model.save(part)
        part.replace(self.folder / name)
        self.files[reftype] = name


# ---------------------------------------------------------------------------------- detector properties
def make_detector(out: Set, models: Any, pixel: Any) -> np.ndarray:
    """Gain, read noise, dark, mask, saturation; returns the gain."""
    rng = out.rng(1)
    scatter = rng.standard_normal(FULL, dtype="f4")
    gain = 1.8 * (1 + 0.012 * smooth_field(rng) + 0.004 * channel_field(rng) + 0.002 * scatter)
    gain = gain.astype("f4")
    out.write("gain", models.GainRefModel.create_fake_data({"data": gain}))

    rng = out.rng(2)
    level = 5.0 * (1 + 0.05 * smooth_field(rng) + 0.03 * channel_field(rng))
    noise = level * np.exp(0.08 * rng.standard_normal(FULL, dtype="f4"))
    tail = rng.random(FULL, dtype="f4") < 0.002
    noise[tail] *= rng.uniform(2, 6, int(tail.sum())).astype("f4")
    out.write("readnoise", models.ReadnoiseRefModel.create_fake_data({"data": noise.astype("f4")}), exposure=True)

    make_dark(out, models, pixel)
    make_mask(out, models, pixel)

    rng = out.rng(5)
    scatter = rng.standard_normal(FULL, dtype="f4")
    limit = (55000 + 1200 * smooth_field(rng) + 400 * channel_field(rng) + 600 * scatter).astype("f4")
    dq = np.where(rng.random(FULL, dtype="f4") < 5e-5, pixel.NO_SAT_CHECK, 0).astype("u4")
    out.write("saturation", models.SaturationRefModel.create_fake_data({"data": limit, "dq": dq}))
    return gain


def make_dark(out: Set, models: Any, pixel: Any) -> None:
    rng = out.rng(3)
    dark = 0.0030 * (1 + 0.25 * smooth_field(rng)) * np.exp(0.2 * rng.standard_normal(FULL, dtype="f4"))
    y, x = np.ogrid[:NPIX, :NPIX]
    edge = np.minimum(np.minimum(y, NPIX - 1 - y), np.minimum(x, NPIX - 1 - x)).astype("f4")
    dark = dark + 0.02 * np.exp(-edge / 60.0)
    hot = rng.random(FULL, dtype="f4") < 0.003
    dark[hot] += 10 ** rng.uniform(-1.7, 1.5, int(hot.sum()))
    dark[border()] = 0
    dark = dark.astype("f4")
    dq = np.zeros(FULL, "u4")
    dq[dark > 0.1] |= pixel.WARM
    dq[dark > 1.0] |= pixel.HOT
    dq[dark > 10.0] |= pixel.DO_NOT_USE | pixel.UNRELIABLE_DARK
    error = (0.0004 * (1 + np.sqrt(np.maximum(dark, 0)))).astype("f4")
    arrays = {"dark_slope": dark, "dark_slope_error": error, "dq": dq}
    out.write("dark", models.DarkRefModel.create_fake_data(arrays), element=True, exposure=True)


def make_mask(out: Set, models: Any, pixel: Any) -> None:
    rng = out.rng(4)
    mask = np.zeros(FULL, "u4")
    shares = ((pixel.DEAD, 2e-4), (pixel.TELEGRAPH, 5e-4), (pixel.LOW_QE, 5e-4), (pixel.OTHER_BAD_PIXEL, 2e-4))
    for flag, share in shares:
        chosen = rng.random(FULL, dtype="f4") < share
        mask[chosen] |= flag
        if flag in (pixel.DEAD, pixel.OTHER_BAD_PIXEL):
            mask[chosen] |= pixel.DO_NOT_USE
    for _ in range(40):  # small clusters
        y, x = rng.integers(20, NPIX - 20, 2)
        height, width = rng.integers(2, 9, 2)
        mask[y : y + height, x : x + width] |= pixel.DO_NOT_USE | pixel.OTHER_BAD_PIXEL
    mask[:, 3011] |= pixel.DO_NOT_USE  # a bad column
    mask[border()] = pixel.REFERENCE_PIXEL
    mask[border() & (rng.random(FULL, dtype="f4") < 0.004)] |= pixel.BAD_REF_PIXEL | pixel.DO_NOT_USE
    out.write("mask", models.MaskRefModel.create_fake_data({"dq": mask}))


# -------------------------------------------------------------------------------------- non-linearity
def ideal_to_measured(bend: np.ndarray) -> list[np.ndarray]:
    """Polynomial in DN from ideal to measured counts."""
    b = bend
    return [np.zeros_like(b), np.ones_like(b), -b / SCALE_DN, -0.3 * b / SCALE_DN**2, 0.05 * b / SCALE_DN**3,
            np.zeros_like(b)]  # fmt: skip


def measured_to_ideal(lowest: float, highest: float) -> np.ndarray:
    """Coefficients of the inverse polynomial, each a cubic in the bend: (DEGREE + 1, 4), highest power first."""
    bends = np.linspace(lowest, highest, 25)
    x = np.linspace(0, 75000, 1500)
    found = np.zeros((DEGREE + 1, len(bends)))
    found[1] = 1.0
    for i, bend in enumerate(bends):
        measured = sum(c * x**k for k, c in enumerate(ideal_to_measured(np.array(bend))))
        powers = np.stack([(measured / SCALE_DN) ** k for k in range(2, DEGREE + 1)], axis=1)
        solution = np.linalg.lstsq(powers, x - measured, rcond=None)[0]
        found[2:, i] = solution / SCALE_DN ** np.arange(2, DEGREE + 1)
    return np.stack([np.polyfit(bends, row, 3) for row in found])


def make_linearity(out: Set, models: Any, pixel: Any) -> None:
    rng = out.rng(6)
    scatter = rng.standard_normal(FULL, dtype="f4")
    bend = 0.035 * (1 + 0.10 * smooth_field(rng) + 0.02 * channel_field(rng) + 0.02 * scatter)
    bend = np.clip(bend, 0.015, 0.06).astype("f8")
    dq = np.where(rng.random(FULL, dtype="f4") < 3e-4, pixel.NO_LIN_CORR, 0).astype("u4")
    unknown = rng.random(FULL, dtype="f4") < 2e-5
    cube = np.empty((DEGREE + 1, *FULL), "f4")
    for k, cubic in enumerate(measured_to_ideal(0.014, 0.062)):
        cube[k] = np.polyval(cubic, bend)
    cube[:, unknown] = np.nan
    out.write("linearity", models.LinearityRefModel.create_fake_data({"coeffs": cube, "dq": dq}))
    for k, plane in enumerate(ideal_to_measured(bend)):
        cube[k] = plane
    cube[:, unknown] = np.nan
    out.write("inverselinearity", models.InverselinearityRefModel.create_fake_data({"coeffs": cube, "dq": dq}))


def make_integral_nonlinearity(out: Set, models: Any) -> None:
    rng = out.rng(7)
    value = np.arange(65536, dtype="u2")
    table = {}
    for number in range(1, NPIX // CHANNEL + 1):
        waves = zip(rng.uniform(0.3, 1.5, 4), (65536.0, 16384.0, 4096.0, 1024.0), rng.random(4), strict=True)
        correction = sum(size * np.sin(2 * np.pi * (value / period + phase)) for size, period, phase in waves)
        table[f"science_channel_{number:02d}"] = {"instrument_channel": number - 1, "correction": correction}
    model = models.IntegralnonlinearityRefModel.create_fake_data({"value": value, "inl_table": table})
    model.meta.n_channels, model.meta.n_pixels_per_channel = NPIX // CHANNEL, NPIX * CHANNEL
    out.write("integralnonlinearity", model)


def make_refpix(out: Set, models: Any) -> None:
    """Low-pass couplings of the channels to the reference series, in the Fourier domain."""
    rng = out.rng(8)
    n = NPIX * (CHANNEL + 12) // 2 + 1
    f = np.arange(n)
    alpha, gamma, zeta = (np.empty((NPIX // CHANNEL, n), "c16") for _ in range(3))
    for channel in range(NPIX // CHANNEL):
        phase = np.exp(2j * np.pi * rng.uniform(-2, 2) * f / (2.0 * n))
        alpha[channel] = rng.uniform(0.75, 0.95) / (1 + (f / rng.uniform(2e4, 4e4)) ** 2) * phase
        weight = rng.uniform(0.02, 0.08)
        gamma[channel] = weight / (1 + (f / 300.0) ** 2)
        zeta[channel] = (0.1 - weight) / (1 + (f / 300.0) ** 2)
    alpha[:, 0] = alpha[:, 0].real
    arrays = {"alpha": alpha, "gamma": gamma, "zeta": zeta}
    out.write("refpix", models.RefpixRefModel.create_fake_data(arrays), exposure=True)


# ----------------------------------------------------------------------------------- optics and photometry
def distortion_model(detector: str) -> Any:
    """Pixel of the science frame (from 0) to V2, V3 in arcsec, with an inverse, fitted to the SIAF."""
    import pysiaf
    from astropy.modeling import models as am
    from astropy.modeling.fitting import LinearLSQFitter

    aperture = pysiaf.Siaf("Roman")[f"{detector}_FULL"]
    grid = np.linspace(-2, NSCI + 1, 61)
    x, y = np.meshgrid(grid, grid)
    v2, v3 = aperture.sci_to_tel(x + 1.0, y + 1.0)
    centre = (NSCI - 1) / 2.0
    at = [float(value[0]) for value in aperture.sci_to_tel(np.array([centre + 1.0]), np.array([centre + 1.0]))]
    u, w = (x - centre) / 1000.0, (y - centre) / 1000.0
    p, q = (v2 - at[0]) / 100.0, (v3 - at[1]) / 100.0
    fit = LinearLSQFitter()
    forward = [fit(am.Polynomial2D(5), u, w, target) for target in (p, q)]
    backward = [fit(am.Polynomial2D(5), p, q, target) for target in (u, w)]
    swap = am.Mapping((0, 1, 0, 1))
    to_centre, from_centre = (am.Shift(sign * centre) & am.Shift(sign * centre) for sign in (-1, 1))
    model = to_centre | am.Scale(1e-3) & am.Scale(1e-3) | swap | forward[0] & forward[1]
    model = model | am.Scale(100.0) & am.Scale(100.0) | am.Shift(at[0]) & am.Shift(at[1])
    inverse = am.Shift(-at[0]) & am.Shift(-at[1]) | am.Scale(1e-2) & am.Scale(1e-2) | swap.copy()
    model.inverse = inverse | backward[0] & backward[1] | am.Scale(1000.0) & am.Scale(1000.0) | from_centre
    return model


def pixel_area(distortion: Any) -> np.ndarray:
    """Area of every pixel of the science frame, arcsec2."""
    grid = np.linspace(0, NSCI - 1, 65)
    x, y = np.meshgrid(grid, grid)
    right, left, up, down = (distortion(x + dx, y + dy) for dx, dy in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)))
    squeeze = np.cos(np.radians(distortion(x, y)[1] / 3600.0))  # V2 is an angle around the sphere
    area = (right[0] - left[0]) * squeeze * (up[1] - down[1]) - (up[0] - down[0]) * squeeze * (right[1] - left[1])
    return RectBivariateSpline(grid, grid, np.abs(area))(np.arange(NSCI), np.arange(NSCI)).astype("f4")


def make_flat(out: Set, models: Any, pixel: Any, gain: np.ndarray, area: np.ndarray) -> float:
    """Flat; returns the median of flat x gain / area, to which photom must fit."""
    rng = out.rng(20)
    quantum = 1 + 0.01 * smooth_field(rng, SCIENCE) + 0.004 * rng.standard_normal(SCIENCE, dtype="f4")
    y, x = np.ogrid[:NSCI, :NSCI]
    quantum *= (1 - 0.03 * (((x - 2044) / 2044.0) ** 2 + ((y - 2044) / 2044.0) ** 2) / 2).astype("f4")
    low = rng.random(SCIENCE, dtype="f4") < 4e-4
    quantum[low] *= rng.uniform(0.3, 0.8, int(low.sum())).astype("f4")
    inner = gain[BORDER:-BORDER, BORDER:-BORDER]
    flat = np.clip(quantum, 0, 1.09) * area / inner
    flat = (flat / np.median(flat)).astype("f4")
    dq = np.where(low, pixel.LOW_QE, 0).astype("u4")
    dead = rng.random(SCIENCE, dtype="f4") < 1e-4
    flat[dead] = 0.0
    dq[dead] |= pixel.NO_FLAT_FIELD | pixel.DO_NOT_USE
    flat[rng.random(SCIENCE, dtype="f4") < 2e-6] = np.nan
    error = (0.001 * (1 + 0.1 * np.abs(smooth_field(rng, SCIENCE)))).astype("f4")
    out.write("flat", models.FlatRefModel.create_fake_data({"data": flat, "dq": dq, "err": error}), element=True)
    return float(np.nanmedian(flat * inner / area))


def make_photom(out: Set, models: Any, zero: float, area: np.ndarray) -> None:
    """MJy/sr per DN/s, consistent with the flux scale of romanisim."""
    from romanisim.models.bandpass import get_abflux

    sr = (np.pi / 180 / 3600) ** 2
    table: dict[str, dict[str, Any]] = {}
    empty = dict.fromkeys(("photmjsr", "uncertainty", "pixelareasr", "collecting_area", "wavelength", "effective_area"))
    for name in ("F062", "F087", "F106", "F129", "F146", "F158", "F184", "F213"):
        centre = int(name[1:]) / 100
        wavelength = np.linspace(centre * 0.85, centre * 1.15, 101).astype("f4")
        effective = (2.0 * np.exp(-0.5 * ((wavelength - centre) / (0.08 * centre)) ** 4)).astype("f4")
        value = 3631e-6 / float(get_abflux(name, int(out.detector[3:]))) * zero / sr
        table[name] = {"photmjsr": value, "uncertainty": 0.01 * value, "pixelareasr": float(np.median(area)) * sr,
                       "collecting_area": 3.757, "wavelength": wavelength, "effective_area": effective}  # fmt: skip
    for name in ("GRISM", "GRISM_0", "PRISM"):
        table[name] = {**empty, "collecting_area": 3.757, "wavelength": wavelength, "effective_area": effective}
    for name in ("DARK", "NOT_CONFIGURED"):
        table[name] = dict(empty)
    out.write("photom", models.WfiImgPhotomRefModel.create_fake_data({"phot_table": table}))


def make_psf(out: Set, models: Any) -> None:
    """Effective PSF, which romanisim draws stars and galaxies with."""
    import galsim
    import galsim.roman as optics

    bandpass = optics.getBandpasses()["H158"]
    oversample, size = 4, 361
    grid = [4.0, 2044.0, 4084.0]
    places = [(x, y) for y in grid for x in grid]
    kinds, focus = ["A0V", "G2V", "M5V"], [0, 1, 2]
    jitter = galsim.Gaussian(sigma=0.008)
    psf = np.zeros((len(focus), len(kinds), len(places), size, size), "f4")
    for j, factor in enumerate((0.97, 1.0, 1.03)):
        for k, (x, y) in enumerate(places):
            wavelength = bandpass.effective_wavelength * factor
            spot = optics.getPSF(
                int(out.detector[3:]), "H158", SCA_pos=galsim.PositionD(x, y), wavelength=wavelength, pupil_bin=8
            )
            drawn = galsim.Convolve(spot, jitter).drawImage(
                nx=size, ny=size, scale=optics.pixel_scale / oversample, method="no_pixel"
            )
            psf[:, j, k] = drawn.array / drawn.array.sum()
    meta = {"pixel_x": [x for x, _ in places], "pixel_y": [y for _, y in places], "oversample": oversample,
            "spectral_type": kinds, "defocus": focus, "jitter_major": 8.0, "jitter_minor": 8.0,
            "jitter_position_angle": 0.0}  # fmt: skip
    out.write("epsf", models.EpsfRefModel.create_fake_data({"psf": psf, "meta": meta}), element=True)


def make_references(folder: Path, detector: str) -> dict[str, str]:
    """Write all references of a detector and return their file names by type."""
    warnings.filterwarnings("ignore")
    from roman_datamodels import datamodels as models
    from roman_datamodels.dqflags import pixel

    folder.mkdir(parents=True, exist_ok=True)
    out = Set(folder, detector)
    gain = make_detector(out, models, pixel)
    make_linearity(out, models, pixel)
    make_integral_nonlinearity(out, models)
    make_refpix(out, models)
    distortion = distortion_model(detector)
    model = models.DistortionRefModel.create_fake_data()
    model["coordinate_distortion_transform"] = distortion
    out.write("distortion", model, element=True)
    area = pixel_area(distortion)
    make_photom(out, models, make_flat(out, models, pixel, gain, area), area)
    rng = np.random.default_rng([SEED, 1, 99])  # one table for all detectors, so every detector's file is the same
    decay = {
        f"WFI{i:02d}": {"amplitude": float(rng.uniform(0.5, 2)), "time_constant": float(rng.uniform(15, 40))}
        for i in range(1, 19)
    }
    out.write("darkdecaysignal", models.DarkdecaysignalRefModel.create_fake_data({"decay_table": decay}))
    make_psf(out, models)
    return out.files
