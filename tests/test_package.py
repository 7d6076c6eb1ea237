"""The face of the package: cheap to import, every public name there, arrows downward."""

import subprocess
import sys

import pytest

import roman_nexus as rn


def test_import_brings_nothing_heavy() -> None:
    code = (
        "import sys, roman_nexus; heavy = {'numpy', 'asdf', 'astropy', 'numba', 'scipy', 'gwcs', 'roman_datamodels', "
        "'matplotlib'} & set(sys.modules); print(sorted(heavy)); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", rn.__all__)
def test_public_names_resolve(name: str) -> None:
    assert callable(getattr(rn, name))
    assert getattr(rn, name).__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        rn.nothing  # noqa: B018


def test_version() -> None:
    assert rn.__version__.count(".") == 2
