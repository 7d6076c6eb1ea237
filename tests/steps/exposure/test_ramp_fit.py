"""The step as a whole: declaration, options, errors, compatibility switches."""

import dataclasses

import numpy as np
import pytest

from roman_nexus.errors import InputError, OptionError, ShapeError
from roman_nexus.steps.exposure.ramp_fit import STEP, RampFitOptions
from roman_nexus.steps.step import ExposureInfo, RampBlock

PATTERN = ((1,), (2, 3), (4, 5), (6, 7), (8, 9), (10,))
EXPOSURE = ExposureInfo("WFI01", "F158", "WFI_IMAGE", PATTERN, 2.0)
MEAN_READS = np.float32([1, 2.5, 4.5, 6.5, 8.5, 10])
NX = 5


def ramp(counts, groupdq=None):
    """A block with the same ramp in every pixel, plus small fixed noise so that chi-square is not 0."""
    noise = np.random.default_rng(1).normal(0, 1, (len(counts), 1, NX)).astype(np.float32)
    data = np.float32(counts)[:, None, None] + noise
    flags = np.zeros(data.shape, dtype=np.uint8) if groupdq is None else groupdq
    return RampBlock(data, flags, np.zeros((1, NX), dtype=np.uint32), slice(3, 4), slice(0, NX))


def references(gain=1.5, noise=5.0, shape=(1, NX)):
    return {"gain": {"data": np.full(shape, gain, "f4")}, "readnoise": {"data": np.full(shape, noise, "f4")}}


def run(block, exposure=EXPOSURE, refs=None, **options):
    return STEP.apply(block, references() if refs is None else refs, RampFitOptions(**options), exposure, None)


def test_declaration():
    assert (STEP.name, STEP.cal_step, STEP.level, STEP.couples) == ("ramp_fit", "ramp_fit", "fit", "pixel")
    assert [(needs.reftype, needs.images, needs.missing) for needs in STEP.references] == [
        ("gain", ("data",), "error"),
        ("readnoise", ("data",), "error"),
    ]
    names = {item.name for item in dataclasses.fields(RampFitOptions)}
    assert set(STEP.quirks) <= names
    assert all(item.metadata["doc"] for item in dataclasses.fields(RampFitOptions))
    assert not STEP.needs_prepare(RampFitOptions(), EXPOSURE)
    assert STEP.needs_prepare(RampFitOptions(expand_large_events=True), EXPOSURE)
    assert not STEP.needs_prepare(RampFitOptions(expand_large_events=True, algorithm="ols_cas22"), EXPOSURE)


def test_options_survive_plain_values():
    options = RampFitOptions(rejection_threshold=6, algorithm="ols_cas22", sat_expand=3)
    assert RampFitOptions.from_dict(options.to_dict()) == options


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"algorithm": "likely"}, "'likelihood', 'ols_cas22'"),
        ({"rejection_threshold": -1.0}, "rejection_threshold is -1.0 sigma; expected a finite number"),
        ({"expand_factor": float("nan")}, "expand_factor is nan"),
        ({"edge_size": -2}, "edge_size is -2 pixel"),
        ({"sigma": 3}, "no option 'sigma'"),
    ],
)
def test_bad_options(values, words):
    with pytest.raises(OptionError, match=words):
        RampFitOptions.from_dict(values)


@pytest.mark.parametrize(
    ("algorithm", "f", "words"),
    [
        ("likelihood", 3, "at least 4 resultants; the exposure has 3; algorithm 'ols_cas22' can"),
        ("likelihood", 1, "at least 4 resultants; the exposure has 1$"),
        ("ols_cas22", 1, "at least 2 resultants; the exposure has 1$"),
    ],
)
def test_too_few_resultants(algorithm, f, words):
    exposure = dataclasses.replace(EXPOSURE, read_pattern=PATTERN[:f])
    with pytest.raises(InputError, match=words):
        run(ramp(MEAN_READS[:f]), exposure, algorithm=algorithm)


@pytest.mark.parametrize(("algorithm", "f"), [("likelihood", 4), ("ols_cas22", 2)])
def test_enough_resultants(algorithm, f):
    exposure = dataclasses.replace(EXPOSURE, read_pattern=PATTERN[:f])
    fit = run(ramp(100 * MEAN_READS[:f]), exposure, algorithm=algorithm)
    np.testing.assert_allclose(fit.rate, 50, rtol=0.02)
    assert (fit.dq == 0).all()


def test_shapes_that_do_not_fit():
    block = ramp(MEAN_READS)
    with pytest.raises(ShapeError, match=r"gain reference has shape \(2, 5\).*expected \(1, 5\)"):
        run(block, refs=references(shape=(2, NX)))
    with pytest.raises(ShapeError, match=r"data of the ramp has shape \(6, 1, 5\); expected \(5, 1, 5\)"):
        run(block, dataclasses.replace(EXPOSURE, read_pattern=PATTERN[:5]))
    block.groupdq = block.groupdq[:, :, :3]
    with pytest.raises(ShapeError, match="groupdq"):
        run(block)


