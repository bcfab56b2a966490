"""Every command in the documentation exists, with these options: README.md, docs/*.md, monitoring/README.md and the notebook."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from collab.node.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "monitoring" / "README.md"]
NOTEBOOKS = sorted((ROOT / "scripts").glob("*.ipynb"))
PROGRAM = "collab-node"
COMMANDS = typer.main.get_command(app)
_INLINE = re.compile(rf"`({PROGRAM} [^`]+)`")
_FILE = re.compile(r"(?<![\w/.-])(?:\.\./|\./)?((?:scripts|configs|docs|monitoring)/[\w./-]*\w)")


def commands_in(text: str) -> Iterator[str]:
    """Yield the lines of code blocks that run the program, continuations joined, and what stands between backticks."""
    block: list[str] = []
    fenced = False
    for line in [*text.splitlines(), ""]:
        fenced ^= line.lstrip().startswith("```")
        if fenced or line.startswith("    "):
            block.append(line.strip())
            continue
        yield from _programs("\n".join(block).replace("\\\n", " "))
        block.clear()
        yield from _INLINE.findall(line)


def _programs(block: str) -> Iterator[str]:
    for line in block.splitlines():
        for part in re.split(r" && | \| |; ", line.split("  #")[0]):
            if part.startswith(f"{PROGRAM} "):
                yield part


def words_of(command: str) -> list[list[str]]:
    """Return the words of a command line after the program's name, once for each of its alternatives such as `install|remove`."""
    words = shlex.split(command.replace("\\|", "|").partition(" > ")[0], comments=True)[1:]
    words = [word.strip("[]()…,") if word.startswith("[") else word for word in words if word != "&"]
    return [list(chosen) for chosen in product(*(word.split("|") for word in words))]


def problem_of(words: list[str]) -> str | None:
    """Return what is wrong with a command line; None if the program would take it."""
    command = COMMANDS
    rest = list(words)
    while isinstance(command, TyperGroup):
        if not rest or rest[0] in ("COMMAND", "…"):
            return None  # any of them is meant
        if rest[0].startswith("-"):
            return None if rest[0] in {"--help", *_options(command)} else f"{command.name} has no {rest[0]}"
        if rest[0] not in command.commands:
            return f"{command.name} has no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    assert isinstance(command, TyperCommand)
    return _arguments_problem(command, rest)


def _arguments_problem(command: TyperCommand, rest: list[str]) -> str | None:
    options = {"--help": False, **_options(command)}
    places = [parameter.nargs for parameter in command.params if parameter.param_type_name == "argument"]
    most = float("inf") if -1 in places else sum(places)
    given = 0
    while rest:
        word = rest.pop(0)
        name, _, value = word.partition("=")
        if not word.startswith("-"):
            given += word != "…"  # it stands for more of the same, or for nothing
        elif name not in options:
            return f"{command.name} has no {name}"
        elif options[name] and not value:
            if not rest:
                return f"{command.name} {name} lacks its value"
            rest.pop(0)
    return f"{command.name} takes {most} arguments, not {given}" if given > most else None


def _options(command: TyperCommand | TyperGroup) -> dict[str, bool]:
    """Return the options by name, and whether each takes a value."""
    return {
        name: not getattr(parameter, "is_flag", False)
        for parameter in command.params if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
    }  # fmt: skip


def _notebook_text(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.name)
def test_every_command_exists(page: Path) -> None:
    text = _notebook_text(page) if page.suffix == ".ipynb" else page.read_text(encoding="utf-8")
    found = [
        f"{command}: {problem}" for command in commands_in(text) for words in words_of(command) if (problem := problem_of(words))
    ]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_project_that_a_page_names_exists(page: Path) -> None:
    named = set(_FILE.findall(page.read_text(encoding="utf-8")))
    assert [name for name in sorted(named) if not any((place / name).exists() for place in (ROOT, page.parent))] == []


def test_the_example_in_python_merges() -> None:
    page = (ROOT / "docs" / "MERGING.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[0], names)
    assert names["merged"]["w"].shape == (64, 64)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("collab-node join collab1-… --detach", None),
        ("collab-node service install|remove", None),
        ("collab-node release [REV] --dry-run", None),
        ("collab-node --version", None),
        ("collab-node set hours=22:00-07:00", None),
        ("collab-node joyn", "no command joyn"),
        ("collab-node key show|loose", "no command loose"),
        ("collab-node join --detatch", "no --detatch"),
        ("collab-node join --home", "lacks its value"),
        ("collab-node resume now", "takes 0 arguments"),
    ],
)
def test_a_command_that_is_not_there_is_found(command: str, problem: str | None) -> None:
    found = [wrong for words in words_of(command) if (wrong := problem_of(words))]
    assert found == [] if problem is None else problem in found[0]


def test_commands_are_found_wherever_they_stand() -> None:
    text = "Do `collab-node pause`.\n\n    collab-node status   # a note\n\n"
    text += "```\ncollab-node join X \\\n  --detach\nls | collab-node resume\n```\n"
    expected = [["pause"], ["status"], ["join", "X", "--detach"], ["resume"]]
    assert [words_of(command)[0] for command in commands_in(text)] == expected
