from __future__ import annotations

import json

import numpy as np

from roman_nexus.comparison.metadata import compare_keys, compare_references, flatten


def test_flatten_gives_plain_values():
    from astropy.time import Time

    meta = {
        "exposure": {
            "start_time": Time("2027-04-01T00:00:00"),
            "read_pattern": [[1], [2, 3]],
            "frame_time": np.float64(3),
        },
        "statistics": {"image_rms": float("nan"), "n": np.int64(4), "ok": np.bool_(True)},
        "array": np.arange(3),
    }
    flat = dict(flatten(meta))
    assert flat == {
        "exposure.start_time": "2027-04-01T00:00:00.000",
        "exposure.read_pattern": [[1], [2, 3]],
        "exposure.frame_time": 3.0,
        "statistics.image_rms": "nan",
        "statistics.n": 4,
        "statistics.ok": True,
        "array": [0, 1, 2],
    }
    assert json.loads(json.dumps(flat, allow_nan=False)) == flat


def test_a_time_equals_its_text_in_a_header():
    from astropy.time import Time

    new = {"visit": {"start_time": Time("2027-04-01T00:00:00")}, "file": Time("2026-11-22T08:02:11.457")}
    old = {
        "visit": {"start_time": "2027-04-01T00:00:00.000"},
        "file": {"base_format": "datetime", "value": "2026-11-22T08:02:11.457"},
    }
    assert compare_keys(new, old) == ((), (), ())


def test_differing_missing_and_expected_keys():
    new = {
        "filename": "a",
        "cal_logs": ["x"] * 3,
        "nexus": {"history": []},
        "exposure": {"type": "WFI_IMAGE", "nresultants": 9, "extra": 1},
        "cal_step": {"flux": "SKIPPED", "dark": "COMPLETE"},
        "wcs": object(),
        "ref_file": {"flat": "x"},
    }
    old = {
        "filename": "b",
        "cal_logs": ["y"] * 3,
        "exposure": {"type": "WFI_IMAGE", "nresultants": 8},
        "cal_step": {"flux": "INCOMPLETE", "dark": "COMPLETE"},
        "instrument": {"detector": "WFI01"},
    }
    metadata, expected, calibration = compare_keys(new, old)
    assert [(item.key, item.new, item.old, item.only_in) for item in metadata] == [
        ("exposure.extra", 1, None, "rerun"),
        ("exposure.nresultants", 9, 8, ""),
        ("instrument.detector", None, "WFI01", "archive"),
    ]
    assert [(item.key, item.new, item.old, item.only_in) for item in expected] == [
        ("filename", "a", "b", ""),
        ("cal_logs", "3 entries", "3 entries", ""),
        ("nexus", "1 key", None, "rerun"),
    ]
    assert [(item.key, item.new, item.old) for item in calibration] == [("flux", "SKIPPED", "INCOMPLETE")]


def nexus(**digests):
    return {
        "history": [
            {"steps": [{"references": {key: {"name": key, "digest": value} for key, value in digests.items()}}]}
        ]
    }


def test_references_by_name():
    new = {
        "ref_file": {
            "flat": "/home/me/my.asdf",
            "dark": "/data/dark_1.asdf",
            "bam": "N/A",
            "mask": "m",
            "crds": {"context": "2"},
        }
    }
    old = {
        "ref_file": {
            "flat": "crds://flat_1.asdf",
            "dark": "crds://dark_1.asdf",
            "bam": "?",
            "gain": "g",
            "mask": "m",
            "crds": {"context": "1"},
        }
    }
    found = {item.reftype: (item.why, item.matters) for item in compare_references(new, old)}
    assert found == {
        "flat": ("another file", True),
        "dark": ("same name in another place, content not recorded", False),
        "gain": ("used in the archive only", True),
        "crds.context": ("another context", False),
    }


def test_references_by_digest_where_both_record_it():
    names = {"flat": "a.asdf", "dark": "d.asdf", "mask": "m.asdf"}
    new = {"ref_file": names | {"dark": "other.asdf"}, "nexus": nexus(flat="1", dark="5", mask="7")}
    old = {"ref_file": names, "nexus": nexus(flat="2", dark="5", mask="7")}
    found = {item.reftype: (item.why, item.matters) for item in compare_references(new, old)}
    assert found == {
        "flat": ("same name, other content", True),
        "dark": ("same content under another name", False),
    }
