import numpy as np
import pytest

from roman_nexus.dq import PixelFlag
from roman_nexus.errors import InputError, ReferenceMismatchError, ShapeError
from roman_nexus.steps.exposure.linearity import STEP, apply, prepare
from roman_nexus.steps.step import ExposureInfo, RampBlock

PATTERN = ((1,), (2, 3), (4,))
NO_LIN_CORR = int(PixelFlag.NO_LIN_CORR)
OPTIONS = STEP.options()


def exposure_of(nx, pattern=PATTERN, ny=1):
    return ExposureInfo("WFI01", "F158", "WFI_IMAGE", pattern, 3.16, shape=(ny, nx))


def block_of(data, groupdq=None, column=0):
    data = np.array(data, dtype=np.float32)
    groupdq = np.zeros(data.shape, np.uint8) if groupdq is None else np.array(groupdq, dtype=np.uint8)
    _, ny, nx = data.shape
    return RampBlock(data, groupdq, np.zeros((ny, nx), np.uint32), slice(0, ny), slice(column, column + nx))


def references_of(ny, nx, linear=(0.0, 1.0, 0.0), inverse=(0.0, 1.0, 0.0)):
    def cube(terms):
        return np.array(terms, dtype=np.float32)[:, None, None] * np.ones((1, ny, nx), np.float32)

    return {
        "linearity": {"coeffs": cube(linear), "dq": np.zeros((ny, nx), np.uint32)},
        "inverselinearity": {"coeffs": cube(inverse)},
    }


def table_of(value, corrections):
    channels = {f"science_channel_{i:02d}": {"correction": row} for i, row in enumerate(corrections, start=1)}
    return {"value": value, "inl_table": channels}


# ------------------------------------------------------------------------- by hand
def test_reads_of_a_resultant_are_linearised_one_by_one():
    # L(c) = c + c**2 / 1000, I the identity. The line: 0 at read 1; L(100) = 110 at mean read 2.5, so 110 / 1.5 a read.
    # Reads 2 and 3 are predicted at 73.3 and 146.7, shifted by -10 to average 100: 63.3333 and 136.6667.
    # Their squares average 11344.4, so the resultant is 100 + 11.3444.
    block = block_of([[[0.0]], [[100.0]], [[200.0]]])
    apply(block, references_of(1, 1, linear=(0.0, 1.0, 0.001)), OPTIONS, exposure_of(1))
    assert block.data.ravel() == pytest.approx([0.0, 111.34444, 240.0], abs=1e-4)
    assert not block.groupdq.any()
    assert not block.pixeldq.any()


def test_inverse_polynomial_shapes_the_reads():
    # I(f) = f - f**2 / 1000 bends the predicted reads to 73.333 - 5.378 = 67.956 and 146.667 - 21.511 = 125.156;
    # shifted to average 100 they are 71.4 and 128.6, whose squares average 10817.96
    block = block_of([[[0.0]], [[100.0]], [[200.0]]])
    references = references_of(1, 1, linear=(0.0, 1.0, 0.001), inverse=(0.0, 1.0, -0.001))
    apply(block, references, OPTIONS, exposure_of(1))
    assert block.data[1, 0, 0] == pytest.approx(100 + 10.81796, abs=1e-4)


def test_saturated_resultants_keep_their_counts():
    block = block_of([[[10.0]], [[100.0]], [[60000.0]]], [[[0]], [[0]], [[2]]])
    apply(block, references_of(1, 1, linear=(0.0, 2.0, 0.0), inverse=(0.0, 0.5, 0.0)), OPTIONS, exposure_of(1))
    assert block.data.ravel().tolist() == [20.0, 200.0, 60000.0]


