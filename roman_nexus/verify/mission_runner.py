"""Run the mission's exposure pipeline on one Level 1 file, and keep what each step made of it.

This file is not imported by roman_nexus: the Python of an environment that holds romancal runs it, by its path, as

    python mission_runner.py REQUEST.json FOLDER

and it imports nothing of roman_nexus. The request says

    input       Level 1 file
    references  reference type -> path, or "N/A"; what is not named is "N/A"
    options     step -> parameter -> value
    skip        steps to leave out
    keep        steps whose arrays to keep, or "all"
    stop        last step to run, or null
    product     true: also write the Level 2 file and the WCS file

Into FOLDER go ``<step>/<array>.npy`` (only the arrays that the step may change) and ``result.json``. Each event is a
line of JSON on standard output. No network is needed, and none is used: any attempt to connect is an error.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import socket
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Our name of a step -> its name in romancal's ExposurePipeline, in order of execution.
STEPS = {
    "dq_init": "dq_init",
    "saturation": "saturation",
    "refpix": "refpix",
    "dark_decay": "dark_decay",
    "wfi18_transient": "wfi18_transient",
    "linearity": "linearity",
    "ramp_fit": "rampfit",
    "dark_current": "dark_current",
    "assign_wcs": "assign_wcs",
    "photom": "photom",
    "flat_field": "flatfield",
}

#: Reference types, by step.
REFERENCES = {
    "dq_init": ("mask",),
    "saturation": ("saturation",),
    "refpix": ("refpix",),
    "dark_decay": ("darkdecaysignal",),
    "linearity": ("linearity", "inverselinearity", "integralnonlinearity"),
    "ramp_fit": ("readnoise", "gain"),
    "dark_current": ("dark",),
    "assign_wcs": ("distortion",),
    "photom": ("photom",),
    "flat_field": ("flat",),
}

_EDGES = ("left", "right", "top", "bottom")
BORDERS = tuple(f"{kind}_{edge}" for kind in ("border_ref_pix", "dq_border_ref_pix") for edge in _EDGES)
_SIDES = ("border_ref_pix_left", "border_ref_pix_right")
_IMAGE = ("data", "dq", "err", "var_poisson", "var_rnoise", "var_flat", "chisq", "dumo", "jump_indices", "amp33")

#: The arrays a step may change.
CHANGES = {
    "dq_init": ("data", "groupdq", "pixeldq", "amp33", *BORDERS),
    "saturation": ("groupdq", "pixeldq"),
    "refpix": ("data", "amp33", *_SIDES),
    "dark_decay": ("data", *_SIDES),
    "wfi18_transient": ("data", "groupdq"),
    "linearity": ("data", "groupdq", "pixeldq", *_SIDES),
    "ramp_fit": (*_IMAGE, *BORDERS),
    "dark_current": ("data", "dq"),
    "assign_wcs": (),
    "photom": (),
    "flat_field": ("data", "dq", "err", "var_poisson", "var_rnoise", "var_flat", "dumo"),
}


class Stopped(Exception):  # noqa: N818 - not an error
    """The last step asked for has run."""


# ------------------------------------------------------------------------------------------ offline
def go_offline(cache: Path) -> None:
    """Let romancal run on given references only.

    Even with every reference given, romancal asks CRDS for the name of the current context, and CRDS ends the
    process when it has neither a server nor a cached configuration. So `cache` gets a minimal one.
    """
    config = cache / "config" / "roman" / "server_config"
    config.parent.mkdir(parents=True, exist_ok=True)
    context = "roman_0000.pmap"
    known = {
        "observatory": "roman",
        "operational_context": context,
        "latest_context": context,
        "bad_files_list": [],
        "bad_files": "",
        "crds_version": {"str": "0"},
        "force_remote_mode": False,
        "last_synced": "never",
    }
    config.write_text(repr(known))
    os.environ.update(
        CRDS_SERVER_URL="https://crds-serverless-mode.stsci.edu",
        CRDS_PATH=str(cache.resolve()),
        CRDS_CONTEXT=context,
        CRDS_OBSERVATORY="roman",
        CRDS_READONLY_CACHE="1",
        STPIPE_DISABLE_CRDS_STEPPARS="true",
    )
    warnings.filterwarnings("ignore")
    block_network()


def block_network() -> None:
    """Make every attempt to open a network connection an error."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any, /) -> None:
        if isinstance(address, (str, bytes)):  # a socket in the file system
            connect(self, address)
            return
        msg = f"network use blocked: {address}"
        raise OSError(msg)

    socket.socket.connect = refuse  # type: ignore[assignment,method-assign]


