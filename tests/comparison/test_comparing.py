from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from roman_nexus.comparison import Comparison, compare
from roman_nexus.errors import FileFormatError, InputError, OptionError, ProductLevelError, ShapeError


@pytest.fixture(scope="module")
def model():
    """A small Level 2 model of roman_datamodels with something in it."""
    from roman_datamodels.datamodels import ImageModel

    made = ImageModel.create_fake_data(shape=(24, 32))
    random = np.random.default_rng(2)
    made.data = random.normal(1, 0.1, (24, 32)).astype(np.float32)
    made.err = np.full((24, 32), 0.1, np.float16)
    made.meta.wcs = None
    made.meta.filename = "r0000101001001001001_0001_wfi01_f158_cal.asdf"
    return made


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    target = tmp_path_factory.mktemp("files") / str(model.meta.filename)
    model.save(target)
    return target


def test_identical(image):
    found = compare(image(), image())
    assert found.identical
    assert found.differing == ()
    assert isinstance(found, Comparison)
    assert [plane.name for plane in found.planes] == ["data", "err", "var_poisson", "chisq", "dumo"]
    assert all(plane.same for plane in found.planes)
    assert str(found).count("Identical, but for what any rerun changes.") == 1


def test_everything_that_differs_is_named(image):
    old = image(jump_indices=np.array([[1, 2, 3]], np.int16))
    new = image(jump_indices=np.array([[1, 2, 4]], np.int16))
    new.data[3, 4] += 1
    new.dq[3, 4] = 2
    new.amp33 = np.zeros((3, 16, 128), np.uint16)
    old.amp33 = np.ones((3, 16, 128), np.uint16)
    new.meta = {**old.meta, "cal_step": {"dark": "SKIPPED"}, "ref_file": {"flat": "my.asdf"}, "exposure": {"a": 1}}
    old.meta = {**old.meta, "cal_step": {"dark": "COMPLETE"}, "ref_file": {"flat": "crds.asdf"}, "exposure": {"a": 2}}
    new.var_rnoise = np.zeros((16, 20), np.float16)
    found = compare(new, old)
    assert found.differing == (
        "data", "dq", "amp33", "var_rnoise (only in the rerun)", "jumps", "flat reference", "step dark",
        "1 metadata key",
    )  # fmt: skip
    assert found.plane("data").worst[0].in_errors == 2.0
    assert found.flags[0].changes[0].name == "SATURATED"
    assert (found.arrays[0].compared, found.arrays[0].differing) == (3 * 16 * 128, 3 * 16 * 128)
    assert found.jumps.common == 0


def test_flagged_pixels_are_left_out_on_either_side_and_the_mask_can_be_chosen(image):
    old, new = image(), image()
    new.data[0, :3] = 9
    new.dq[0, 0] = 1
    old.dq[0, 1] = 1 | 4
    new.dq[0, 2] = 4
    found = compare(new, old).plane("data")
    assert (found.compared, found.max_abs, found.excluded_differing) == (318, 8.0, 2)
    assert compare(new, old, mask="DO_NOT_USE+JUMP_DET").plane("data").max_abs == 0
    assert compare(new, old, mask=None).plane("data").compared == 320
    assert not compare(new, old, mask="DO_NOT_USE+JUMP_DET").identical


def test_a_resultant_is_left_out_by_its_own_flags(ramp):
    old, new = ramp(), ramp()
    new.data[1, 2, 3] += 5
    new.data[2, 2, 3] += 7
    new.groupdq[1, 2, 3] = 1
    old.groupdq[2, 5, 5] = 128  # means OUTLIER in a pixel mask, something else here
    new.pixeldq[9, 9] = 1 << 10
    found = compare(new, old, mask="DO_NOT_USE+OUTLIER")
    assert [found.plane("data", number).max_abs for number in range(3)] == [0.0, 0.0, 7.0]
    assert [found.plane("data", number).compared for number in range(3)] == [320, 319, 320]
    assert found.plane("data", 2).error_compared is None
    changes = {flags.label: [(item.name, item.gained, item.lost) for item in flags.changes] for flags in found.flags}
    assert changes == {
        "pixeldq": [("DEAD", 1, 0)],
        "groupdq[0]": [],
        "groupdq[1]": [("DO_NOT_USE", 1, 0)],
        "groupdq[2]": [("WFI18_TRANSIENT", 0, 1)],
    }
    assert "data in 2 of 3 resultants" in str(found)


