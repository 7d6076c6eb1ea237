"""Settings: defaults < file < environment ``ROMAN_NEXUS_*`` < argument.

The file is ``config.toml`` in the user's configuration folder (``roman-nexus doctor`` prints where), or the
one that ``ROMAN_NEXUS_CONFIG`` names. Nothing is read until `load` is called.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roman_nexus.errors import OptionError

__all__ = ["Settings", "load"]

PREFIX = "ROMAN_NEXUS_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a user may set once instead of saying it in every call.

    Attributes
    ----------
    cache_dir : str
        Folder of cached results, digests and scratch files.
    cache_limit_gb : float
        Size at which the oldest cached results are removed, GB; 0 switches the cache off.
    scratch_dir : str
        Folder of scratch files during a run; empty means ``cache_dir``.
    threads : int
        Worker threads; 0 means as many as there are processors.
    memory_budget_mb : float
        A plan that needs more is refused before it starts, MB; 0 means what the machine has free.
    references : str
        Reference source: a folder, ``crds`` or ``crds:<context>``, ``crds-cache`` (a CRDS cache on disk, no network),
        ``recorded`` (the files that the product names), or empty (see `roman_nexus.reprocess`).
    schema : str
        Schema version to write: ``newest``, ``as-input`` or a manifest version such as ``2.1.0``.
    progress : bool
        Show progress of anything that takes more than two seconds.
    """

    cache_dir: str = ""
    cache_limit_gb: float = 20.0
    scratch_dir: str = ""
    threads: int = 0
    memory_budget_mb: float = 0.0
    references: str = ""
    schema: str = "newest"
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("cache_limit_gb", "threads", "memory_budget_mb"):
            if getattr(self, name) < 0:
                msg = f"setting {name} is {getattr(self, name)}; it must be 0 or more"
                raise OptionError(msg)
        if not self.cache_dir:
            from platformdirs import user_cache_path

            object.__setattr__(self, "cache_dir", str(user_cache_path("roman_nexus")))

    @property
    def cache_path(self) -> Path:
        """Folder of the cache as a path."""
        return Path(self.cache_dir).expanduser()

    @property
    def scratch_path(self) -> Path:
        """Folder of scratch files as a path."""
        return Path(self.scratch_dir).expanduser() if self.scratch_dir else self.cache_path / "scratch"

    @property
    def worker_threads(self) -> int:
        """Number of worker threads to use."""
        return self.threads or len(os.sched_getaffinity(0))


def config_file() -> Path:
    """Return where the settings file is looked for."""
    if named := os.environ.get(PREFIX + "CONFIG"):
        return Path(named).expanduser()
    from platformdirs import user_config_path

    return user_config_path("roman_nexus") / "config.toml"


def load(**arguments: Any) -> Settings:
    """Gather the settings from file, environment and arguments.

    Parameters
    ----------
    **arguments
        Fields of `Settings`; None means "not given".

    Raises
    ------
    OptionError
        If a name is unknown or a value cannot be read.

    Examples
    --------
    >>> from roman_nexus.settings import load
    >>> load(threads=2).worker_threads
    2
    """
    values: dict[str, Any] = {}
    path = config_file()
    if path.is_file():
        try:
            values.update({name: (value, str(path)) for name, value in tomllib.loads(path.read_text()).items()})
        except tomllib.TOMLDecodeError as error:
            msg = f"settings file {path} is not valid TOML: {error}"
            raise OptionError(msg) from error
    fields = {item.name: item for item in dataclasses.fields(Settings)}
    for name in fields:
        if (text := os.environ.get(PREFIX + name.upper())) is not None:
            values[name] = (text, PREFIX + name.upper())
    values.update({name: (value, "argument") for name, value in arguments.items() if value is not None})
    for name, (_, origin) in values.items():
        if name not in fields:
            msg = f"unknown setting {name!r} ({origin}); the settings are {', '.join(fields)}"
            raise OptionError(msg)
    return Settings(**{name: _convert(name, value, origin) for name, (value, origin) in values.items()})


def _convert(name: str, value: Any, origin: str) -> Any:
    """Turn text of a file or the environment into the field's type."""
    kind = type(getattr(_DEFAULTS, name))
    if kind is bool and isinstance(value, str):
        words = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)
        if value.lower() not in words:
            msg = f"setting {name} from {origin} is {value!r}; expected one of {', '.join(words)}"
            raise OptionError(msg)
        return words[value.lower()]
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        msg = f"setting {name} from {origin} is {value!r}; expected {kind.__name__}"
        raise OptionError(msg) from error


_DEFAULTS = Settings(cache_dir="unset")