# -------------------------------------------------------------------------------------------- meter
def memory_mb(peak: bool = True) -> float:
    """Return the resident memory of this process, its high-water mark by default, in MB (1e6 bytes)."""
    key = "VmHWM:" if peak else "VmRSS:"
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def reset_peak() -> None:
    """Set the high-water mark of the memory back to what is used now, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def cpu_s() -> float:
    """Return the CPU seconds of this process and of the children it waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(item.ru_utime + item.ru_stime for item in used)


def tell(**event: Any) -> None:
    """Print one event as a line of JSON."""
    print(json.dumps(event), flush=True)  # noqa: T201 - standard output is how events leave this process


# ------------------------------------------------------------------------------------------ one run
class Recorder:
    """Times the steps of a pipeline and keeps their arrays.

    Parameters
    ----------
    folder : Path
        Where arrays go.
    keep : set of str
        Steps whose arrays are kept.
    stop : str or None
        Step after which to stop.
    """

    def __init__(self, folder: Path, keep: set[str], stop: str | None) -> None:
        self.folder, self.keep, self.stop = folder, keep, stop
        self.steps: list[dict[str, Any]] = []
        self.model: Any = None
        self.saving_s = 0.0
        self.saving_cpu_s = 0.0

    def wrap(self, name: str, run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a step's `run` that is timed and whose output is kept."""

        def timed(model: Any) -> Any:
            tell(event="start", step=name)
            gc.collect()
            reset_peak()
            wall, cpu = time.perf_counter(), cpu_s()
            result = run(model)
            record = {
                "step": name,
                "wall_s": round(time.perf_counter() - wall, 3),
                "cpu_s": round(cpu_s() - cpu, 3),
                "peak_mb": round(memory_mb(), 1),
            }
            self.steps.append(record)
            self.model = result
            if name in self.keep and model_changed(name, result):
                self._save(name, result)
            tell(event="done", **record)
            if name == self.stop:
                raise Stopped
            return result

        return timed

    def _save(self, name: str, model: Any) -> None:
        wall, cpu = time.perf_counter(), cpu_s()
        save_arrays(model, self.folder / name, CHANGES[name])
        self.saving_s += time.perf_counter() - wall
        self.saving_cpu_s += cpu_s() - cpu


def model_changed(name: str, model: Any) -> bool:
    """Tell whether a step may have done anything: one of them is for a single detector."""
    return name != "wfi18_transient" or model.meta.instrument.detector == "WFI18"


def save_arrays(model: Any, folder: Path, names: tuple[str, ...]) -> None:
    """Write arrays of a model as .npy files."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name in model and model[name] is not None:
            array = np.asarray(model[name])
            if name in ("data", "groupdq") and array.ndim == 4:  # rampfit adds an axis and leaves it
                array = array[0]
            np.save(folder / f"{name}.npy", array)


def make_pipeline(request: dict[str, Any], recorder: Recorder) -> Any:
    """Return romancal's ExposurePipeline, set up as requested, without catalog and alignment."""
    from romancal.pipeline import ExposurePipeline

    pipeline = ExposurePipeline()
    given = request.get("references", {})
    for name, attribute in STEPS.items():
        step = getattr(pipeline, attribute)
        for reftype in REFERENCES.get(name, ()):
            setattr(step, f"override_{reftype}", given.get(reftype) or "N/A")
        for parameter, value in request.get("options", {}).get(name, {}).items():
            if not hasattr(step, parameter):
                msg = f"romancal's {attribute} has no parameter {parameter!r}"
                raise AttributeError(msg)
            setattr(step, parameter, value)
        step.skip = name in request.get("skip", ())
        step.run = recorder.wrap(name, step.run)
    pipeline.source_catalog.skip = True
    pipeline.tweakreg.skip = True
    return pipeline


def plain(value: Any) -> Any:
    """Turn a metadata node into plain values; what has no plain form becomes text."""
    if hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) or type(value).__name__ in ("LNode", "lazy_list"):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):  # drops the node's own class and NumPy's
        if isinstance(value, kind):
            return kind(value)
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return str(value)


