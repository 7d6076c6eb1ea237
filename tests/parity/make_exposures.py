"""Simulate Level 1 files with romanisim, offline; needs the environment `.venv-parity`.

romanisim runs through its ordinary ``usecrds=True`` path with ``crds.getreferences`` replaced by a look-up of the
files of make_references.py, so what is simulated here is consistent with what the pipelines are later given. Added here
because romanisim 0.14.0 leaves them out: reference pixels and amp33 with pedestals, white noise and a low-frequency
noise shared with the science pixels; the reference read with an encoding offset; the transient of WFI18.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from make_references import BORDER, CHANNEL, ELEMENT, NPIX

PAUSE = 12  # samples at the end of a row
NCHANNEL = NPIX // CHANNEL
OFFSET = 4000  # of the encoding, DN
VERSION = 1  # of the recipe


@dataclass(frozen=True)
class Wanted:
    """One file to simulate.

    ``table`` is a multi-accumulation table of romanisim (4 has 9 resultants of 44 reads), or one of ours.
    """

    key: str
    detector: str
    exposure: int
    table: int
    pattern: tuple[tuple[int, ...], ...] | None = None
    reference_read: bool = False
    transient: bool = False

    @property
    def name(self) -> str:
        return f"r0000101001001001001_{self.exposure:04d}_{self.detector.lower()}_{ELEMENT.lower()}_uncal.asdf"


EXPOSURES = (
    Wanted("nine", "WFI01", 1, 4),
    Wanted("encoded", "WFI01", 2, 901,
           ((1,), (3, 4), (9, 10), (15, 16), (21, 22), (27, 28), (33, 34), (39, 40), (44,)), reference_read=True),
    Wanted("short", "WFI01", 3, 902, ((1,), (2, 3), (4, 5, 6, 7), (8, 9, 10, 11), (12, 13, 14, 15), (16,))),
    Wanted("wfi18", "WFI18", 4, 903, ((1,), (2, 3), (4, 5), (6, 7), (8, 9, 10)), transient=True),
)  # fmt: skip


class LocalReferences:
    """Answers ``crds.getreferences`` from a folder of references."""

    def __init__(self, folder: Path, detector: str) -> None:
        self.folder, self.detector = folder, detector

    def path(self, reftype: str) -> str:
        path = self.folder / f"{reftype}_{self.detector}.asdf"
        return str(path) if path.exists() else "NOT FOUND n/a"

    def getreferences(self, parameters: Any, reftypes: Any = None, **how: Any) -> dict[str, str]:
        return {reftype: self.path(reftype) for reftype in reftypes}


def patch_offline(references: LocalReferences) -> Any:
    """Point every CRDS look-up of romanisim at `references`; returns its parameters."""
    os.environ.update(CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu", CRDS_PATH="/nonexistent-crds-cache",
                      CRDS_CONTEXT="roman_0000.pmap")  # fmt: skip
    warnings.filterwarnings("ignore")
    import crds
    import romanisim.image
    import romanisim.psf
    from romanisim.models import parameters

    crds.getreferences = references.getreferences
    crds.get_context_name = lambda *given, **how: "roman_local.pmap"
    for key in list(parameters.reference_data):  # "none" switches an effect off
        parameters.reference_data[key] = "none" if key == "ipc" else None

    gather = romanisim.image.gather_reference_data

    def gather_finite(model: Any, usecrds: bool = False) -> Any:
        found = gather(model, usecrds=usecrds)
        if np.ndim(found["flat"]) == 2:  # NaN in the flat would poison a median over it
            found["flat"] = np.nan_to_num(found["flat"], nan=0.0)
        return found

    romanisim.image.gather_reference_data = gather_finite

    build = romanisim.psf.VariablePSF.build_epsf_interpolator

    def build_small(self: Any, image: Any, **how: Any) -> Any:  # 4.9 GB with its defaults
        return build(self, image, **({"oversamp_taylor": 12, "order": 2, "max_radius": 100} | how))

    romanisim.psf.VariablePSF.build_epsf_interpolator = build_small
    return parameters


# ------------------------------------------------------------------------------------------- the scene
def make_catalog(detector: str, references: LocalReferences, pointing: tuple[float, float, float], seed: int) -> Any:
    """Stars and galaxies all over one detector; fluxes in maggies, sizes in arcsec."""
    import astropy.units as u
    from astropy.coordinates import SkyCoord
    from astropy.modeling.models import Identity
    from astropy.table import Table
    from roman_datamodels.datamodels import open as open_model
    from romanisim.models.parameters import V3IdlYAngle, v2v3_wficen
    from romanisim.models.wcs import make_wcs

    rng = np.random.default_rng(seed)
    stars, galaxies = 2000, 1700
    n = stars + galaxies
    with open_model(references.path("distortion")) as file:
        v2, v3 = file.coordinate_distortion_transform(*rng.uniform(-60, NPIX + 60, (2, n)))
    ra, dec, angle = pointing
    centre = SkyCoord(ra * u.deg, dec * u.deg)
    sky = make_wcs(centre, Identity(2), v2_ref=v2v3_wficen[0], v3_ref=v2v3_wficen[1], roll_ref=angle - V3IdlYAngle)

    def magnitudes(count: int, bright: float, faint: float, slope: float) -> np.ndarray:
        low, high = 10 ** (slope * bright), 10 ** (slope * faint)
        return np.log10(low + rng.random(count) * (high - low)) / slope

    is_star = np.arange(n) < stars
    mag = np.concatenate([magnitudes(stars, 14.5, 25.5, 0.12), magnitudes(galaxies, 18.5, 25.8, 0.28)])
    size = np.clip(10 ** rng.normal(-0.55 - 0.06 * (mag - 22), 0.18), 0.06, 1.2)
    table = Table()
    table["ra"], table["dec"] = sky(v2, v3)
    table["type"] = np.where(is_star, "PSF", "SER")
    table["n"] = np.where(is_star, -1.0, rng.choice([1.0, 2.0, 4.0], n))
    table["half_light_radius"] = np.where(is_star, 0.0, size)
    table["pa"] = np.where(is_star, 0.0, rng.uniform(0, 180, n))
    table["ba"] = np.where(is_star, 1.0, rng.uniform(0.25, 1.0, n))
    table[ELEMENT] = 10 ** (-0.4 * mag)
    table["id"] = np.arange(1, n + 1)
    return table


# ------------------------------------------------------------------------------- what romanisim leaves out
def low_frequency(rng: np.random.Generator, knee: float) -> np.ndarray:
    """Noise of unit variance in read order of a channel, (NPIX, CHANNEL + PAUSE)."""
    n = NPIX * (CHANNEL + PAUSE)
    f = np.arange(n // 2 + 1, dtype="f8")
    size = 1 / np.sqrt(1 + (f / knee) ** 2)
    size[0] = 0
    noise = np.fft.irfft(size * (rng.standard_normal(f.size) + 1j * rng.standard_normal(f.size)), n)
    return (noise / noise.std()).astype("f4").reshape(NPIX, CHANNEL + PAUSE)


class ReadOut:
    """Pedestals and noise of one exposure that the reference pixels see too."""

    def __init__(self, readnoise: np.ndarray, bad: np.ndarray, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.border = np.ones((NPIX, NPIX), bool)
        self.border[BORDER:-BORDER, BORDER:-BORDER] = False
        self.noise, self.bad = readnoise[self.border], bad[self.border]
        self.coupling = self.rng.uniform(0.8, 0.95, NCHANNEL).astype("f4")
        channels = np.repeat(self.rng.normal(5600, 60, NCHANNEL).astype("f4"), CHANNEL)
        self.pedestal = (channels + self.rng.normal(0, 25, (NPIX, NPIX)).astype("f4"))[self.border]
        self.pedestal33 = (6000 + self.rng.normal(0, 20, (NPIX, CHANNEL))).astype("f4")

    def frame(self, reads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Noise of all pixels, counts of the border pixels, counts of amp33, for a mean of so many reads."""
        rng = self.rng
        common = 3.0 / np.sqrt(reads) * low_frequency(rng, 2000.0)[:, :CHANNEL]
        shared = np.empty((NPIX, NPIX), "f4")
        for c in range(NCHANNEL):
            own = 0.6 / np.sqrt(reads) * low_frequency(rng, 50.0)[:, :CHANNEL]
            block = common if c % 2 == 0 else common[:, ::-1]
            shared[:, c * CHANNEL : (c + 1) * CHANNEL] = self.coupling[c] * block + own
        white = self.noise / np.sqrt(reads) * rng.standard_normal(self.noise.size).astype("f4")
        edge = self.pedestal + shared[self.border] + white
        edge[self.bad] += 4000.0
        amp33 = self.pedestal33 + common + 5.0 / np.sqrt(reads) * rng.standard_normal((NPIX, CHANNEL)).astype("f4")
        return shared, edge, amp33


