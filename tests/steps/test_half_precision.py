import numpy as np
import pytest
from numba import njit

from roman_nexus.errors import ShapeError
from roman_nexus.steps.half_precision import narrow, to_float16, widen


@njit
def widen_all(bits, out):
    for i in range(bits.size):
        out[i] = widen(bits[i])


@njit
def narrow_all(values, out):
    for i in range(values.size):
        out[i] = narrow(values[i])


ALL = np.arange(65536, dtype=np.uint16)


def numpy_float16(values):
    with np.errstate(all="ignore"):
        return values.astype(np.float16)


def same_bits(bits, expected):
    """Equal bit for bit, except that any NaN equals any NaN of the same sign."""
    nan = np.isnan(expected)
    found = bits.view(np.float16)
    assert np.array_equal(np.isnan(found), nan)
    assert np.array_equal(np.signbit(found), np.signbit(expected))
    assert np.array_equal(bits[~nan], expected.view(np.uint16)[~nan])


def test_every_float16_widens_as_in_numpy():
    found = np.empty(65536, np.float32)
    widen_all(ALL, found)
    expected = ALL.view(np.float16).astype(np.float32)
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_every_float16_survives_a_round_trip():
    wide, back = np.empty(65536, np.float32), np.empty(65536, np.uint16)
    widen_all(ALL, wide)
    narrow_all(wide, back)
    same_bits(back, ALL.view(np.float16))


def test_random_bit_patterns_narrow_as_in_numpy():
    values = np.random.default_rng(1).integers(0, 2**32, 1 << 20, dtype=np.uint32).view(np.float32)
    found = np.empty(values.size, np.uint16)
    narrow_all(values, found)
    same_bits(found, numpy_float16(values))


def test_ties_and_their_neighbours_narrow_as_in_numpy():
    finite = np.unique(ALL.view(np.float16)[np.isfinite(ALL.view(np.float16))].astype(np.float32))
    ties = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(np.float32)
    edges = np.array([65519.996, 65520.0, 65504.0, 2.0**-25, 2.0**-24, 2.0**-14, np.inf, -0.0, 1e-45], np.float32)
    exact = np.concatenate([ties, edges, -edges])
    values = np.concatenate([exact, np.nextafter(exact, np.float32(9e9)), np.nextafter(exact, np.float32(-9e9))])
    found = np.empty(values.size, np.uint16)
    narrow_all(values, found)
    same_bits(found, numpy_float16(values))


@pytest.mark.parametrize("source_step", [1, 2])
@pytest.mark.parametrize("out_step", [1, 2])
def test_arrays_may_be_cuts_of_larger_ones(source_step, out_step):
    source = (
        np.random.default_rng(2).normal(0, 1e4, (6, 40)).astype(np.float32)[1:-1, 4 : 4 + 8 * source_step : source_step]
    )
    whole = np.full((4, 8 * out_step + 3), 7, np.float16)
    out = whole[:, 3::out_step]
    to_float16(source, out)
    assert np.array_equal(out, numpy_float16(source))
    assert (whole[:, :3] == 7).all()


def test_overflow_is_silent():
    out = np.empty((1, 2), np.float16)
    to_float16(np.array([[1e9, -1e9]], np.float32), out)
    assert out.tolist() == [[np.inf, -np.inf]]


@pytest.mark.parametrize(("source", "out"), [((2, 3), (3, 2)), ((4,), (4,))])
def test_shapes_must_agree(source, out):
    with pytest.raises(ShapeError, match="cannot convert"):
        to_float16(np.zeros(source, np.float32), np.zeros(out, np.float16))
