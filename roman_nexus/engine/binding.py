"""Reference arrays cut to the block that a step works on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from roman_nexus.steps.step import BORDER, CHANNEL_WIDTH, ExposureInfo, Needs, Step

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
        self.exposure = exposure
        self._whole: dict[tuple[str, str], Any] = {}

    def block(self, step: Step, rows: slice, columns: slice) -> dict[str, Mapping[str, Any]]:
        """Cut the arrays of a step's references to rows and columns.

        The block lies in the full frame for ramp steps and in the science frame for image steps; a reference may
        be stored in either frame. Nothing is read before the step asks for it.
        """
        found: dict[str, Mapping[str, Any]] = {}
        for needs in step.references:
            reference = self._references.get(needs.reftype)
            if reference is not None:
                found[needs.reftype] = _Cut(self, reference, needs, rows, columns, science=step.level == "image")
        return found

    def whole(self, step: Step) -> dict[str, dict[str, Any]]:
        """Give the whole arrays of a step's references, lazily read, for ``prepare`` and for metadata steps."""
        found: dict[str, dict[str, Any]] = {}
        for needs in step.references:
            reference = self._references.get(needs.reftype)
            if reference is None:
                continue
            arrays = {name: reference.array(name) for name in (*needs.images, *needs.channels)}
            arrays.update({name: self.value(needs.reftype, name) for name in needs.whole})
            found[needs.reftype] = arrays
        return found

    def release(self) -> None:
        """Give back what was read for the segment that is over."""
        self._whole.clear()
        for reference in self._references.values():
            if reference is not None:
                reference.release()

    def value(self, reftype: str, name: str) -> Any:
        """Read a whole object of a reference, once a segment."""
        key = (reftype, name)
        if key not in self._whole:
            self._whole[key] = self._references[reftype].value(name)
        return self._whole[key]


class _Cut(Mapping[str, Any]):
    """The arrays of one reference, cut to a block as they are asked for."""

    def __init__(
        self, bound: BoundReferences, reference: Any, needs: Needs, rows: slice, columns: slice, *, science: bool
    ) -> None:
        self._bound = bound
        self._reference = reference
        self._needs = needs
        self._rows = rows
        self._columns = columns
        self._science = science

    def __getitem__(self, name: str) -> Any:
        needs, rows, columns = self._needs, self._rows, self._columns
        if name in needs.images:
            array = self._reference.array(name)
            full = tuple(array.shape[-2:]) == self._bound.exposure.shape
            shift = BORDER if self._science and full else 0
            y = slice(rows.start + shift, rows.stop + shift)
            x = slice(columns.start + shift, columns.stop + shift)
            return np.asarray(array[..., y, x])
        if name in needs.channels:
            return np.asarray(self._reference.array(name)[columns.start // CHANNEL_WIDTH])
        if name in needs.whole:
            return self._bound.value(needs.reftype, name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter((*self._needs.images, *self._needs.channels, *self._needs.whole))

    def __len__(self) -> int:
        return len(self._needs.images) + len(self._needs.channels) + len(self._needs.whole)
