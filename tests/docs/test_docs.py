"""The documentation is right: its code runs, its values hold, its links lead somewhere, its lists are complete."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib.util
import io
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from roman_nexus.cli.main import main
from roman_nexus.engine.pipelines import load_step, step_names
from roman_nexus.settings import Settings

pytestmark = pytest.mark.timeout(300)  # whoever comes first compiles the kernels

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    line: int
    info: str
    body: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start()) + 2, *found.group("info", "body")) for found in FENCE.finditer(text)
    ]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# ---------------------------------------------------------------------------------------------- running the blocks
def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    """Run a block; where a line ends in ``# -> value`` its expression must have that value."""
    lines = block.body.splitlines()
    tree = ast.parse("\n" * (block.line - 1) + block.body, filename=str(page))
    for statement in tree.body:
        last = lines[(statement.end_lineno or 0) - block.line]
        code = ast.Module([statement], [])
        expected = re.search(r"# -> (.*)$", last)
        if expected is None:
            exec(compile(code, str(page), "exec"), namespace)
            continue
        assert isinstance(statement, ast.Expr), f"{page.name}: {last!r} is no expression"
        value = eval(compile(ast.Expression(statement.value), str(page), "eval"), namespace)
        assert repr(value) == expected[1].strip(), f"{page.name}: {last.strip()}"


def run_console(block: Block, page: Path) -> None:
    commands = [line.removeprefix("$ ") for line in block.body.splitlines() if line]
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "roman-nexus", f"{page.name}: only roman-nexus is run in a console block, not {command!r}"
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            code = main(arguments)
        assert code == 0, f"{page.name}: {command} ended with {code}: {said.getvalue()}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_of_the_page_runs(page: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        if block.info == "python":
            run_python(block, page, namespace)
        elif block.info == "console":
            run_console(block, page)
    assert not list(workplace.glob("**/*.part"))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_are_of_a_known_kind(page: Path) -> None:
    """A misspelt kind would silently not be run; what is not run is told apart, and is rare."""
    not_run = {"sh", "toml", "", "console notest", "python notest"}
    for block in blocks(page):
        assert block.info in {"python", "console"} | not_run, f"{page.name}:{block.line}"
        if block.info == "console":
            assert all(line.startswith("$ roman-nexus ") for line in block.body.splitlines()), (
                f"{page.name}:{block.line}"
            )
    assert not any(block.info == "python notest" for block in blocks(page)) or page.name == "verify.md"


def test_what_is_not_run_still_parses() -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.info == "python notest":
                ast.parse(block.body)


# --------------------------------------------------------------------------------------------------------- links
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), (
            f"{page.name}: {link}; {target.name} has {sorted(anchors(target))}"
        )


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        if page.name != "index.md":
            assert f"({page.name})" in index, f"{page.name} is not in the index"
            assert f"(docs/{page.name})" in readme, f"{page.name} is not in the README"


# --------------------------------------------------------------------------------------------------------- lists
def test_options_page_is_that_of_the_steps() -> None:
    spec = importlib.util.spec_from_file_location("options", ROOT / "docs" / "options.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: python docs/options.py"


def test_every_quirk_is_in_the_list_of_differences() -> None:
    text = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
    for name in step_names():
        for quirk in load_step(name).quirks:
            assert f"| {name} | {quirk} |" in text, f"{name}: {quirk}"


def test_every_switch_of_the_list_exists() -> None:
    """Each switch names an option of its step and a value that the option takes."""
    text = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| (\w+) \|.*`(\w+)=(\"?\w+\"?)` \|$", text, re.MULTILINE)
    assert len(found) >= 6
    for step, option, value in found:
        options = load_step(step).options
        default = getattr(options(), option)
        assert options.from_dict({option: ast.literal_eval(value)}).to_dict()[option] != default


def test_every_setting_is_explained() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for item in dataclasses.fields(Settings):
        assert f"| `{item.name}` |" in text, item.name


def test_steps_are_listed_in_order() -> None:
    text = (ROOT / "docs" / "rerun.md").read_text(encoding="utf-8")
    listed = re.search(r"The steps, in order: (.*?)\. ", text, re.DOTALL)
    assert listed is not None
    assert re.findall(r"`(\w+)`", listed[1]) == list(step_names())
