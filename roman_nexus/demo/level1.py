"""The Level 1 file of a simulated exposure, through `roman_datamodels`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roman_nexus.demo.metadata import level1_meta
from roman_nexus.demo.request import ExposureRequest
from roman_nexus.demo.saving import replacing
from roman_nexus.errors import OptionError

__all__ = ["OPTIONAL_ARRAYS", "SCHEMAS", "write_level1"]

#: Schema manifests that a Level 1 file can be written for, and the tag of each.
SCHEMAS = {
    version: f"asdf://stsci.edu/datamodels/roman/tags/wfi_science_raw-{version}" for version in ("2.1.0", "2.2.0")
}
OPTIONAL_ARRAYS = ("resultantdq", "reference_read", "reference_amp33")


def write_level1(path: Path, request: ExposureRequest, arrays: Mapping[str, Any], schema: str = "2.1.0") -> None:
    """Write a Level 1 file, lz4-compressed and validated.

    Parameters
    ----------
    path : Path
    request : ExposureRequest
    arrays : mapping
        ``data``, ``amp33`` and, if they are not None, `OPTIONAL_ARRAYS`.
    schema : str
        One of `SCHEMAS`.

    Raises
    ------
    OptionError
        If the schema is another.
    OutputError
        If the file cannot be written.
    """
    if schema not in SCHEMAS:
        msg = f"schema {schema!r} cannot be written here; choose one of {', '.join(SCHEMAS)}"
        raise OptionError(msg)
    from roman_datamodels.datamodels import ScienceRawModel

    content = {"meta": level1_meta(request, schema), "data": arrays["data"], "amp33": arrays["amp33"]}
    model = ScienceRawModel.create_fake_data(content, tag=SCHEMAS[schema])
    for name in OPTIONAL_ARRAYS:
        if arrays.get(name) is not None:
            model[name] = arrays[name]
    with replacing(path) as temporary:
        model.save(temporary)
