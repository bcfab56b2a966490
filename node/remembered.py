"""Where a node listened and whom it knew, for its next start.

An invite holds a bootstrap node's address: it stays good over restarts only if the port does. And a bootstrap node has no invite
of its own: started again, it finds the swarm through those that it knew.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..protocol.canonical import decode, encode
from ..protocol.errors import RemoteProtocolError
from .net.addresses import is_address, is_free
from .store import Store

_PORTS, _PEERS = "ports", "peers"
_MOST_PEERS = 8
_MOST_ADDRESSES = 2


def port(store: Store, name: str, host: str) -> int:
    """Return the port that `name` listened on when it last could choose one, if it is free on `host`; else 0."""
    found = _read(store, _PORTS)
    known = found.get(name) if isinstance(found, dict) else None
    return known if isinstance(known, int) and is_free(host, known) else 0


def save_ports(store: Store, **ports: int) -> None:
    """Remember where we listen."""
    store.put_note(_PORTS, encode(ports))


def peers(store: Store) -> tuple[str, ...]:
    """Return addresses of peers that were there, with their peer ids."""
    found = _read(store, _PEERS)
    texts = found if isinstance(found, tuple) else ()
    return tuple(text for text in texts if isinstance(text, str) and is_address(text))


def save_peers(store: Store, addresses: Iterable[tuple[str, ...]]) -> None:
    """Remember a few peers by the addresses of each, the first ones first."""
    kept = [address for known in list(addresses)[:_MOST_PEERS] for address in known[:_MOST_ADDRESSES]]
    note = encode(kept)
    if kept and note != store.note(_PEERS):
        store.put_note(_PEERS, note)


def _read(store: Store, name: str) -> object:
    try:
        return decode(store.note(name) or b"")
    except RemoteProtocolError:
        return None
