"""What `branch` and `tag` list."""

from __future__ import annotations

import json
import time
from typing import Any

import typer

from ...protocol.errors import RemoteProtocolError
from ...protocol.refs import MAIN
from ...protocol.refs.names import shortened
from ..store import Store
from ..units import printable, short
from .revisions import read_commit


def branches(store: Store, as_json: bool) -> None:
    """Print the branches, those of other nodes too; main is marked."""
    rows: list[dict[str, Any]] = [
        {"name": shortened(name), "commit": commit.hex(), "round": _round(store, commit), "remote": name.startswith("remotes/")}
        for name, commit in store.refs.all().items()
        if not name.startswith("tags/")
    ]
    if as_json:
        _objects(rows)
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        mark = "*" if row["name"] == shortened(MAIN) else " "
        typer.echo(f"{mark} {row['name']:<{width}}  {short(row['commit'])}  round {row['round']}")


def tags(store: Store, as_json: bool) -> None:
    """Print the tags in order of name, with the first line of their messages."""
    rows: list[dict[str, Any]] = [
        {"name": shortened(name), "commit": commit.hex(), "round": _round(store, commit), "annotation": annotation(store, name)}
        for name, commit in store.refs.all("tags/").items()
    ]
    if as_json:
        _objects(rows)
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        typer.echo(f"{row['name']:<{width}}  {short(row['commit'])}  round {row['round']}{_summary(row['annotation'])}")


def annotation(store: Store, name: str) -> dict[str, Any] | None:
    """Return a tag's annotation as plain values, `valid` if it was signed by its tagger for this name and commit."""
    try:
        signed = store.refs.tag(name)
        if signed is None:
            return None
        tag = signed.open()
    except RemoteProtocolError as error:
        return {"message": f"({error})", "tagger": None, "time": None, "valid": False}
    valid = (tag.name, tag.commit) == (shortened(name), store.refs.get(name))
    return {"message": tag.message, "tagger": tag.tagger, "time": tag.time, "valid": valid}


def annotation_lines(store: Store, name: str) -> list[str]:
    """Return what `show` prints above a tagged commit."""
    note = annotation(store, name)
    if note is None:
        return []
    state = "signed" if note["valid"] else "BAD SIGNATURE, claimed to be"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(note["time"])) if note["time"] is not None else "unknown"
    title = f"tag {shortened(name)}, {state} by {note['tagger'] or 'nobody'} on {when}"
    return [title, "", *printable(note["message"]).splitlines(), ""]


def _summary(note: dict[str, Any] | None) -> str:
    if note is None:
        return ""
    first = printable((note["message"].splitlines() or [""])[0])
    return f"  {first}" if note["valid"] else f"  {first}  (BAD SIGNATURE)"


def _round(store: Store, commit: bytes) -> int:
    return read_commit(store, commit).round


def _objects(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        typer.echo(json.dumps(row))


