"""A folder with one simulated visit, its references and the truth: the archive that works offline.

::

    <folder>/demo.json        what it was made from
             manifest.json    one row a product and a reference
             l1/              r<visit>_<exposure>_wfi<nn>_<element>_uncal.asdf
             l2/              products of a calibration, if one was given
             references/      roman_wfi_<type>_<serial>.asdf
             truth/           <name>_truth.asdf for each exposure, catalog.ecsv of all sources

It is made beside its place and moved there when it is complete. Making it again with equal parameters reuses it; a
making that was interrupted is taken up where it stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from roman_nexus.demo.exposure import simulate
from roman_nexus.demo.manifest import COLUMNS, product_row, reference_row, search_columns
from roman_nexus.demo.metadata import level1_meta
from roman_nexus.demo.reference_files import reference_paths, write_references
from roman_nexus.demo.request import ExposureRequest
from roman_nexus.demo.saving import replacing
from roman_nexus.demo.visit import Visit
from roman_nexus.errors import FileFormatError, OptionError, OutputError
from roman_nexus.products.schemas import target_tag

__all__ = ["VERSION", "Calibrate", "DemoArchive", "Progress", "default_folder", "make_archive"]

VERSION = "2"  #: changes whenever an archive of an equal visit would hold other numbers
ENVIRONMENT = "ROMAN_NEXUS_DEMO"
OF_ELEMENT = ("roman_wfi_flat_", "roman_wfi_distortion_")

#: Called with (pieces done, pieces in all, what was just done).
Progress = Callable[[int, int, str], None]
#: Called with (Level 1 file, references by type, folder for the products); returns the files it wrote.
Calibrate = Callable[[Path, Mapping[str, Path], Path], Iterable[Path]]


@dataclass(frozen=True)
class DemoArchive:
    """A demo archive on disk.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

    @classmethod
    def open(cls, folder: str | Path | None = None) -> DemoArchive:
        """Open an archive that is there.

        Parameters
        ----------
        folder : str or Path, optional
            By default `default_folder`.

        Raises
        ------
        FileFormatError
            If there is no complete archive.
        """
        place = Path(folder) if folder is not None else default_folder()
        archive = cls(place)
        if _read_json(place / "demo.json") is None or _read_json(place / "manifest.json") is None:
            msg = f"{place} holds no demo archive; make one with roman_nexus.demo.archive.make_archive"
            raise FileFormatError(msg)
        return archive

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What the archive was made from."""
        return dict(_read_json(self.folder / "demo.json") or {})

    @property
    def manifest(self) -> dict[str, list[dict[str, Any]]]:
        """Rows of ``products`` and ``references``."""
        return dict(_read_json(self.folder / "manifest.json") or {})

    @property
    def products(self) -> list[dict[str, Any]]:
        """Rows of all products; see `roman_nexus.demo.manifest`."""
        return self.manifest["products"]

    def files(self, suffix: str = "uncal", detector: str | None = None, exposure: int | None = None) -> list[Path]:
        """Return product files, in the order of exposure and detector."""
        return [
            self.folder / row["path"]
            for row in self.products
            if row["suffix"] == suffix
            and detector in (None, row["detector"])
            and exposure in (None, int(row["observation_id"][-4:]))
        ]

    def references(self, detector: str, optical_element: str | None = None) -> dict[str, Path]:
        """Return the reference files of a detector, by type."""
        element = optical_element or self.parameters["optical_element"]
        return reference_paths(self.folder / "references", detector, element)

    def truth(self, product: str | Path) -> Path:
        """Return the truth file of the exposure that a product belongs to."""
        return self.folder / "truth" / _truth_name(Path(product).name)

    def calibrate(self, calibrate: Calibrate, progress: Progress | None = None) -> list[Path]:
        """Add the products of a calibration of every Level 1 file; does nothing if they are there.

        Parameters
        ----------
        calibrate : callable
            Called with (Level 1 file, references by type, folder); returns the files that it wrote into the folder.
        progress : callable, optional

        Returns
        -------
        list of Path
            The files in ``l2``.

        Raises
        ------
        OutputError
            If the calibration names files outside the folder it was given.
        """
        final = self.folder / "l2"
        with _locked(self.folder):
            if not final.is_dir():
                self._calibrate_all(calibrate, final, progress)
        return sorted(path for path in final.iterdir() if path.is_file())

    def _calibrate_all(self, calibrate: Calibrate, final: Path, progress: Progress | None) -> None:
        partial = self.folder / ".l2.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        rows = [row for row in self.products if row["suffix"] == "uncal"]
        made: list[tuple[dict[str, Any], str]] = []
        for done, row in enumerate(rows, 1):
            paths = [
                Path(path) for path in calibrate(self.folder / row["path"], self.references(row["detector"]), partial)
            ]
            for path in paths:
                if path.parent.resolve() != partial.resolve() or not path.is_file():
                    msg = f"calibrating {row['filename']} returned {path}; expected files that it wrote to {partial}"
                    raise OutputError(msg)
            made += [(row, path.name) for path in paths]
            _report(progress, done, len(rows), row["filename"])
        partial.replace(final)
        manifest = self.manifest
        for row, name in made:
            columns = {column: row[column] for column in COLUMNS}
            manifest["products"].append(product_row(final / name, self.folder, columns, len(manifest["products"]) + 1))
        _write_json(self.folder / "manifest.json", manifest)


def default_folder() -> Path:
    """Return where the demo archive lives: ``ROMAN_NEXUS_DEMO``, or ``demo`` in the user's cache folder."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("roman_nexus") / "demo"


