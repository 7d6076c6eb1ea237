"""``roman-nexus doctor`` and ``roman-nexus cache``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["cache_commands", "command"]

_PACKAGES = ("numpy", "scipy", "numba", "astropy", "asdf", "gwcs", "roman-datamodels", "rad", "lz4", "crds")
_DISK_MB, _MEMORY_MB = 2000, 1000  #: what a full frame needs

cache_commands = typer.Typer(help="The cache of results.", no_args_is_help=True, rich_markup_mode=None)


def command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """Say what is installed, where things are kept, and what would go wrong."""
    import dataclasses
    import os
    import platform

    from roman_nexus.engine.cost import available_memory_mb
    from roman_nexus.settings import PREFIX, config_file, load

    settings = load()
    memory_mb = available_memory_mb()
    places, problems = _places({"cache": settings.cache_path, "scratch files": settings.scratch_path})
    if memory_mb < _MEMORY_MB:
        problems.append(f"only {memory_mb:.0f} MB of memory are free; a full frame needs about {_MEMORY_MB} MB")
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
        "free_memory_mb": round(memory_mb),
        "packages": _versions(),
        "settings": dataclasses.asdict(settings),
        "settings_file": f"{config_file()}{'' if config_file().is_file() else ' (not there)'}",
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(PREFIX)},
        "free_disk_mb": places,
        "problems": problems,
    }
    if as_json:
        typer.echo(json.dumps(report, indent=1))
        return 1 if problems else 0
    for name, value in report.items():
        if name == "problems" or value == {}:
            continue
        if isinstance(value, dict):
            typer.echo(name)
            for key, item in value.items():
                typer.echo(f"  {key:<26} {item}")
        else:
            typer.echo(f"{name:<28} {value}")
    typer.echo("\n".join(f"problem: {text}" for text in problems) or "no problems found")
    return 1 if problems else 0


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("roman-nexus", *_PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _places(folders: dict[str, Path]) -> tuple[dict[str, int], list[str]]:
    """Return the room in folders that exist or would be made, MB, and what is wrong with them."""
    import os
    import shutil

    free: dict[str, int] = {}
    problems = []
    for what, folder in folders.items():
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        free[what] = round(shutil.disk_usage(there).free / 1e6)
        variable = "ROMAN_NEXUS_CACHE_DIR" if what == "cache" else "ROMAN_NEXUS_SCRATCH_DIR"
        if not there.is_dir() or not os.access(there, os.W_OK):
            problems.append(f"the folder of the {what}, {folder}, cannot be written; set {variable}")
        elif free[what] < _DISK_MB:
            problems.append(
                f"only {free[what]} MB are free for the {what} in {folder}; a full frame needs about {_DISK_MB} MB: "
                f"make room or set {variable}"
            )
    return free, problems


@cache_commands.command("ls")
def ls(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the cached results, least recently used first."""
    from datetime import datetime

    from roman_nexus.engine.cache import ResultCache
    from roman_nexus.settings import load

    settings = load()
    entries = ResultCache(settings.cache_path, settings.cache_limit_gb * 1e9).entries()
    total = sum(size for _, size, _ in entries)
    if as_json:
        listed = [{"key": key, "bytes": size, "used": used} for key, size, used in entries]
        record = {"folder": str(settings.cache_path), "bytes": total, "entries": listed}
        typer.echo(json.dumps(record, indent=1))
        return
    for key, size, used in entries:
        typer.echo(f"{key[:16]}  {size / 1e6:9.1f} MB  used {datetime.fromtimestamp(used):%Y-%m-%d %H:%M}")
    typer.echo(f"{total / 1e6:.1f} MB of {settings.cache_limit_gb * 1e3:.0f} MB in {settings.cache_path}")


@cache_commands.command("clear")
def clear() -> None:
    """Remove all cached results."""
    from roman_nexus.engine.cache import ResultCache
    from roman_nexus.settings import load

    settings = load()
    cache = ResultCache(settings.cache_path, settings.cache_limit_gb * 1e9)
    total = sum(size for _, size, _ in cache.entries())
    typer.echo(f"removed {cache.trim(0)} results, {total / 1e6:.1f} MB, from {settings.cache_path}")
