"""One small simulated exposure with its references, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from roman_nexus.demo.archive import DemoArchive, make_archive

SHAPE = (256, 256)


@dataclass
class Exposure:
    """A Level 1 file and what belongs to it."""

    archive: DemoArchive
    level1: Path
    references: dict[str, Path]

    def overrides(self, **changed: Any) -> dict[str, Any]:
        return {**self.references, **changed}


@pytest.fixture(scope="session")
def exposure(tmp_path_factory: pytest.TempPathFactory) -> Exposure:
    folder = tmp_path_factory.mktemp("archive") / "demo"
    archive = make_archive(folder, shape=SHAPE, detectors=("WFI01",), dithers=2)
    return Exposure(archive, archive.files("uncal")[0], archive.references("WFI01"))