@pytest.mark.parametrize("cube", ["linearity", "inverselinearity"])
@pytest.mark.parametrize("spoil", ["nan", "zero"])
def test_unusable_coefficients_become_the_identity_and_are_flagged(cube, spoil):
    references = references_of(1, 2, linear=(0.0, 2.0, 0.0), inverse=(0.0, 0.5, 0.0))
    references[cube]["coeffs"][(2, 0, 0) if spoil == "nan" else (1, 0, 0)] = np.nan if spoil == "nan" else 0.0
    kept = references[cube]["coeffs"].copy()
    block = block_of([[[10.0, 10.0]], [[20.0, 20.0]], [[30.0, 30.0]]])
    apply(block, references, OPTIONS, exposure_of(2))
    assert block.pixeldq.tolist() == [[NO_LIN_CORR, 0]]
    expected = [10.0, 20.0, 30.0] if cube == "linearity" else [20.0, 40.0, 60.0]
    assert block.data[:, 0, 0] == pytest.approx(expected, abs=1e-5)
    assert block.data[:, 0, 1] == pytest.approx([20.0, 40.0, 60.0])
    assert np.array_equal(references[cube]["coeffs"], kept, equal_nan=True)


def test_flags_of_the_reference_join_and_no_lin_corr_switches_off():
    references = references_of(1, 2, linear=(0.0, 2.0, 0.0))
    references["linearity"]["dq"][...] = [[NO_LIN_CORR, 65536]]
    block = block_of([[[10.0, 10.0]], [[20.0, 20.0]], [[30.0, 30.0]]])
    block.pixeldq[...] = 4
    apply(block, references, OPTIONS, exposure_of(2))
    assert block.pixeldq.tolist() == [[NO_LIN_CORR + 4, 65540]]
    assert block.data[:, 0, 0].tolist() == [10.0, 20.0, 30.0]


def test_what_cannot_be_true_is_clipped_and_flagged():
    block = block_of([[[1.0, 1.0, np.nan]], [[3e5, -3e5, 1.0]], [[10.0, 10.0, 1.0]]], None)
    apply(block, references_of(1, 3, linear=(0.0, 9.0, 0.0), inverse=(0.0, 1 / 9, 0.0)), OPTIONS, exposure_of(3))
    assert block.data[1, 0, :2].tolist() == [1e6, -1e6]
    assert block.groupdq[:, 0].tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert np.isnan(block.data[:, 0, 2]).all()


def test_two_resultants_are_enough():
    block = block_of([[[5.0]], [[9.0]]])
    apply(block, references_of(1, 1, linear=(1.0, 2.0, 0.0)), OPTIONS, exposure_of(1, ((1,), (2,))))
    assert block.data.ravel().tolist() == [11.0, 19.0]


# ------------------------------------------------- against a plain rewriting of the method
def scalar_linearity(counts, flags, linear, inverse, pattern, correct):
    """One pixel, with NumPy scalars of the stated precision."""

    def polynomial(terms, x, kind):
        value = kind(terms[-1]) * x
        for term in terms[-2:0:-1]:
            value = (value + kind(term)) * x
        return value + kind(terms[0])

    counts = [np.float32(count) for count in counts]
    last = max(sum(not flag & 2 for flag in flags) - 1, 2) - 1
    ends = [c if f & 2 else polynomial(linear, c, np.float32) for c, f in ((counts[i], flags[i]) for i in (0, last))]
    means = [np.mean(reads) for reads in pattern]
    rate = np.float64(ends[1] - ends[0]) / (means[last] - means[0])
    result = []
    for count, flag, reads in zip(counts, flags, pattern, strict=True):
        if not flag & 2:
            seen = [polynomial(inverse, np.float64(ends[0]) + rate * (r - means[0]), np.float64) for r in reads]
            offset = np.float64(count) - sum(seen[1:], seen[0]) / len(seen)
            seen = [value + offset for value in seen]
            seen = [value + correct(value) for value in seen]
            bent = [polynomial(linear, value, np.float64) for value in seen]
            count = np.float32(sum(bent[1:], bent[0]) / len(bent))
        if abs(count) > 1e6:
            count, flag = np.float32(np.copysign(1e6, count)), flag | 1
        result.append((count, flag))
    return result


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(5)
    pattern = ((2,), (3, 4), (6, 7, 8), (9, 10, 11, 12, 13), (14,))
    ny, nx = 3, 300
    slope = 10 ** rng.uniform(0, 3.7, (ny, nx))
    times = np.array([np.mean(reads) for reads in pattern])
    data = rng.normal(2000, 3000, (ny, nx)) + slope * times[:, None, None]
    groupdq = np.where(np.arange(5)[:, None, None] >= rng.integers(0, 12, (ny, nx)), 2, 0)
    references = references_of(ny, nx)
    for name in ("linearity", "inverselinearity"):
        references[name]["coeffs"] = rng.normal(0, 1, (3, ny, nx)).astype(np.float32)
        references[name]["coeffs"] *= np.array([5, 0.05, 3e-6], np.float32)[:, None, None]
        references[name]["coeffs"][1] += 1
    references["linearity"]["coeffs"][2, 1, :40] = 1.0  # runs away
    return pattern, block_of(data, groupdq), references, exposure_of(nx, pattern, ny)


