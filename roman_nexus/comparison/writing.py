"""Show a comparison in a notebook and write it to a file."""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import json
import secrets
import sys
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from roman_nexus.errors import OptionError, OutputError

if TYPE_CHECKING:
    from roman_nexus.comparison.result import Comparison

__all__ = ["display_in_notebook", "page", "png", "write"]

_DPI = 110
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{font-family: system-ui, sans-serif; max-width: 80rem; margin: 1.5rem auto; padding: 0 1rem}}
img {{max-width: 100%; height: auto; background: #fff}}
.rn-comparison table {{display: block; overflow-x: auto}}
</style>
</head>
<body>
<h1>Rerun against archive</h1>
{report}
<h4>Picture</h4>
<img alt="{description}" src="data:image/png;base64,{picture}">
</body>
</html>
"""


def display_in_notebook(comparison: Comparison) -> bool:
    """Show table and picture if this process serves a notebook; returns whether it does."""
    ipython = sys.modules.get("IPython")  # a notebook has imported it; never import it for nothing
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return False
    shown = importlib.import_module("IPython.display")  # no dependency of ours: it is there in every notebook
    shown.display(shown.HTML(comparison._repr_html_()))
    shown.display(shown.Image(data=png(comparison, dpi=2 * _DPI), format="png", retina=True))
    return True


def png(comparison: Comparison, dpi: int = _DPI) -> bytes:
    """Return the picture as PNG."""
    stream = io.BytesIO()
    comparison.figure().savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()


def page(comparison: Comparison) -> str:
    """Return an HTML page that needs no other file."""
    from roman_nexus.comparison.sections import verdict

    return _PAGE.format(
        title=escape(f"{comparison.new_name} against {comparison.old_name}"),
        report=comparison._repr_html_(),
        description=escape(f"Images of both products, their difference and its histogram. {verdict(comparison)}"),
        picture=base64.b64encode(png(comparison)).decode("ascii"),
    )


def write(comparison: Comparison, path: Path) -> Path:
    """Write the report under a temporary name, then move it."""
    makers = {
        ".html": lambda: page(comparison).encode(),
        ".png": lambda: png(comparison),
        ".json": lambda: (json.dumps(comparison.to_dict(), indent=1, allow_nan=False) + "\n").encode(),
        ".txt": lambda: f"{comparison}\n".encode(),
    }
    maker = makers.get(path.suffix.lower())
    if maker is None:
        msg = f"cannot tell from {path.name!r} how to write the report; end the name in {', '.join(makers)}"
        raise OptionError(msg)
    content = maker()
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror or error}; give a file in a folder that exists and can be written"
        raise OutputError(msg) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path
