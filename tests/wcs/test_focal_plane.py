import math

import pytest

from roman_nexus.errors import InputError
from roman_nexus.wcs import DETECTORS, detector_place
from roman_nexus.wcs.focal_plane import WFI_CENTRE


def test_eighteen_detectors_in_order():
    assert list(DETECTORS) == [f"WFI{number:02d}" for number in range(1, 19)]
    assert all(name == place.name for name, place in DETECTORS.items())


def test_known_places():
    assert (detector_place("wfi01").v2_ref, detector_place("WFI01").v3_ref) == (1312.949, -1040.785)
    assert (detector_place("WFI18").v2_ref, detector_place("WFI18").v3_ref) == (2622.293, -99.464)


def test_every_third_detector_is_mounted_the_other_way_round():
    turned = [name for name, place in DETECTORS.items() if place.det_sci_y_angle == 0]
    assert turned == ["WFI03", "WFI06", "WFI09", "WFI12", "WFI15", "WFI18"]


def test_detectors_do_not_overlap_and_tile_without_holes():
    places = [(place.v2_ref, place.v3_ref) for place in DETECTORS.values()]
    for i, place in enumerate(places):
        nearest = min(math.dist(place, other) for j, other in enumerate(places) if j != i)
        assert 4088 * 0.11 < nearest < 4088 * 0.11 + 90, i  # arcsec: side by side, with a gap


def test_the_array_is_symmetric_about_its_axis():
    # detectors n and n + 9 mirror each other in the line from the boresight through the centre of the array
    length = math.hypot(*WFI_CENTRE)
    along, across = (WFI_CENTRE[0] / length, WFI_CENTRE[1] / length), (-WFI_CENTRE[1] / length, WFI_CENTRE[0] / length)
    for number in range(1, 10):
        one, two = DETECTORS[f"WFI{number:02d}"], DETECTORS[f"WFI{number + 9:02d}"]
        for direction, sign in ((along, 1), (across, -1)):
            first, second = (p.v2_ref * direction[0] + p.v3_ref * direction[1] for p in (one, two))
            assert first == pytest.approx(sign * second, abs=1.0)


@pytest.mark.parametrize("name", ["WFI19", "WFI00", "", "SCA01"])
def test_an_unknown_detector_is_refused(name):
    with pytest.raises(InputError, match="WFI01 to WFI18"):
        detector_place(name)
