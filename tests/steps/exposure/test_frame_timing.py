"""Read times of pixels."""

import numpy as np
import pytest

from roman_nexus.errors import InputError, ShapeError
from roman_nexus.steps.exposure.frame_timing import PIXEL_CLOCK, pixel_times

FRAME_TIME = 3.16247


@pytest.mark.parametrize(
    ("sca", "expected"),
    [
        # (y, x) = (0, 0), (1000, 130), (4095, 4095), (300, 4000), from romancal 1.1.0
        (1, (3.134709566282795, 2.3878093425471127, 0.0, 2.90819269977503)),
        (3, (0.0, 0.7480727450485677, 3.134709566282795, 0.2274079827055607)),
    ],
)
def test_times_of_the_full_frame(sca: int, expected: tuple[float, ...]) -> None:
    row, column = pixel_times(FRAME_TIME, sca)
    places = [(0, 0), (1000, 130), (4095, 4095), (300, 4000)]
    np.testing.assert_allclose([row[y] + column[x] for y, x in places], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("sca", range(1, 19))
@pytest.mark.parametrize("ny", [8, 256, 300, 512])
def test_every_pixel_is_clocked_as_described(sca: int, ny: int) -> None:
    nx = 384
    last = 127 + 142 * (ny - 1)
    groups = (ny + 255) // 256
    guide = (FRAME_TIME / PIXEL_CLOCK - last) / groups * 1.5
    row, column = pixel_times(FRAME_TIME, sca, (ny, nx))
    for y, x in [(0, 0), (ny - 1, nx - 1), (ny // 2, 130), (5, 255), (ny - 2, 256)]:
        # undo the orientation of the detector, then the direction of the channel
        q, across = (y, nx - 1 - x) if sca % 3 == 0 else (ny - 1 - y, x)
        channel, p = divmod(across, 128)
        p = 127 - p if channel % 2 else p
        cycles = p + 142 * q + guide * (q // 256)
        expected = FRAME_TIME * cycles / (last + groups * guide)
        assert row[y] + column[x] == pytest.approx(expected, abs=1e-13)


def test_all_pixels_are_read_within_the_frame() -> None:
    row, column = pixel_times(FRAME_TIME, 7)
    assert row.min() + column.min() == 0.0
    assert row.max() + column.max() < FRAME_TIME


@pytest.mark.parametrize("frame_time", [0.0, -3.0, float("nan"), float("inf"), 2.8])
def test_impossible_frame_time(frame_time: float) -> None:
    with pytest.raises(InputError, match="frame_time is"):
        pixel_times(frame_time, 1)


@pytest.mark.parametrize("shape", [(0, 128), (16, 100), (16, 0)])
def test_impossible_shape(shape: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="multiple of 128"):
        pixel_times(FRAME_TIME, 1, shape)