def make_archive(
    folder: str | Path | None = None,
    visit: Visit | None = None,
    *,
    calibrate: Calibrate | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    threads: int = 2,
    **fields: Any,
) -> DemoArchive:
    """Make a demo archive, or return the one that is there.

    Parameters
    ----------
    folder : str or Path, optional
        By default `default_folder`.
    visit : Visit, optional
        What to simulate; or give its fields as keywords: ``make_archive(shape=(256, 256), dithers=1)``.
    calibrate : callable, optional
        See `DemoArchive.calibrate`.
    progress : callable, optional
        Called with (pieces done, pieces in all, what was just done).
    overwrite : bool
        Whether a demo archive of another visit in `folder` is replaced.
    threads : int
        Read-out channels simulated at once.
    **fields
        Fields of `Visit`.

    Returns
    -------
    DemoArchive

    Raises
    ------
    OptionError, InputError, ShapeError
        If the visit makes no sense.
    SchemaVersionError
        If the schema version cannot be written.
    OutputError
        If the folder holds something else, or cannot be written.
    """
    place = (Path(folder) if folder is not None else default_folder()).absolute()
    visit = _visit(visit, fields)
    target_tag("science_raw", visit.schema, None)  # a schema that cannot be written is refused before any work
    parameters = json.loads(json.dumps({"version": VERSION, **visit.parameters}))
    try:
        with _locked(place):
            if not _is_reusable(place, parameters, overwrite):
                partial = _partial_folder(place, parameters)
                _fill(partial, visit, progress, threads)
                _write_json(partial / "demo.json", parameters)
                _move_into_place(partial, place)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        msg = f"the demo archive cannot be written to {place}: {error}; name another folder or set {ENVIRONMENT}"
        raise OutputError(msg) from error
    archive = DemoArchive(place)
    if calibrate is not None:
        archive.calibrate(calibrate, progress)
    return archive


def _visit(visit: Visit | None, fields: Mapping[str, Any]) -> Visit:
    """Return the visit that was given, whole or by its fields."""
    if visit is not None and not fields:
        return visit
    known = Visit.__dataclass_fields__
    unknown = [name for name in fields if name not in known]
    if visit is not None or unknown:
        msg = f"give either a visit or fields of one ({', '.join(known)}); got {', '.join(fields)}"
        raise OptionError(msg)
    return Visit(**fields)


def _is_reusable(place: Path, parameters: dict[str, Any], overwrite: bool) -> bool:
    """Tell whether the archive is there already; refuses a folder that holds something else."""
    found = _read_json(place / "demo.json")
    if found == parameters:
        return True
    if found is None and place.exists() and (not place.is_dir() or any(place.iterdir())):
        msg = f"{place} is not empty and is no demo archive; name another folder"
        raise OutputError(msg)
    if found is not None and not overwrite:
        other = [name for name in parameters if found.get(name) != parameters[name]]
        msg = f"{place} holds a demo archive of other {', '.join(other)}; use overwrite=True or another folder"
        raise OutputError(msg)
    return False


def _partial_folder(place: Path, parameters: dict[str, Any]) -> Path:
    """Return the folder in which the archive grows; one left by an interrupted making is taken up."""
    partial = place.parent / f".{place.name}.partial"
    if _read_json(partial / "making.json") != parameters:
        shutil.rmtree(partial, ignore_errors=True)
    for name in ("l1", "references", "truth"):
        (partial / name).mkdir(parents=True, exist_ok=True)
        for leftover in (partial / name).glob(".*"):
            shutil.rmtree(leftover, ignore_errors=True)
    _write_json(partial / "making.json", parameters)
    return partial


def _fill(partial: Path, visit: Visit, progress: Progress | None, threads: int) -> None:
    """Make everything that is not there yet."""
    total, done = len(visit.firsts) + len(visit.requests), 0
    references: dict[Path, str | None] = {}
    for detector, request in sorted(visit.firsts.items()):
        element = request.optical_element
        for path in write_references(request.references, partial / "references", [element], overwrite=False):
            references[path] = element if path.name.startswith(OF_ELEMENT) else None
        done += 1
        _report(progress, done, total, f"references of {detector}")
    rows: list[dict[str, Any]] = []
    for request in visit.requests:
        path = _simulate_into(partial, request, visit.schema, threads)
        columns = search_columns(level1_meta(request))
        done += 1
        rows.append(product_row(path, partial, columns, len(rows) + 1))
        _report(progress, done, total, path.name)
    with replacing(partial / "truth" / "catalog.ecsv") as temporary:
        visit.catalog().write(temporary, format="ascii.ecsv")
    manifest = {"products": rows, "references": [reference_row(path, partial, e) for path, e in references.items()]}
    _write_json(partial / "manifest.json", manifest)


def _simulate_into(partial: Path, request: ExposureRequest, schema: str, threads: int) -> Path:
    level1 = partial / "l1" / str(request.name)
    truth = partial / "truth" / _truth_name(level1.name)
    if not (level1.is_file() and truth.is_file()):
        exposure = simulate(request, threads=threads)
        exposure.truth.write(truth)
        exposure.write_l1(level1, schema)
    return level1


def _truth_name(product: str) -> str:
    return product.rsplit("_", 1)[0] + "_truth.asdf"


def _move_into_place(partial: Path, place: Path) -> None:
    """Move a complete archive to its place; what was there goes only then."""
    (partial / "making.json").unlink()
    old = place.parent / f".{place.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.replace(old)
    partial.replace(place)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Let one process at a time make an archive."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _report(progress: Progress | None, done: int, total: int, what: str) -> None:
    if progress is not None:
        progress(done, total, what)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
