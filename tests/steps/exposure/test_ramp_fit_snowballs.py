"""Growing large events: ellipses, and the step with a whole frame."""

import numpy as np
import pytest

from roman_nexus.steps.exposure.ramp_fit import STEP, RampFitOptions
from roman_nexus.steps.exposure.ramp_fit.snowballs import Ellipse, expand_large_events, find_ellipses, make_rules
from roman_nexus.steps.step import ExposureInfo, RampBlock

F, NY, NX = 6, 90, 100
CENTRE_Y, CENTRE_X = 40, 50
PATTERN = tuple((read,) for read in range(1, F + 1))
EXPOSURE = ExposureInfo("WFI01", "F158", "WFI_IMAGE", PATTERN, 3.0, shape=(NY, NX))
Y, X = np.indices((NY, NX))
RADIUS = np.hypot(Y - CENTRE_Y, X - CENTRE_X)


def rules(**options):
    return make_rules(RampFitOptions(**options))


def flags_with_event(resultant=3, core=3.5, rim=8.5):
    groupdq = np.zeros((F, NY, NX), dtype=np.uint8)
    groupdq[resultant:, core >= RADIUS] = 2
    groupdq[resultant, (core < RADIUS) & (rim >= RADIUS)] = 4
    return groupdq


def test_ellipse_of_a_tilted_bar():
    """Regions are reduced to centre, axes less one pixel, and direction."""
    along, across = (X - 50) * 0.8 + (Y - 40) * 0.6, -(X - 50) * 0.6 + (Y - 40) * 0.8
    mask = (along / 20) ** 2 + (across / 8) ** 2 <= 1
    mask[5, 5] = True
    (ellipse,) = find_ellipses(mask, 6)
    assert (ellipse.x, ellipse.y) == pytest.approx((50, 40))
    assert (ellipse.x_axis, ellipse.y_axis) == pytest.approx((15, 39), abs=0.4)
    assert ellipse.angle == pytest.approx(np.degrees(np.arctan2(0.8, 0.6)), abs=1)
    assert len(find_ellipses(mask, 1)) == 2


def test_filled_area_counts():
    ring = (RADIUS <= 8) & (RADIUS > 6)
    assert ring.sum() < 100
    assert len(find_ellipses(ring, 190)) == 1
    assert len(find_ellipses(ring, 210)) == 0


def test_contains():
    circle = Ellipse(10, 20, 6, 6, 30)
    assert circle.contains(12.9, 20)
    assert not circle.contains(13.1, 20)
    assert not Ellipse(10, 20, 0, 0, 0).contains(11, 20)


def test_snowball_grows():
    groupdq = flags_with_event()
    before = groupdq.copy()
    assert expand_large_events(groupdq, rules()) == 1
    rim = RADIUS[(groupdq[3] & 4) != 0]
    assert 14 < rim.max() < 17  # (2 * 8.5 - 1) * 1.9 / 2
    assert ((groupdq[3] & 6) != 0)[RADIUS < 14].all()
    core = RADIUS[(groupdq[3] & 2) != 0]
    assert 4 <= core.max() < 6  # two pixels more
    for i in range(4, F):
        np.testing.assert_array_equal(groupdq[i] & 2, groupdq[3] & 2)
    np.testing.assert_array_equal(groupdq[:3], before[:3])


def test_a_core_may_appear_one_resultant_later():
    groupdq = flags_with_event()
    groupdq[3][(groupdq[3] & 2) != 0] = 4
    assert expand_large_events(groupdq, rules()) == 1
    assert ((groupdq[3] & 4) != 0)[RADIUS < 14].all()


def test_jumps_without_core():
    coreless = np.where(flags_with_event() == 2, 0, flags_with_event())
    for options, grows in (
        ({}, False),
        ({"sat_required_snowball": False}, True),
        ({"edge_size": 45}, True),
        ({"sat_required_snowball": False, "min_jump_area": 500.0}, False),
    ):
        groupdq = coreless.copy()
        assert expand_large_events(groupdq, rules(**options)) == int(grows), options
        assert (groupdq != coreless).any() == grows


def test_small_core_is_not_extended():
    groupdq = flags_with_event()
    expand_large_events(groupdq, rules(min_sat_radius_extend=20.0))
    assert RADIUS[(groupdq[3] & 2) != 0].max() <= 3.5


# ------------------------------------------------------------------------------------------------ the step
class Frame:
    """A frame in blocks of some rows, counting how often it is read."""

    def __init__(self, block, height):
        self.block, self.height, self.passes = block, height, 0
        self.shape = block.data.shape

    def row_blocks(self):
        self.passes += 1
        for start in range(0, NY, self.height):
            rows = slice(start, min(start + self.height, NY))
            data, groupdq = self.block.data[:, rows].copy(), self.block.groupdq[:, rows].copy()
            yield RampBlock(data, groupdq, self.block.pixeldq[rows], rows, slice(0, NX))


def event_block():
    rng = np.random.default_rng(1)
    data = rng.normal(0, 5, (F, NY, NX)) + 20.0 * np.arange(F)[:, None, None]
    data[3:, RADIUS <= 8.5] += 500
    data[3:, RADIUS <= 13] += 20  # below the threshold, still there
    data[3:, RADIUS <= 3.5] = 60000
    groupdq = np.zeros((F, NY, NX), dtype=np.uint8)
    groupdq[3:, RADIUS <= 3.5] = 2
    return RampBlock(data.astype(np.float32), groupdq, np.zeros((NY, NX), np.uint32), slice(0, NY), slice(0, NX))


def test_step_with_growth():
    block, options = event_block(), RampFitOptions(expand_large_events=True)
    refs = {"gain": {"data": np.full((NY, NX), 1.5, "f4")}, "readnoise": {"data": np.full((NY, NX), 5, "f4")}}
    frame = Frame(block, 32)
    state = STEP.prepare(frame, refs, options, EXPOSURE)
    assert frame.passes == 1
    np.testing.assert_array_equal(state, STEP.prepare(Frame(block, 7), refs, options, EXPOSURE))
    grown = STEP.apply(block, refs, options, EXPOSURE, state)
    plain = STEP.apply(block, refs, RampFitOptions(), EXPOSURE, None)
    faint = (RADIUS > 9) & (RADIUS < 13)
    assert np.mean(plain.dq[faint] & 4 != 0) < 0.5
    assert (grown.dq[faint] & 4).all()
    assert np.mean(plain.rate[faint]) > 20 / 3 + 0.5  # biased by the faint part of the event
    assert abs(np.mean(grown.rate[faint]) - 20 / 3) < 0.25
    far = RADIUS > 20
    np.testing.assert_array_equal(grown.rate[far], plain.rate[far])
    listed = np.zeros((F, NY, NX), dtype=bool)
    listed[tuple(grown.jumps.T)] = True
    np.testing.assert_array_equal(listed, state & 4 != 0)
    # a block by itself gives the same
    rows = slice(30, 47)
    cut = RampBlock(block.data[:, rows], block.groupdq[:, rows], block.pixeldq[rows], rows, slice(0, NX))
    part = {name: {"data": item["data"][rows]} for name, item in refs.items()}
    piece = STEP.apply(cut, part, options, EXPOSURE, state)
    np.testing.assert_array_equal(piece.rate, grown.rate[rows])
    np.testing.assert_array_equal(piece.dq, grown.dq[rows])
