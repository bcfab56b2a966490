"""The page's files as browsers get them, from this node or from a disk: the HTML with a state inside, one script, one style.

The script is written as modules. Browsers load none from a disk, and one file is there sooner than a dozen, so they are joined.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from .state import to_json

STATIC = Path(str(files(__package__))) / "static"
_PLACE = "<!-- snapshot -->"
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:function|class|const) (\w+))", re.MULTILINE)


def page_with(snapshot: Mapping[str, Any]) -> str:
    """Return the HTML with a state inside: the page shows it at once, without asking for it."""
    data = to_json(snapshot).replace("<", "\\u003c")  # nothing in it can end the element that it stands in
    return _html().replace(_PLACE, f'<script type="application/json" id="snapshot">{data}</script>')


@cache
def static_files() -> dict[str, bytes]:
    """Return the files that the HTML names, by their names in `static/`."""
    copied = {name: (STATIC / name).read_bytes() for name in ("style.css", "icon.svg")}
    return {**copied, "page.js": joined_modules(STATIC).encode()}


def joined_modules(folder: Path, entry: str = "main") -> str:
    """Return one script that does what the modules in `folder` do, each a function that returns what it exports."""
    done: dict[str, str] = {}

    def add(name: str) -> None:
        source = (folder / f"{name}.js").read_text(encoding="utf-8")
        for _, other in _IMPORT.findall(source):
            if other not in done:
                add(other)
        exported = ", ".join(_EXPORT.findall(source))
        body = _EXPORT.sub("", _IMPORT.sub(r"const \1 = modules.\2;", source))
        done[name] = f"modules.{name} = (() => {{\n{body}\nreturn {{ {exported} }};\n}})();\n"

    add(entry)
    return '"use strict";\n(() => {\nconst modules = {};\n' + "".join(done.values()) + "})();\n"


@cache
def _html() -> str:
    return (STATIC / "index.html").read_text(encoding="utf-8")
