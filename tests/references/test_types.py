"""The table of types against the installed schemas and the selection rules of CRDS."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path

import pytest

from roman_nexus.errors import OptionError
from roman_nexus.references.types import CRDS_KEYS, REFERENCE_TYPES, START_TIME, reference_type

SELECTION = Path(__file__).parents[3] / "shared" / "data" / "crds_roman_selection.csv"


@pytest.mark.skipif(not SELECTION.is_file(), reason=f"needs {SELECTION.name}, which is not part of the repository")
def test_keys_are_those_of_crds() -> None:
    with SELECTION.open() as file:
        rows = {row["reftype"]: row for row in csv.DictReader(file)}
    for name, known in REFERENCE_TYPES.items():
        assert list(known.crds_keys) == rows[name]["match_keys"].split(), name
        assert rows[name]["useafter_key"] == START_TIME == known.useafter_key


@pytest.mark.parametrize("name", sorted(REFERENCE_TYPES))
def test_arrays_and_tables_are_those_of_the_schema(name: str) -> None:
    known = REFERENCE_TYPES[name]
    model = getattr(importlib.import_module("roman_datamodels.datamodels"), known.model).create_minimal()
    schema = model.get_schema()
    properties = schema["properties"]
    reftypes = {part["properties"]["reftype"].get("enum", [None])[0] for part in _parts(properties["meta"])}
    assert name.upper() in reftypes
    for spec in known.arrays:
        assert properties[spec.name]["datatype"] == spec.dtype
        assert properties[spec.name]["ndim"] == spec.ndim
    content = {spec.name for spec in known.arrays} | set(known.whole) | set(known.objects) | {"meta"}
    assert set(schema["required"]) == content
    assert model.tag.rsplit("/", 1)[-1].rsplit("-", 1)[0] == known.tag


def _parts(meta: dict) -> list[dict]:
    """Every part of a schema that speaks of reftype."""
    found = [meta] if "reftype" in meta.get("properties", {}) else []
    return found + [part for item in meta.get("allOf", ()) for part in _parts(item)]


def test_every_key_has_a_crds_name() -> None:
    assert {key for known in REFERENCE_TYPES.values() for key in known.keys} == set(CRDS_KEYS)


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"'flt' is not a reference type.*flat"):
        reference_type("flt")
