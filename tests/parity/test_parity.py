"""The quick part of the comparison with the mission's pipeline, as a test: `pytest -m parity`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parents[1] / ".venv-parity" / "bin" / "python"


@pytest.mark.parity
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not PYTHON.exists(), reason="no environment .venv-parity; make parity-environment makes it")
def test_every_quick_check_passes(tmp_path):
    table = tmp_path / "parity.json"
    answer = subprocess.run(
        [sys.executable, str(HERE / "run.py"), "--quick", "--json", str(table)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert table.exists(), answer.stderr[-3000:]
    rows = json.loads(table.read_text())
    assert {row["check"] for row in rows} >= {"A1", "A3", "A4", "A11", "A12", "A13", "A17", "A19", "A21", "A28", "A34"}
    failed = [f"{row['check']} {row['what']}: {row['note']}" for row in rows if not row["passed"]]
    assert not failed, "\n".join(failed)
    assert answer.returncode == 0
