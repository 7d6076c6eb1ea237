"""Every test has its own cache and configuration; nothing of the user's is touched."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def isolated_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("nexus")
    monkeypatch.setenv("ROMAN_NEXUS_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("ROMAN_NEXUS_CONFIG", str(folder / "config.toml"))
    monkeypatch.setenv("ROMAN_NEXUS_PROGRESS", "off")
    for name in ("REFERENCES", "SCRATCH_DIR", "THREADS", "MEMORY_BUDGET_MB", "CACHE_LIMIT_GB", "SCHEMA"):
        monkeypatch.delenv(f"ROMAN_NEXUS_{name}", raising=False)
