"""The page as files: what it shows now, for the project's home page. No server, no other host: it opens from a disk as well.

Browsers load no modules from a disk, so they are joined into one plain script; the snapshot stands in the page itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write
from .app import STATIC
from .reader import Reader
from .state import State, Table, to_json

GENERATOR = '<meta name="generator" content="collab-node dashboard">'
_COPIED = ("style.css", "icon.svg")
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_MODULES = re.compile(r'^<link rel="modulepreload".*\n|^<script type="module".*\n', re.MULTILINE)


def export_page(reader: Reader, folder: Path) -> None:
    """Write the page into `folder`, over an older export of it. Raises UserError, for a folder with another page too."""
    index = folder / "index.html"
    if index.exists() and GENERATOR not in index.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"{index} is another page", "export into a folder of its own")
    state = reader.read()
    while state.values["reading"]["left"]:
        state = reader.read()
    reader.close()
    snapshot = {"taken": int(time.time()), **public(state).whole()}
    for name in _COPIED:
        atomic_write(folder / "static" / name, (STATIC / name).read_bytes())
    atomic_write(folder / "static" / "page.js", joined_modules(STATIC).encode())
    atomic_write(folder / "data.json", to_json(snapshot).encode())
    atomic_write(index, page_with(snapshot).encode())


def public(state: State) -> State:
    """Return what is for everybody: the swarm and its history, and nothing of the node that tells of them."""
    values = {name: value for name, value in state.values.items() if name not in ("node", "traffic", "parts", "reading")}
    peers: Table = {peer: {**row, "self": False, "gossip": False} for peer, row in state.tables["peers"].items()}
    return State({**values, "node": {"running": False}}, {**state.tables, "peers": peers})


def page_with(snapshot: Mapping[str, Any]) -> str:
    """Return the page's HTML with a snapshot inside."""
    page = _MODULES.sub("", (STATIC / "index.html").read_text(encoding="utf-8"))
    data = to_json(snapshot).replace("<", "\\u003c")  # nothing in it can end the element that it stands in
    page = page.replace("</head>", f'{GENERATOR}\n<script defer src="static/page.js"></script>\n</head>')
    return page.replace("</body>", f'<script type="application/json" id="snapshot">{data}</script>\n</body>')


def joined_modules(folder: Path, entry: str = "main") -> str:
    """Return one script that does what the modules in `folder` do, each a function that returns what it exports."""
    done: dict[str, str] = {}

    def add(name: str) -> None:
        if name in done:
            return
        source = (folder / f"{name}.js").read_text(encoding="utf-8")
        done[name] = ""  # a cycle would find it here, and then miss what it imports: there is none
        for _, other in _IMPORT.findall(source):
            add(other)
        exported = ", ".join(_EXPORT.findall(source))
        body = _EXPORT.sub("", _IMPORT.sub(r"const \1 = modules.\2;", source))
        del done[name]
        done[name] = f"modules.{name} = (() => {{\n{body}\nreturn {{ {exported} }};\n}})();\n"

    add(entry)
    return '"use strict";\n(() => {\nconst modules = {};\n' + "".join(done.values()) + "})();\n"
