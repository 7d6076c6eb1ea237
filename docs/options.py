"""Write options.md, the list of all options, from the steps themselves: ``python docs/options.py``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from roman_nexus.engine.pipelines import load_step, step_names

PAGE = Path(__file__).with_name("options.md")
HEAD = """# Options of the steps

Written by `python docs/options.py` from the steps themselves. How to give them: [rerun](rerun.md#options). The
defaults are those of romancal 1.1.0; an option whose default is `romancal`, or which says so, switches off one of its
slips ([differences](differences.md)).
"""


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for name in step_names():
        step = load_step(name)
        needs = [f"{item.reftype}{_WHEN_MISSING[item.missing]}" for item in step.references]
        parts.append(f"## {name}\n\n{step.title}. References: {', '.join(needs) or 'none'}.\n")
        fields = dataclasses.fields(step.options)
        if not fields:
            parts.append("No options.\n")
            continue
        rows = [
            f"| `{item.name}` | {_kind(item.type)} | `{_default(item.default)}` | {item.metadata['doc']}{_unit(item)} |"
            for item in fields
        ]
        parts.append("\n".join(["| option | values | default | meaning |", "|---|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


_WHEN_MISSING = {"error": " (must be there)", "skip": " (without it the step is skipped)", "without": " (optional)"}


def _kind(annotation: object) -> str:
    text = str(annotation)
    if text.startswith("Literal["):
        return text.removeprefix("Literal[").removesuffix("]").replace("'", "`").replace('"', "`")
    return text.replace("|", "or").replace("bool", "true, false")


def _default(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unit(item: dataclasses.Field[object]) -> str:
    unit = item.metadata.get("unit")
    return f" ({unit})" if unit else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
