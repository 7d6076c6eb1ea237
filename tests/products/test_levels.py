"""The level table says what the mission's pages say."""

from datetime import timedelta

import pytest

from roman_nexus.errors import ProductLevelError
from roman_nexus.products.levels import LEVELS, SUFFIXES, expected_suffixes, level_of, stop_rule, suffix


def test_latencies_and_access() -> None:
    assert {number: level.latency for number, level in LEVELS.items()} == {
        0: None,
        1: timedelta(hours=24),
        2: timedelta(hours=48),
        3: timedelta(days=5),
        4: timedelta(days=7),
        5: None,
    }
    assert [level.access for level in LEVELS.values()] == ["restricted"] + ["public"] * 5
    assert [LEVELS[number].counted_from for number in (1, 2, 3, 4)] == ["acquisition"] * 2 + ["last input"] * 2
    assert level_of(3).name == "L3"


@pytest.mark.parametrize(
    ("name", "level", "extension"),
    [
        ("uncal", 1, "asdf"),
        ("face", 1, "asdf"),
        ("cal", 2, "asdf"),
        ("wcs", 2, "asdf"),
        ("coadd", 3, "asdf"),
        ("cat", 4, "parquet"),
        ("segm", 4, "asdf"),
        ("asn", None, "json"),
        ("linearity", None, "asdf"),
    ],
)
def test_suffixes(name: str, level: int | None, extension: str) -> None:
    assert (suffix(name).level, suffix(name).extension) == (level, extension)


def test_only_intermediate_results_are_never_archived() -> None:
    assert all(entry.archived for entry in SUFFIXES.values() if entry.level is not None)
    assert not any(SUFFIXES[name].archived for name in ("dqinit", "rampfit", "wfi18_transient"))


@pytest.mark.parametrize(
    ("element", "survey", "stops"),
    [("F158", None, False), ("grism", None, True), ("PRISM", None, True), ("F146", "GBTDS", True), (None, None, False)],
)
def test_stop_rules(element: str | None, survey: str | None, stops: bool) -> None:
    assert (stop_rule(element, survey) is not None) == stops
    suffixes = expected_suffixes("detector", optical_element=element, survey=survey)
    assert suffixes == ("uncal", "cal", "wcs") + (() if stops else ("cat", "segm"))
    assert (expected_suffixes("skycell", optical_element=element, survey=survey) == ()) == stops


def test_unknown_levels_and_suffixes_are_refused() -> None:
    with pytest.raises(ProductLevelError, match="0 to 5"):
        level_of(6)
    with pytest.raises(ProductLevelError, match="uncal, gw"):
        suffix("i2d")
