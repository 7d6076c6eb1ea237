"""What a comparison found: plain values, and the ways to look at them."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roman_nexus.comparison.coordinates import WcsDifference
from roman_nexus.comparison.flags import FlagDifference
from roman_nexus.comparison.jumps import JumpDifference
from roman_nexus.comparison.metadata import KeyDifference, ReferenceDifference
from roman_nexus.comparison.picture import Picture
from roman_nexus.comparison.pixels import PlaneDifference
from roman_nexus.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ArrayDifference", "Comparison", "OneSided"]


@dataclass(frozen=True, slots=True)
class OneSided:
    """An array that only one product has.

    Attributes
    ----------
    name : str
    only_in : {"rerun", "archive"}
    """

    name: str
    only_in: str


@dataclass(frozen=True, slots=True)
class ArrayDifference:
    """An array that is neither a plane of pixels nor flags: reference pixels, reference output.

    Attributes
    ----------
    name : str
    shape_new, shape_old : tuple of int
    compared, differing : int
        Values; both 0 where the shapes differ.
    """

    name: str
    shape_new: tuple[int, ...]
    shape_old: tuple[int, ...]
    compared: int
    differing: int

    @property
    def same(self) -> bool:
        """Whether shapes and values are equal."""
        return self.shape_new == self.shape_old and not self.differing


@dataclass(frozen=True)
class Comparison:
    """What differs between a rerun ("new") and the archive's product ("old").

    ``print`` it, show it in a notebook, or use the parts below.

    Attributes
    ----------
    kind : {"image", "ramp", "science_raw"}
    new_name, old_name : str
    shape : tuple of int
        Of ``data``.
    rows : (int, int)
        First row compared and the one after the last.
    mask : int
        Pixels with any of these flags in either are left out of the statistics.
    threshold_sigma : float
    error_from : {"archive", "rerun", ""}
        Whose ``err`` is the unit of error.
    planes : tuple of PlaneDifference
        Of an image: data, err, variances, chisq, dumo; of a ramp: data of each resultant.
    flags : tuple of FlagDifference
    jumps : JumpDifference or None
        None unless both products list their jumps.
    wcs : WcsDifference
    metadata : tuple of KeyDifference
    expected : tuple of KeyDifference
        Metadata that a rerun changes in any case.
    references : tuple of ReferenceDifference
    calibration : tuple of KeyDifference
        Steps of different state.
    arrays : tuple of ArrayDifference
    one_sided : tuple of OneSided
        Arrays that only one product has.
    """

    kind: str
    new_name: str
    old_name: str
    shape: tuple[int, ...]
    rows: tuple[int, int]
    mask: int
    threshold_sigma: float
    error_from: str
    planes: tuple[PlaneDifference, ...]
    flags: tuple[FlagDifference, ...]
    jumps: JumpDifference | None
    wcs: WcsDifference
    metadata: tuple[KeyDifference, ...]
    expected: tuple[KeyDifference, ...]
    references: tuple[ReferenceDifference, ...]
    calibration: tuple[KeyDifference, ...]
    arrays: tuple[ArrayDifference, ...]
    one_sided: tuple[OneSided, ...]
    picture: Picture = field(repr=False, compare=False)

    @property
    def identical(self) -> bool:
        """Whether nothing differs but what a rerun changes in any case.

        All pixels count here, flagged ones too; coordinates may differ by rounding (0.001 mas).
        """
        return not self.differing

    @property
    def differing(self) -> tuple[str, ...]:
        """What differs, in words, one entry for each plane, array or group."""
        words = [plane.label for plane in self.planes if not plane.same]
        words += [flags.label for flags in self.flags if not flags.same]
        words += [array.name for array in self.arrays if not array.same]
        words += [f"{item.name} (only in the {item.only_in})" for item in self.one_sided]
        if self.jumps is not None and not self.jumps.same:
            words.append("jumps")
        if not self.wcs.same:
            words.append("coordinates")
        words += [f"{item.reftype} reference" for item in self.references if item.matters]
        words += [f"step {item.key}" for item in self.calibration]
        if self.metadata:
            words.append(f"{len(self.metadata)} metadata " + ("key" if len(self.metadata) == 1 else "keys"))
        return tuple(words)

    def plane(self, name: str, resultant: int | None = None) -> PlaneDifference:
        """Return one plane.

        Parameters
        ----------
        name : str
            For example "data".
        resultant : int, optional
            0-based, for a ramp.

        Raises
        ------
        OptionError
            If it was not compared.
        """
        for plane in self.planes:
            if plane.name == name and plane.resultant == resultant:
                return plane
        wanted = name if resultant is None else f"{name}[{resultant}]"
        msg = f"no plane {wanted} was compared; there are {', '.join(plane.label for plane in self.planes)}"
        raise OptionError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the picture as what JSON can hold."""
        result: dict[str, Any] = {"identical": self.identical, "differing": list(self.differing)}
        for item in dataclasses.fields(self):
            if item.name != "picture":
                result[item.name] = _plain(getattr(self, item.name))
        return result

    def figure(self) -> Figure:
        """Draw both images, the difference, its histogram and the flags gained and lost.

        Returns
        -------
        matplotlib.figure.Figure
            Not known to pyplot: nothing to close.
        """
        from roman_nexus.comparison.figure import draw

        return draw(self)

    def show(self) -> None:
        """Show the report: table and picture in a notebook, text elsewhere."""
        from roman_nexus.comparison.writing import display_in_notebook

        if not display_in_notebook(self):
            sys.stdout.write(f"{self}\n")

    def save(self, path: str | Path) -> Path:
        """Write the report; the suffix says how.

        Parameters
        ----------
        path : path
            ``.html`` (self-contained, with the picture), ``.png`` (the picture), ``.json`` or ``.txt``.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OptionError
            If the suffix is none of these.
        OutputError
            If it cannot be written; nothing is left under the name.
        """
        from roman_nexus.comparison.writing import write

        return write(self, Path(path))

    def __str__(self) -> str:
        from roman_nexus.comparison.reports import text_report

        return text_report(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from roman_nexus.comparison.reports import html_report

        return html_report(self)


def _plain(value: Any) -> Any:
    """Turn dataclasses into dicts and tuples into lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
