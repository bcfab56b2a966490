"""An internet of nodes under the test's folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from daemon.kit import EVENT, Internet, Peer
from daemon.nodekit import Desk

from collab.protocol.event import EventManifest

MakePeer = Callable[..., Peer]


@pytest.fixture
def net() -> Internet:
    return Internet()


@pytest.fixture
def make_peer(net: Internet, tmp_path: Path) -> Iterator[MakePeer]:
    """Build a peer by name; its store is closed at the end."""
    made: list[Peer] = []

    def make(name: str, manifest: EventManifest = EVENT) -> Peer:
        made.append(Peer(net, name, tmp_path, manifest))
        return made[-1]

    yield make
    for peer in made:
        peer.store.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()
    made.bench.store.close()