def test_level_1():
    old = SimpleNamespace(data=np.zeros((2, 8, 128), np.uint16), meta={})
    new = SimpleNamespace(data=old.data + np.uint16(3), meta={})
    found = compare(new, old)
    assert (found.kind, found.plane("data", 1).median, found.plane("data", 1).max_ulp) == ("science_raw", 3.0, None)
    assert found.flags == ()
    assert "no data-quality array is in both products" in str(found)


def test_rows(image):
    old, new = image(), image()
    new.data[2, 0] = 3
    new.data[9, 0] = 5
    new.dq[2, 2] = 2
    found = compare(new, old, rows=(8, 12))
    plane = found.plane("data")
    assert (plane.compared, plane.max_abs, plane.worst[0].y) == (80, 4.0, 9)
    assert found.flags[0].same
    assert found.rows == (8, 12)
    assert "rows 8 to 11 only" in str(found)
    assert compare(new, old, rows=slice(None, 3)).plane("data").max_abs == 2.0


@pytest.mark.parametrize("rows", [(5, 5), (9, 3), (0, 17), slice(0, 16, 2), 7, ("a", "b"), (-40, 3)])
def test_rows_that_cannot_be(image, rows):
    with pytest.raises(OptionError, match="rows"):
        compare(image(), image(), rows=rows)


