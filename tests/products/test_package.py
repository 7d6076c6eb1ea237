"""The package is cheap to import and its public names are there."""

import subprocess
import sys

import pytest

from roman_nexus import products


def test_every_public_name_is_found() -> None:
    for name in products.__all__:
        assert callable(getattr(products, name))
    assert set(products.__all__) <= set(dir(products))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        products.nothing  # noqa: B018


def test_importing_files_and_names_is_cheap() -> None:
    code = (
        "import sys, roman_nexus.products.files, roman_nexus.products.names, roman_nexus.products.export; "
        "heavy = {'asdf', 'astropy', 'gwcs', 'roman_datamodels', 'PIL', 'scipy'}; "
        "print(sorted(heavy.intersection(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
