"""A hostile gossip peer, run as a script: it speaks GossipSub with py-libp2p, but without our gate.

`python attacker.py ADDRESS TOPIC`: connects, sends what a cheater would send, one honest message, and a flood, once a line on
standard input asks for it.
"""

from __future__ import annotations

import sys

import base58
import multiaddr
import trio
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from libp2p.utils import encode_varint_prefixed

from collab.node.sidecar.bounds import ConnectionBounds
from collab.node.sidecar.host import connect, new_host
from collab.node.sidecar.limits import GossipLimits
from collab.node.sidecar.pubsub import new_router
from collab.protocol.canonical import encode
from collab.protocol.identity import Identity
from collab.protocol.messages import Goodbye, Signed

US, VICTIM = Identity(b"m" * 32), Identity(b"v" * 32)
LIMITS = GossipLimits()


def sealed(identity: Identity, number: int) -> Signed:
    return Signed.seal(identity, Goodbye(event=bytes(32), base=bytes(32), round=number))


async def attack(address: str, topic: str) -> None:
    host = new_host(US.seed, LIMITS, ConnectionBounds(10, 10))
    async with host.run([multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        pubsub = Pubsub(host, new_router(), strict_signing=True)
        async with background_trio_service(pubsub.router), background_trio_service(pubsub):
            await pubsub.wait_until_ready()
            await pubsub.subscribe(topic)
            peer = await connect(host, address)
            await pubsub.ensure_peer_stream(peer)
            await pubsub.wait_for_subscription(peer, topic)
            for data in (
                b"\xc1 not an envelope",
                sealed(VICTIM, 1).encode(),
                encode({**sealed(US, 2).model_dump(), "signature": bytes(64)}),
                encode({**sealed(US, 3).model_dump(), "kind": "rumour"}),
                bytes(70_000),
                sealed(US, 4).encode(),
            ):
                await pubsub.publish(topic, data)
            await trio.to_thread.run_sync(sys.stdin.readline)  # until those were heard: the flood would drown them
            stream = pubsub.peers[peer]
            flood = rpc_pb2.RPC()
            for number in range(3_000):
                author = base58.b58decode(VICTIM.peer_id)
                flood.publish.add(data=b"x", topicIDs=[topic], from_id=author, seqno=number.to_bytes(8, "big"))
            await stream.write(encode_varint_prefixed(flood.SerializeToString()))
            await stream.write(encode_varint_prefixed(b"\xff no RPC"))
            await trio.sleep(0.5)
        await host.close()


if __name__ == "__main__":
    trio.run(attack, *sys.argv[1:])
