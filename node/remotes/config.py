"""Which remotes an event has here, and whose pushes its node takes: notes of the store, so that a running daemon sees changes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ...protocol.canonical import decode, encode
from ...protocol.event import EventManifest
from ...protocol.identity import public_key_of
from ...protocol.invite import Invite
from ...protocol.refs import RefError, check_name
from ..errors import UserError
from ..event.joining import is_invite, read_invite
from ..net.addresses import is_address, split
from ..store import Store

_REMOTE, _PUSHER = "remote/", "pusher/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
ORIGIN = "origin"


@dataclass(frozen=True)
class Remote:
    """A node by its addresses (any of them will do), or a home or bundle on this machine by its path."""

    name: str
    addresses: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def where(self) -> str:
        """Where it is, for people."""
        return str(self.path) if self.path is not None else ", ".join(self.addresses)

    @property
    def peers(self) -> list[tuple[str, str]]:
        """The addresses as (route, peer id)."""
        return [split(address) for address in self.addresses]


def add(store: Store, event: EventManifest, name: str, text: str) -> Remote:
    """Keep a remote: an address, an invite (of which only the addresses are kept), or a path. Raises UserError."""
    _check(name)
    if store.note(_REMOTE + name) is not None:
        raise UserError(f"there is a remote {name} already", f"`collab-node remote remove {name}` first, or choose another name")
    remote = _parse(event, name, text)
    kept = {"addresses": list(remote.addresses), "path": str(remote.path or "")}
    store.put_note(_REMOTE + name, encode(kept))
    return remote


def remotes(store: Store) -> list[Remote]:
    """Return the remotes, in the order of their names."""
    return [_read(name, value) for name, value in store.notes(_REMOTE).items()]


def find(store: Store, name: str = "") -> Remote:
    """Return a remote; without a name the only one, or `origin`. Raises UserError."""
    known = {remote.name: remote for remote in remotes(store)}
    if not name and (len(known) == 1 or ORIGIN in known):
        return known.get(ORIGIN) or next(iter(known.values()))
    if name not in known:
        there = f"there are: {', '.join(known)}" if known else "`collab-node remote add NAME ADDRESS` makes one"
        raise UserError(f"there is no remote {name}" if name else "say which remote", there)
    return known[name]


def remove(store: Store, name: str) -> int:
    """Forget a remote and the refs that were fetched from it; return how many those were. Raises UserError."""
    find(store, name)
    with store.transaction():
        tracked = store.refs.all(f"remotes/{name}/")
        for ref, commit in tracked.items():
            store.refs.update(ref, None, commit)
        store.drop_note(_REMOTE + name)
    return len(tracked)


def allow(store: Store, peer: str) -> None:
    """Take pushes from this key from now on. Raises UserError."""
    try:
        public_key_of(peer)
    except ValueError as error:
        raise UserError(str(error), "`collab-node status` shows a node's peer id") from error
    store.put_note(_PUSHER + peer, b"")


def forbid(store: Store, peer: str) -> None:
    """Take no pushes from this key any more. Raises UserError."""
    if not store.drop_note(_PUSHER + peer):
        raise UserError(f"pushes from {peer[:64]} were not allowed")


def pushers(store: Store) -> list[str]:
    """Return whose pushes are taken: nobody's, unless the owner said so."""
    return list(store.notes(_PUSHER))


def may_push(store: Store, peer: str) -> bool:
    """Say whether this key's pushes are taken."""
    return store.note(_PUSHER + peer) is not None


def _check(name: str) -> None:
    try:
        check_name(f"remotes/{name}/x")
    except RefError as error:
        raise UserError(str(error)) from error
    if not _NAME.fullmatch(name):
        raise UserError(f"{name[:60]!r} cannot be a remote's name", "letters, digits, - _ . are allowed")


def of_invite(name: str, invite: Invite) -> Remote:
    """Return the node that an invite leads to."""
    return Remote(name, tuple(address for address in invite.bootstrap if is_address(address)))


def home_or_bundle(text: str) -> Path | None:
    """Return the path that `text` is if there is a home or a bundle."""
    path = Path(text).expanduser().absolute()
    return path if path.is_file() or (path / "events").is_dir() else None


def _parse(event: EventManifest, name: str, text: str) -> Remote:
    if is_address(text):
        return Remote(name, (text,))
    if is_invite(text):
        invite = read_invite(text)
        if invite.event != event.digest:
            raise UserError("that invite is to another event", "choose the event with --event")
        return of_invite(name, invite)
    if (path := home_or_bundle(text)) is not None:
        return Remote(name, path=path)
    what = f"{text[:80]!r} is no node's address, no invite, and no home or bundle on this machine"
    raise UserError(what, "an address looks like /ip4/203.0.113.7/tcp/4001/p2p/12D3Koo…")


def _read(name: str, value: bytes) -> Remote:
    match decode(value):
        case {"addresses": tuple(addresses), "path": str(path)}:
            return Remote(name, tuple(str(address) for address in addresses), Path(path) if path else None)
    raise UserError(f"the remote {name} cannot be read", f"`collab-node remote remove {name}` and add it again")
