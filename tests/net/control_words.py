"""Control messages of a hostile peer, given to the sidecar's router in a process of its own. Prints what they led to, as JSON."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2

from collab.node.sidecar.pubsub import new_router

PEER = ID.from_pubkey(create_new_key_pair(b"m" * 32).public_key)


async def attack() -> dict[str, int]:
    router, dialed, sent = new_router(), list[bytes](), list[int]()

    async def dial(peers: list[rpc_pb2.PeerInfo]) -> None:
        dialed.extend(peer.peerID for peer in peers)

    router._do_px = dial
    router.send_rpc = lambda peer, rpc: sent.append(rpc.ByteSize())
    router.mesh["t"] = set()
    router.pubsub = SimpleNamespace(seen_messages=SimpleNamespace(has=lambda _: True))
    flood = rpc_pb2.RPC()
    for number in range(5000):
        flood.control.prune.add(topicID=f"invented {number}").peers.add(peerID=PEER.to_bytes())
        flood.control.ihave.add(topicID=f"invented {number}", messageIDs=[b"ab"])
    flood.control.prune.add(topicID="t").peers.add(peerID=PEER.to_bytes())
    await router.handle_rpc(flood, PEER)
    kept = [router.back_off, *router.graft_flood_tracking.values(), *router.ihave_message_limits.values()]

    for number in range(20):
        router.mcache.put(rpc_pb2.Message(data=bytes(60_000), topicIDs=["t"], seqno=bytes([number]), from_id=PEER.to_bytes()))
    names = [name.hex() for name in router.mcache.msgs]
    wish = rpc_pb2.RPC()
    wish.control.iwant.add(messageIDs=[each.encode() for name in names for each in (name, name.upper(), f" {name}") * 100])
    await router.handle_rpc(wish, PEER)
    return {"kept": sum(map(len, kept)), "dialed": len(dialed), "sent": sum(sent)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(trio.run(attack)))
