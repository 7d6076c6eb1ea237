"""CRDS rule files are read as data; whatever else is in them is refused."""

from __future__ import annotations

import pytest

from roman_nexus.errors import FileFormatError
from roman_nexus.references.mappings import read_rmap
from roman_nexus.references.rules import select

HEADER = """header = {{
    'classes' : {classes},
    'derived_from' : 'roman_wfi_flat_0001.rmap',
    'filekind' : 'FLAT',
    'mapping' : 'REFERENCE',
    'name' : 'roman_wfi_flat_0004.rmap',
    'observatory' : 'ROMAN',
    'parkey' : {parkey},
    'sha1sum' : '5a27566b26d07745430b6f80137a9a02bc2c5b08',
    {extra}
}}
comment = '''
free text
'''
"""
KEYS = (
    "(('ROMAN.META.INSTRUMENT.DETECTOR', 'ROMAN.META.INSTRUMENT.OPTICAL_ELEMENT'), ('ROMAN.META.EXPOSURE.START_TIME',))"
)
MERGED = """selector = Match({
    ('WFI01', 'F158') : UseAfter({
        '2020-01-01 00:00:00' : 'roman_wfi_flat_0002.asdf',
        '2021-01-01 00:00:00' : 'roman_wfi_flat_0003.asdf',
    }),
    ('WFI01', 'F158|F184|F213') : UseAfter({
        '2021-08-01 11:11:11' : 'roman_wfi_flat_0004.asdf',
        '2022-01-01 00:00:00' : 'N/A',
    }),
})
"""


def rmap(selector: str, *, classes: str = "('Match', 'UseAfter')", parkey: str = KEYS, extra: str = "") -> str:
    return HEADER.format(classes=classes, parkey=parkey, extra=extra) + selector


def test_an_rmap_gives_every_file_it_could_choose() -> None:
    rules = read_rmap(rmap(MERGED))
    assert (rules.level, rules.name) == ("rmap", "roman_wfi_flat_0004.rmap")
    assert [item.name for item in rules.candidates] == [
        "crds://roman_wfi_flat_0002.asdf",
        "crds://roman_wfi_flat_0003.asdf",
        "crds://roman_wfi_flat_0004.asdf",
        "N/A",
    ]
    element = "ROMAN.META.INSTRUMENT.OPTICAL_ELEMENT"
    assert rules.candidates[2].match == (("ROMAN.META.INSTRUMENT.DETECTOR", "WFI01"), (element, "F158|F184|F213"))
    assert rules.candidates[2].useafter == "2021-08-01 11:11:11"
    for time, expected in (("2020-06-01", "0002"), ("2021-08-01T11:11:11.000", "0004"), ("2030-01-01", "N/A")):
        found = select("flat", {"detector": "WFI01", "optical_element": "F158", "start_time": time}, rules.candidates)
        assert found.chosen is not None
        assert expected in found.chosen.name


def test_rules_that_look_at_time_only() -> None:
    selector = "selector = Match({\n () : UseAfter({\n '2000-01-01 00:00:00' : 'a.asdf' }) })"
    rules = read_rmap(rmap(selector, parkey="((), ('ROMAN.META.EXPOSURE.START_TIME',))"))
    assert rules.candidates[0].match == ()
    plain = "selector = UseAfter({'2000-01-01 00:00:00' : 'a.asdf'})"
    rules = read_rmap(rmap(plain, classes="('UseAfter',)", parkey="(('ROMAN.META.EXPOSURE.START_TIME',),)"))
    assert rules.candidates[0].useafter == "2000-01-01 00:00:00"


def test_rules_without_time_and_keys_without_brackets() -> None:
    selector = "selector = Match({'N' : 'north.fits', ('S',) : 'south.fits', ('A', ) : 'OMIT'})"
    rules = read_rmap(rmap(selector, classes="('Match',)", parkey="(('ROMAN.FIELD',),)"))
    assert [(item.match[0][1], item.name) for item in rules.candidates] == [
        ("N", "crds://north.fits"),
        ("S", "crds://south.fits"),
        ("A", "N/A"),
    ]


