"""Small products for the tests of the comparison."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def make_image(shape: tuple[int, int] = (16, 20), **changed: Any) -> SimpleNamespace:
    """A flat image of 1 DN/s with an error of 0.5 DN/s."""
    arrays = {
        "data": np.ones(shape, np.float32),
        "err": np.full(shape, 0.5, np.float16),
        "var_poisson": np.full(shape, 0.25, np.float16),
        "chisq": np.zeros(shape, np.float16),
        "dumo": np.zeros(shape, np.float16),
        "dq": np.zeros(shape, np.uint32),
        "meta": {"filename": "r_cal.asdf", "instrument": {"detector": "WFI01"}},
    }
    return SimpleNamespace(**(arrays | changed))


def make_ramp(shape: tuple[int, int, int] = (3, 16, 20), **changed: Any) -> SimpleNamespace:
    """A ramp that rises by 10 DN a resultant."""
    data = np.zeros(shape, np.float32) + 10 * np.arange(shape[0], dtype=np.float32)[:, None, None]
    arrays = {
        "data": data,
        "groupdq": np.zeros(shape, np.uint8),
        "pixeldq": np.zeros(shape[1:], np.uint32),
        "meta": {"filename": "r_linearity.asdf"},
    }
    return SimpleNamespace(**(arrays | changed))


@pytest.fixture
def image() -> Any:
    return make_image


@pytest.fixture
def ramp() -> Any:
    return make_ramp


@pytest.fixture
def noisy() -> Any:
    """Two images of 300 x 700 pixels that differ in many ways, for reports and pictures."""
    random = np.random.default_rng(7)
    shape = (300, 700)
    sky = (1 + 0.05 * random.normal(size=shape)).astype(np.float32)
    sky[100:104, 200:204] += 30
    old = make_image(shape, data=sky, err=np.full(shape, 0.05, np.float16))
    new = make_image(shape, data=(sky * 1.01).astype(np.float32), err=old.err, dq=old.dq.copy())
    new.data[250, 650] += 4
    new.dq[10:20, 10:20] |= 1 << 18
    old.dq[5, 5:9] |= 4
    new.data[0:3, 0] = np.nan
    new.meta = old.meta | {
        "filename": "mine_cal.asdf",
        "exposure": {"note": "<script>alert(1)</script>"},
        "ref_file": {"flat": "/home/me/my_flat.asdf"},
    }
    old.meta = old.meta | {"exposure": {"note": "?"}, "ref_file": {"flat": "roman_wfi_flat_0001.asdf"}}
    return new, old