@pytest.mark.parametrize("threshold", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_threshold_that_cannot_be(image, threshold):
    with pytest.raises(OptionError, match="threshold_sigma"):
        compare(image(), image(), threshold_sigma=threshold)


def test_unknown_flag(image):
    with pytest.raises(OptionError, match="BROKEN"):
        compare(image(), image(), mask="BROKEN")


def test_the_error_is_that_of_the_archive_or_the_one_there_is(image):
    old, new = image(), image()
    new.data[0, 0] += 1
    new.err = np.full((16, 20), 0.25, np.float16)
    assert compare(new, old).plane("data").error_max == 2.0
    del old.err
    found = compare(new, old)
    assert (found.error_from, found.plane("data").error_max) == ("rerun", 4.0)
    assert "err (only in the rerun)" in found.differing
    del new.err
    assert compare(new, old).plane("data").error_max is None
    assert compare(new, old).error_from == ""


def test_unit_follows_the_flux_step(image):
    old = image(meta={"cal_step": {"flux": "COMPLETE"}})
    assert compare(old, old).plane("data").unit == "MJy/sr"
    assert compare(image(), old).plane("var_poisson").unit == "(DN/s)²"


def test_many_arrays_of_one_side_are_counted(image):
    new = image(**{f"extra_{number}": np.zeros(3) for number in range(4)})
    assert compare(new, image()).differing == tuple(f"extra_{number} (only in the rerun)" for number in range(4))
    assert "Different: 4 arrays only in the rerun." in str(compare(new, image()))


def test_other_byte_order(image):
    old = image(data=np.ones((16, 20), ">f4"), dq=np.zeros((16, 20), ">u4"))
    assert compare(image(), old).identical


def test_ramp_against_image(image, ramp):
    with pytest.raises(ProductLevelError, match=r"ramp \(rerun: r_linearity.asdf\) with a Level 2 image .*stop="):
        compare(ramp(), image())


def test_shapes_that_differ(image, ramp):
    with pytest.raises(ShapeError, match=r"\(16, 20\) \(rerun: r_cal.asdf\) with \(16, 24\)"):
        compare(image(), image((16, 24)))
    with pytest.raises(ShapeError, match="read pattern"):
        compare(ramp(), ramp((4, 16, 20)))


def test_damaged_products(image):
    with pytest.raises(ShapeError, match=r"err has shape \(3, 3\) but data has \(16, 20\)"):
        compare(image(), image(err=np.zeros((3, 3), np.float16)))
    with pytest.raises(ShapeError, match="none of them 0"):
        compare(image((0, 5)), image((0, 5)))


@pytest.mark.parametrize("thing", [3, None, [1, 2], SimpleNamespace(data="text"), {}])
def test_things_that_are_no_products(image, thing):
    with pytest.raises(InputError, match="cannot compare a"):
        compare(thing, image())


def test_files_that_are_no_products(image, tmp_path):
    with pytest.raises(FileFormatError, match="nothing.asdf"):
        compare(image(), tmp_path / "nothing.asdf")
    junk = tmp_path / "junk.asdf"
    junk.write_bytes(b"not a file of this kind")
    with pytest.raises(FileFormatError, match="junk.asdf"):
        compare(junk, image())


def test_products_of_other_kinds_are_refused():
    from roman_datamodels.datamodels import MosaicModel

    mosaic = MosaicModel.create_fake_data(shape=(2, 8, 8))
    with pytest.raises(ProductLevelError, match="MosaicModel"):
        compare(mosaic, mosaic)


def test_a_file_against_its_model(path, model):
    found = compare(path, model)
    assert found.identical, str(found)
    assert (found.new_name, found.old_name) == (path.name, path.name)
    assert any(array.name == "border_ref_pix_left" for array in found.arrays)
    changed = model.copy()
    changed.data = model.data + np.float32(0.05)
    again = compare(changed, str(path))
    assert again.plane("data").error_median == pytest.approx(0.5, abs=1e-3)
    assert again.differing == ("data",)


def test_a_row_of_a_search_is_opened_and_closed(path, model, image):
    import roman_datamodels.datamodels as rdm

    opened = []

    class Hit:
        def open(self):
            opened.append(rdm.open(path))
            return opened[-1]

    assert compare(model, Hit()).identical
    assert opened[0]._asdf._closed


def test_the_engines_results(image):
    from roman_nexus.engine.result import RampProduct, RateImage, Run

    plain = image()
    arrays = {name: value for name, value in vars(plain).items() if name != "meta"}
    made = RateImage(arrays, lambda: dict(plain.meta), "r", "cal")
    assert compare(made, plain).identical
    assert compare(made, plain).new_name == "r_cal.asdf"
    run = Run(None, None, made, {})
    assert compare(run, made).identical
    ramp = RampProduct({"data": np.zeros((2, 4, 4), np.float32)}, dict, "r", "linearity")
    assert compare(ramp, ramp).kind == "ramp"
    with pytest.raises(ProductLevelError):
        compare(run, ramp)


def test_mapping(image):
    assert compare(vars(image()), image()).identical


def test_reads_whole_images_by_blocks_of_rows(image):
    class Lazy:
        """An array that says how many rows were asked for at once."""

        largest = 0

        def __init__(self, array):
            self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim

        def __getitem__(self, key):
            piece = self.array[key]
            Lazy.largest = max(Lazy.largest, piece.shape[0])
            return piece

    whole = image((1000, 16))
    whole.data[700, 3] = 7
    lazy = SimpleNamespace(**{key: Lazy(value) if key != "meta" else value for key, value in vars(whole).items()})
    found = compare(lazy, image((1000, 16)))
    assert found.plane("data").worst[0].y == 700
    assert 0 < Lazy.largest <= 128


def test_json_round_trip(noisy, ramp):
    for pair in (noisy, (ramp(), ramp())):
        values = compare(*pair).to_dict()
        assert json.loads(json.dumps(values, allow_nan=False)) == values
    found = compare(*noisy).to_dict()
    assert found["identical"] is False
    assert found["planes"][0]["name"] == "data"
    assert found["planes"][0]["nan_only_new"] == 3
    assert "picture" not in found


def test_a_plane_that_was_not_compared(image):
    with pytest.raises(OptionError, match="no plane var_flat was compared; there are data, err"):
        compare(image(), image()).plane("var_flat")


def test_an_empty_array_that_a_newer_schema_demands_is_no_difference(image):
    flags = np.zeros((16, 20), np.uint32)
    assert compare(image(dq2=flags), image()).identical
    flags[3, 4] = 1
    assert "dq2 (only in the rerun)" in compare(image(dq2=flags), image()).differing
