import numpy as np
import pytest

from roman_nexus.errors import ReferenceMismatchError
from roman_nexus.steps.exposure.photom import STEP, apply
from roman_nexus.steps.step import ExposureInfo

TABLE = {
    "F158": {"photmjsr": np.float64(0.69), "uncertainty": 0.0069, "pixelareasr": 2.8e-13, "wavelength": [1.4, 1.8]},
    "GRISM": {"photmjsr": None, "uncertainty": None, "pixelareasr": None},
}


def photom_of(element, table=TABLE):
    exposure = ExposureInfo("WFI01", element, "WFI_IMAGE", ((1,), (2,)), 3.16)
    return apply(None, {"photom": {"phot_table": table}}, STEP.options(), exposure)


@pytest.mark.parametrize("element", ["F158", "f158"])
def test_looks_up_the_element(element):
    found = photom_of(element)
    assert found == {
        "photometry.conversion_megajanskys": 0.69,
        "photometry.conversion_megajanskys_uncertainty": 0.0069,
        "photometry.pixel_area": 2.8e-13,
    }
    assert all(type(value) is float for value in found.values())


def test_spectroscopic_elements_have_no_calibration():
    assert set(photom_of("GRISM").values()) == {None}


def test_an_unknown_element_is_said_and_leaves_the_placeholders():
    exposure = ExposureInfo("WFI01", "F999", "WFI_IMAGE", ((1,), (2,)), 3.16)
    (said,) = STEP.check({"photom": {"phot_table": TABLE}}, STEP.options(), exposure)
    assert "does not list F999, only F158, GRISM" in said
    assert photom_of("F999") == {}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"photmjsr": 1.0, "uncertainty": 0.1}, "pixelareasr"),
        (TABLE["F158"] | {"photmjsr": "bright"}, "'bright'"),
        (None, "F158 without pixelareasr"),
    ],
)
def test_a_bad_row_is_refused(row, message):
    with pytest.raises(ReferenceMismatchError, match=message):
        photom_of("F158", {"F158": row})
