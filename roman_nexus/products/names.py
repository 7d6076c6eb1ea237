"""File names of the mission: parse, compose, and the names that belong together.

Every name that the mission's data systems give to a product is one of seven kinds, each a frozen dataclass here.
Composing what was parsed gives the same name, and parsing what was composed gives an equal object. Names are written
in lower case; detectors and optical elements are upper case here, as in metadata and in the archive's columns.

The grammar is read from the names in the public archive, tutorials and pipeline tests (no grammar is published):

* visit: ``r<program 5><plan 2><pass 3><segment 3><observation 3><visit 3>``, never alone
* detector: ``<visit>_<exposure 4>_wfi<nn>_<element>_<suffix>.<ext>``
* exposure: the same without a detector, ``<visit>_<exposure 4>_<suffix>.<ext>``
* coadd: ``r<program 5>_<release>_<group>_<skycell>_<element>_<suffix>.<ext>``; without an element it is multiband
* ground test, truth catalog, light curve and reference file: see their classes

Without suffix and extension the name is that of a file set, all products of one detector exposure or one skycell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from os import PathLike, fspath
from typing import Any, ClassVar, Self

from roman_nexus.errors import FileNameError
from roman_nexus.products.grammar import COADD, DETECTOR, EXPOSURE, GROUND, LIGHTCURVE, REFERENCE, TRUTH, Grammar
from roman_nexus.products.levels import SUFFIXES, expected_suffixes

__all__ = [
    "CoaddName",
    "DetectorName",
    "ExposureName",
    "GroundTestName",
    "LightcurveName",
    "ProductName",
    "ReferenceName",
    "TruthName",
    "parse",
]

DETECTORS = tuple(f"WFI{number:02d}" for number in range(1, 19))


@dataclass(frozen=True, slots=True)
class ProductName:
    """Parent of all names. Making one checks it; `str` composes it.

    Raises
    ------
    FileNameError
        Naming the part that is wrong.
    """

    kind: ClassVar[str]
    grammar: ClassVar[Grammar]

    def __post_init__(self) -> None:
        read = _values(type(self), self.grammar.match(self.compose()))
        for field in fields(self):
            if read[field.name] != getattr(self, field.name):
                msg = (
                    f"{field.name} {getattr(self, field.name)!r} cannot stand in a {self.kind} name: "
                    f"it would be read back as {read[field.name]!r}"
                )
                raise FileNameError(msg)

    def compose(self) -> str:
        """Write the name."""
        return self.grammar.write({field.name: getattr(self, field.name) for field in fields(self)})

    def __str__(self) -> str:
        return self.compose()

    @classmethod
    def parse(cls, name: str | PathLike[str]) -> Self:
        """Read a name of this kind; a path is stripped to its last part."""
        base = re.split(r"[/\\]", fspath(name))[-1]
        return cls(**_values(cls, cls.grammar.match(base)))

    @property
    def level(self) -> int | None:
        """Level of the data, 1 to 4, or None for a file set or a file without a level."""
        known = SUFFIXES.get(getattr(self, "suffix", None) or "")
        return known.level if known is not None else None

    @property
    def is_fileset(self) -> bool:
        """Whether suffix and extension are missing."""
        return getattr(self, "ext", "") is None


@dataclass(frozen=True, slots=True)
class _WithSuffix(ProductName):
    """Parent of the names that end in ``_<suffix>.<ext>``, or name a file set without it."""

    def with_suffix(self, suffix: str, ext: str | None = None) -> Self:
        """Return the name of another product of the same file set.

        Parameters
        ----------
        suffix : str
            For example "cal".
        ext : str, optional
            By default the usual one of the suffix, else "asdf".
        """
        known = SUFFIXES.get(suffix)
        extension = ext or (known.extension if known else "asdf")
        return replace(self, suffix=suffix, ext=extension)  # type: ignore[call-arg]

    @property
    def fileset(self) -> Self:
        """The name without suffix and extension, as the archive's search has it."""
        return replace(self, suffix=None, ext=None)  # type: ignore[call-arg]


@dataclass(frozen=True, slots=True)
class _OfVisit(_WithSuffix):
    """The 19 digits of a visit and the exposure in it."""

    program: int
    execution_plan: int
    pass_: int
    segment: int
    observation: int
    visit: int
    exposure: int

    @property
    def visit_id(self) -> str:
        """The 19 digits of the visit, as in ``meta.observation.visit_id``."""
        return self.compose()[1:20]

    @property
    def observation_id_pattern(self) -> str:
        """Pattern for ``meta.observation.observation_id``, which may have more digits in its middle."""
        return f"{self.visit_id}*{self.exposure:04d}"


