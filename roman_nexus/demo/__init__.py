"""A simulated sky and visit, its references, and an archive that serves them: everything works offline.

`demo_archive` is what people call; `roman_nexus.demo.exposure.simulate` makes one exposure of any detector and size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roman_nexus.demo.archive import DemoArchive
    from roman_nexus.demo.exposure import simulate
    from roman_nexus.demo.prompt import demo_archive

__all__ = ["DemoArchive", "demo_archive", "simulate"]

_HOMES = {"DemoArchive": "archive", "demo_archive": "prompt", "simulate": "exposure"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
