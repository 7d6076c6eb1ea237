"""The selection rule: match, then use-after."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roman_nexus.errors import InputError
from roman_nexus.references.rules import Candidate, parse_time, select, selection_parameters
from roman_nexus.steps.step import ExposureInfo

DETECTOR, ELEMENT, TYPE = (
    "ROMAN.META.INSTRUMENT.DETECTOR",
    "ROMAN.META.INSTRUMENT.OPTICAL_ELEMENT",
    "ROMAN.META.EXPOSURE.TYPE",
)
EXPOSURE = {"detector": "WFI01", "optical_element": "F158", "exposure_type": "WFI_IMAGE", "start_time": "2027-04-01"}


def flat(name: str, detector: str, element: str, useafter: str) -> Candidate:
    return Candidate(f"crds://{name}.asdf", ((DETECTOR, detector), (ELEMENT, element)), useafter)


def chosen(*candidates: Candidate, **changes: str) -> str | None:
    found = select("flat", EXPOSURE | changes, candidates).chosen
    return found.file if found is not None else None


def test_the_latest_that_is_not_after_the_exposure_wins() -> None:
    pool = [flat(f"f{year}", "WFI01", "F158", f"{year}-05-01 00:00:00") for year in (2020, 2026, 2027)]
    assert chosen(*pool) == "f2026.asdf"
    assert chosen(*pool, start_time="2027-05-01T00:00:00.000") == "f2027.asdf"
    assert chosen(*pool, start_time="2019-01-01") is None


def test_the_explanation_says_who_won_and_why_the_others_lost() -> None:
    pool = [
        flat("old", "WFI01", "F158", "2020-01-01 00:00:00"),
        flat("new", "WFI01", "F158", "2026-05-01 00:00:00"),
        flat("future", "WFI01", "F158", "2028-01-01 12:00:00"),
        flat("other", "WFI02", "F158", "2026-05-01 00:00:00"),
    ]
    found = select("flat", EXPOSURE, pool)
    assert found.explanation == "4 candidates for FLAT WFI01 F158; 3 match; useafter 2026-05-01 wins over 2020-01-01"
    assert {candidate.file: why for candidate, why in found.rejected} == {
        "old.asdf": "older than new.asdf",
        "future.asdf": "useafter 2028-01-01 12:00:00 is after the exposure (2027-04-01)",
        "other.asdf": "is for detector WFI02, not WFI01",
    }
    assert found.explain().splitlines()[0] == found.explanation
    nothing = select("flat", EXPOSURE | {"detector": "WFI09"}, pool)
    assert nothing.chosen is None
    assert "none matches (future.asdf: is for detector WFI01, not WFI09" in nothing.explanation


@pytest.mark.parametrize("rule", ["WFI_IMAGE", "WFI_FLAT|WFI_IMAGE|", " WFI_FLAT | WFI_IMAGE", "*", "N/A", "wfi_image"])
def test_alternatives_wildcards_and_what_does_not_matter(rule: str) -> None:
    candidate = Candidate("crds://dark.asdf", ((DETECTOR, "WFI01"), (TYPE, rule)), "2020-01-01")
    assert select("dark", EXPOSURE, [candidate]).chosen is candidate


@pytest.mark.parametrize("rule", ["WFI_FLAT", "WFI_IM", "WFI_FLAT|WFI_SPECTRAL|", "", "UNDEFINED"])
def test_other_values_do_not_match(rule: str) -> None:
    candidate = Candidate("crds://dark.asdf", ((TYPE, rule),), "2020-01-01")
    assert select("dark", EXPOSURE, [candidate]).chosen is None


def test_the_more_exact_match_wins_over_the_later_one_until_it_is_too_late() -> None:
    exact, loose = flat("exact", "WFI01", "F158", "2026-01-01"), flat("loose", "WFI01", "N/A", "2027-01-01")
    assert chosen(exact, loose) == "exact.asdf"
    assert chosen(flat("exact", "WFI01", "F158", "2028-01-01"), loose) == "loose.asdf"


def test_equally_exact_groups_are_merged() -> None:
    pool = [flat("a", "WFI01", "F158", "2021-01-01"), flat("b", "WFI01", "F158|F184", "2022-01-01")]
    assert chosen(*pool) == "b.asdf"
    assert chosen(*pool, start_time="2021-06-01") == "a.asdf"


def test_not_applicable_is_an_answer() -> None:
    old = flat("a", "WFI01", "F158", "2020-01-01")
    pool = [old, Candidate("N/A", old.match, "2026-01-01")]
    found = select("flat", EXPOSURE, pool)
    assert found.not_applicable
    assert "does not apply" in found.explanation


def test_time_does_not_matter_without_useafter() -> None:
    candidate = Candidate("crds://dust.fits", (("ROMAN.FIELD", "N"),))
    assert select("dustmap", {"roman.field": "N"}, [candidate]).chosen is candidate


def test_a_time_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InputError, match=r"'soon'.*2027-04-01T00:00:00"):
        chosen(flat("a", "WFI01", "F158", "soon"))
    with pytest.raises(InputError, match="start time of the exposure is not known"):
        select("flat", {"detector": "WFI01", "optical_element": "F158"}, [flat("a", "WFI01", "F158", "2020-01-01")])


def test_times_with_a_zone_are_compared_in_utc() -> None:
    assert parse_time("2027-04-01T02:00:00+02:00") == parse_time("2027-04-01T00:00:00Z") == datetime(2027, 4, 1)


def test_parameters_of_an_exposure_can_be_replaced() -> None:
    info = ExposureInfo("WFI02", "F129", "WFI_FLAT", ((1,),), 3.0, start_time="2027-01-01T00:00:00.000")
    plain = selection_parameters(info)
    assert plain[DETECTOR] == "WFI02"
    assert plain["ROMAN.META.EXPOSURE.START_TIME"] == "2027-01-01T00:00:00.000"
    changed = selection_parameters(info, {"start_time": "2020-01-01", "meta.instrument.detector": "WFI18"})
    assert changed["ROMAN.META.EXPOSURE.START_TIME"] == "2020-01-01"
    assert changed[DETECTOR] == "WFI18"


# ------------------------------------------------------------------------------------------- properties
dates = st.integers(0, 4000).map(lambda days: (datetime(2020, 1, 1) + timedelta(days=days)).strftime("%Y-%m-%d"))
rules = st.sampled_from(["WFI01", "WFI02", "WFI01|WFI02", "*", "N/A"])
pools = st.lists(st.tuples(st.integers(0, 9), rules, dates), max_size=8).map(
    lambda rows: [flat(f"flat_{number:04d}", rule, "F158", date) for number, rule, date in rows]
)


@given(pools, dates, st.randoms(use_true_random=False))
def test_the_answer_does_not_depend_on_the_order(pool: list[Candidate], start: str, shuffler: random.Random) -> None:
    shuffled = list(pool)
    shuffler.shuffle(shuffled)
    first, second = (select("flat", EXPOSURE | {"start_time": start}, items) for items in (pool, shuffled))
    assert first == second


@given(pools, dates)
def test_nothing_after_the_exposure_is_chosen_and_nothing_better_is_left(pool: list[Candidate], start: str) -> None:
    found = select("flat", EXPOSURE | {"start_time": start}, pool).chosen

    def exactness(item: Candidate) -> int:
        return sum(rule != "N/A" for _, rule in item.match)

    usable = [item for item in pool if item.match[0][1] != "WFI02" and item.useafter <= start]
    if found is None:
        assert not usable
        return
    best = max(exactness(item) for item in usable)
    assert found in usable
    assert exactness(found) == best
    assert found.useafter == max(item.useafter for item in usable if exactness(item) == best)