@dataclass(frozen=True, slots=True)
class DetectorName(_OfVisit):
    """A product of one detector in one exposure.

    Attributes
    ----------
    program, execution_plan, pass_, segment, observation, visit, exposure : int
    detector : str
        "WFI01" to "WFI18".
    optical_element : str or None
        For example "F158"; None in names of older documentation.
    suffix, ext : str or None
        Both None for a file set.

    Examples
    --------
    >>> name = DetectorName.parse("r0003201001001001004_0001_wfi01_f106_cal.asdf")
    >>> name.program, name.visit, name.detector, name.level
    (32, 4, 'WFI01', 2)
    >>> str(name.with_suffix("cat"))
    'r0003201001001001004_0001_wfi01_f106_cat.parquet'
    """

    kind: ClassVar[str] = "sca"
    grammar: ClassVar[Grammar] = DETECTOR

    detector: str
    optical_element: str | None = None
    suffix: str | None = None
    ext: str | None = None

    def members(self, kinds: Iterable[str] | None = None, *, survey: str | None = None) -> tuple[DetectorName, ...]:
        """Return the products of this file set: those of the suffixes `kinds`, or all the archive normally has."""
        element = self.optical_element
        names = expected_suffixes("detector", optical_element=element, survey=survey) if kinds is None else kinds
        return tuple(self.with_suffix(name) for name in names)

    def siblings(self, *, survey: str | None = None) -> tuple[DetectorName, ...]:
        """Return the other products of the same file set that the archive normally has."""
        return tuple(name for name in self.members(survey=survey) if name != self)

    def across_detectors(self) -> tuple[DetectorName, ...]:
        """Return the same product of all 18 detectors."""
        return tuple(replace(self, detector=detector) for detector in DETECTORS)

    @property
    def whole_exposure(self) -> ExposureName:
        """The name of the exposure, without a detector."""
        return ExposureName(*(getattr(self, field.name) for field in fields(_OfVisit)))


@dataclass(frozen=True, slots=True)
class ExposureName(_OfVisit):
    """A product of a whole exposure, or the exposure itself.

    Attributes
    ----------
    program, execution_plan, pass_, segment, observation, visit, exposure : int
    suffix, ext : str or None

    Examples
    --------
    >>> exposure = ExposureName.parse("r0003201001001001004_0001")
    >>> len(exposure.members(["uncal", "cal"], optical_element="F106"))
    36
    """

    kind: ClassVar[str] = "exposure"
    grammar: ClassVar[Grammar] = EXPOSURE

    suffix: str | None = None
    ext: str | None = None

    def members(
        self, kinds: Iterable[str] | None = None, *, optical_element: str | None, survey: str | None = None
    ) -> tuple[DetectorName, ...]:
        """Return the products of all 18 detectors: those of the suffixes `kinds`, or all the archive normally has."""
        visit = {field.name: getattr(self, field.name) for field in fields(_OfVisit)}
        suffixes = None if kinds is None else list(kinds)
        filesets = (DetectorName(**visit, detector=detector, optical_element=optical_element) for detector in DETECTORS)
        return tuple(name for fileset in filesets for name in fileset.members(suffixes, survey=survey))


@dataclass(frozen=True, slots=True)
class CoaddName(_WithSuffix):
    """A product on a skycell.

    Attributes
    ----------
    program : int
    release : str
        "p" for prompt, else the data release, for example "r0" or "dr01".
    group : str
        What was coadded: ``v`` + 14 digits (a visit), ``d`` + 8 (a day), ``p`` + 5 (a pass), "full" or "user".
    skycell : str
        For example "270p65x69y50": projection region, then the cell in it.
    optical_element : str or None
        None for multiband products.
    suffix, ext : str or None

    Examples
    --------
    >>> name = CoaddName.parse("r00342_p_v01001001004017_010m42x30y36_f146_coadd.asdf")
    >>> name.level, name.visit_id, name.skycell
    (3, '0034201001001004017', '010m42x30y36')
    """

    kind: ClassVar[str] = "coadd"
    grammar: ClassVar[Grammar] = COADD

    program: int
    release: str
    group: str
    skycell: str
    optical_element: str | None = None
    suffix: str | None = None
    ext: str | None = None

    @property
    def visit_id(self) -> str | None:
        """The 19 digits of the visit, or None where the group is not one visit."""
        return f"{self.program:05d}{self.group[1:]}" if self.group.startswith("v") else None

    @property
    def is_prompt(self) -> bool:
        """Whether this is a prompt product, not one of a data release."""
        return self.release == "p"

    def members(self, kinds: Iterable[str] | None = None) -> tuple[CoaddName, ...]:
        """Return the products of this file set: those of the suffixes `kinds`, or all the archive normally has."""
        names = expected_suffixes("skycell", optical_element=self.optical_element) if kinds is None else kinds
        return tuple(self.with_suffix(name) for name in names)

    def siblings(self) -> tuple[CoaddName, ...]:
        """Return the other products of the same file set that the archive normally has."""
        return tuple(name for name in self.members() if name != self)

    def supersedes(self, other: CoaddName) -> bool:
        """Whether this release product takes the place of the prompt product `other`.

        It does when program, skycell, filter and suffix agree and it coadds the same group or everything.
        """
        same = replace(other, release=self.release, group=self.group) == self
        return same and other.is_prompt and not self.is_prompt and self.group in (other.group, "full")


