"""A member of the network with the worst intentions, beside real daemons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.kit import BATCH, STEPS, commits, metric
from net.netkit import FolderStore

from collab.node.home import Home
from collab.node.local_swarm import LocalNode
from collab.node.net.network import Network, NetworkOptions
from collab.protocol.identity import Identity
from collab.protocol.messages import Blob, Contribution, Signed


@dataclass
class Attacker:
    """A peer with a key, a store and a network of its own, in the swarm's event."""

    identity: Identity
    network: Network
    store: FolderStore
    victim: LocalNode

    @property
    def target(self) -> str:
        return str(self.victim.ask("status")["peer"])

    async def gossip(self, data: bytes) -> None:
        await self.network.publish(data)

    def claim(self, payload: Blob, **changes: object) -> Contribution:
        """Return a contribution on the swarm's newest commit that is plausible but for `changes`."""
        base = commits(self.victim)[-1]
        fields = {
            "event": base.event, "base": base.digest, "round": base.round, "payload": payload, "fisher": None,
            "samples": STEPS * BATCH, "steps": STEPS, "loss": 1.0, "admission": None,
        }  # fmt: skip
        return Contribution.from_fields(fields | changes)

    async def contribute(self, payload: Blob, **changes: object) -> Signed:
        signed = Signed.seal(self.identity, self.claim(payload, **changes))
        await self.gossip(signed.encode())
        return signed

    def serve(self, data: bytes, *, name: bytes | None = None) -> Blob:
        return Blob(sha256=self.store.put(data, name=name), size=len(data))


@asynccontextmanager
async def attacking(victim: LocalNode, folder: Path, **limits: int) -> AsyncIterator[Attacker]:
    """Give an attacker that the victim's gossip is connected to; `limits` are those of its own gossip."""
    event = Home(victim.home).find_event().manifest().open()
    identity, store = Identity.generate(), FolderStore(folder / "blobs")
    options = NetworkOptions(
        home=folder, host="127.0.0.1", bootstrap=tuple(victim.ask("status")["addresses"]), discover_seconds=0.3
    )
    network = Network(identity, options, event.digest, store, store)
    if limits:
        network.gossip.limits = limits
    await network.start()
    made = Attacker(identity, network, store, victim)
    try:
        await until(lambda: made.target in network.gossip_peers)
        yield made
    finally:
        await network.stop()


async def until(condition: object, seconds: float = 90.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110  # it is about other processes
            await asyncio.sleep(0.1)


def refused(node: LocalNode, reason: str) -> float:
    return metric(node, "collab_contributions_refused_total", reason=reason)


def victim_blob(node: LocalNode, digest: bytes) -> bytes:
    name = digest.hex()
    return (Home(node.home).find_event().store_path / "blobs" / name[:2] / name[2:]).read_bytes()