def counts(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Round to what the converter gives."""
    return np.clip(np.rint(values), 0, 65535).astype(dtype)


def add_read_out(image: Any, pattern: Any, read_out: ReadOut) -> None:
    """Add the common noise to all pixels, fill the border and amp33, and keep them consistent with a reference read."""
    data, amp33, border = image["data"], image["amp33"], read_out.border
    encoded = image.get("reference_read") is not None
    if encoded:
        shared, edge, first33 = read_out.frame(1)
        before = image["reference_read"].astype("f4")
        first = before.copy()
        first[~border] += shared[~border]
        first[border] = edge
        first, first33 = counts(first, "u2").astype("f4"), counts(first33, "u2").astype("f4")
    for i, reads in enumerate(pattern):
        shared, edge, line = read_out.frame(len(reads))
        frame = data[i].astype("f4")
        frame[~border] += shared[~border]
        frame[border] = edge
        if encoded:
            frame[~border] -= (first - before)[~border]
            frame[border] += OFFSET - first[border]
            line = line - first33 + OFFSET
        data[i], amp33[i] = counts(frame, data.dtype), counts(line, amp33.dtype)
    if encoded:
        image["reference_read"], image["reference_amp33"] = first.astype(data.dtype), first33.astype(amp33.dtype)


def encode(image: Any, gain: np.ndarray, noise: np.ndarray, inverse: np.ndarray, parameters: Any, seed: int) -> None:
    """Store the resultants as differences from a read at time zero, as flight files do."""
    rng = np.random.default_rng([seed, 5])
    inner = (slice(BORDER, -BORDER),) * 2
    level = (parameters.pedestal + rng.normal(0, parameters.pedestal_extra_noise, gain.shape)) / gain
    measured = np.zeros_like(level)
    for plane in inverse[::-1]:
        measured = measured * level + plane
    measured = np.where(np.isfinite(measured), measured, level)
    first = counts(measured + noise * rng.standard_normal(level.shape), "u2")
    data = image["data"]
    image["reference_read"] = np.zeros((NPIX, NPIX), data.dtype)
    image["reference_read"][inner] = first
    image["meta"]["instrument"]["data_encoding_offset"] = OFFSET
    image["meta"]["exposure"]["nresultants"] = len(data) + 1  # counts the reference read
    for frame in data:
        frame[inner] = counts(frame[inner].astype("i4") - first.astype("i4") + OFFSET, data.dtype)


def add_transient(data: np.ndarray, frame_time: float) -> None:
    """Add the transient of WFI18 to resultant 0: two exponentials down the rows in read order."""
    when = np.linspace(0, frame_time, NPIX)[:, None]  # SCA 18 flips columns, not rows
    frame = data[0].astype("f4")
    frame[BORDER:-BORDER] += (70 * np.exp(-when / 0.15) - 8 * np.exp(-when / 1.0))[BORDER:-BORDER]
    data[0] = counts(frame, data.dtype)


# --------------------------------------------------------------------------------------------- one file
def make_exposure(wanted: Wanted, references: Path, path: Path, seed: int = 42) -> None:
    """Simulate one Level 1 file."""
    local = LocalReferences(references, wanted.detector)
    parameters = patch_offline(local)
    import asdf
    import astropy.units as u
    import galsim
    import romanisim.image
    from astropy.coordinates import SkyCoord
    from roman_datamodels.datamodels import open as open_model
    from roman_datamodels.dqflags import pixel
    from romanisim import persistence, ris_make_utils
    from romanisim.models import wcs
    from romanisim.util import calc_scale_factor

    if wanted.pattern:
        parameters.read_pattern[wanted.table] = [list(reads) for reads in wanted.pattern]
    pattern = parameters.read_pattern[wanted.table]
    time = parameters.read_time
    parameters.ma_table_reference = {"roman": {"science_tables": {f"SCI{wanted.table:04d}": {
        "frame_time": time, "science_read_pattern": pattern,
        "accumulated_exposure_time": [round(time * reads[-1], 4) for reads in pattern],
        "effective_exposure_time": [round(time * float(np.mean(reads)), 4) for reads in pattern]}}}}  # fmt: skip
    sca = int(wanted.detector[3:])
    ra, dec, angle = 10.0 + 0.05 * wanted.exposure, 60.0, 35.0 + wanted.exposure
    seed += 1000 * wanted.exposure + sca
    meta = ris_make_utils.set_metadata(
        date="2027-04-01T00:00:00", bandpass=ELEMENT, sca=sca, ma_table_number=wanted.table, usecrds=False
    )
    wcs.fill_in_parameters(meta, SkyCoord(ra * u.deg, dec * u.deg), pa_aper=angle, boresight=False)
    meta["velocity_aberration"]["scale_factor"] = calc_scale_factor(meta["exposure"]["start_time"], ra, dec)
    meta["guide_star"] = {"window_xstart": 2100 + 3 * sca, "window_ystart": 1500 + 7 * sca}
    catalog = make_catalog(wanted.detector, local, (ra, dec, angle), seed)

    kept: dict[str, np.ndarray] = {}
    simulate_counts = romanisim.image.simulate_counts

    def keep_counts(*given: Any, **how: Any) -> Any:
        image, drawn = simulate_counts(*given, **how)
        kept["electrons"] = image.array.copy()
        return image, drawn

    romanisim.image.simulate_counts = keep_counts
    image, extras = romanisim.image.simulate(
        meta, catalog, usecrds=True, psftype="epsf", level=1, persistence=persistence.Persistence(),
        rng=galsim.UniformDeviate(seed), crparam={},
    )  # fmt: skip
    inner = (slice(BORDER, -BORDER),) * 2
    arrays = {}
    names = {"readnoise": "data", "mask": "dq", "gain": "data", "inverselinearity": "coeffs"}
    for reftype, array in names.items():
        with open_model(local.path(reftype)) as file:
            arrays[reftype] = np.array(file[array])
    if wanted.reference_read:
        cut = {name: arrays[name][inner] for name in ("gain", "readnoise")}
        encode(image, cut["gain"], cut["readnoise"], arrays["inverselinearity"][:, *inner], parameters, seed)
    if wanted.transient:
        add_transient(image["data"], time)
    bad = (arrays["mask"] & pixel.BAD_REF_PIXEL) != 0
    add_read_out(image, pattern, ReadOut(arrays["readnoise"], bad, seed))
    image["meta"]["observation"].update(
        {"observation_id": f"0000101001001001001{wanted.exposure:04d}", "visit_id": "0000101001001001001", "program": 1,
         "execution_plan": 1, "pass": 1, "segment": 1, "observation": 1, "visit": 1, "exposure": wanted.exposure}
    )  # fmt: skip
    image["meta"]["filename"] = wanted.name
    part = path.with_name(f".{path.name}.part.asdf")
    asdf.AsdfFile({"roman": image}).write_to(part, all_array_compression="lz4")
    truth = {"electrons": kept["electrons"].astype("i4"), "exptime": float(time * pattern[-1][-1]),
             "hit": np.bitwise_or.reduce(extras["dq"], axis=0).astype("u4")}  # fmt: skip
    asdf.AsdfFile(truth).write_to(path.with_name(f"truth_{wanted.key}.asdf"), all_array_compression="lz4")
    part.replace(path)
