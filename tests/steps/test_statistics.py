import numpy as np
import pytest
from astropy.stats import mad_std

from roman_nexus.errors import InputError, ShapeError
from roman_nexus.steps.statistics import image_statistics


def statistics_of(data, dq=None, err=None, **options):
    data = np.atleast_2d(np.array(data, dtype=np.float32))
    dq = np.zeros(data.shape, np.uint32) if dq is None else np.atleast_2d(np.array(dq, dtype=np.uint32))
    err = np.ones(data.shape, np.float16) if err is None else np.atleast_2d(np.array(err, dtype=np.float16))
    return image_statistics(data, dq, err, **options)


def test_odd_number_of_pixels():
    assert statistics_of([3.0, 1.0, 10.0]) == {
        "zodiacal_light": -1.0,
        "image_median": 3.0,
        "image_rms": float(np.float32(2.0) * np.float32(1.482602218505602)),  # deviations 0, 2, 7
        "good_pixel_fraction": 1.0,
    }


def test_even_number_of_pixels_takes_the_mean_of_the_middle():
    found = statistics_of([-1.0, 8.0, 2.0, 3.0])
    assert found["image_median"] == 2.5
    # deviations 3.5, 5.5, 0.5, 0.5: the median is 2
    assert found["image_rms"] == float(np.float32(2.0) * np.float32(1.482602218505602))


def test_only_good_pixels_count():
    data = [5.0, np.nan, np.inf, 99.0, 99.0, 99.0, 99.0, 7.0]
    dq = [0, 0, 0, 1, 0, 0, 0, 2 + 4]
    err = [1.0, 1.0, 1.0, 1.0, 0.0, -1.0, np.nan, np.inf]
    found = statistics_of(data, dq, err)
    assert found["image_median"] == 6.0
    assert found["good_pixel_fraction"] == 0.25


@pytest.mark.parametrize("data", [[np.nan, 1.0], []])
def test_no_good_pixel(data):
    found = statistics_of(data, err=np.zeros(len(data)))
    assert np.isnan(found["image_median"])
    assert np.isnan(found["image_rms"])
    assert found["good_pixel_fraction"] == 0.0


def hard_images():
    rng = np.random.default_rng(3)
    normal = rng.normal(0.3, 0.05, 4001)
    yield "normal", normal
    yield "wide", rng.normal(size=4000) * 10.0 ** rng.uniform(-38, 38, 4000)
    yield "many equal", np.round(normal * 20) / 20 - 0.3
    yield "signs", np.repeat([-0.0, 0.0, -1e-45, 1e-45, -1.0, 1.0], 3)
    yield "two bins apart", np.repeat([-1e30, 1e30], 50)
    yield "constant", np.full(10, np.float32(0.1))
    yield "one", np.array([4.0])


@pytest.mark.parametrize(
    ("name", "values"), list(hard_images()), ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("threads", [1, 3])
def test_equals_a_full_sort(name, values, threads):
    data = values.astype(np.float32).reshape(-1, 1)
    found = statistics_of(data, threads=threads)
    assert found["image_median"] == float(np.median(data))
    assert found["image_rms"] == float(mad_std(data))


def test_shapes_must_agree():
    with pytest.raises(ShapeError, match=r"\(1, 2\), \(1, 3\)"):
        statistics_of([1.0, 2.0], dq=[0, 0, 0])


def test_types_must_be_those_of_a_product():
    with pytest.raises(InputError, match="float64"):
        image_statistics(np.zeros((1, 1)), np.zeros((1, 1), np.uint32), np.zeros((1, 1), np.float16))