def describe_wcs(wcs: Any) -> dict[str, Any]:
    """Sample a WCS on a grid of pixels, so that it can be compared without gwcs."""
    import numpy as np

    box = wcs.bounding_box.bounding_box(order="F")
    y, x = np.meshgrid(np.linspace(0, box[1][1], 9), np.linspace(0, box[0][1], 9), indexing="ij")
    ra, dec = wcs(x, y, with_bounding_box=False)
    return {
        "x": x.ravel().tolist(),
        "y": y.ravel().tolist(),
        "ra": np.ravel(ra).tolist(),
        "dec": np.ravel(dec).tolist(),
        "frames": list(wcs.available_frames),
        "bounding_box": [[float(limit) for limit in axis] for axis in box],
    }


def describe_model(model: Any) -> dict[str, Any]:
    """Return the metadata that the steps write, and the WCS."""
    meta = model.meta
    found: dict[str, Any] = {}
    for key in ("cal_step", "photometry", "statistics", "ref_file", "wcsinfo", "exposure"):
        if key in meta:
            found[key] = plain(meta[key])
    found["wcs"] = describe_wcs(meta.wcs) if meta.get("wcs") is not None else None
    return found


def write_products(model: Any, folder: Path) -> dict[str, str]:
    """Write the Level 2 file and the WCS file as the mission's pipeline would."""
    from roman_datamodels.datamodels import WfiWcsModel

    written = {"cal": str(folder / "mission_cal.asdf")}
    model.save(written["cal"])
    if model.meta.get("wcs") is not None:
        written["wcs"] = str(folder / "mission_wcs.asdf")
        WfiWcsModel.from_model_with_wcs(model).save(written["wcs"])
    return written


def run(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the pipeline as requested and return what `result.json` holds."""
    import importlib.metadata

    keep = request.get("keep", ())
    recorder = Recorder(folder, set(STEPS) if keep == "all" else set(keep), request.get("stop"))
    pipeline = make_pipeline(request, recorder)
    imported_mb = memory_mb(peak=False)
    wall, cpu = time.perf_counter(), cpu_s()
    try:
        model = pipeline.run(str(request["input"]))[0]
        stopped = False
    except Stopped:
        model, stopped = recorder.model, True
    total = {
        "wall_s": round(time.perf_counter() - wall - recorder.saving_s, 3),
        "cpu_s": round(cpu_s() - cpu - recorder.saving_cpu_s, 3),
        "peak_mb": max(item["peak_mb"] for item in recorder.steps),
        "imported_mb": round(imported_mb, 1),
    }
    result = {
        "steps": recorder.steps,
        "total": total,
        "stopped": stopped,
        "meta": describe_model(model),
        "versions": {name: importlib.metadata.version(name)
                     for name in ("romancal", "stcal", "roman_datamodels", "numpy", "scipy", "gwcs", "asdf")},
    }  # fmt: skip
    if not stopped:
        save_arrays(model, folder / "final", (*_IMAGE, *BORDERS))
    if request.get("product") and not stopped:
        wall = time.perf_counter()
        result["products"] = write_products(model, folder)
        result["saving_product_s"] = round(time.perf_counter() - wall, 3)
    return result


def main(arguments: list[str]) -> int:
    """Read the request, run, write the result; 0, or 1 if the pipeline failed."""
    request = json.loads(Path(arguments[0]).read_text())
    folder = Path(arguments[1])
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(stream=sys.stderr)
    logging.getLogger().handlers[0].setLevel(logging.WARNING)  # romancal's loggers set their own level to DEBUG
    go_offline(folder / "crds")
    try:
        result, status = run(request, folder), 0
    except Exception as error:  # reported to the caller, whatever it is
        result, status = {"error": {"type": type(error).__name__, "message": str(error)}}, 1
        tell(event="failed", **result["error"])
        logging.getLogger("mission_runner").exception("the mission's pipeline failed")
    temporary = folder / "result.json.part"
    temporary.write_text(json.dumps(result, indent=1, default=str))
    temporary.replace(folder / "result.json")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
