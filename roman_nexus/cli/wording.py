"""Advice of error messages in the words of the shell.

The library says what to do as one would type it in Python; here the same is said in options of the command.
"""

from __future__ import annotations

import re
from re import Match

__all__ = ["in_shell_words"]


def _waiver(found: Match[str]) -> str:
    fields = re.findall(r"'(\w+)'", found["fields"])
    return f"--waive {found['type']}={','.join(fields)}"


def _step(found: Match[str]) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", found["step"]).lower()


_RULES = (
    (re.compile(r"\bwaive=\{'(?P<type>\w+)': \[(?P<fields>[^]]*)\]\}"), _waiver),
    (re.compile(r"\breferences=\{'(?P<type>\w+)': path\}"), r"--reference \g<type>=PATH"),
    (re.compile(r"\b(?P<step>[A-Z]\w+)Options\b"), _step),
    (re.compile(r"\bstop='(\w+)'"), r"--to \1"),
    (re.compile(r"\bstart='(\w+)'"), r"--start \1"),
    (re.compile(r"\bstop=(?=\s)"), "--to"),
    (re.compile(r"\bcache=False\b"), "--no-cache"),
    (re.compile(r"\bmemory_budget_mb\b"), "--memory-budget"),
    (re.compile(r"\benvironment=\.\.\."), "--environment"),
)


def in_shell_words(message: str) -> str:
    """Say the same with the options of the command.

    Parameters
    ----------
    message : str
        Of an error of the library.

    Examples
    --------
    >>> in_shell_words("to use it all the same: waive={'flat': ['type', 'detector']}")
    'to use it all the same: --waive flat=type,detector'
    >>> in_shell_words("RampFitOptions has no option 'algoritm'")
    "ramp_fit has no option 'algoritm'"
    """
    for pattern, replacement in _RULES:
        message = pattern.sub(replacement, message)
    return message
