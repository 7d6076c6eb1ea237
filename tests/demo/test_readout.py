"""The read-out kernel: photon statistics within and between resultants, sudden charge, saturation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from roman_nexus.demo.cosmic_rays import Events, cosmic_rays, telegraph_noise
from roman_nexus.demo.readout import NEVER, accumulate

PATTERN = [[1], [2, 3], [4, 5, 6, 7], [9, 11], [12]]
SHAPE = (160, 128)


def read_out(pattern=PATTERN, frame_time=3.0, events=None, shape=SHAPE, **changes: Any) -> dict[str, np.ndarray]:
    """Read out with a plain detector: gain 2, level 6000, straight response."""
    numbers = np.array([read for reads in pattern for read in reads])
    counts = np.array([len(reads) for reads in pattern])
    nothing = Events(*(np.zeros(0, np.int32),) * 3, np.zeros(0, np.float32))
    charge = events or nothing

    def image(value):
        return np.full(shape, value, np.float32)

    arguments: dict[str, Any] = {
        "rng": np.random.default_rng(5),
        "rate": image(40.0),
        "gain": image(2.0),
        "level": image(6000.0),
        "curvature": image(0.0),
        "full_well": image(60000.0),
        "read_noise": image(0.0),
        "live": np.ones(shape, bool),
        "inl": np.zeros(65536, np.float32),
        "common": np.zeros((counts.size, *shape), np.float32),
        "decay": image(0.0),
        "read_decay": np.ones(numbers.size),
        "first": np.zeros((0, 0), np.float32),
        "interval": np.diff(numbers, prepend=0) * frame_time,
        "resultant": np.repeat(np.arange(counts.size), counts),
        "reads": counts,
        "event_y": charge.y,
        "event_x": charge.x,
        "event_read": charge.read,
        "event_electrons": charge.electrons,
        "data": np.zeros((counts.size, *shape), np.uint16),
        "electrons": image(0.0),
        "saturated": np.zeros(shape, np.uint8),
    }
    arguments |= changes
    accumulate(**arguments)
    return arguments


def test_photon_noise_has_the_covariance_of_averaged_reads():
    """cov(i, j) = rate * tbar_i / gain**2 and var(i) = rate * tau_i / gain**2 (Casertano 2022, Roman-STScI-000394)."""
    shape, rate, gain = (400, 128), 40.0, 2.0
    data = read_out(shape=shape, rate=np.full(shape, rate, np.float32))["data"]
    times = [np.array(reads) * 3.0 for reads in PATTERN]
    tbar = np.array([t.mean() for t in times])
    tau = np.array([sum((2 * (t.size - k) - 1) * t[k] for k in range(t.size)) / t.size**2 for t in times])
    values = data.reshape(5, -1).astype(float)
    np.testing.assert_allclose(values.mean(axis=1), 6000 + rate * tbar / gain, atol=0.4)
    expected = rate / gain**2 * np.minimum.outer(tbar, tbar)
    expected[np.diag_indices(5)] = rate / gain**2 * tau + 1 / 12  # rounding to whole counts
    np.testing.assert_allclose(np.cov(values), expected, rtol=0.03)


def test_electrons_are_poisson():
    electrons = read_out()["electrons"].astype(float)
    assert electrons.mean() == pytest.approx(40 * 36, rel=3e-3)
    assert electrons.var() == pytest.approx(40 * 36, rel=0.04)
    np.testing.assert_array_equal(electrons, np.rint(electrons))


def test_read_noise_averages_down():
    shape = (400, 128)
    out = read_out(shape=shape, rate=np.zeros(shape, np.float32), read_noise=np.full(shape, 8.0, np.float32))
    variance = out["data"].reshape(5, -1).astype(float).var(axis=1)
    np.testing.assert_allclose(variance, 64 / np.array([1, 2, 4, 2, 1]) + 1 / 12, rtol=0.03)
    assert not out["electrons"].any()


def test_sudden_charge_appears_at_its_read_and_stays():
    events = Events(
        *(np.array(v, np.int32) for v in ([3, 3, 9], [7, 8, 0], [2, 4, 8])), np.array([800, 400, 200], np.float32)
    )
    quiet = np.zeros(SHAPE, np.float32)
    data = read_out(events=events, rate=quiet)["data"].astype(int) - 6000
    # reads 2, 3 are resultant 1: the second of them sees half; reads 4..7 are resultant 2: from 5 on, three quarters
    np.testing.assert_array_equal(data[:, 3, 7], [0, 200, 400, 400, 400])
    np.testing.assert_array_equal(data[:, 3, 8], [0, 0, 150, 200, 200])
    np.testing.assert_array_equal(data[:, 9, 0], [0, 0, 0, 50, 100])
    data[:, [3, 3, 9], [7, 8, 0]] = 0
    assert not data.any()


def test_reference_pixels_see_nothing():
    live = np.ones(SHAPE, bool)
    live[:, :4] = False
    events = Events(*(np.array(v, np.int32) for v in ([5, 5], [1, 60], [0, 0])), np.full(2, 1e4, np.float32))
    out = read_out(live=live, events=events, decay=np.full(SHAPE, 50.0, np.float32))
    np.testing.assert_array_equal(out["data"][:, :, :4], 6000)
    assert out["data"][0, 5, 60] > 10000
    assert not out["electrons"][:, :4].any()


def test_the_full_well_holds_no_more():
    rate = np.full(SHAPE, 5000.0, np.float32)
    out = read_out(rate=rate, full_well=np.full(SHAPE, 30000.0, np.float32))
    # 7500 DN a read: the level passes 24000 DN above 6000 in the fourth read, which opens resultant 2
    assert (out["saturated"] == 2).all()
    np.testing.assert_array_equal(out["data"][2:], 30000)
    assert (out["data"][1] < 30000).all()
    assert (read_out()["saturated"] == NEVER).all()


def test_response_and_converter_are_put_in():
    quiet = np.zeros(SHAPE, np.float32)
    level = np.full(SHAPE, 50000.0, np.float32)
    bent = read_out(rate=quiet, level=level, curvature=np.full(SHAPE, 0.04, np.float32))["data"]
    np.testing.assert_array_equal(bent, 47500)
    inl = np.linspace(-3.0, 40.0, 65536).astype(np.float32)
    shown = read_out(rate=quiet, level=level, inl=inl)["data"][0, 0, 0]
    assert shown + inl[shown] == pytest.approx(50000, abs=0.5)
    decay = read_out(rate=quiet, decay=np.full(SHAPE, 10.0, np.float32), read_decay=np.arange(10.0))["data"]
    np.testing.assert_array_equal(decay[:, 0, 0] - 6000, [0, 15, 45, 75, 90])
    first = read_out(rate=quiet, first=np.full(SHAPE, 33.0, np.float32))["data"]
    np.testing.assert_array_equal(first[:, 0, 0] - 6000, [33, 0, 0, 0, 0])


def test_cosmic_rays_have_their_rate_and_are_sorted():
    times = np.arange(1, 21) * 3.0
    events = cosmic_rays(np.random.default_rng(1), (1024, 1024), times)
    key = (events.y.astype(np.int64) * 1024 + events.x) * 100 + events.read
    assert (np.diff(key) > 0).all()
    assert events.read.min() >= 0
    assert events.read.max() <= 19
    rays = 5.0 * 1.024**2 * 60
    # 4 pixels of track and about one more where it begins
    assert len(events) / rays == pytest.approx(5.0, rel=0.3)
    assert np.bincount(events.read, minlength=20).min() > 0.4 * len(events) / 20
    assert len(cosmic_rays(np.random.default_rng(1), (1024, 1024), times, rate=0.0)) == 0


def test_telegraph_pixels_switch_between_two_states():
    where = np.zeros((40, 40), bool)
    where[5:25, 7] = True
    events = telegraph_noise(np.random.default_rng(2), where, 200)
    assert set(zip(events.y.tolist(), events.x.tolist(), strict=True)) <= {(y, 7) for y in range(5, 25)}
    for y in range(5, 25):
        states = np.cumsum(events.electrons[events.y == y])
        assert len({round(float(state), 1) for state in states} - {0.0}) == 1


def test_merging_adds_up_what_coincides():
    one = Events(*(np.array([v], np.int32) for v in (4, 5, 6)), np.array([10.0], np.float32))
    both = one.merged(one)
    assert (len(both), both.electrons[0]) == (1, 20.0)
    assert len(both.columns(0, 5)) == 0
    assert both.columns(5, 8).x[0] == 0
