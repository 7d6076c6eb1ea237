"""Metadata as plain containers: dicts and lists in place of the classes of asdf and of the data models."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["plain"]

_TIMES = {"file_date", "start_time", "mid_time", "end_time"}


def plain(value: Any, key: str = "") -> Any:
    """Turn containers and tagged scalars of the data models into plain ones; other objects stay what they are.

    Text where a time belongs (as the plain header has it) becomes a time.
    """
    import numpy as np
    from asdf.tags.core import NDArrayType
    from astropy.time import Time

    if isinstance(value, NDArrayType):
        return np.array(value)
    if isinstance(value, Mapping) or (hasattr(value, "items") and hasattr(value, "keys") and not _is_table(value)):
        return {str(name): plain(item, str(name)) for name, item in value.items()}
    if isinstance(value, str):
        text = str.__str__(value)
        if key in _TIMES and re.match(r"\d{4}-\d\d-\d\dT", text):
            with contextlib.suppress(ValueError):  # no time after all: validation will say so
                return Time(text, format="isot", scale="utc")
        return text
    if isinstance(value, (list, tuple)) or type(value).__name__ == "LNode":
        return [plain(item) for item in value]
    if isinstance(value, Time) and type(value) is not Time:
        return Time(value)  # schema 1.x had its own class for the date of the file
    return value


def _is_table(value: Any) -> bool:
    return hasattr(value, "colnames")