def test_a_tuple_of_values_means_alternatives() -> None:
    selector = "selector = Match({(('WFI01', 'WFI02'), 'F158') : UseAfter({'2020-01-01 00:00:00' : 'a.asdf'})})"
    assert read_rmap(rmap(selector)).candidates[0].match[0][1] == "WFI01|WFI02"


def test_pipeline_and_instrument_rules_name_further_rules() -> None:
    pmap = "header = {'mapping':'PIPELINE', 'name':'roman_0058.pmap'}\nselector = {'WFI' : 'roman_wfi_0044.imap'}"
    assert read_rmap(pmap).files == {"wfi": "roman_wfi_0044.imap"}
    imap = "header = {'mapping':'INSTRUMENT'}\nselector = {'FLAT' : 'roman_wfi_flat_0004.rmap', 'area' : 'N/A'}"
    assert read_rmap(imap).level == "imap"
    assert read_rmap(imap).files == {"flat": "roman_wfi_flat_0004.rmap", "area": "N/A"}


ONE = "selector = Match({('WFI01', 'F158') : UseAfter({'2020-01-01 00:00:00' : 'a.asdf'})})"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("not python (", "not a CRDS rule file"),
        ("header = {'mapping' : 'REFERENCE'}", "no selector"),
        ("header = {}\nselector = {}", "no 'mapping'"),
        ("import os\n" + rmap(ONE), "holds only"),
        (rmap(ONE) + "\nos.system('true')", "holds only"),
        (rmap(ONE.replace("'a.asdf'", "open('/etc/passwd').read()")), "a file name must be plain"),
        (rmap(ONE.replace("'a.asdf'", "'../../a.asdf'")), "not the name of a reference file"),
        (rmap(ONE.replace("('WFI01', 'F158')", "('WFI01',)")), "1 values for the keys"),
        (rmap(ONE.replace("('WFI01', 'F158')", "('WFI0*', 'F158')")), "only be worked out by the crds package"),
        (rmap(ONE.replace("'F158'", "'(F1[0-9]+)'")), "only be worked out by the crds package"),
        (rmap(ONE.replace("'F158'", "'BETWEEN 1 2'")), "only be worked out by the crds package"),
        (rmap(ONE.replace("'F158'", "'NOT F184'")), "only be worked out by the crds package"),
        (rmap(ONE.replace("2020-01-01", "2020-13-01")), "cannot be read"),
        (rmap(ONE.replace("Match", "Regex")), r"expected Match\(\{...\}\)"),
        (rmap("selector = {'a' : 'b'}"), r"expected Match\(\{...\}\)"),
        (rmap(ONE, classes="('Match', 'Match', 'UseAfter')"), "Roman rules are Match, then UseAfter"),
        (rmap(ONE, extra="'rmap_relevance' : '(DETECTOR == \"WFI01\")',"), "rmap_relevance"),
        (rmap(ONE, extra="'hooks' : {'precondition_header' : 'x'},"), "hooks"),
        (
            rmap(MERGED.replace("'F158|F184|F213'", "'F158'")),
            r"\('WFI01', 'F158'\) occurs twice",
        ),
        ("header = {'mapping':'PIPELINE'}\nselector = {'WFI' : 3}", "dictionary of rule file names"),
        ("x" * 100_000 + "(" * 100_000, "not a CRDS rule file"),
    ],
)
def test_anything_else_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(FileFormatError, match=complaint) as caught:
        read_rmap(text, "roman_wfi_flat_0004.rmap")
    assert "roman_wfi_flat_0004.rmap" in str(caught.value)


def test_relevance_that_is_always_true_is_no_condition() -> None:
    assert read_rmap(rmap(ONE, extra="'rmap_relevance' : 'ALWAYS',")).candidates
