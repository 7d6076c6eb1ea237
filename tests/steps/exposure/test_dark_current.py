import numpy as np
import pytest

from roman_nexus.errors import OptionError, ReferenceMismatchError
from roman_nexus.steps.exposure.dark_current import STEP, DarkCurrentOptions, apply
from roman_nexus.steps.step import ExposureInfo, ImageBlock

EXPOSURE = ExposureInfo("WFI01", "F158", "WFI_IMAGE", ((1,), (2,)), 3.16)


def block_of(data, dq=0):
    data = np.array(data, dtype=np.float32)
    ny, nx = data.shape
    half = [np.full((ny, nx), value, np.float16) for value in (1, 2, 3, 4)]
    return ImageBlock(data, np.full((ny, nx), dq, np.uint32), *half, slice(0, ny), slice(0, nx))


def dark_of(slope, dq=0):
    slope = np.array(slope, dtype=np.float32)
    return {"dark": {"dark_slope": slope, "dq": np.full(slope.shape, dq, np.uint32)}}


def test_subtracts_and_joins_flags_and_leaves_the_rest():
    block = block_of([[1.0, 2.0]], dq=4)
    apply(block, dark_of([[0.25, -0.5]], dq=2048), STEP.options(), EXPOSURE)
    assert block.data.tolist() == [[0.75, 2.5]]
    assert block.data.dtype == np.float32
    assert block.dq.tolist() == [[2052, 2052]]
    for plane, value in zip((block.err, block.var_poisson, block.chisq, block.dumo), (1, 2, 3, 4), strict=True):
        assert (plane == value).all()


def test_arithmetic_is_float32():
    block = block_of([[1.0]])
    apply(block, dark_of([[3e-8]]), STEP.options(), EXPOSURE)
    assert block.data[0, 0] == np.float32(1.0) - np.float32(3e-8)


@pytest.mark.parametrize(("option", "expected"), [("romancal", np.nan), ("zero", 1.0)])
def test_nan_dark(option, expected):
    references = dark_of([[np.nan, 0.5]])
    references["dark"]["dark_slope"].flags.writeable = False
    block = block_of([[1.0, 1.0]])
    apply(block, references, DarkCurrentOptions(nan_dark=option), EXPOSURE)
    assert np.array_equal(block.data, [[expected, 0.5]], equal_nan=True)


def test_an_unknown_option_is_refused():
    with pytest.raises(OptionError, match="nan_dark"):
        DarkCurrentOptions.from_dict({"nan_dark": "ignore"})


@pytest.mark.parametrize("name", ["dark_slope", "dq"])
def test_a_dark_of_another_shape_is_refused(name):
    references = dark_of([[0.0, 0.0]])
    references["dark"][name] = references["dark"][name][:, :1]
    block = block_of([[1.0, 1.0]])
    with pytest.raises(ReferenceMismatchError, match=rf"{name} has shape \(1, 1\)"):
        apply(block, references, STEP.options(), EXPOSURE)
    assert block.data.tolist() == [[1.0, 1.0]]


def test_declaration():
    assert (STEP.cal_step, STEP.suffix, STEP.level) == ("dark", "darkcurrent", "image")
