"""Reference files: which calibration files apply, where they are, and whether they fit.

::

    from roman_nexus.references import FolderSource, resolve

    with resolve(step.references, exposure, source=FolderSource("references/"),
                 overrides={"flat": "my_flat.asdf", "dark": "skip"}) as references:
        references                       # a table: type, file, origin, why
        references["flat"].array("data")

`types` says what is known of each type; `rules` how one of several files is chosen and `mappings` how CRDS writes such
rules; `sources` and `crds_sources` where files come from; `given` what a user may give in their place; `reference` what
a step gets; `check` whether it belongs to these data; `resolve` does all of it for a run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roman_nexus.references.compatibility import FIELDS, Mismatch, check, require
    from roman_nexus.references.crds_sources import CrdsCacheSource, CrdsSource
    from roman_nexus.references.given import make_reference
    from roman_nexus.references.mappings import RuleFile, read_rmap
    from roman_nexus.references.reference import Reference
    from roman_nexus.references.resolution import ReferenceSet, resolve
    from roman_nexus.references.rules import Candidate, Selection, select, selection_parameters
    from roman_nexus.references.sources import FolderSource, RecordedSource, ReferenceSource
    from roman_nexus.references.types import REFERENCE_TYPES, ReferenceType, reference_type

_PLACES = {
    "compatibility": ("FIELDS", "Mismatch", "check", "require"),
    "crds_sources": ("CrdsCacheSource", "CrdsSource"),
    "given": ("make_reference",),
    "mappings": ("RuleFile", "read_rmap"),
    "reference": ("Reference",),
    "resolution": ("ReferenceSet", "resolve"),
    "rules": ("Candidate", "Selection", "select", "selection_parameters"),
    "sources": ("FolderSource", "RecordedSource", "ReferenceSource"),
    "types": ("REFERENCE_TYPES", "ReferenceType", "reference_type"),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "FIELDS",
    "REFERENCE_TYPES",
    "Candidate",
    "CrdsCacheSource",
    "CrdsSource",
    "FolderSource",
    "Mismatch",
    "RecordedSource",
    "Reference",
    "ReferenceSet",
    "ReferenceSource",
    "ReferenceType",
    "RuleFile",
    "Selection",
    "check",
    "make_reference",
    "read_rmap",
    "reference_type",
    "require",
    "resolve",
    "select",
    "selection_parameters",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