@pytest.mark.parametrize("algorithm", ["likelihood", "ols_cas22"])
def test_any_memory_layout(algorithm):
    block = ramp(100 * MEAN_READS)
    plain = run(block, algorithm=algorithm)
    odd = RampBlock(
        np.asfortranarray(block.data), block.groupdq[:, :, ::-1], block.pixeldq[::-1], block.rows, block.columns
    )
    swapped = {name: {"data": item["data"].astype(">f4")} for name, item in references().items()}
    fit = run(odd, refs=swapped, algorithm=algorithm)
    for name in ("rate", "err", "var_poisson", "var_rnoise", "chisq", "dumo", "dq"):
        array = getattr(fit, name)
        np.testing.assert_array_equal(array, getattr(plain, name))
        assert array.dtype == (np.uint32 if name == "dq" else np.float32)
        assert array.dtype.isnative


# --------------------------------------------------------------------------------- what each switch does
def jump(size, resultant):
    return 100 * MEAN_READS + size * (np.arange(6) >= resultant)


def test_threshold_is_honoured():
    block = ramp(jump(90, 3))
    assert len(run(block).jumps) > 0
    assert len(run(block, rejection_threshold=4.5).jumps) == len(run(block).jumps)
    assert len(run(block, rejection_threshold=30.0).jumps) == 0
    assert len(run(block, rejection_threshold=60.0).jumps) == 0  # the tail probability is 0 there
    assert len(run(block, rejection_threshold=0.0).jumps) > 0


def test_jump_detection_off():
    block = ramp(jump(900, 3))
    fit = run(block, jump_detection=False)
    assert len(fit.jumps) == 0
    assert (fit.dq == 0).all()
    assert (fit.chisq > 100).all()
    assert (fit.rate > run(block).rate + 10).all()


def test_jumps_need_not_be_recorded():
    block = ramp(jump(900, 3))
    fit = run(block, record_jumps=False)
    assert fit.jumps is None
    np.testing.assert_array_equal(fit.dq, run(block).dq)
    assert (fit.dq == 4).all()


def test_one_omission_rule():
    """A jump between two resultants of two reads: one difference is dropped, or, by the stricter rule, two."""
    block = ramp(jump(900, 3))
    assert set(run(block).jumps[:, 0].tolist()) == {3}
    strict = run(block, one_omission_rule="reads").jumps
    assert len(strict) == 2 * NX
    assert set(strict[:, 0].tolist()) <= {2, 3, 4}
    first = run(ramp(jump(900, 1)), one_omission_rule="reads").jumps
    assert set(first[:, 0].tolist()) == {1}


def test_first_guess():
    """Saturated resultants make the median of all differences 0; without photon noise, clean ramps look broken."""
    n = 400
    exposure = dataclasses.replace(EXPOSURE, read_pattern=tuple((read,) for read in range(1, 11)))
    rng = np.random.default_rng(2)
    data = np.cumsum(rng.poisson(1500, (10, 1, n)), axis=0).astype(np.float32) / np.float32(1.5)
    data[4:] = data[4]
    groupdq = np.zeros(data.shape, dtype=np.uint8)
    groupdq[5:] = 2
    block = RampBlock(data, groupdq, np.zeros((1, n), np.uint32), slice(0, 1), slice(0, n))
    mission, better = (run(block, exposure, references(shape=(1, n)), first_guess=guess) for guess in ("all", "usable"))
    assert np.mean(mission.dq == 6) > 0.3
    assert np.mean(better.dq == 2) > 0.99
    np.testing.assert_allclose(better.rate.mean(), 500, rtol=0.01)
    clean = ramp(100 * MEAN_READS)
    np.testing.assert_array_equal(run(clean).rate, run(clean, first_guess="usable").rate)


def test_unfitted_pixels_can_be_flagged():
    refs = references()
    refs["gain"]["data"][0, :3] = [np.nan, 0, -1]
    block = ramp(100 * MEAN_READS)
    block.groupdq[1::2, 0, 3] = 8
    plain, flagged = run(block, refs=refs), run(block, refs=refs, flag_unfitted=True)
    assert (plain.dq == 0).all()
    no_gain = 1 << 19
    lost = np.isnan(plain.rate[0])
    assert lost[[0, 1, 3]].all()
    expected = np.where(lost, 1, 0) | np.array([no_gain, no_gain, no_gain, 0, 0])
    np.testing.assert_array_equal(flagged.dq[0], expected)
