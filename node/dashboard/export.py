"""The page as files: what it shows now, for the project's home page. It needs no server and opens from a disk as well."""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import UserError
from ..files import atomic_write
from .page import page_with, static_files
from .reader import Reader
from .state import State, Table, to_json

GENERATOR = 'name="generator" content="collab-node dashboard"'


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
    for name, data in static_files().items():
        atomic_write(folder / "static" / name, data)
    atomic_write(folder / "data.json", to_json(snapshot).encode())
    atomic_write(index, page_with(snapshot).encode())


def public(state: State) -> State:
    """Return what is for everybody: the swarm and its history, and nothing of the node that tells of them."""
    values = {name: value for name, value in state.values.items() if name not in ("node", "traffic", "parts", "reading")}
    peers: Table = {peer: {**row, "self": False, "gossip": False} for peer, row in state.tables["peers"].items()}
    return State({**values, "node": {"running": False}}, {**state.tables, "peers": peers})
