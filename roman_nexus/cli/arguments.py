"""Reading ``name=value`` arguments."""

from __future__ import annotations

import json
from typing import Any

from roman_nexus.errors import OptionError

__all__ = ["parse_options", "parse_references", "parse_waivers"]


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        msg = f"{option} {text!r} is not of the form {example}"
        raise OptionError(msg)
    return name.strip(), value.strip()


def parse_references(texts: list[str]) -> dict[str, str]:
    """Read ``flat=my_flat.asdf`` arguments.

    Examples
    --------
    >>> parse_references(["flat=my_flat.asdf", "dark=skip"])
    {'flat': 'my_flat.asdf', 'dark': 'skip'}
    """
    return dict(_pair(text, "--reference", "type=path, for example flat=my_flat.asdf") for text in texts)


def parse_options(texts: list[str]) -> dict[str, dict[str, Any]]:
    """Read ``ramp_fit.algorithm=ols_cas22`` arguments; values are JSON where they can be.

    Examples
    --------
    >>> parse_options(["ramp_fit.algorithm=ols_cas22", "saturation.n_pix_grow_sat=1"])
    {'ramp_fit': {'algorithm': 'ols_cas22'}, 'saturation': {'n_pix_grow_sat': 1}}
    """
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, value = _pair(text, "--option", "step.option=value, for example ramp_fit.algorithm=ols_cas22")
        step, dot, option = name.partition(".")
        if not dot or not option:
            msg = f"--option {text!r} does not name a step; write step.option=value"
            raise OptionError(msg)
        try:
            parsed = json.loads(value.lower() if value in ("True", "False", "None") else value)
        except ValueError:
            parsed = None if value == "None" else value
        options.setdefault(step, {})[option] = parsed
    return options


def parse_waivers(texts: list[str]) -> dict[str, list[str]]:
    """Read ``flat=optical_element,detector`` arguments.

    Examples
    --------
    >>> parse_waivers(["flat=optical_element,detector"])
    {'flat': ['optical_element', 'detector']}
    """
    pairs = [_pair(text, "--waive", "type=field, for example flat=optical_element") for text in texts]
    return {name: [field.strip() for field in value.split(",")] for name, value in pairs}
