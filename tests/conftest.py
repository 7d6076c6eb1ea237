"""Every test has its own cache and configuration; nothing of the user's is touched."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def isolated_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("nexus")
    monkeypatch.setenv("ROMAN_NEXUS_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("ROMAN_NEXUS_CONFIG", str(folder / "config.toml"))
    monkeypatch.setenv("ROMAN_NEXUS_PROGRESS", "off")
    for name in ("REFERENCES", "SCRATCH_DIR", "THREADS", "MEMORY_BUDGET_MB", "CACHE_LIMIT_GB", "SCHEMA"):
        monkeypatch.delenv(f"ROMAN_NEXUS_{name}", raising=False)


@pytest.fixture(scope="session")
def small_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the demo archive of the documentation, ``demo``, and the cache that it filled, ``cache``."""
    from roman_nexus.demo import demo_archive

    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROMAN_NEXUS_CACHE_DIR", str(folder / "cache"))
        demo_archive(folder / "demo", detectors=1, dithers=2, shape=(256, 256))
    return folder


@pytest.fixture
def workplace(small_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a copy of the small archive the current folder, with its cache in use."""
    import shutil

    shutil.copytree(small_archive, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("ROMAN_NEXUS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
