"""What a product is: its name, its level, its file.

* `names`: file names, parsed and composed (`grammar` has their tokens); `levels`: L0 to L5, suffixes, latencies
* `blocks`: an ASDF file by pieces, without the asdf library (`header`, `layout`, `payload`, `cuts` are its parts)
* `files`: data models, opened and written (`arrays`, `migrate`, `schemas`, `plain`, `saving`, `tolerant` help it)
* `digests`: what makes "the same" exact; `export`: FITS and PNG (`fits_header` has its keywords)

The names below are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roman_nexus.products.blocks import open_blocks, peek
    from roman_nexus.products.digests import array_digest, file_digest, value_digest
    from roman_nexus.products.export import to_fits, to_png
    from roman_nexus.products.files import open, read_meta, schema_version, write_product
    from roman_nexus.products.names import parse

_HOMES = {
    "array_digest": "digests",
    "file_digest": "digests",
    "open": "files",
    "open_blocks": "blocks",
    "parse": "names",
    "peek": "blocks",
    "read_meta": "files",
    "schema_version": "files",
    "to_fits": "export",
    "to_png": "export",
    "value_digest": "digests",
    "write_product": "files",
}

__all__ = [
    "array_digest",
    "file_digest",
    "open",
    "open_blocks",
    "parse",
    "peek",
    "read_meta",
    "schema_version",
    "to_fits",
    "to_png",
    "value_digest",
    "write_product",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module 'roman_nexus.products' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"roman_nexus.products.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
