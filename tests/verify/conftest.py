from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

FAKE = '''#!{python}
"""Stands in for the Python of the mission's environment."""
import json, sys
from pathlib import Path
VERSIONS = {versions!r}
if sys.argv[1] == "-c":
    missing = [name for name in sys.argv[3:] if name not in VERSIONS]
    if missing:
        sys.exit("PackageNotFoundError: " + missing[0])
    print(json.dumps({{name: VERSIONS[name] for name in sys.argv[3:]}}))
    sys.exit(0)
BODY = {body!r}
request, folder = json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
exec(BODY)
'''

RUN = """
import numpy as np
def say(**event):
    print(json.dumps(event), flush=True)
say(event="start", step="saturation")
for step, arrays in ARRAYS.items():
    (folder / step).mkdir(parents=True, exist_ok=True)
    for name in arrays:
        np.save(folder / step / f"{name}.npy", np.load(Path(SOURCE) / f"{step}.{name}.npy"))
say(event="done", step="saturation", wall_s=1.5, cpu_s=1.4, peak_mb=100.0)
print("a line that is no event")
cost = {"step": "saturation", "wall_s": 1.5, "cpu_s": 1.4, "peak_mb": 100.0}
total = {"wall_s": 2.0, "cpu_s": 1.9, "peak_mb": 120.0, "imported_mb": 9.0}
result = {"steps": [cost], "total": total, "stopped": False, "meta": META,
          "versions": {"romancal": "1.1.0"}, "products": {}}
(folder / "result.json").write_text(json.dumps(result))
"""


@pytest.fixture
def fake_python(tmp_path):
    """Make an executable that answers like the mission's environment: versions, and a run made of `body`."""

    def make(body: str = "", versions: dict[str, str] | None = None, name: str = "python") -> Path:
        known = {"romancal": "1.1.0", "stcal": "1.20.0", "roman_datamodels": "1.1.0"} if versions is None else versions
        path = tmp_path / "fake" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FAKE.format(python=sys.executable, versions=known, body=body))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


@pytest.fixture
def fake_run(tmp_path):
    """Write the body of a run that keeps the given arrays, `{step: {name: array}}`, and metadata."""
    import numpy as np

    def make(arrays, meta) -> str:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        for step, values in arrays.items():
            for name, array in values.items():
                np.save(source / f"{step}.{name}.npy", array)
        names = {step: list(values) for step, values in arrays.items()}
        return f"ARRAYS = {names!r}\nSOURCE = {str(source)!r}\nMETA = json.loads({json.dumps(meta)!r})\n{RUN}"

    return make
