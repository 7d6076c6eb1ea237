"""Every known name parses, composes back, and agrees with what the archive says about it; others are refused."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roman_nexus.errors import FileNameError
from roman_nexus.products.names import (
    CoaddName,
    DetectorName,
    ExposureName,
    ProductName,
    ReferenceName,
    parse,
)

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FREE_FORM = {
    "Roman_OpticalModel_v0.5.yml",
    "full_catalog.ecsv",
    "my_roman_mosaic_asn.json",
    "my_roman_mosaic_cat.parquet",
    "my_roman_mosaic_coadd.asdf",
    "my_roman_mosaic_segm.asdf",
    "sn1a_f184.gif",
}


def rows(file: str) -> list[dict[str, str]]:
    if not (DATA / file).is_file():
        pytest.skip(f"the shared data folder with {file} is not beside this checkout")
    with (DATA / file).open() as lines:
        return list(csv.DictReader(lines))


def as_in_name(name: ProductName, column: str) -> str:
    """Write one field as it stands in the name; columns of naming_examples.csv have other names for two."""
    field = {"plan": "execution_plan", "pass": "pass_"}.get(column, column)
    value = getattr(name, field, None)
    return "" if value is None else name.grammar.tokens[field].write(value)


def test_examples_agree_field_by_field() -> None:
    examples = rows("naming_examples.csv")
    assert len(examples) == 31
    for row in examples:
        name = parse(row["name"])
        assert name.kind == row["kind"]
        assert str(name) == row["name"]
        for column in set(row) - {"name", "kind", "seen_in"}:
            assert as_in_name(name, column) == row[column], (row["name"], column)


def test_all_known_keys_parse_except_the_free_form_names() -> None:
    keys = [row["key"].rsplit("/", 1)[-1] for row in rows("s3_keys_known.csv")]
    assert len(keys) == 498
    refused = []
    for key in keys:
        try:
            assert str(parse(key)) == key
        except FileNameError:
            refused.append(key)
    assert sorted(refused) == sorted(FREE_FORM)


def test_search_rows_agree_with_the_names_of_their_file_sets() -> None:
    found = rows("mast_roman_rows_sample.csv")
    assert len(found) == 22
    for row in found:
        name = parse(row["fileSetName"])
        assert name.is_fileset
        assert isinstance(name, (CoaddName, DetectorName))
        assert name.program == int(row["program"])
        assert name.optical_element == row["optical_element"]
        if isinstance(name, CoaddName):
            assert row["dataset_category"] == "skycell"
            assert name.skycell == row["skycell_name"]
            assert name.is_prompt == (row["data_release"] == "")
            if row["exposure_grouping"]:
                assert name.group == row["exposure_grouping"]
                digits = [int(row[key]) for key in ("execution_plan", "pass", "segment", "observation", "visit")]
                assert name.group == "v{:02d}{:03d}{:03d}{:03d}{:03d}".format(*digits)
        else:
            assert row["dataset_category"] == "detector"
            assert name.detector == row["detector"]
            assert name.visit_id == row["visit_id"]
            columns = ("execution_plan", "pass", "segment", "observation", "visit")
            fields = (name.execution_plan, name.pass_, name.segment, name.observation, name.visit)
            assert fields == tuple(int(row[key]) for key in columns)
            start, end = name.observation_id_pattern.split("*")
            assert row["observation_id"].startswith(start)
            assert row["observation_id"].endswith(end)


@pytest.mark.parametrize("file", ["manifest_gbtds_sample.csv", "manifest_hlwas_sample.csv"])
def test_manifest_rows_agree_with_their_names(file: str) -> None:
    for row in rows(file):
        raw, image = parse(row["l1_s3_uri"]), parse(row["l2_s3_uri"])
        assert isinstance(raw, DetectorName)
        assert raw.with_suffix("cal") == image
        assert (raw.level, image.level) == (1, 2)
        assert (raw.detector, raw.optical_element) == (row["detector"], row["optical_element"])
        fields = (raw.pass_, raw.segment, raw.observation, raw.visit, raw.exposure)
        assert fields == tuple(int(row[key]) for key in ("pass", "segment", "observation", "visit", "exposure"))


def test_coadd_and_partial_manifest_rows_agree_with_their_names() -> None:
    for row in rows("manifest_hlwas_coadd_sample.csv"):
        name = parse(row["l3_s3_uri"])
        assert isinstance(name, CoaddName)
        assert (name.skycell, name.group, name.optical_element) == (
            row["skycell_name"],
            row["grouping"],
            row["optical_element"],
        )
        assert name.level == 3
    for row in rows("manifest_hlwas_partial_rows.csv"):
        assert parse(row["l2_s3_uri"]).level == 2


# -------------------------------------------------------------------------------------------- without shared data
GOOD = "r0003201001001001004_0001_wfi01_f106_cal.asdf"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("r0003201001001001004_0001_wfi19_f106_cal.asdf", "detector"),
        ("r0003201001001001004_0001_wfi01_f107_cal.asdf", "optical element"),
        ("r0003201001001001004_0001_wfi01_f106_cal.fit", "suffix and extension"),
        ("r0003201001001001004_0001_wfi01_f106_Cal.asdf", "suffix and extension"),
        ("r0003201001001001004_001_wfi01_f106_cal.asdf", "exposure"),
        ("r0003201001001000004_0001_wfi01_f106_cal.asdf", "observation is 000"),
        ("r0000001001001001004_0001_wfi01_f106_cal.asdf", "program is 00000"),
        ("r000320100100100100_0001_wfi01_f106_cal.asdf", "visit"),
        ("r0003201001001001004_0001_wfi01.asdf", "suffix and extension"),
        ("r00004_P_full_270p65x69y50_f062", "release"),
        ("r00004_p_v010010010010010_270p65x69y50_f062", "group"),
        ("r00004_p_full_270x69y50_f062", "skycell"),
        ("roman_wfi_epsf_190.asdf", "serial number"),
        ("TVAC3_A_B_20240101000000_WFI04_uncal.asdf", "campaign"),
        ("cat-x.fits", "HEALPix"),
        ("roman_sn1a_61524_f999.asdf", "filter"),
        ("my_roman_mosaic_cat.parquet", "not a name of the mission"),
        ("", "not a name of the mission"),
    ],
)
def test_refusal_names_the_wrong_part(name: str, wrong: str) -> None:
    with pytest.raises(FileNameError, match=wrong):
        parse(name)


@pytest.mark.parametrize(
    ("kind", "values", "wrong"),
    [
        (DetectorName, {"detector": "WFI01", "optical_element": "DARK", "suffix": "decay", "ext": "asdf"}, "optical"),
        (DetectorName, {"detector": "WFI20", "suffix": "cal", "ext": "asdf"}, "detector"),
        (DetectorName, {"detector": "WFI01", "suffix": "cal"}, "together"),
        (DetectorName, {"detector": "wfi01"}, "read back"),
        (ExposureName, {"exposure": 10000}, "10000"),
    ],
)
def test_names_that_cannot_be_written_are_refused(kind: type, values: dict, wrong: str) -> None:
    visit = {"program": 1, "execution_plan": 1, "pass_": 1, "segment": 1, "observation": 1, "visit": 1, "exposure": 1}
    with pytest.raises(FileNameError, match=wrong):
        kind(**(visit | values))


def test_dark_decay_without_a_filter_is_a_suffix() -> None:
    name = parse("r0003201001001001004_0001_wfi01_dark_decay.asdf")
    assert isinstance(name, DetectorName)
    assert (name.optical_element, name.suffix) == (None, "dark_decay")
    both = parse("r0003201001001001004_0001_wfi01_dark_dark_decay.asdf")
    assert isinstance(both, DetectorName)
    assert (both.optical_element, both.suffix) == ("DARK", "dark_decay")
    assert parse("r0003201001001001004_0001_wfi01_dark_cal.asdf").level == 2


def test_members_and_siblings_of_a_detector() -> None:
    name = DetectorName.parse(GOOD)
    assert [str(other).rsplit("_", 1)[1] for other in name.siblings()] == [
        "uncal.asdf",
        "wcs.asdf",
        "cat.parquet",
        "segm.asdf",
    ]
    assert str(name.fileset) == "r0003201001001001004_0001_wfi01_f106"
    assert [str(item) for item in name.members(["uncal"])] == ["r0003201001001001004_0001_wfi01_f106_uncal.asdf"]
    grism = DetectorName.parse("r0000201001001001001_0001_wfi08_grism")
    assert [item.suffix for item in grism.members()] == ["uncal", "cal", "wcs"]
    assert [item.suffix for item in name.members(survey="GBTDS")] == ["uncal", "cal", "wcs"]
    assert len({item.detector for item in name.across_detectors()}) == 18


def test_members_of_an_exposure_and_of_a_skycell() -> None:
    exposure = DetectorName.parse(GOOD).whole_exposure
    assert str(exposure) == "r0003201001001001004_0001"
    members = exposure.members(iter(["cal"]), optical_element="F106")
    assert len(members) == 18
    assert str(members[0]) == GOOD
    coadd = CoaddName.parse("r00342_p_v01001001004017_010m42x30y36_f146_coadd.asdf")
    assert [item.suffix for item in coadd.siblings()] == ["cat", "segm"]
    assert coadd.visit_id == "0034201001001004017"
    assert CoaddName.parse("r00342_p_full_010m42x30y36_f146").visit_id is None


def test_a_release_supersedes_the_prompt_product_of_the_same_place() -> None:
    prompt = CoaddName.parse("r00342_p_v01001001004017_010m42x30y36_f146_coadd.asdf")
    same = CoaddName.parse("r00342_dr01_v01001001004017_010m42x30y36_f146_coadd.asdf")
    everything = CoaddName.parse("r00342_dr01_full_010m42x30y36_f146_coadd.asdf")
    elsewhere = CoaddName.parse("r00342_dr01_full_010m42x30y37_f146_coadd.asdf")
    assert same.supersedes(prompt)
    assert everything.supersedes(prompt)
    assert not elsewhere.supersedes(prompt)
    assert not prompt.supersedes(prompt)
    assert not everything.supersedes(same)


# ---------------------------------------------------------------------------------------------------- properties
ELEMENTS = st.sampled_from(["F062", "F087", "F106", "F129", "F146", "F158", "F184", "F213", "GRISM", "PRISM", "DARK"])
ENDINGS = st.sampled_from(
    [(None, None), ("uncal", "asdf"), ("cat", "parquet"), ("dark_decay", "asdf"), ("preview", "png"), ("x1_y2", "json")]
)


def number(highest: int) -> st.SearchStrategy[int]:
    return st.integers(1, highest)


visits = st.tuples(number(99999), number(99), number(999), number(999), number(999), number(999), number(9999))
detectors = st.builds(
    lambda visit, detector, element, ending: DetectorName(*visit, f"WFI{detector:02d}", element, *ending),
    visits,
    number(18),
    st.none() | ELEMENTS,
    ENDINGS,
)
exposures = st.builds(
    lambda visit, ending: ExposureName(*visit, *ending),
    visits,
    st.sampled_from([(None, None), ("face", "asdf"), ("catalog", "fits")]),
)
coadds = st.builds(
    lambda program, release, group, cell, element, ending: CoaddName(program, release, group, cell, element, *ending),
    number(99999),
    st.from_regex(r"(p|[a-z]{1,2}[0-9]{1,3})", fullmatch=True),
    st.from_regex(r"(v[0-9]{14}|d[0-9]{8}|p[0-9]{5}|full|user)", fullmatch=True),
    st.from_regex(r"[0-9]{3}[pm][0-9]{2}x[0-9]{2}y[0-9]{2}", fullmatch=True),
    st.none() | ELEMENTS,
    ENDINGS,
)
references = st.builds(
    ReferenceName,
    st.sampled_from([None, "wfi"]),
    st.sampled_from(["dark", "pars-rampfitstep"]),
    st.integers(0, 9999),
    st.sampled_from(["asdf", "rmap"]),
)


@given(st.one_of(detectors, exposures, coadds, references))
def test_every_legal_name_is_read_back_as_it_was_made(name: ProductName) -> None:
    assert parse(str(name)) == name
    assert str(parse(str(name))) == str(name)


@given(st.text(alphabet="r0123456789_wfipvdxy.asdfcl", max_size=60))
def test_any_text_is_read_exactly_or_refused(text: str) -> None:
    try:
        name = parse(text)
    except FileNameError:
        return
    assert str(name) == text
