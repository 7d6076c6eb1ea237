"""Every exception and warning of roman_nexus.

::

    RomanNexusError
    ├── ProductError                 what a product is
    │   ├── FileNameError            (ValueError)         a name outside the grammar
    │   ├── FileFormatError          (OSError)            not ASDF, truncated, no ``roman`` tree
    │   ├── SchemaVersionError       (ValueError)         newer than anything we can read or write
    │   └── ProductLevelError        (ValueError)         right file, wrong kind of product
    ├── ReferenceFileError           which references apply
    │   ├── ReferenceNotFoundError   (LookupError)        no candidate, or the file is gone
    │   └── ReferenceMismatchError   (ValueError)         found, but not for these data
    ├── InputError                   (ValueError)         metadata or arrays that cannot be calibrated
    │   └── ShapeError               (ValueError)         array shapes that do not fit together
    ├── OptionError                  (ValueError)         an option out of its range, or unknown
    ├── PlanError                    what was asked cannot be planned
    │   ├── StepError                (ValueError)         unknown step, or steps in an impossible order
    │   └── MemoryBudgetError        (MemoryError)        the plan needs more than it is allowed
    ├── RunError                     a run that started and could not finish
    │   ├── RunCancelled             (Exception)          the user said stop
    │   ├── OutputError              (OSError)            the result cannot be written
    │   └── CacheError               (OSError)            the cache cannot be used
    └── MissingSoftwareError         (RuntimeError)       something that must be installed is not

    RomanNexusWarning                (UserWarning)
    ├── SchemaVersionWarning         written by a newer schema, opened in tolerant mode
    ├── MissingReferenceWarning      a step is skipped for want of an optional reference
    └── DataWarning                  odd but usable input

Each class has a builtin parent too, so that ``except ValueError`` works. A message says what was
wrong, the value, what was expected and what to do.
"""

from __future__ import annotations


class RomanNexusError(Exception):
    """Parent of every error that roman_nexus raises on purpose."""


class ProductError(RomanNexusError):
    """Something about a product."""


class FileNameError(ProductError, ValueError):
    """A file name that the mission's grammar does not know."""


class FileFormatError(ProductError, OSError):
    """A file that is not what it should be: not ASDF, truncated, no ``roman`` tree."""


class SchemaVersionError(ProductError, ValueError):
    """A schema version that cannot be read or written here."""


class ProductLevelError(ProductError, ValueError):
    """A product of the wrong kind for what was asked."""


class ReferenceFileError(RomanNexusError):
    """Something about a reference file."""


class ReferenceNotFoundError(ReferenceFileError, LookupError):
    """No reference file applies, or the file is not there."""


class ReferenceMismatchError(ReferenceFileError, ValueError):
    """A reference that does not belong to these data."""


class InputError(RomanNexusError, ValueError):
    """Metadata or arrays from which no calibration can start."""


class ShapeError(InputError):
    """Arrays whose shapes do not fit together."""


class OptionError(RomanNexusError, ValueError):
    """An option that does not exist or is outside its range."""


class PlanError(RomanNexusError):
    """What was asked cannot be planned."""


class StepError(PlanError, ValueError):
    """An unknown step, or steps in an impossible order."""


class MemoryBudgetError(PlanError, MemoryError):
    """The plan would need more memory than it is allowed."""


class RunError(RomanNexusError):
    """A run that started and could not finish."""


class RunCancelled(RunError):  # noqa: N818 - cancelling is not an error of the user
    """The run was cancelled; nothing was left under a final name."""


class OutputError(RunError, OSError):
    """A result that cannot be written."""


class CacheError(RunError, OSError):
    """The cache cannot be used."""


class MissingSoftwareError(RomanNexusError, RuntimeError):
    """Something that must be installed is not."""


class RomanNexusWarning(UserWarning):
    """Parent of every warning."""


class SchemaVersionWarning(RomanNexusWarning):
    """A file written by a newer schema was opened in tolerant mode."""


class MissingReferenceWarning(RomanNexusWarning):
    """A step is skipped because an optional reference is missing."""


class DataWarning(RomanNexusWarning):
    """Input that is odd but usable."""
