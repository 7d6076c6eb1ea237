"""``roman-nexus doctor`` and ``roman-nexus cache``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

__all__ = ["cache_commands", "command"]

_PACKAGES = ("numpy", "scipy", "numba", "astropy", "asdf", "gwcs", "roman-datamodels", "rad", "lz4", "crds")

cache_commands = typer.Typer(help="The cache of results.", no_args_is_help=True, rich_markup_mode=None)


def command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """Say what is installed, where things are kept, and what would go wrong."""
    import dataclasses
    import os
    import platform
    import shutil
    from importlib.metadata import PackageNotFoundError, version

    from roman_nexus.engine.cost import available_memory_mb
    from roman_nexus.settings import config_file, load

    settings = load()
    packages = {}
    for name in ("roman-nexus", *_PACKAGES):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    probe = settings.cache_path
    while not probe.exists():
        probe = probe.parent
    problems = []
    if not os.access(probe, os.W_OK):
        problems.append(f"the cache folder {settings.cache_path} cannot be written; set ROMAN_NEXUS_CACHE_DIR")
    free_mb = shutil.disk_usage(probe).free / 1e6
    if free_mb < 2000:
        problems.append(f"only {free_mb:.0f} MB are free at {probe}; a full-frame run needs about 2000 MB")
    if available_memory_mb() < 1000:
        problems.append(f"only {available_memory_mb():.0f} MB of memory are free; a full-frame run needs about 1000 MB")
    report = {
        "python": platform.python_version(), "processors": settings.worker_threads, "packages": packages,
        "settings": dataclasses.asdict(settings), "settings_file": str(config_file()),
        "free_memory_mb": round(available_memory_mb()), "free_disk_mb": round(free_mb), "problems": problems,
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    else:
        for name, value in report.items():
            if isinstance(value, dict):
                typer.echo(name)
                for key, item in value.items():
                    typer.echo(f"  {key:<20} {item}")
            elif name != "problems":
                typer.echo(f"{name:<22} {value}")
        typer.echo("\n".join(f"problem: {text}" for text in problems) or "no problems found")
    return 3 if problems else 0


@cache_commands.command("ls")
def ls() -> None:
    """List the cached results, least recently used first."""
    from datetime import datetime

    from roman_nexus.engine.cache import ResultCache
    from roman_nexus.settings import load

    settings = load()
    cache = ResultCache(settings.cache_path, settings.cache_limit_gb * 1e9)
    total = 0
    for key, size, used in cache.entries():
        total += size
        typer.echo(f"{key[:16]}  {size / 1e6:9.1f} MB  used {datetime.fromtimestamp(used):%Y-%m-%d %H:%M}")
    typer.echo(f"{total / 1e6:.1f} MB of {settings.cache_limit_gb * 1e3:.0f} MB in {settings.cache_path}")


@cache_commands.command("clear")
def clear() -> None:
    """Remove all cached results."""
    from roman_nexus.engine.cache import ResultCache
    from roman_nexus.settings import load

    settings = load()
    removed = ResultCache(settings.cache_path, settings.cache_limit_gb * 1e9).trim(0)
    typer.echo(f"removed {removed} results from {settings.cache_path}")