def copy_of(block):
    return RampBlock(block.data.copy(), block.groupdq.copy(), block.pixeldq.copy(), block.rows, block.columns)


@pytest.mark.parametrize("kind", ["direct", "uneven", "none"])
def test_equals_the_scalar_method_in_every_bit(scene, kind):
    pattern, block, references, exposure = scene
    value = np.arange(65536) if kind == "direct" else np.unique(np.geomspace(7, 60000, 900).astype(int))
    table = np.random.default_rng(6).normal(0, 20, (3, value.size))
    if kind != "none":
        references = references | {"integralnonlinearity": table_of(value.astype(np.uint16), table)}
    state = prepare(None, references, OPTIONS, exposure)
    found = copy_of(block)
    apply(found, references, OPTIONS, exposure, state)
    for y in range(3):
        for x in range(0, 300, 3):
            expected = scalar_linearity(
                block.data[:, y, x],
                block.groupdq[:, y, x].tolist(),
                references["linearity"]["coeffs"][:, y, x],
                references["inverselinearity"]["coeffs"][:, y, x],
                pattern,
                (lambda _: 0.0) if kind == "none" else (lambda u, row=table[x // 128]: np.interp(u, value, row)),
            )
            assert found.data[:, y, x].tolist() == [count for count, _ in expected], (y, x)
            assert found.groupdq[:, y, x].tolist() == [flag for _, flag in expected], (y, x)
    assert (found.groupdq & 1).any()  # some ran away


def test_blocks_do_not_matter(scene):
    _, block, references, exposure = scene
    references = references | {
        "integralnonlinearity": table_of(np.arange(65536), np.random.default_rng(7).normal(0, 9, (3, 65536)))
    }
    state = prepare(None, references, OPTIONS, exposure)
    whole = copy_of(block)
    apply(whole, references, OPTIONS, exposure, state)
    for first, last in ((0, 5), (5, 128), (128, 256), (250, 300), (296, 300)):
        cut = (Ellipsis, slice(first, last))
        part = block_of(block.data[cut], block.groupdq[cut], column=first)
        pieces = {name: {key: array[cut] for key, array in references[name].items()}
                  for name in ("linearity", "inverselinearity")}  # fmt: skip
        apply(part, pieces, OPTIONS, exposure, state)
        assert np.array_equal(part.data, whole.data[cut])
        assert np.array_equal(part.groupdq, whole.groupdq[cut])


def test_byte_order_and_read_only_references_do_not_matter(scene):
    _, block, references, exposure = scene
    native, swapped = copy_of(block), copy_of(block)
    apply(native, references, OPTIONS, exposure)
    other = {name: {key: array.astype(array.dtype.newbyteorder(">")) for key, array in references[name].items()}
             for name in references}  # fmt: skip
    for arrays in other.values():
        for array in arrays.values():
            array.flags.writeable = False
    apply(swapped, other, OPTIONS, exposure)
    assert np.array_equal(native.data, swapped.data)


# ------------------------------------------------------ integral non-linearity
def test_each_channel_has_its_own_table_and_the_ends_are_held():
    counts = np.array([-5.0, 0.0, 7.0, 7.5, 65535.0, 70000.0], dtype=np.float32)
    data = np.concatenate([np.zeros(126), counts])[None, None, :]  # the last four lie in channel 2
    one, two = np.full(65536, 100.0), 0.5 * np.arange(65536.0)
    two[7:9] = 3.0, 5.0
    references = references_of(1, 132) | {
        "integralnonlinearity": table_of(np.arange(65536, dtype=np.uint16), [one, two])
    }
    exposure = exposure_of(132, ((1,), (2,)))
    state = prepare(None, references, OPTIONS, exposure)
    assert state.direct
    block = block_of(np.concatenate([data, data]))
    apply(block, references, OPTIONS, exposure, state)
    assert block.data[0, 0, :126].tolist() == [100.0] * 126
    assert block.data[0, 0, 126:].tolist() == [95.0, 100.0, 10.0, 11.5, 65535 + 32767.5, 70000 + 32767.5]


def test_without_the_reference_there_is_no_state():
    assert prepare(None, references_of(1, 1), OPTIONS, exposure_of(1)) is None


@pytest.mark.parametrize(
    ("value", "rows", "message"),
    [
        ([0, 1, 2], [[0.0, 0.0, 0.0]], "science_channel_02"),
        ([0, 1, 2], [[0.0, 0.0, 0.0], None], "science_channel_02"),
        ([0, 1, 2], [[0.0, 0.0, 0.0], [0.0, 0.0]], r"science_channel_02 has shape \(2,\)"),
        ([0, 1, 2], [[0.0, np.nan, 0.0], [0.0, 0.0, 0.0]], "science_channel_01"),
        ([0, 2, 2], [[0.0, 0.0, 0.0]] * 2, "increasing"),
        ([0], [[0.0]] * 2, "increasing"),
    ],
)
def test_a_bad_table_is_refused(value, rows, message):
    references = references_of(1, 129) | {"integralnonlinearity": table_of(np.array(value), rows)}
    with pytest.raises(ReferenceMismatchError, match=message):
        prepare(None, references, OPTIONS, exposure_of(129))


# -------------------------------------------------------------------- bad input
@pytest.mark.parametrize("name", ["linearity", "inverselinearity"])
@pytest.mark.parametrize("shape", [(3, 1, 4), (1, 1, 3), (1, 3)])
def test_coefficients_of_another_shape_are_refused(name, shape):
    references = references_of(1, 3)
    references[name]["coeffs"] = np.zeros(shape, np.float32)
    with pytest.raises(ReferenceMismatchError, match=rf"^{name} .*{shape[-1]}"):
        apply(block_of(np.zeros((3, 1, 3))), references, OPTIONS, exposure_of(3))


def test_flags_of_another_shape_are_refused():
    references = references_of(1, 3)
    references["linearity"]["dq"] = np.zeros((2, 3), np.uint32)
    with pytest.raises(ReferenceMismatchError, match="linearity reference dq"):
        apply(block_of(np.zeros((3, 1, 3))), references, OPTIONS, exposure_of(3))


@pytest.mark.parametrize("pattern", [((1,), (2,)), ((1,), (), (3,)), ((1,), (1,), (2,))])
def test_a_read_pattern_that_does_not_fit_is_refused(pattern):
    with pytest.raises(InputError, match="read_pattern"):
        apply(block_of(np.zeros((3, 1, 1))), references_of(1, 1), OPTIONS, exposure_of(1, pattern))


def test_one_resultant_is_refused():
    with pytest.raises(InputError, match="2 or more"):
        apply(block_of(np.zeros((1, 1, 1))), references_of(1, 1), OPTIONS, exposure_of(1, ((1,),)))


def test_a_block_that_does_not_fit_together_is_refused():
    block = block_of(np.zeros((3, 1, 2)), np.zeros((3, 1, 1)))
    with pytest.raises(ShapeError, match="groupdq"):
        apply(block, references_of(1, 2), OPTIONS, exposure_of(2))


def test_a_block_beyond_the_prepared_channels_is_refused():
    references = references_of(1, 1) | {"integralnonlinearity": table_of(np.arange(3), [[0.0, 0.0, 0.0]])}
    state = prepare(None, references, OPTIONS, exposure_of(128))
    with pytest.raises(ShapeError, match="channels"):
        apply(block_of(np.zeros((3, 1, 1)), column=128), references, OPTIONS, exposure_of(128), state)
