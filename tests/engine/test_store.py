from pathlib import Path

import numpy as np
import pytest

from roman_nexus.engine.store import TileStore, row_slices
from roman_nexus.errors import OutputError
from roman_nexus.steps.step import RampBlock

SHAPE = (3, 40, 256)


def ramp() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    data = random.normal(size=SHAPE).astype(np.float32)
    groupdq = np.where(random.random(SHAPE) < 0.001, 2, 0).astype(np.uint8)
    pixeldq = random.integers(0, 9, SHAPE[1:]).astype(np.uint32)
    return data, groupdq, pixeldq


def filled(scratch: Path | None) -> TileStore:
    data, groupdq, pixeldq = ramp()
    store = TileStore(SHAPE, 16, scratch)
    for index, rows in enumerate(store.row_slices):
        block = RampBlock(data[:, rows], groupdq[:, rows], pixeldq[rows], rows, slice(0, SHAPE[2]))
        store.write_rows(index, block)
    return store


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path):  # type: ignore[no-untyped-def]
    with filled(None if request.param == "memory" else tmp_path) as opened:
        yield opened


def test_rows_come_back(store: TileStore) -> None:
    data, groupdq, pixeldq = ramp()
    blocks = list(store.row_blocks())
    assert [block.rows for block in blocks] == row_slices(40, 16)
    np.testing.assert_array_equal(np.concatenate([block.data for block in blocks], axis=1), data)
    np.testing.assert_array_equal(np.concatenate([block.groupdq for block in blocks], axis=1), groupdq)
    np.testing.assert_array_equal(np.concatenate([block.pixeldq for block in blocks]), pixeldq)


def test_channels_come_back_changed(store: TileStore) -> None:
    data, groupdq, pixeldq = ramp()
    strip = store.read_channel(1)
    assert strip.columns == slice(128, 256)
    np.testing.assert_array_equal(strip.data, data[:, :, 128:])
    np.testing.assert_array_equal(strip.groupdq, groupdq[:, :, 128:])
    strip.data += 1
    strip.groupdq[:] = 0
    strip.pixeldq |= np.uint32(16)
    store.write_channel(1, strip)
    again = store.read_rows(2)
    np.testing.assert_array_equal(again.data[:, :, 128:], data[:, 32:, 128:] + 1)
    np.testing.assert_array_equal(again.data[:, :, :128], data[:, 32:, :128])
    assert not again.groupdq[:, :, 128:].any()
    np.testing.assert_array_equal(again.pixeldq[:, 128:], pixeldq[32:, 128:] | 16)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(slice(0, 40), slice(0, 4)), (slice(0, 40), slice(252, 256)), (slice(0, 4), slice(0, 256)),
     (slice(36, 40), slice(0, 256)), (slice(14, 18), slice(120, 140)), (slice(5, 35), slice(126, 130))],
)  # fmt: skip
def test_cuts(store: TileStore, rows: slice, columns: slice) -> None:
    data, groupdq, pixeldq = ramp()
    block = store.cut(rows, columns)
    np.testing.assert_array_equal(block.data, data[:, rows, columns])
    np.testing.assert_array_equal(block.groupdq, groupdq[:, rows, columns])
    np.testing.assert_array_equal(block.pixeldq, pixeldq[rows, columns])


def test_nothing_lies_in_the_scratch_folder(tmp_path: Path) -> None:
    with filled(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_scratch_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="ROMAN_NEXUS_SCRATCH_DIR"):
        TileStore(SHAPE, 16, tmp_path / "file" / "scratch")


def test_too_little_room_is_said_with_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    with pytest.raises(OutputError, match=r"0 MB free but this run needs 0 MB|MB free but"):
        TileStore((9, 4096, 4096), 32, tmp_path)
