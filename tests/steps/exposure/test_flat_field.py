import numpy as np
import pytest

from roman_nexus.dq import PixelFlag
from roman_nexus.errors import ReferenceMismatchError, ShapeError
from roman_nexus.steps.exposure.flat_field import STEP, FlatFieldOptions, apply
from roman_nexus.steps.step import ExposureInfo, ImageBlock

EXPOSURE = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16)
NO_FLAT_FIELD = int(PixelFlag.NO_FLAT_FIELD)


def block_of(data, err, var_poisson, dumo, **planes):
    data = np.array([data], dtype=np.float32)
    ny, nx = data.shape
    half = [np.array([values], dtype=np.float16) for values in (err, var_poisson, np.full(nx, 5.0), dumo)]
    return ImageBlock(data, np.zeros((ny, nx), np.uint32), *half, slice(0, ny), slice(0, nx), **planes)


def flat_of(data, dq=0, err=0.0):
    data = np.array([data], dtype=np.float32)
    return {
        "flat": {"data": data, "dq": np.zeros(data.shape, np.uint32) + np.uint32(dq), "err": np.full_like(data, err)}
    }


def test_divides_by_the_flat_and_its_square():
    rnoise = np.array([[8.0, 8.0]], np.float16)
    block = block_of([3.0, 3.0], [4.0, 4.0], [8.0, 8.0], [1.0, -1.0], var_rnoise=rnoise)
    apply(block, flat_of([2.0, -0.5], dq=4096), STEP.options(), EXPOSURE)
    assert block.data.tolist() == [[1.5, -6.0]]
    assert block.err.tolist() == [[2.0, -8.0]]
    assert block.dumo.tolist() == [[0.5, 2.0]]
    assert block.var_poisson.tolist() == [[2.0, 32.0]]
    assert block.var_rnoise.tolist() == [[2.0, 32.0]]
    assert block.chisq.tolist() == [[5.0, 5.0]]
    assert block.dq.tolist() == [[4096, 4096]]
    assert block.var_flat is None


@pytest.mark.parametrize("value", [np.nan, 0.0, -0.0])
def test_no_flat_means_no_division(value):
    block = block_of([3.0], [4.0], [8.0], [1.0])
    apply(block, flat_of([value]), STEP.options(), EXPOSURE)
    assert (block.data, block.err, block.var_poisson, block.dumo) == (3.0, 4.0, 8.0, 1.0)
    assert block.dq == NO_FLAT_FIELD


def test_a_flagged_flat_is_not_used_though_it_has_a_value():
    block = block_of([3.0], [4.0], [8.0], [1.0])
    apply(block, flat_of([2.0], dq=NO_FLAT_FIELD + 1), STEP.options(), EXPOSURE)
    assert block.data == 3.0
    assert block.dq == NO_FLAT_FIELD + 1


def test_overflow_becomes_infinite_and_nan_stays():
    block = block_of([np.nan], [60000.0], [np.nan], [-60000.0])
    apply(block, flat_of([0.5]), STEP.options(), EXPOSURE)
    assert np.isnan(block.data).all()
    assert np.isnan(block.var_poisson).all()
    assert (block.err, block.dumo) == (np.inf, -np.inf)


def test_flat_error_is_propagated_on_request():
    block = block_of([4.0], [6.0], [1.0], [0.0])
    apply(block, flat_of([2.0], err=8.0), FlatFieldOptions(include_var_flat=True), EXPOSURE)
    # data 2, err 3; var_flat = 2**2 / 2**2 * 8**2 = 64; err = sqrt(9 + 64)
    assert block.var_flat.dtype == np.float16
    assert block.var_flat.tolist() == [[64.0]]
    assert block.err.dtype == np.float16
    assert block.err == np.float16(np.sqrt(73.0))


def test_flat_error_where_there_is_no_flat():
    block = block_of([3.0], [4.0], [1.0], [0.0])
    apply(block, flat_of([0.0], err=1.0), FlatFieldOptions(include_var_flat=True), EXPOSURE)
    assert (block.var_flat, block.err) == (9.0, 5.0)


def random_inputs(ny, nx):
    rng = np.random.default_rng(8)
    data = rng.normal(0, 10, (ny, nx)).astype(np.float32)
    half = [(rng.normal(0, 1, (ny, nx)) * 10.0 ** rng.uniform(-7, 4, (ny, nx))).astype(np.float16) for _ in range(4)]
    block = ImageBlock(data, np.zeros((ny, nx), np.uint32), *half, slice(0, ny), slice(0, nx))
    flat = {
        "data": rng.normal(1, 0.5, (ny, nx)).astype(np.float32),
        "dq": (rng.random((ny, nx)) < 0.1) * np.uint32(NO_FLAT_FIELD),
        "err": rng.normal(0, 0.01, (ny, nx)).astype(np.float32),
    }
    return block, flat


def test_float32_arithmetic_and_one_rounding_as_numpy_has_it():
    block, flat = random_inputs(5, 333)
    before = {name: getattr(block, name).copy() for name in ("data", "err", "var_poisson", "dumo")}
    apply(block, {"flat": flat}, STEP.options(), EXPOSURE)
    divisor = np.where(flat["dq"] != 0, np.float32(1), flat["data"])
    with np.errstate(over="ignore"):
        assert np.array_equal(block.data, before["data"] / divisor)
        for name, by in (("err", divisor), ("dumo", divisor), ("var_poisson", divisor * divisor)):
            expected = (before[name].astype(np.float32) / by).astype(np.float16)
            assert np.array_equal(getattr(block, name).view(np.uint16), expected.view(np.uint16)), name


def test_blocks_do_not_matter():
    names = ("data", "dq", "err", "var_poisson", "chisq", "dumo")
    options = FlatFieldOptions(include_var_flat=True)
    whole, flat = random_inputs(6, 50)
    part, _ = random_inputs(6, 50)
    apply(whole, {"flat": flat}, options, EXPOSURE)
    for rows in (slice(0, 1), slice(1, 6)):
        piece = ImageBlock(*(getattr(part, name)[rows] for name in names), rows, slice(0, 50))
        apply(piece, {"flat": {name: array[rows] for name, array in flat.items()}}, options, EXPOSURE)
        assert np.array_equal(piece.var_flat, whole.var_flat[rows])
    for name in names:
        assert getattr(part, name).tobytes() == getattr(whole, name).tobytes(), name


@pytest.mark.parametrize("name", ["data", "dq", "err"])
def test_a_flat_of_another_shape_is_refused(name):
    references = flat_of([1.0, 1.0])
    references["flat"][name] = np.ones((1, 3), references["flat"][name].dtype)
    block = block_of([3.0, 3.0], [4.0, 4.0], [8.0, 8.0], [1.0, 1.0])
    with pytest.raises(ReferenceMismatchError, match=rf"flat reference {name} has shape \(1, 3\)"):
        apply(block, references, STEP.options(), EXPOSURE)


def test_planes_of_another_shape_are_refused():
    block = block_of([3.0, 3.0], [4.0, 4.0], [8.0, 8.0], [1.0])
    with pytest.raises(ShapeError, match="dumo"):
        apply(block, flat_of([1.0, 1.0]), STEP.options(), EXPOSURE)
