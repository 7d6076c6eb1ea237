"""The environment in which the mission's pipeline runs: found, or made on demand, never shared with ours.

romancal pins other versions of the packages that we use, so it gets a virtual environment of its own in the user's
cache folder, made once from a lock file that comes with roman_nexus. An environment that exists already can be named
instead: by an argument, or by the environment variable ``ROMAN_NEXUS_ROMANCAL_PYTHON``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from roman_nexus.errors import MissingSoftwareError

__all__ = ["ENVIRONMENT_VARIABLE", "PINNED", "environment_folder", "find_python", "make_environment"]

ENVIRONMENT_VARIABLE = "ROMAN_NEXUS_ROMANCAL_PYTHON"

#: The versions whose numbers roman_nexus reproduces.
PINNED = {"romancal": "1.1.0", "stcal": "1.20.0", "roman_datamodels": "1.1.0"}

LOCK = Path(__file__).with_name("mission.lock")

_ASK = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"

Progress = Callable[[str], None]


def environment_folder() -> Path:
    """Return where the environment lies in the user's cache; another lock file means another folder."""
    import platformdirs

    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:8]
    name = f"romancal-{PINNED['romancal']}-py{sys.version_info.major}{sys.version_info.minor}-{digest}"
    return Path(platformdirs.user_cache_dir("roman_nexus")) / "verify" / name


def find_python(environment: str | os.PathLike[str] | None = None, *, progress: Progress | None = None) -> Path:
    """Return the Python that runs the mission's pipeline; makes its environment if there is none.

    Parameters
    ----------
    environment : path, optional
        A Python executable, or the folder of a virtual environment. Default: what ``ROMAN_NEXUS_ROMANCAL_PYTHON``
        names, else the environment in the user's cache folder, which is made when it is missing.
    progress : callable, optional
        Called with one line of text as the work goes on.

    Returns
    -------
    Path
        A Python executable in whose environment the pinned versions are installed.

    Raises
    ------
    MissingSoftwareError
        If what was named is no such environment, or a new one cannot be made.
    """
    named = environment or os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        python = _executable(Path(named).expanduser())
        check_versions(python)
        return python
    folder = environment_folder()
    if _python_in(folder).exists():
        check_versions(_python_in(folder))
        return _python_in(folder)
    return make_environment(folder, progress=progress)


def make_environment(folder: Path, *, progress: Progress | None = None) -> Path:
    """Make the environment; the folder appears under its name only when it is complete.

    Parameters
    ----------
    folder : Path
        Where to put it.
    progress : callable, optional
        Called with one line of text as the work goes on.

    Returns
    -------
    Path
        Its Python executable.

    Raises
    ------
    MissingSoftwareError
        If the environment cannot be made or the packages cannot be installed.
    """
    say = progress or (lambda line: None)
    part = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        say(f"making an environment for romancal {PINNED['romancal']} in {folder} (once, about 1 GB)")
        _call([sys.executable, "-m", "venv", str(part)], "making a virtual environment", say)
        say("installing romancal and what it needs from the package index")
        install = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", str(LOCK)]
        _call([str(_python_in(part)), *install], "installing romancal", say)
        check_versions(_python_in(part))
        _move_in(part, folder)
    except OSError as error:
        msg = f"the environment for romancal cannot be written to {folder}: {error}. {_remedy()}"
        raise MissingSoftwareError(msg) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _python_in(folder)


def check_versions(python: Path) -> None:
    """Refuse an environment that does not hold the pinned versions.

    Raises
    ------
    MissingSoftwareError
        Naming what is installed and what is needed.
    """
    needed = ", ".join(f"{name} {version}" for name, version in PINNED.items())
    try:
        answer = subprocess.run(
            [str(python), "-c", _ASK, *PINNED], capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"{python} cannot be run: {error}. Expected a Python with {needed}. {_remedy()}"
        raise MissingSoftwareError(msg) from error
    if answer.returncode:
        missing = answer.stderr.strip().splitlines()[-1:] or ["no message"]
        msg = f"{python} does not hold the mission's pipeline ({missing[0]}). Expected {needed}. {_remedy()}"
        raise MissingSoftwareError(msg)
    found: dict[str, str] = json.loads(answer.stdout)
    if wrong := [f"{name} {found[name]}" for name, version in PINNED.items() if found[name] != version]:
        msg = f"{python} holds {', '.join(wrong)}; expected {needed}, whose numbers roman_nexus reproduces. {_remedy()}"
        raise MissingSoftwareError(msg)


def _remedy() -> str:
    return (
        "Install them with pip in an environment of their own and name it with environment=... "
        f"or {ENVIRONMENT_VARIABLE}=/path/to/python"
    )


def _executable(named: Path) -> Path:
    """Return the Python that a path means: itself, or the one in the environment it is the folder of."""
    python = _python_in(named) if named.is_dir() else named
    if not python.exists():
        msg = f"there is no Python at {python}. Expected an executable or the folder of an environment. {_remedy()}"
        raise MissingSoftwareError(msg)
    return python.absolute()


def _python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _call(command: list[str], what: str, say: Progress) -> None:
    """Run a command, tell its lines, and turn a failure into our error with its last lines."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        lines = []
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                if line.startswith(("Collecting", "Downloading", "Installing", "Successfully")):
                    say(line.strip()[:100])
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        said = [line for line in lines if line.upper().startswith("ERROR")] or lines[-4:]
        tail = " | ".join(line for line in said[-4:] if line)[:600]
        msg = f"{what} failed (exit code {process.returncode}): {tail}. Is the package index reachable? {_remedy()}"
        raise MissingSoftwareError(msg)


def _move_in(part: Path, folder: Path) -> None:
    """Give the finished environment its name, unless another process was faster."""
    try:
        part.rename(folder)
    except OSError:
        if not _python_in(folder).exists():
            raise
