"""Reference arrays cut to the block that a step works on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from roman_nexus.steps.step import BORDER, CHANNEL_WIDTH, ExposureInfo, Step

__all__ = ["BoundReferences"]


class BoundReferences:
    """Resolved references, ready to be cut for the steps.

    Parameters
    ----------
    references : mapping of str to Reference or None
    exposure : ExposureInfo
    """

    def __init__(self, references: Mapping[str, Any], exposure: ExposureInfo) -> None:
        self._references = references
        self._exposure = exposure
        self._whole: dict[tuple[str, str], Any] = {}

    def block(self, step: Step, rows: slice, columns: slice) -> dict[str, dict[str, Any]]:
        """Cut the arrays of a step's references to rows and columns.

        The block lies in the full frame for ramp steps and in the science frame for image steps; a reference may
        be stored in either frame.
        """
        science = step.level == "image"
        found: dict[str, dict[str, Any]] = {}
        for needs in step.references:
            reference = self._references.get(needs.reftype)
            if reference is None:
                continue
            arrays: dict[str, Any] = {}
            for name in needs.images:
                array = reference.array(name)
                shift = BORDER if science and tuple(array.shape[-2:]) == self._exposure.shape else 0
                cut = (
                    Ellipsis,
                    slice(rows.start + shift, rows.stop + shift),
                    slice(columns.start + shift, columns.stop + shift),
                )
                arrays[name] = np.asarray(array[cut])
            for name in needs.channels:
                arrays[name] = np.asarray(reference.array(name)[columns.start // CHANNEL_WIDTH])
            for name in needs.whole:
                arrays[name] = self._value(needs.reftype, name)
            found[needs.reftype] = arrays
        return found

    def whole(self, step: Step) -> dict[str, dict[str, Any]]:
        """Give the whole arrays of a step's references, lazily read, for ``prepare`` and for metadata steps."""
        found: dict[str, dict[str, Any]] = {}
        for needs in step.references:
            reference = self._references.get(needs.reftype)
            if reference is None:
                continue
            arrays = {name: reference.array(name) for name in (*needs.images, *needs.channels)}
            arrays.update({name: self._value(needs.reftype, name) for name in needs.whole})
            found[needs.reftype] = arrays
        return found

    def release(self) -> None:
        """Give back what was read for the segment that is over."""
        self._whole.clear()
        for reference in self._references.values():
            if reference is not None:
                reference.release()

    def _value(self, reftype: str, name: str) -> Any:
        key = (reftype, name)
        if key not in self._whole:
            self._whole[key] = self._references[reftype].value(name)
        return self._whole[key]
