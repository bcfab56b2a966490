"""A member of the network with the worst intentions, against real daemons: all is refused and counted, and rounds go on."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from e2e.attack import Attacker, attacking, refused, until, victim_blob
from e2e.kit import commits, head, log_lines, metric

from collab.kernels import wire
from collab.node.local_swarm import LocalNode, LocalSwarm
from collab.node.net import blobs, rpc
from collab.protocol.canonical import encode
from collab.protocol.messages import Blob, Contribution, Signed

pytestmark = pytest.mark.e2e
MEBIBYTE = 1 << 20


@pytest_asyncio.fixture
async def attacker(swarm: LocalSwarm, tmp_path: Path) -> AsyncIterator[Attacker]:
    """An attacker that the coordinator's gossip is connected to."""
    async with attacking(swarm.coordinator, tmp_path, message_bytes=MEBIBYTE // 2) as made:
        yield made


async def refuses(attacker: Attacker, reason: str, before: float) -> None:
    await until(lambda: refused(attacker.victim, reason) > before)


def memory(swarm: LocalSwarm) -> int:
    """Return the daemons' resident bytes, without their children."""
    return sum(psutil.Process(node.process.pid).memory_info().rss for node in swarm.nodes if node.process is not None)


async def test_lies_about_contributions_are_refused_by_reason(swarm: LocalSwarm, attacker: Attacker) -> None:
    victim, before = attacker.victim, memory(swarm)
    genuine = next(iter(commits(victim)[-2].contributions()))[1].payload  # the newest may have come without its payloads yet
    bytes_of = victim_blob(victim, genuine.sha256)
    lies: list[tuple[str, Blob, dict[str, object]]] = [
        ("unknown_base", attacker.serve(b"of no base" * 9), {"base": sha256(b"nobody knows").digest(), "round": 1 << 20}),
        ("payload_malformed", attacker.serve(os.urandom(len(bytes_of))), {}),
        ("payload_malformed", attacker.serve(wire.seal(bytearray(bytes_of[:64] + b"\xff" * (len(bytes_of) - 64)))), {}),
        ("implausible", attacker.serve(bytes_of), {"samples": 10**9}),
        ("oversized", Blob(sha256=sha256(b"huge").digest(), size=1 << 39), {}),
        ("unavailable", attacker.serve(bytes(len(bytes_of)), name=sha256(b"announced").digest()), {}),
    ]
    spent: set[bytes] = set()
    for reason, payload, changes in lies:
        await until(lambda: commits(victim)[-1].digest not in spent)  # one lie a base: two would be equivocation
        count = refused(victim, reason)
        sent = await attacker.contribute(payload, **changes)
        spent.add(sent.open_as(Contribution).base)
        await refuses(attacker, reason, count)
    merged = {signed.signer for commit in commits(victim) for signed, _ in commit.contributions()}
    assert attacker.identity.peer_id not in merged
    assert memory(swarm) - before < 100 * MEBIBYTE
    swarm.wait_for_round(head(swarm) + 1, 120)


async def test_bad_envelopes_never_pass_and_their_sender_is_banned(swarm: LocalSwarm, attacker: Attacker) -> None:
    victim = attacker.victim
    others = next(iter(commits(victim)[-1].contributions()))[0]
    honest = Signed.seal(attacker.identity, attacker.claim(attacker.serve(b"payload")))
    counts = {reason: refused(victim, reason) for reason in ("oversized", "wrong_author", "malformed", "bad_signature")}
    await attacker.gossip(others.encode())  # someone else's contribution, replayed under our name
    await refuses(attacker, "wrong_author", counts["wrong_author"])
    await attacker.gossip(bytes(100_000))
    await refuses(attacker, "oversized", counts["oversized"])
    await attacker.gossip(b"\xc1" * 1000)
    await refuses(attacker, "malformed", counts["malformed"])
    await attacker.gossip(encode({**honest.model_dump(), "signature": bytes(64)}))
    await refuses(attacker, "bad_signature", counts["bad_signature"])
    me = attacker.identity.peer_id
    banned = "a peer is not heard any more"
    await until(lambda: any(line["event"] == banned and line["peer"] == me for line in log_lines(victim)))
    await until(lambda: attacker.target not in attacker.network.gossip_peers)
    assert all(node.alive for node in swarm.nodes)
    swarm.wait_for_round(head(swarm) + 1, 120)


async def test_nonsense_on_every_port_and_stream(swarm: LocalSwarm, attacker: Attacker) -> None:
    victim, before = attacker.victim, memory(swarm)
    for port in listening(victim):
        for junk in (os.urandom(100_000), b"\x13/multistream/1.0.0\n" + os.urandom(1000), b"\xff" * 70_000, b""):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                try:
                    connection.sendall(junk)
                except OSError:
                    continue  # it hung up on us: as it should
    absurd = [
        (blobs.PROTOCOL, frame(blobs.encode_request(commits(victim)[-1].digest, 1 << 60, 1 << 20)), "blob", "out_of_range"),
        (blobs.PROTOCOL, frame(encode({"digest": bytes(32), "offset": 0, "length": 1 << 40})), "blob", "malformed"),
        (blobs.PROTOCOL, struct.pack("<I", 0xFFFFFFFF), "blob", "oversized"),
        (rpc.PROTOCOL, struct.pack("<I", 0xFFFFFFFF), "rpc", "oversized"),
        (rpc.PROTOCOL, frame(b"\xc1" + os.urandom(500)), "rpc", "malformed"),  # 1 in 20 random strings nests too deep: oversized
        (rpc.PROTOCOL, frame(encode({"name": "history", "body": b"\xc1" * 99})), "rpc", "malformed"),
        (rpc.PROTOCOL, frame(encode({"name": "shutdown", "body": b""})), "rpc", "unknown_call"),
    ]
    for protocol, data, channel, reason in absurd:
        labels = {"channel": channel, "reason": reason}
        count = metric(victim, "collab_network_refused_total", **labels)
        _, writer = await attacker.network.host.open_stream(attacker.target, protocol)
        writer.write(data)
        try:
            await until(lambda labels=labels, count=count: metric(victim, "collab_network_refused_total", **labels) > count)
        except TimeoutError as error:
            error.add_note(f"nothing was counted for {labels}")
            raise
        finally:
            writer.close()  # else its warning would fail another test
    assert memory(swarm) - before < 100 * MEBIBYTE
    assert all(node.alive for node in swarm.nodes)
    swarm.wait_for_round(head(swarm) + 2, 120)


def frame(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data




def listening(node: LocalNode) -> set[int]:
    """Return every TCP port of the node and its children: p2pd's, gossip's and the metrics'."""
    assert node.process is not None
    daemon = psutil.Process(node.process.pid)
    processes = (daemon, *daemon.children(recursive=True))
    found = [connection for process in processes for connection in process.net_connections("tcp")]
    return {connection.laddr.port for connection in found if connection.status == psutil.CONN_LISTEN}
