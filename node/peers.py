"""The other nodes, as this one sees them: whom to ask first, and whom not to hear any more."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from .net import addresses
from .net.network import Network
from .reputation import Reputation

log = structlog.get_logger()

_LARGEST_BLOB = 1 << 36


class Peers:
    """Joins what the network knows of peers with what we think of them."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._reputation = Reputation()
        self._bans: set[asyncio.Task[None]] = set()

    def likely(self, ours: int) -> list[str]:
        """Return the peers that are not banned: those who say to be ahead of round `ours` first, then those who are there.

        In no order beyond that: who claims the highest round is not to be asked by everybody, be it true or not.
        """
        now, known = time.monotonic(), self._network.peers
        others = dict.fromkeys([*known, *self.bootstrap(), *self._network.gossip_peers])
        others.pop(self._network.identity.peer_id, None)
        heard = [peer for peer in others if self._reputation.score(peer, now) >= 0]
        random.shuffle(heard)
        return sorted(heard, key=lambda peer: -min(ours + 1, known[peer].round) if peer in known else 0)

    def bootstrap(self) -> list[str]:
        """Return the peers whose addresses we were given."""
        return [addresses.split(address)[1] for address in self._network.bootstrap]

    def fault(self, peer: str, reason: str) -> None:
        """Lower a peer's standing; at the bottom it is neither heard nor served any more."""
        if self._reputation.fault(peer, reason, time.monotonic()):
            log.warning("a peer is not heard any more", peer=peer, last_fault=reason)
            task = asyncio.create_task(self._network.ban(peer))
            self._bans.add(task)
            task.add_done_callback(self._bans.discard)

    async def download(self, digest: bytes, size: int, peers: Sequence[str]) -> Path:
        """Fetch a blob from `peers`, in this order of preference. Raises NetworkError."""
        return await self._network.fetcher.fetch(digest, size, peers, limit=_LARGEST_BLOB)
