"""Find, see, rerun, compare and pin prompt products of the Roman Wide Field Instrument.

The public names; each is imported when it is first used, so that ``import roman_nexus`` costs next to nothing.

>>> import roman_nexus as rn
>>> run = rn.reprocess("..._uncal.asdf", references={"flat": "my_flat.asdf"})  # doctest: +SKIP
>>> rn.compare(run.image, "..._cal.asdf").show()  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roman_nexus.comparison import compare
    from roman_nexus.demo import demo_archive
    from roman_nexus.engine.reprocess import plan, reprocess
    from roman_nexus.products.files import open, peek
    from roman_nexus.products.names import parse as parse_name
    from roman_nexus.references import FolderSource, Reference, ReferenceSet

_NAMES = {
    "FolderSource": "roman_nexus.references",
    "Reference": "roman_nexus.references",
    "ReferenceSet": "roman_nexus.references",
    "compare": "roman_nexus.comparison",
    "demo_archive": "roman_nexus.demo",
    "open": "roman_nexus.products.files",
    "parse_name": "roman_nexus.products.names:parse",
    "peek": "roman_nexus.products.files",
    "plan": "roman_nexus.engine.reprocess",
    "reprocess": "roman_nexus.engine.reprocess",
}

__all__ = [
    "FolderSource",
    "Reference",
    "ReferenceSet",
    "compare",
    "demo_archive",
    "open",
    "parse_name",
    "peek",
    "plan",
    "reprocess",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("roman-nexus")
    if name not in _NAMES:
        msg = f"module 'roman_nexus' has no attribute {name!r}"
        raise AttributeError(msg)
    module, _, attribute = _NAMES[name].partition(":")
    value = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, "__version__"})
