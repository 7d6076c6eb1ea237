"""What a run gives: the plan as it was carried out, the product, and how to keep it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from roman_nexus.dq import count_flags
from roman_nexus.engine.plan import Plan
from roman_nexus.errors import OutputError, ProductLevelError
from roman_nexus.settings import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from roman_nexus.engine.events import Event

__all__ = ["RampProduct", "RateImage", "Run"]


class _Product:
    """Arrays by attribute, metadata on first use."""

    kind: Literal["image", "ramp"]

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        make_meta: Callable[[], dict[str, Any]],
        name: str,
        suffix: str,
        input_tag: str = "",
        input_path: Path | None = None,
    ) -> None:
        self.arrays = dict(arrays)
        self.name = name
        self.suffix = suffix
        self.input_tag = input_tag
        self._input_path = input_path
        self._make_meta = make_meta
        self._meta: dict[str, Any] | None = None

    def __getattr__(self, name: str) -> NDArray[Any]:
        if hasattr(type(self), name):  # a property failed: show its own error
            return object.__getattribute__(self, name)  # type: ignore[no-any-return]
        arrays = self.__dict__.get("arrays", {})
        if name in arrays:
            found: NDArray[Any] = arrays[name]
            return found
        msg = f"{type(self).__name__} has no array {name!r}; it has {', '.join(arrays)}"
        raise AttributeError(msg)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.arrays]

    @property
    def meta(self) -> dict[str, Any]:
        """Metadata as a nested dict (``meta["exposure"]["type"]``)."""
        if self._meta is None:
            self._meta = self._make_meta()
        return self._meta

    @property
    def filename(self) -> str:
        """File name of the product."""
        return f"{self.name}_{self.suffix}.asdf"

    def save(self, path: str | Path, *, schema: str | None = None, compression: Literal["lz4"] | None = "lz4") -> Path:
        """Write the product, validated, under a temporary name that is then moved.

        Parameters
        ----------
        path : path
            A folder (made if needed), or the full path of the file.
        schema : str, optional
            "newest", "as-input" or "2.1.0" (for romancal 1.1.0); by default the setting ``schema``.
        compression : "lz4" or None

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OutputError
            If it cannot be written, or the file is the input of the run.
        """
        from roman_nexus.products.files import write_product

        target = _file_in(Path(path), self.filename)
        known = self._input_path
        if known is not None and known.exists() and target.exists() and target.samefile(known):
            msg = f"{target} is the input of this run and would be lost; name another file or folder"
            raise OutputError(msg)
        return write_product(
            self.kind, self.arrays, self.meta, target, schema=schema or load().schema, compression=compression,
            input_tag=self.input_tag or None,
        )  # fmt: skip


class RateImage(_Product):
    """A Level 2 rate image.

    Attributes
    ----------
    data : (ny, nx) float32 ndarray, DN/s
    dq : (ny, nx) uint32 ndarray
    err, var_poisson, chisq, dumo : (ny, nx) float16 ndarray
    amp33, border_ref_pix_left, ..., jump_indices : see the Level 2 schema
    meta : dict
    """

    kind: Literal["image"] = "image"

    @property
    def wcs(self) -> Any:
        """The gwcs object, or None."""
        return self.meta.get("wcs")

    @property
    def statistics(self) -> dict[str, float]:
        """Median, scatter and fraction of the good pixels."""
        return dict(self.meta.get("statistics", {}))

    def _rows(self) -> list[tuple[str, str]]:
        good = self.statistics
        flags = count_flags(self.arrays["dq"])
        total = self.arrays["dq"].size
        listed = ", ".join(f"{name} {100 * count / total:.2g} %" for name, count in flags.items())
        return [
            ("file", self.filename),
            ("pixels", f"{self.arrays['data'].shape[0]} x {self.arrays['data'].shape[1]}"),
            ("median", f"{good.get('image_median', np.nan):.4f} DN/s"),
            ("scatter", f"{good.get('image_rms', np.nan):.4f} DN/s"),
            ("good pixels", f"{100 * good.get('good_pixel_fraction', np.nan):.2f} %"),
            ("jumps", f"{len(self.arrays.get('jump_indices', ()))}"),
            ("flags", listed or "none"),
        ]

    def __repr__(self) -> str:
        return "RateImage\n" + "\n".join(f"  {name:<12}{value}" for name, value in self._rows())

    def _repr_html_(self) -> str:
        body = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in self._rows())
        return f"<table><caption>Rate image</caption><tbody>{body}</tbody></table>"


class RampProduct(_Product):
    """A ramp after one of the steps.

    Attributes
    ----------
    data : (F, ny, nx) float32 ndarray, DN
    groupdq : (F, ny, nx) uint8 ndarray
    pixeldq : (ny, nx) uint32 ndarray
    amp33, border_ref_pix_left, ... : see the ramp schema
    meta : dict
    """

    kind: Literal["ramp"] = "ramp"

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.arrays["data"].shape))
        return f"RampProduct {self.filename} ({shape})"


@dataclass
class Run:
    """A finished run.

    Attributes
    ----------
    plan : Plan
        What ran, what was cached, and why.
    references : ReferenceSet
    product : RateImage or RampProduct
    seconds : dict of str to float
        Processor time of each step, added up over the threads; wall time of the run under "wall".
    log : list of Event
    warnings : list of str
    """

    plan: Plan
    references: Any
    product: RateImage | RampProduct
    seconds: dict[str, float]
    log: Sequence[Event] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    peak_memory_mb: float = 0.0

    @property
    def image(self) -> RateImage:
        """The rate image.

        Raises
        ------
        ProductLevelError
            If the run stopped at a ramp.
        """
        if isinstance(self.product, RateImage):
            return self.product
        msg = f"this run stopped at {self.plan.steps[-1].name} and has no image; use run.ramp, or run with to='L2'"
        raise ProductLevelError(msg)

    @property
    def ramp(self) -> RampProduct:
        """The ramp.

        Raises
        ------
        ProductLevelError
            If the run went on to the image.
        """
        if isinstance(self.product, RampProduct):
            return self.product
        msg = "this run went on to the rate image; give stop= with a ramp step, for example stop='linearity'"
        raise ProductLevelError(msg)

    def save(
        self,
        folder: str | Path = ".",
        *,
        schema: str | None = None,
        compression: Literal["lz4"] | None = "lz4",
        wcs: bool = True,
    ) -> list[Path]:
        """Write the product, and for an image its ``_wcs`` product.

        Parameters
        ----------
        folder : path
            A folder (made if needed), or the full path of the main product.
        schema, compression
            See `RateImage.save`.
        wcs : bool
            Also write the ``_wcs`` product, if the image has coordinates.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        target = _file_in(Path(folder), self.product.filename)
        written = [self.product.save(target, schema=schema, compression=compression)]
        if wcs and isinstance(self.product, RateImage) and self.product.wcs is not None:
            written.append(_save_wcs(self.product, target, schema))
        return written

    def _rows(self) -> list[tuple[str, str]]:
        steps = [(name, f"{value:.2f} s") for name, value in self.seconds.items() if name != "wall"]
        return [*steps, ("wall time", f"{self.seconds.get('wall', 0.0):.2f} s")]

    def __repr__(self) -> str:
        lines = [str(self.plan), repr(self.product)]
        lines.append("Processor time")
        lines += [f"  {name:<16}{value}" for name, value in self._rows()]
        lines += [f"Warning: {text}" for text in self.warnings]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{value}</td></tr>" for name, value in self._rows())
        warned = "".join(f"<p>Warning: {escape(text)}</p>" for text in self.warnings)
        product = self.product._repr_html_() if isinstance(self.product, RateImage) else escape(repr(self.product))
        return f"{self.plan._repr_html_()}{product}<table><tbody>{rows}</tbody></table>{warned}"


