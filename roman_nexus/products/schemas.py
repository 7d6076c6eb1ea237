"""Versions of the mission's schemas: which are installed, and which tag a product gets.

The schemas of one release of rad are listed in a manifest (1.0.0 to 2.2.0 so far): 2.0.0 belongs to rad 1.0, 2.1.0 to
rad 1.1, 2.2.0 to rad 1.2. A product's own version may lag behind its manifest's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from roman_nexus.errors import SchemaVersionError
from roman_nexus.products.arrays import Kind

__all__ = ["PRODUCTS", "SchemaVersion", "parse_tag", "target_tag"]

TAG = re.compile(r"asdf://stsci\.edu/datamodels/roman/tags/(?P<product>.+)-(?P<version>\d+\.\d+\.\d+)")
OLDEST = (2, 0, 0)  # older schemas tag single scalars; nothing needs them written
#: Name of the schema by kind of product.
PRODUCTS: dict[Kind, str] = {
    "science_raw": "wfi_science_raw",
    "ramp": "ramp",
    "image": "wfi_image",
    "wcs": "wfi_wcs",
}
Version = tuple[int, int, int]


class SchemaVersion(NamedTuple):
    """Which schema a file was written under.

    Attributes
    ----------
    product : str
        For example "wfi_image".
    version : str
        For example "2.2.0".
    tag : str
        The whole tag.
    """

    product: str
    version: str
    tag: str

    def __str__(self) -> str:
        return f"{self.product}-{self.version}"


def parse_tag(tag: str | None, name: str) -> SchemaVersion:
    """Take the tag of a ``roman`` tree apart; `name` is that of the file, for the message.

    Raises
    ------
    SchemaVersionError
        If it is no tag of the mission.
    """
    found = TAG.fullmatch(tag or "")
    if found is None:
        msg = f"{name} was written under no schema of the mission: the tag of its 'roman' tree is {tag!r}"
        raise SchemaVersionError(msg)
    return SchemaVersion(found["product"], found["version"], found[0])


def target_tag(kind: Kind, schema: str, input_tag: str | None) -> tuple[str, Version]:
    """Choose the tag under which a product is written.

    Parameters
    ----------
    kind : {"science_raw", "ramp", "image", "wcs"}
    schema : str
        "newest", "as-input" or a version of the manifest.
    input_tag : str or None
        Tag of the input, for "as-input".

    Returns
    -------
    tag : str
    manifest : tuple of int
        Version of the manifest.

    Raises
    ------
    SchemaVersionError
        If the version is not installed or too old to be written.
    """
    product = PRODUCTS[kind]
    manifests = _manifests()
    if schema == "as-input":
        if input_tag is None:
            msg = "schema 'as-input' needs input_tag, the tag of the input: schema_version(path).tag"
            raise SchemaVersionError(msg)
        fitting = [version for version, tags in manifests.items() if input_tag in tags]
        if not fitting:
            msg = f"the schema {input_tag!r} of the input is not installed; choose schema 'newest' or '2.1.0'"
            raise SchemaVersionError(msg)
        version = max(fitting)
    elif schema == "newest":
        version = max(version for version, tags in manifests.items() if _tag_of(product, tags))
    else:
        version = _parse_version(schema, manifests)
    tag = _tag_of(product, manifests[version])
    if version < OLDEST or tag is None:
        written = ", ".join(_dotted(known) for known in sorted(manifests) if known >= OLDEST)
        msg = f"cannot write a {kind} under schemas {_dotted(version)}; those written here are {written}"
        raise SchemaVersionError(msg)
    return tag, version


def _parse_version(schema: str, manifests: Iterable[Version]) -> Version:
    for version in manifests:
        if _dotted(version) == schema:
            return version
    known = ", ".join(_dotted(version) for version in sorted(manifests) if version >= OLDEST)
    msg = f"schema {schema!r} is not installed; give 'newest', 'as-input' or one of {known}"
    raise SchemaVersionError(msg)


def _dotted(version: Iterable[int]) -> str:
    return ".".join(map(str, version))


def _tag_of(product: str, tags: Iterable[str]) -> str | None:
    return next((tag for tag in tags if tag.rpartition("/")[2].rpartition("-")[0] == product), None)


@cache
def _manifests() -> dict[Version, tuple[str, ...]]:
    """Return the tags of each installed manifest of schemas, by its version."""
    import asdf
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    resources = asdf.get_config().resource_manager
    manifests = {}
    for uri in resources:
        found = re.fullmatch(r"asdf://stsci\.edu/datamodels/roman/manifests/datamodels-(\d+)\.(\d+)\.(\d+)", uri)
        if found:
            content = yaml.load(resources[uri], Loader=loader)
            major, minor, patch = (int(number) for number in found.groups())
            manifests[(major, minor, patch)] = tuple(entry["tag_uri"] for entry in content["tags"])
    return manifests
