import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roman_nexus.dq import PixelFlag, ResultantFlag, count_flags, describe, parse_mask
from roman_nexus.errors import OptionError


def test_values_are_those_of_the_datamodels() -> None:
    from roman_datamodels.dqflags import group, pixel

    assert {flag.name: int(flag) for flag in PixelFlag if flag} == {flag.name: int(flag) for flag in pixel if int(flag)}
    assert all(int(group[flag.name]) == int(flag) for flag in ResultantFlag)


@pytest.mark.parametrize(
    ("text", "mask"),
    [("4,8", 12), ("4+8", 12), (12, 12), ("SATURATED", 2), ("saturated | JUMP_DET", 6), (["SATURATED", 4], 6), ("", 0),
     ("~DO_NOT_USE", 0xFFFFFFFE), ("~(DO_NOT_USE + SATURATED)", 0xFFFFFFFC), (PixelFlag.REFERENCE_PIXEL, 1 << 31)],
)  # fmt: skip
def test_masks_are_read(text: object, mask: int) -> None:
    assert parse_mask(text) == mask  # type: ignore[arg-type]


def test_unknown_flag_is_named() -> None:
    with pytest.raises(OptionError, match="'COSMIC'.*JUMP_DET"):
        parse_mask("COSMIC")
    with pytest.raises(OptionError, match="32-bit"):
        parse_mask(1 << 32)


@given(st.integers(0, 2**32 - 1))
def test_describe_names_every_bit(value: int) -> None:
    words = describe(value).split(" + ") if value else []
    assert len(words) == bin(value).count("1")


def test_counts() -> None:
    dq = np.array([[0, 2], [6, 1 << 31]], dtype=np.uint32)
    assert count_flags(dq) == {"SATURATED": 2, "JUMP_DET": 1, "REFERENCE_PIXEL": 1}
    assert count_flags(np.zeros((0, 3), dtype=np.uint32)) == {}
