"""Talking to a remote node: over the network of the running daemon, or over one of our own for as long as a command takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ...protocol.canonical import MESSAGE_LIMITS
from ...protocol.errors import RemoteProtocolError
from ...protocol.identity import Identity
from ...protocol.manifest import SignedManifest
from ...protocol.remote import PushReply, PushRequest, Update
from ..errors import UserError
from ..home import EventFolder
from ..net.blob_limits import BlobLimits
from ..net.blobs import BlobServer
from ..net.errors import NetworkError
from ..net.fetch import BlobFetcher
from ..net.p2p import P2PHost, P2POptions
from ..net.rpc import Rpc
from ..net.traffic import Traffic
from ..rounds.catch_up import fetch_manifest
from ..rounds.fetching import Unavailable
from .config import Remote
from .peer import PUSH, Fetch, PeerSource
from .place import Place
from .server import RemoteServer

_SECONDS = 20.0
_HINTS = {
    "not_allowed": ("does not take pushes from this node's key", "its owner runs `collab-node remote allow {peer}`"),
    "busy": ("is busy with other pushes", "repeat in a while"),
    "unknown_event": ("is a node of another event", "choose the event with --event"),
    "unknown_call": ("knows no remotes", "it has to be updated, or is still starting"),
    "rate_limited": ("was asked too often", "repeat in a minute"),
}


@dataclass(frozen=True)
class Line:
    """What it takes to talk to other nodes: `host` connects, `rpc` calls, `fetch` brings blobs into our store."""

    host: P2PHost
    rpc: Rpc
    fetch: Fetch

    async def dial(self, remote: Remote) -> str:
        """See `dial`."""
        return await dial(self.host, remote)

    async def push(self, peer: str, event: bytes, updates: list[Update]) -> list[str]:
        """Ask a peer for updates, wait until it made them, and return for each why not.

        Raises NetworkError, RemoteProtocolError, UserError.
        """
        body = PushRequest(event=event, updates=tuple(updates)).encode()
        if len(body) > MESSAGE_LIMITS.size - 1024:
            raise UserError(f"{len(updates)} names are too many for one push", "push them in parts")
        while True:
            answer = await self.rpc.call(peer, PUSH, body, timeout=_SECONDS, limit=MESSAGE_LIMITS.size * 2)
            reply = PushReply.decode(answer, MESSAGE_LIMITS)
            if reply.done:
                if len(reply.refused) != len(updates):
                    raise RemoteProtocolError("malformed", "an answer to another push")
                return list(reply.refused)

    def source(self, place: Place, peer: str) -> PeerSource:
        """Return the peer as a source for this place."""
        return PeerSource(self.rpc, self.fetch, peer, place.event.digest, place.store)


async def dial(host: P2PHost, remote: Remote) -> str:
    """Connect to a remote at the first of its addresses that answers, and return its peer id. Raises UserError."""
    problem = "it has no address"
    for route, peer in remote.peers:
        try:
            await host.connect(peer, [route])
            return peer
        except NetworkError as error:
            problem = str(error)
    raise UserError(f"{remote.name} does not answer: {problem}", "is its node running, and is the address still right?")


@asynccontextmanager
async def online(folder: EventFolder, identity: Identity, traffic: Traffic) -> AsyncIterator[tuple[P2PHost, Rpc]]:
    """Be on the network while the block runs, without listening: the peers that we dial can ask us over the same connection."""
    host = P2PHost(identity, folder.path / "p2pd.key", P2POptions(reachability="outgoing"))
    rpc = Rpc(host, traffic)
    try:
        await host.start()
        await rpc.start()
        yield host, rpc
    except NetworkError as error:
        raise UserError(str(error), "repeat: what came is kept") from error
    finally:
        await host.stop()


@asynccontextmanager
async def calling(place: Place, identity: Identity) -> AsyncIterator[Line]:
    """Be on the network while the block runs, and give what the peers that we push to ask for."""
    traffic, limits, blobs = Traffic(), BlobLimits(), place.store.blobs
    async with online(place.folder, identity, traffic) as (host, rpc):
        fetcher = BlobFetcher(host, blobs, blobs, traffic, limits)
        RemoteServer(place, rpc, fetcher.fetch, traffic).register(alone=True)
        await BlobServer(host, blobs, traffic, limits).start()
        yield Line(host, rpc, fetcher.fetch)


async def ask_manifest(folder: EventFolder, identity: Identity, remote: Remote, event: bytes) -> SignedManifest:
    """Return an event's signed manifest, verified, as the remote has it; `folder` is to be the event's. Raises UserError."""
    async with online(folder, identity, Traffic()) as (host, rpc):
        try:
            return await fetch_manifest(rpc, event, [await dial(host, remote)])
        except Unavailable as error:
            raise UserError(str(error), "is its node of this event, and up to date?") from error


def refusal(remote: Remote, us: str, error: RemoteProtocolError) -> UserError:
    """Return what a peer refused as a line for people."""
    what, hint = _HINTS.get(error.detail, ("", ""))
    if error.reason == "refused" and what:
        return UserError(f"{remote.name} {what}", hint.format(peer=us))
    return UserError(f"{remote.name} gave a wrong answer: {error}", "nothing was taken from it")