def _file_in(place: Path, filename: str) -> Path:
    """Return the full path of a product for a folder, which is made if needed, or for a full path."""
    if place.suffix == ".asdf" and not place.is_dir():
        return place
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the folder {place}: {error.strerror or error}; name another one"
        raise OutputError(msg) from error
    return place / filename


def _save_wcs(image: RateImage, target: Path, schema: str | None) -> Path:
    """Write the small file that holds the coordinates of the image and of its ramp."""
    from roman_nexus.products.files import write_product
    from roman_nexus.wcs.build import level1_wcs

    path = target.with_name(f"{image.name}_wcs.asdf")
    groups = ("coordinates", "ephemeris", "exposure", "instrument", "observation", "pointing", "program",
              "velocity_aberration", "visit", "wcsinfo", "wcs_fit_results")  # fmt: skip
    basic = ("calibration_software_name", "calibration_software_version", "origin", "prd_version", "product_type",
             "sdf_software_version", "telescope")  # fmt: skip
    meta = {name: image.meta[name] for name in (*groups, *basic) if name in image.meta}
    tree = {"wcs_l2": image.wcs, "wcs_l1": level1_wcs(image.wcs)}
    return write_product(
        "wcs", {}, meta, path, schema=schema or load().schema, compression=None, extra=tree,
        input_tag=image.input_tag or None,
    )  # fmt: skip
