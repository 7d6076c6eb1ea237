"""Noise that many pixels share, and the reference-pixel coefficients that remove it.

Three parts, each red (low frequencies only) and a new realisation in every read:

* the electronics, seen by the reference output (amp33) and, filtered by a coupling of its own, by every channel;
* the detector's bias, seen alike by all channels and so by the reference columns left and right;
* each channel's own, which nothing can remove.

The pixels of a channel are a time series of ``ny * 140`` samples (128 columns and 12 idle clocks a row). With the
couplings known, the coefficients of the correction ``left gamma + right zeta + amp33 alpha`` follow: gamma and zeta
low-pass the reference columns, alpha is what they leave of the coupling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roman_nexus.demo.fields import check_detector, stream
from roman_nexus.steps.step import CHANNEL_WIDTH

__all__ = ["ChannelNoise", "Coupling", "make_coupling"]

IDLE_CLOCKS = 12
ROW_SAMPLES = CHANNEL_WIDTH + IDLE_CLOCKS

# standard deviation in one read (DN) and knee frequency (cycles per sample) of each part
ELECTRONICS = (3.0, 1.4e-3)
BIAS = (1.5, 1.7e-4)
OWN = (0.1, 1.0e-4)
HIGHEST = 0.02  #: cycles per sample; no part has power above
REFERENCE_OUTPUT_NOISE = 2.5  #: DN in one read, white

PASS = 5.2e-4  #: cycles per sample to which the reference columns are followed
COUPLING_EDGE = 0.1  #: cycles per sample above which the coupling is zero

Complex = NDArray[np.complex128]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Coupling:
    """How the channels of one detector see the noise of the reference output.

    Attributes
    ----------
    strength, knee, lag : (n,) float64 ndarray
        For each channel: share, frequency at which half is left (cycles per sample), delay (samples).
    left : (n,) float64 ndarray
        Weight of the left reference columns in the correction; the right ones have the rest.
    """

    strength: Floats
    knee: Floats
    lag: Floats
    left: Floats

    def transfer(self, channel: int, frequency: Floats) -> Complex:
        """Return the coupling of a channel at some frequencies."""
        response = self.strength[channel] / (1 + (frequency / self.knee[channel]) ** 2)
        edge = np.cos(0.5 * np.pi * np.minimum(frequency / COUPLING_EDGE, 1.0)) ** 2
        return np.asarray(response * edge * np.exp(-2j * np.pi * frequency * self.lag[channel]))

    def coefficients(self, rows: int) -> dict[str, Complex]:
        """Return what a refpix reference file holds for a frame of some rows.

        Returns
        -------
        dict
            ``gamma``, ``zeta``, ``alpha``: (channels, rows * 70 + 1) complex128.
        """
        frequency: Floats = np.arange(rows * ROW_SAMPLES // 2 + 1) / (rows * ROW_SAMPLES)
        n = self.strength.size
        low = np.where(frequency < 12 * PASS, 1 / (1 + (frequency / PASS) ** 4), 0.0)
        first, last = self.transfer(0, frequency), self.transfer(n - 1, frequency)
        tables = {name: np.zeros((n, frequency.size), dtype=np.complex128) for name in ("gamma", "zeta", "alpha")}
        for channel in range(n):
            left, right = self.left[channel] * low, (1 - self.left[channel]) * low
            tables["gamma"][channel] = left
            tables["zeta"][channel] = right
            tables["alpha"][channel] = self.transfer(channel, frequency) - left * first - right * last
        return tables


def make_coupling(detector: str, columns: int, seed: int = 0) -> Coupling:
    """Draw the couplings of a detector.

    Parameters
    ----------
    detector : str
    columns : int
        Of the full frame; there is a channel for each 128.
    seed : int
    """
    rng = stream(seed, "refpix", check_detector(detector))
    n = columns // CHANNEL_WIDTH
    return Coupling(
        strength=rng.uniform(0.75, 0.95, n),
        knee=rng.uniform(0.012, 0.020, n),
        lag=rng.uniform(-2.0, 2.0, n),
        left=rng.uniform(0.4, 0.6, n),
    )


class ChannelNoise:
    """One realisation of the correlated noise, given out channel by channel.

    Parameters
    ----------
    coupling : Coupling
    rows : int
    reads : sequence of int
        Number of reads averaged into each frame of the output; noise goes down with its square root.
    seed : int
    names : sequence
        Further names of the random streams, such as the detector and the exposure.
    """

    def __init__(self, coupling: Coupling, rows: int, reads: tuple[int, ...], seed: int, *names: str | int) -> None:
        self._coupling, self._rows, self._seed, self._names = coupling, rows, seed, names
        self._samples = rows * ROW_SAMPLES
        self._frequency = np.arange(max(2, int(HIGHEST * self._samples))) / self._samples
        self._depth = 1 / np.sqrt(np.array(reads, dtype=float))
        self._electronics = self._spectra(ELECTRONICS, "electronics")
        self._bias = self._spectra(BIAS, "bias")

    def channel(self, channel: int) -> NDArray[np.float32]:
        """Return the noise of a channel in detector columns, DN.

        Returns
        -------
        (frames, rows, 128) float32 ndarray
        """
        transfer = self._coupling.transfer(channel, self._frequency)
        spectra = transfer * self._electronics + self._bias + self._spectra(OWN, "own", channel)
        noise = self._series(spectra)
        return noise[:, :, ::-1] if channel % 2 else noise  # odd channels are read from right to left

    def reference_output(self) -> NDArray[np.float32]:
        """Return the noise of the reference output, its own white noise included, DN.

        Returns
        -------
        (frames, rows, 128) float32 ndarray
        """
        noise = self._series(self._electronics)
        rng = stream(self._seed, "amp33", *self._names)
        sigma = (REFERENCE_OUTPUT_NOISE * self._depth).astype(np.float32)
        noise += sigma[:, None, None] * rng.standard_normal(noise.shape, dtype=np.float32)
        return noise

    def _spectra(self, part: tuple[float, float], *name: str | int) -> Complex:
        """Draw the spectra of one part for all frames, (frames, modes)."""
        level, knee = part
        amplitude = 1 / (1 + (self._frequency / knee) ** 2)
        amplitude[0] = 0.0
        # irfft divides by the number of samples and adds every mode twice
        amplitude *= level * self._samples / (2 * np.sqrt(np.sum(amplitude**2)))
        rng = stream(self._seed, *name, *self._names)
        pair = rng.standard_normal((2, self._depth.size, self._frequency.size))
        return np.asarray((pair[0] + 1j * pair[1]) * amplitude * self._depth[:, None])

    def _series(self, spectra: Complex) -> NDArray[np.float32]:
        """Transform spectra to frames, without the idle clocks."""
        from scipy.fft import irfft

        frames = np.empty((spectra.shape[0], self._rows, CHANNEL_WIDTH), dtype=np.float32)
        for frame, spectrum in zip(frames, spectra, strict=True):
            series = irfft(spectrum, self._samples).reshape(self._rows, ROW_SAMPLES)
            frame[:] = series[:, :CHANNEL_WIDTH]
        return frames
