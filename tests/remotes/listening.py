"""A node that answers over real streams on loopback, as a daemon does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from remotes.conftest import Person

from collab.node.net.blob_limits import BlobLimits
from collab.node.net.blobs import BlobServer
from collab.node.net.fetch import BlobFetcher
from collab.node.net.p2p import P2PHost, P2POptions
from collab.node.net.rpc import Rpc
from collab.node.net.traffic import Traffic
from collab.node.remotes.config import Remote
from collab.node.remotes.place import Place, open_place
from collab.node.remotes.server import RemoteServer
from collab.node.rounds.catch_up import HistoryServer, restore_history


@dataclass(frozen=True)
class Listening:
    """A node that answers, as its own remote, its counters, and its store."""

    remote: Remote
    traffic: Traffic
    place: Place


@asynccontextmanager
async def listening(person: Person, slow: asyncio.Event | None = None) -> AsyncIterator[Listening]:
    """Answer as `person`; `slow` is set when a push begins to fetch something, which then takes for ever."""
    traffic = Traffic()
    with open_place(person.home, person.folder) as place:
        blobs = place.store.blobs
        host = P2PHost(person.identity, person.path / "p2pd.key", P2POptions(host="127.0.0.1"))
        rpc = Rpc(host, traffic)
        fetcher = BlobFetcher(host, blobs, blobs, traffic, BlobLimits())

        async def never(digest: bytes, size: int, peers: Sequence[str], *, limit: int) -> Path:
            assert slow is not None
            slow.set()
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

        server = RemoteServer(place, rpc, never if slow is not None else fetcher.fetch, traffic)
        server.register()
        HistoryServer(person.folder.manifest(), restore_history(place.event, place.store), place.store).register(rpc)
        try:
            await host.start()
            await rpc.start()
            await BlobServer(host, blobs, traffic, BlobLimits()).start()
            yield Listening(Remote("alice", tuple(await host.dial_strings())), traffic, place)
        finally:
            await server.close()
            await host.stop()
