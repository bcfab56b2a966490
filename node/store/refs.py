"""Refs: names that point at commits, changed only by compare-and-set.

`heads/main` is the chain's head, which the rounds move; it is not kept a second time, and cannot be set here. A change is one
SQLite transaction: made whole and durable, or not at all, whoever else writes.
"""

from __future__ import annotations

from ...protocol.canonical import DOCUMENT_LIMITS
from ...protocol.refs import MAIN, RefError, SignedTag, check_name
from ..errors import UserError
from .index import Index

_HEAD = "head"  # the chain's head in the table, as Store.set_head writes it


class RefMoved(UserError):
    """Somebody changed the ref since it was read."""


class Refs:
    """The refs of one store. Names are full ones: `heads/x`, `tags/x`, `remotes/node/x`."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def get(self, name: str) -> bytes | None:
        """Return the commit that the ref points at, None if there is no such ref."""
        commit = self._index.one('SELECT "commit" FROM refs WHERE name = ?', (_HEAD if name == MAIN else name,))
        return None if commit is None else bytes(commit)

    def all(self, prefix: str = "") -> dict[str, bytes]:
        """Return the refs whose names start with `prefix`, by name, sorted; `heads/main` is among them."""
        rows = self._index.rows('SELECT name, "commit" FROM refs')
        named = {MAIN if name == _HEAD else str(name): bytes(commit) for name, commit in rows}
        return {name: named[name] for name in sorted(named) if name.startswith(prefix)}

    def update(self, name: str, new: bytes | None, expected: bytes | None, tag: SignedTag | None = None) -> None:
        """Let `name` point at the commit `new`, if it points at `expected` now; None stands for no ref, before or after.

        `tag` annotates a tag; without it an earlier annotation goes. Raises RefMoved, and UserError for a name that cannot be
        or a commit that is not here.
        """
        try:
            check_name(name)
        except RefError as error:
            raise UserError(str(error)) from error
        if name == MAIN:
            raise UserError("main moves with the swarm's rounds", "make a branch of your own: collab-node branch NAME")
        with self._index.transaction():
            if (now := self.get(name)) != expected:
                raise RefMoved(_moved(name, now, expected), "look at it again, and repeat")
            if new is not None and self._index.one("SELECT 1 FROM commits WHERE digest = ?", (new,)) is None:
                raise UserError(f"commit {new.hex()[:16]} is not here, so {name} cannot point at it")
            self._index.write("DELETE FROM tags WHERE name = ?", (name,))
            if new is None:
                self._index.write("DELETE FROM refs WHERE name = ?", (name,))
            else:
                self._index.write("INSERT OR REPLACE INTO refs VALUES (?, ?)", (name, new))
            if tag is not None:
                self._index.write("INSERT INTO tags VALUES (?, ?)", (name, tag.encode()))

    def tag(self, name: str) -> SignedTag | None:
        """Return a tag's annotation, its signature not checked yet (`open` does); None for a plain tag."""
        record = self._index.one("SELECT record FROM tags WHERE name = ?", (name,))
        return None if record is None else SignedTag.decode(record, DOCUMENT_LIMITS)


def _moved(name: str, now: bytes | None, expected: bytes | None) -> str:
    if now is None:
        return f"{name} is gone meanwhile"
    if expected is None:
        return f"{name} is already there, at {now.hex()[:12]}"
    return f"{name} moved meanwhile: it is at {now.hex()[:12]}, not at {expected.hex()[:12]}"