@dataclass(frozen=True, slots=True)
class GroundTestName(_WithSuffix):
    """A file of a test on the ground, ``TVAC2_<test>_<otp>_<YYYYMMDDhhmmss>_WFI04_<suffix>.asdf``."""

    kind: ClassVar[str] = "ground_test"
    grammar: ClassVar[Grammar] = GROUND

    campaign: str
    test: str
    otp: str
    start: str
    detector: str
    suffix: str | None = None
    ext: str | None = None


@dataclass(frozen=True, slots=True)
class TruthName(ProductName):
    """A tile of the simulations' input catalog, ``cat-<healpix>.fits`` (nside 512, nested, galactic frame)."""

    kind: ClassVar[str] = "truth"
    grammar: ClassVar[Grammar] = TRUTH

    healpix: int
    ext: str = "fits"


@dataclass(frozen=True, slots=True)
class LightcurveName(ProductName):
    """A frame of the tutorial's supernova series, ``roman_sn1a_<mjd>_<element>.asdf``."""

    kind: ClassVar[str] = "lightcurve"
    grammar: ClassVar[Grammar] = LIGHTCURVE

    mjd: int
    optical_element: str
    ext: str = "asdf"


@dataclass(frozen=True, slots=True)
class ReferenceName(ProductName):
    """A calibration reference file or a mapping of the reference system, ``roman_wfi_<type>_<serial>.<ext>``.

    Attributes
    ----------
    instrument : str or None
        "wfi", or None for the top context (pmap).
    reftype : str or None
        None for an instrument's context (imap).
    serial : int
    ext : str
    """

    kind: ClassVar[str] = "crds"
    grammar: ClassVar[Grammar] = REFERENCE

    instrument: str | None
    reftype: str | None
    serial: int
    ext: str


_CHOICES: tuple[tuple[re.Pattern[str], type[ProductName]], ...] = (
    (re.compile(r"roman_sn"), LightcurveName),
    (re.compile(r"roman_"), ReferenceName),
    (re.compile(r"cat-"), TruthName),
    (re.compile(r"(?:TVAC|FPS)"), GroundTestName),
    (re.compile(r"r\d{6,}_[^_]*_wfi"), DetectorName),
    (re.compile(r"r\d{6,}"), ExposureName),
    (re.compile(r"r\d{1,5}_"), CoaddName),
)


def parse(name: str | PathLike[str]) -> ProductName:
    """Read a file name, or the last part of a path or URI.

    Parameters
    ----------
    name : str or path

    Returns
    -------
    ProductName
        One of the seven kinds.

    Raises
    ------
    FileNameError
        Naming the part that is wrong.

    Examples
    --------
    >>> parse("r0000201001001001001_0001_wfi08_grism").is_fileset
    True
    >>> parse("s3://bucket/r00004_p_full_270p65x69y50_f062_coadd.asdf").kind
    'coadd'
    """
    base = re.split(r"[/\\]", fspath(name))[-1]
    for start, kind in _CHOICES:
        if start.match(base):
            return kind.parse(base)
    msg = (
        f"{base!r} is not a name of the mission: it starts neither with r and digits (a product), roman_ (a reference "
        "file), cat- (a truth catalog), nor TVAC or FPS (a ground test)"
    )
    raise FileNameError(msg)


def _values(kind: type[ProductName], tokens: dict[str, str | None]) -> dict[str, Any]:
    """Turn the tokens of a name into the values of the fields of `kind`."""
    values: dict[str, Any] = {}
    for field in fields(kind):
        text = tokens.get(field.name)
        values[field.name] = text if text is None else kind.grammar.tokens[field.name].read(text)
    return values
