"""What the shell offers when a value is being typed: steps, reference types, options."""

from __future__ import annotations

__all__ = ["complete_option", "complete_reference", "complete_schema", "complete_step", "complete_stop"]


def complete_step(incomplete: str) -> list[str]:
    """Offer the steps.

    Examples
    --------
    >>> complete_step("dark")
    ['dark_decay', 'dark_current']
    """
    from roman_nexus.engine.pipelines import step_names

    return [name for name in step_names() if name.startswith(incomplete)]


def complete_stop(incomplete: str) -> list[str]:
    """Offer "L2" and the steps."""
    return [name for name in ("L2",) if name.startswith(incomplete)] + complete_step(incomplete)


def complete_reference(incomplete: str) -> list[str]:
    """Offer the reference types that the steps use, each followed by an equals sign.

    Examples
    --------
    >>> complete_reference("fl")
    ['flat=']
    """
    from roman_nexus.engine.pipelines import load_step, step_names

    types = dict.fromkeys(needs.reftype for name in step_names() for needs in load_step(name).references)
    return [f"{reftype}=" for reftype in types if reftype.startswith(incomplete)]


def complete_option(incomplete: str) -> list[str]:
    """Offer the options of the steps, each followed by an equals sign.

    Examples
    --------
    >>> complete_option("saturation.")
    ['saturation.n_pix_grow_sat=', 'saturation.backup=']
    """
    import dataclasses

    from roman_nexus.engine.pipelines import load_step, step_names

    known = (f"{name}.{item.name}=" for name in step_names() for item in dataclasses.fields(load_step(name).options))
    return [text for text in known if text.startswith(incomplete)]


def complete_schema(incomplete: str) -> list[str]:
    """Offer the schemas that can be written."""
    return [name for name in ("newest", "as-input", "2.1.0") if name.startswith(incomplete)]
