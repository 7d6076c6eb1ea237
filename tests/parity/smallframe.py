"""The checks on small frames through the engine: routing (A28), saturated exposures (A29), acceptance (A30)."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from compare import Row, failed, identical, row, statement

import roman_nexus as rn
from roman_nexus.errors import ReferenceNotFoundError, RomanNexusError
from roman_nexus.verify.agreement import combine, compare_arrays

HERE = Path(__file__).resolve().parent

#: Steps that roman_nexus does not have yet: romancal was told to skip them.
NOT_OURS = ("source_catalog", "tweakreg")

REFERENCES = ("mask", "saturation", "refpix", "darkdecaysignal", "linearity", "inverselinearity",
              "integralnonlinearity", "readnoise", "gain", "dark", "distortion", "photom", "flat")  # fmt: skip


def ensure_small(python: Path, folder: Path) -> None:
    """Make the small files, and let romancal route them, unless it was done by the same script."""
    script = HERE / "theirs_small.py"
    mark = folder / "script"
    if mark.exists() and mark.read_bytes() == script.read_bytes():
        return
    for task in ("make", "route"):
        print(f"small frames: {task}", file=sys.stderr, flush=True)
        subprocess.run([str(python), str(script), task, str(folder)], check=True)
    mark.write_bytes(script.read_bytes())


def reprocess(folder: Path, name: str, **how: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        how.setdefault("source", folder / "references")
        return rn.reprocess(folder / f"{name}_uncal.asdf", cache=False, progress=False, **how)


def variant_of(name: str, folder: Path) -> dict[str, Any]:
    """Arguments of our run for a variant of romancal's."""
    if name.startswith("skip "):
        return {"name": "wfi_image", "skip": [name.split()[1]]}
    if name.startswith("no "):
        empty = folder / "nothing"
        empty.mkdir(exist_ok=True)
        kept = [reftype for reftype in REFERENCES if reftype != name.split()[1]]
        given = {reftype: folder / "references" / f"{reftype}_WFI01.asdf" for reftype in kept}
        return {"name": "wfi_image", "references": given, "source": empty}
    return {"name": name.lower()}


def a28(folder: Path) -> list[Row]:
    """The status of every step, or an error where the mission's pipeline fails too."""
    answers = json.loads((folder / "route.theirs.json").read_text())
    groups: dict[str, list[bool]] = {}
    problems: dict[str, list[str]] = {}
    for name, theirs in answers.items():
        group = {"skip": "every step skipped in turn", "no": "every reference N/A in turn"}.get(name.split()[0])
        group = group or "every exposure type, WFI18, saturated"
        same, problem = route(folder, name, theirs)
        groups.setdefault(group, []).append(same)
        if problem:
            problems.setdefault(group, []).append(problem)
    rows = []
    for group, same in groups.items():
        rows.append(statement("A28", f"routing: {group}", same, "; ".join(problems.get(group, ()))))
    return rows


def route(folder: Path, name: str, theirs: dict[str, Any]) -> tuple[bool, str]:
    """Compare one variant; a documented difference is no problem but is told."""
    try:
        meta = reprocess(folder, **variant_of(name, folder)).image.meta
    except ReferenceNotFoundError:
        documented = "error" in theirs
        return documented, f"{name}: ReferenceNotFoundError, romancal {theirs.get('error', 'runs')} (documented)"
    except RomanNexusError as error:
        return False, f"{name}: {type(error).__name__}: {error}"
    if "error" in theirs:
        return False, f"{name}: ours runs, romancal {theirs['error']}"
    ours = meta["cal_step"]
    wrong = {key: (ours.get(key), value) for key, value in theirs["cal_step"].items()
             if key not in NOT_OURS and ours.get(key) != value}  # fmt: skip
    extra = set(ours) - set(theirs["cal_step"])
    return not wrong and not extra, f"{name}: {wrong or sorted(extra)}" if wrong or extra else ""


def a29(folder: Path) -> list[Row]:
    """A saturated exposure: the arrays, and the file that romancal cannot write."""
    theirs = folder / "theirs" / "saturated" / "final"
    run = reprocess(folder, "saturated")
    found, missing = [], []
    for path in sorted(theirs.glob("*.npy")):
        name = path.stem
        if name == "jump_indices" and name not in run.image.arrays:
            continue
        if name not in run.image.arrays:
            missing.append(name)
            continue
        found.append(compare_arrays(run.image.arrays[name], np.load(path), flags="dq" in name).labelled(name))
    rows = [row("A29", "saturated exposure: all arrays", combine(found), identical)]
    if missing:
        rows.append(failed("A29", "saturated exposure: arrays that are missing", ", ".join(missing)))
    written = run.save(folder / "ours")
    with rn.open(written[0]) as model:
        opened = [model.meta.wcs is None, bool(np.array_equal(model.data, run.image.data))]
    return [*rows, statement("A29", "saturated exposure: saved and re-opened, wcs is null", opened)]


def a30(python: Path, folder: Path, image: Path | None = None) -> list[Row]:
    """Every product validates; romancal takes the Level 2 image on."""
    files: dict[str, list[Path]] = {}
    run = reprocess(folder, "wfi_image")
    for schema, name in (("newest", "newest"), ("2.1.0", "romancal")):
        target = folder / "ours" / name
        files[name] = run.save(target, schema=schema)
        files[name] += reprocess(folder, "wfi_image", stop="linearity").save(target, schema=schema)
        files[name] += reprocess(folder, "saturated").save(target, schema=schema)
    rows = [statement("A30", "products of the newest schema validate", *validated(files["newest"]))]
    wanted = [str(path) for path in files["romancal"]] + ([str(image)] if image else [])
    answer = folder / "ours" / "accept.json"
    subprocess.run([str(python), str(HERE / "theirs_small.py"), "accept", str(answer), *wanted], check=True)
    for path, found in json.loads(answer.read_text()).items():
        fine = "error" not in found
        note = ", ".join(f"{key}: {value}" for key, value in found.items())
        rows.append(statement("A30", f"romancal takes {Path(path).name}", [fine], note))
    return rows


def validated(paths: list[Path]) -> tuple[list[bool], str]:
    """Open and validate with the roman_datamodels that we use."""
    good, problems = [], []
    for path in paths:
        try:
            with rn.open(path) as model:
                model.validate()
            good.append(True)
        except Exception as error:  # whatever it is, it is the note
            good.append(False)
            problems.append(f"{path.name}: {str(error)[:200]}")
    return good, "; ".join(problems)
