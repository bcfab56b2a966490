"""Making, moving and deleting branches and tags."""

from __future__ import annotations

from ...protocol import refs
from ...protocol.identity import Identity
from ...protocol.refs.tag import MAX_MESSAGE
from ..errors import UserError
from ..store import Store
from ..units import short
from .graph import StoreGraph
from .revisions import find_commit


def make_branch(store: Store, short_name: str, revision: str, *, force: bool = False) -> bytes:
    """Let a branch begin at a commit, which is returned; `force` moves one that is there. Raises UserError."""
    name = _full("heads", short_name)
    commit = find_commit(store, revision).digest
    store.refs.update(name, commit, _expected(store, name, force))
    return commit


def delete_branch(store: Store, short_name: str, *, force: bool = False) -> bytes:
    """Delete a branch and return where it was; unless `force`, only if another ref reaches what it does. Raises UserError."""
    name = _full("heads", short_name)
    commit = _there(store, name)
    if not force and name != refs.MAIN:
        others = {at for ref, at in store.refs.all().items() if ref != name}
        if alone := len(refs.history(StoreGraph(store), [commit], others)):
            problem = f"nothing but branch {short_name} reaches {alone} commit{'s' if alone > 1 else ''} of it"
            raise UserError(problem, f"--force deletes it all the same; `collab-node tag NAME {short(commit)}` keeps them")
    store.refs.update(name, None, commit)
    return commit


def make_tag(
    store: Store, event: bytes, short_name: str, revision: str, *, message: str = "", signer: Identity | None = None,
    now: int = 0, force: bool = False,
) -> bytes:  # fmt: skip
    """Tag a commit, which is returned. With a `message` the tag is annotated: signed by `signer` at the time `now`.

    `now` is in Unix seconds. Raises UserError.
    """
    name = _full("tags", short_name)
    commit, annotation = find_commit(store, revision).digest, None
    if message:
        assert signer is not None
        if len(message) > MAX_MESSAGE:
            raise UserError(f"a tag's message has at most {MAX_MESSAGE} letters")
        tag = refs.Tag(event=event, name=short_name, commit=commit, message=message, tagger=signer.peer_id, time=now)
        annotation = refs.SignedTag.seal(signer, tag)
    store.refs.update(name, commit, _expected(store, name, force), annotation)
    return commit


def delete_tag(store: Store, short_name: str) -> bytes:
    """Delete a tag and return where it was. Raises UserError."""
    name = _full("tags", short_name)
    commit = _there(store, name)
    store.refs.update(name, None, commit)
    return commit


def _full(kind: str, short_name: str) -> str:
    try:
        return refs.check_name(f"{kind}/{short_name}")
    except refs.RefError as error:
        raise UserError(str(error)) from error


def _expected(store: Store, name: str, force: bool) -> bytes | None:
    now = store.refs.get(name)
    if now is not None and not force and name != refs.MAIN:
        raise UserError(f"{name} is already there, at {short(now)}", "--force moves it")
    return now


def _there(store: Store, name: str) -> bytes:
    commit = store.refs.get(name)
    if commit is None:
        raise UserError(f"there is no {name}")
    return commit
