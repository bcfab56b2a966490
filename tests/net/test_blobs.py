"""Blobs between real p2pd processes: parts, resuming, liars, stallers, limits."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from net.netkit import FolderStore

from collab.node.net import blobs, fetch
from collab.node.net.blob_limits import BlobLimits
from collab.node.net.blobs import BlobServer
from collab.node.net.errors import NetworkError
from collab.node.net.fetch import BlobFetcher
from collab.node.net.p2p import P2PHost, P2POptions
from collab.node.net.pacing import Pacer
from collab.node.net.parts import ResumeMap
from collab.node.net.traffic import Traffic
from collab.protocol.identity import Identity

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = BlobLimits(part_bytes=64 * 1024, stall=0.5, part=5.0, streams_per_peer=1)
DATA = os.urandom(10 * 64 * 1024 - 17)
DIGEST = hashlib.sha256(DATA).digest()
LIMIT = 1 << 20


@dataclass
class Node:
    host: P2PHost
    store: FolderStore
    fetcher: BlobFetcher
    server: BlobServer
    traffic: Traffic
    faults: list[tuple[str, str]]

    @property
    def peer_id(self) -> str:
        return self.host.peer_id


async def start(folder: Path, bootstrap: tuple[str, ...] = ()) -> P2PHost:
    identity = Identity.generate()
    host = P2PHost(identity, folder / identity.peer_id, P2POptions(host="127.0.0.1", bootstrap=bootstrap))
    await host.start()
    await host.dial_bootstrap()
    return host


async def node_on(host: P2PHost, folder: Path) -> Node:
    store, traffic = FolderStore(folder / host.peer_id), Traffic()
    faults: list[tuple[str, str]] = []
    server = BlobServer(host, store, traffic, LIMITS)
    await server.start()
    fetcher = BlobFetcher(host, store, store, traffic, LIMITS, lambda peer, reason: faults.append((peer, reason)))
    return Node(host, store, fetcher, server, traffic, faults)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[P2PHost]]:
    """Four hosts, of which the first is connected to all others."""
    folder = tmp_path_factory.mktemp("hosts")
    first = await start(folder)
    address = tuple(await first.dial_strings())
    others = await asyncio.gather(*(start(folder, address) for _ in range(3)))
    yield [first, *others]
    await asyncio.gather(*(host.stop() for host in (first, *others)))


@pytest_asyncio.fixture(loop_scope="module")
async def nodes(hosts: list[P2PHost], tmp_path: Path) -> list[Node]:
    """A fetcher and three servers on these hosts, with empty stores."""
    return [await node_on(host, tmp_path) for host in hosts]


def peer_ids(nodes: list[Node]) -> list[str]:
    return [node.peer_id for node in nodes]


async def test_a_blob_comes_from_several_peers(nodes: list[Node]) -> None:
    first, *servers = nodes
    given: dict[str, int] = {}
    first.fetcher.on_fetched = lambda digest, size, donors: given.update(donors)
    for server in servers:
        server.store.put(DATA)
    path = await first.fetcher.fetch(DIGEST, len(DATA), peer_ids(servers), limit=LIMIT)
    assert path.read_bytes() == DATA
    assert first.traffic.received["blob"] >= len(DATA)
    assert sum(server.traffic.sent["blob"] > 0 for server in servers) >= 2
    assert sum(given.values()) == len(DATA)
    sent = {server.peer_id: server.traffic.sent["blob"] for server in servers}
    assert all(size <= sent[peer] for peer, size in given.items())
    assert first.faults == []
    assert sorted(file.name for file in first.store.folder.iterdir()) == [DIGEST.hex()]
    for server in servers:
        (server.store.folder / DIGEST.hex()).unlink()
    assert await first.fetcher.fetch(DIGEST, len(DATA), [], limit=LIMIT) == path


async def test_a_limited_rate_slows_both_ends_and_blames_nobody(nodes: list[Node]) -> None:
    first, server, *_ = nodes
    waited: dict[str, float] = {"up": 0.0, "down": 0.0}

    def pacer(name: str) -> Pacer:
        async def sleep(seconds: float) -> None:
            waited[name] = max(waited[name], seconds)  # time stands still, so each wait is from the beginning

        made = Pacer(lambda: 0.0, sleep)
        made.limit(100_000)
        return made

    server.server.pacer, first.fetcher.pacer = pacer("up"), pacer("down")
    server.store.put(DATA)
    path = await first.fetcher.fetch(DIGEST, len(DATA), [server.peer_id], limit=LIMIT)
    assert path.read_bytes() == DATA
    assert waited == {name: pytest.approx(len(DATA) / 100_000 - 1.0) for name in waited}
    assert first.faults == []


async def test_a_used_up_quota_serves_nothing_and_is_no_fault(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.node.net.fetch._BUSY_TRIES", 2)
    first, server, *_ = nodes
    server.store.put(DATA)
    server.server.pacer.closed = True
    with pytest.raises(NetworkError, match="busy"):
        await first.fetcher.fetch(DIGEST, len(DATA), [server.peer_id], limit=LIMIT)
    assert (first.faults, server.traffic.sent["blob"]) == ([], 0)


async def test_a_fetch_goes_on_where_it_stopped(nodes: list[Node]) -> None:
    first, server, *_ = nodes
    with pytest.raises(NetworkError, match="does not have it"):
        await first.fetcher.fetch(DIGEST, len(DATA), [server.peer_id], limit=LIMIT)
    server.store.put(DATA)
    partial = first.store.partial_path(DIGEST)
    partial.write_bytes(DATA[: 4 * LIMITS.part_bytes] + bytes(len(DATA) - 4 * LIMITS.part_bytes))
    resume_map(partial).save({0, 1, 2, 3})
    path = await first.fetcher.fetch(DIGEST, len(DATA), [server.peer_id], limit=LIMIT)
    assert path.read_bytes() == DATA
    assert first.traffic.received["blob"] == len(DATA) - 4 * LIMITS.part_bytes


def resume_map(partial: Path) -> ResumeMap:
    return ResumeMap(partial, len(DATA), LIMITS.part_bytes)


async def test_the_peer_with_wrong_bytes_is_named_and_the_others_serve(nodes: list[Node]) -> None:
    first, liar, honest, other = nodes
    honest.store.put(DATA)
    other.store.put(DATA)
    liar.store.put(bytes(len(DATA)), name=DIGEST)
    given: dict[str, int] = {}
    first.fetcher.on_fetched = lambda digest, size, donors: given.update(donors)
    path = await first.fetcher.fetch(DIGEST, len(DATA), peer_ids([liar, honest, other]), limit=LIMIT)
    assert path.read_bytes() == DATA
    assert first.faults == [(liar.peer_id, "wrong_bytes")]
    assert sum(given.values()) == len(DATA)
    assert liar.peer_id not in given


async def test_wrong_bytes_of_everybody_leave_nothing_behind(nodes: list[Node]) -> None:
    first, *liars = nodes
    for liar in liars:
        liar.store.put(bytes(len(DATA)), name=DIGEST)
    with pytest.raises(NetworkError, match="right bytes"):
        await first.fetcher.fetch(DIGEST, len(DATA), peer_ids(liars), limit=LIMIT)
    assert sorted(first.faults) == sorted((liar.peer_id, "wrong_bytes") for liar in liars)
    assert first.store.open(DIGEST) is None


async def test_bad_parts_from_an_earlier_life_are_nobodys_fault(nodes: list[Node]) -> None:
    first, server, *_ = nodes
    server.store.put(DATA)
    partial = first.store.partial_path(DIGEST)
    partial.write_bytes(bytes(len(DATA)))
    resume_map(partial).save({0, 5})
    path = await first.fetcher.fetch(DIGEST, len(DATA), [server.peer_id], limit=LIMIT)
    assert path.read_bytes() == DATA
    assert first.faults == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "stalled"),
        (blobs.HEADER.pack(blobs.Status.OK, LIMITS.part_bytes) + b"some", "stalled"),
        (blobs.HEADER.pack(blobs.Status.OK, 1 << 62), "malformed"),
        (blobs.HEADER.pack(77, 0), "malformed"),
        (None, "lost"),
    ],
)
async def test_a_misbehaving_peer_is_dropped_and_the_others_serve(
    nodes: list[Node], answer: bytes | None, reason: str
) -> None:
    first, bad, honest, _ = nodes
    honest.store.put(DATA)
    leave = asyncio.Event()

    async def misbehave(peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is not None:
            writer.write(answer)
            await leave.wait()
        writer.close()

    await bad.host.handle(blobs.PROTOCOL, misbehave)
    path = await first.fetcher.fetch(DIGEST, len(DATA), [bad.peer_id, honest.peer_id], limit=LIMIT)
    leave.set()
    assert path.read_bytes() == DATA
    assert first.faults == [(bad.peer_id, reason)]


async def test_the_callers_limit_comes_first(nodes: list[Node]) -> None:
    first, *servers = nodes
    for size in (0, -1, LIMIT + 1):
        with pytest.raises(NetworkError, match="are allowed"):
            await first.fetcher.fetch(DIGEST, size, peer_ids(servers), limit=LIMIT)
    assert list(first.store.folder.iterdir()) == []


async def test_a_peer_that_does_not_exist_is_no_reason_to_wait(nodes: list[Node]) -> None:
    first, server, *_ = nodes
    server.store.put(DATA)
    ghost = Identity.generate().peer_id
    path = await first.fetcher.fetch(DIGEST, len(DATA), [ghost, server.peer_id], limit=LIMIT)
    assert path.read_bytes() == DATA
    with pytest.raises(NetworkError, match="unreachable"):
        await first.fetcher.fetch(bytes(32), 10, [ghost], limit=LIMIT)


async def test_hostile_requests_are_refused_and_counted(nodes: list[Node]) -> None:
    first, server, *_ = nodes
    server.store.put(DATA)
    past_the_end = blobs.encode_request(DIGEST, len(DATA) - 1, 2)
    frames = (b"\xc1\xc1", past_the_end)
    for request in (b"\xff\xff\xff\xff", *(len(frame).to_bytes(4, "little") + frame for frame in frames)):
        reader, writer = await first.host.open_stream(server.peer_id, blobs.PROTOCOL)
        writer.write(request)
        status, length = blobs.HEADER.unpack(await reader.readexactly(blobs.HEADER.size))
        assert (status, length) == (blobs.Status.REFUSED, 0)
        writer.close()
    assert server.traffic.refused == {"blob_oversized": 1, "blob_malformed": 1, "blob_out_of_range": 1}
    assert (await first.fetcher.fetch(DIGEST, len(DATA), [server.peer_id], limit=LIMIT)).exists()


@pytest.mark.parametrize("claimed", [len(DATA) - 1, len(DATA) - LIMITS.part_bytes, len(DATA) + 1, 2 * len(DATA)])
async def test_whoever_claims_another_size_brings_no_blame_on_those_who_have_the_blob(nodes: list[Node], claimed: int) -> None:
    first, *servers = nodes
    for server in servers:
        server.store.put(DATA)
    for peers in (peer_ids(servers), peer_ids(servers[:1])):
        with pytest.raises(NetworkError):
            await first.fetcher.fetch(DIGEST, claimed, peers, limit=2 * LIMIT)
    assert first.faults == []
    assert (await first.fetcher.fetch(DIGEST, len(DATA), peer_ids(servers), limit=LIMIT)).read_bytes() == DATA


async def test_one_peers_streams_keep_nobody_else_from_being_served(nodes: list[Node]) -> None:
    first, greedy, server, _ = nodes
    server.store.put(DATA)
    server.server._limits = limits = replace(LIMITS, serves=4, serves_per_peer=2)
    address = (await server.host.dial_strings())[0]
    await greedy.host.connect(server.peer_id, [address.rpartition("/p2p/")[0]])
    streams = [await greedy.host.open_stream(server.peer_id, blobs.PROTOCOL) for _ in range(limits.serves + 1)]
    for _, writer in streams:
        writer.write(_framed(blobs.encode_request(bytes(32), 0, 1)))
    statuses = [blobs.HEADER.unpack(await reader.readexactly(blobs.HEADER.size))[0] for reader, _ in streams]
    assert statuses.count(blobs.Status.BUSY) >= limits.serves + 1 - limits.serves_per_peer
    try:
        async with asyncio.timeout(2.0):
            path = await first.fetcher.fetch(DIGEST, len(DATA), [server.peer_id], limit=LIMIT)
        assert path.read_bytes() == DATA
    finally:
        for _, writer in streams:
            writer.close()


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


async def test_blobs_of_a_peer_that_never_answers_do_not_hold_up_those_of_others(nodes: list[Node]) -> None:
    """It needs nothing but to be asked: by claims, or by a history that it says to have."""
    first, bad, honest, _ = nodes
    honest.store.put(DATA)

    async def say_nothing(peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    await bad.host.handle(blobs.PROTOCOL, say_nothing)
    fetcher = BlobFetcher(first.host, first.store, first.store, first.traffic, replace(LIMITS, stall=60.0, part=60.0))
    claimed = [hashlib.sha256(bytes([number])).digest() for number in range(24)]
    stuck = [asyncio.create_task(fetcher.fetch(digest, 10, [bad.peer_id], limit=LIMIT)) for digest in claimed]
    try:
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10.0):
            path = await fetcher.fetch(DIGEST, len(DATA), [honest.peer_id], limit=LIMIT)
        assert path.read_bytes() == DATA
    finally:
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)


async def test_what_is_still_being_written_when_a_fetch_ends_goes_into_its_own_file(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor that was closed is soon another file's: the store's index, say, with a stranger's bytes at his offset."""
    first, server, *_ = nodes
    server.store.put(DATA)
    partial = first.store.partial_path(DIGEST)
    began, goes_on, written_to = asyncio.Event(), threading.Event(), list[Path]()
    loop, write = asyncio.get_running_loop(), fetch._write_at

    def slow_write(descriptor: int, pieces: list[bytes], offset: int) -> None:
        loop.call_soon_threadsafe(began.set)
        goes_on.wait(10.0)
        written_to.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        write(descriptor, pieces, offset)

    monkeypatch.setattr(fetch, "_write_at", slow_write)
    fetching = asyncio.create_task(first.fetcher.fetch(DIGEST, len(DATA), [server.peer_id], limit=LIMIT))
    await began.wait()
    fetching.cancel()
    await asyncio.sleep(0.2)
    victims = [os.open(first.store.folder / f"victim {number}", os.O_WRONLY | os.O_CREAT) for number in range(64)]
    goes_on.set()
    await asyncio.gather(fetching, return_exceptions=True)
    await asyncio.sleep(0.2)
    for victim in victims:
        os.close(victim)
    assert set(written_to) == {partial}


async def test_a_blob_is_fetched_once_at_a_time_however_many_ask(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """With other sizes too, which someone made up: two at once would write into one file, and blame each other's peers."""
    fetcher, running, most = nodes[0].fetcher, 0, 0

    async def fail(digest: bytes, size: int, peers: list[str]) -> Path:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        raise NetworkError("nobody has it")

    monkeypatch.setattr(fetcher, "_fetch", fail)

    async def ask(size: int, later: float) -> None:
        await asyncio.sleep(later)
        with pytest.raises(NetworkError):
            await fetcher.fetch(DIGEST, size, [], limit=LIMIT)

    await asyncio.gather(*(ask(number + 1, number * 0.005) for number in range(20)))
    assert most == 1
    assert not fetcher._locks
