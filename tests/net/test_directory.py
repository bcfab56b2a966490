"""Records in a real DHT: found, expired, and every forgery refused by the node that would store it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hivemind.dht import DHTNode
from hivemind.dht.routing import DHTID
from hivemind.dht.validation import DHTRecord
from hypothesis import given
from hypothesis import strategies as st
from net.netkit import EVENT

from collab.node.net.directory import Directory
from collab.node.net.errors import NetworkError
from collab.node.net.p2p import P2PHost, P2POptions
from collab.node.net.records import PeerRecord, ProviderRecord, SignedRecord, blob_key, peers_key
from collab.node.net.traffic import Traffic
from collab.node.net.validator import RecordValidator
from collab.protocol.canonical import encode
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.identity import Identity
from collab.protocol.record import sha256

NOW = 2_000_000_000.0
ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)
BLOB = hashlib.sha256(b"blob").digest()


class Clock:
    """hivemind reads the real clock; so does this one, until it is moved."""

    ahead = 0.0

    def __call__(self) -> float:
        from hivemind.utils.timed_storage import get_dht_time

        return float(get_dht_time()) + self.ahead


@dataclass
class Member:
    identity: Identity
    host: P2PHost
    directory: Directory
    traffic: Traffic
    clock: Clock

    def record(self, **changes: Any) -> PeerRecord:
        return peer_record(self.identity, **{"expires": int(self.clock() + 60), **changes})


def peer_record(identity: Identity, **changes: Any) -> PeerRecord:
    fields: dict[str, Any] = {
        "event": EVENT, "peer": identity.peer_id, "p2p": (f"/ip4/127.0.0.1/tcp/1/p2p/{identity.peer_id}",), "gossip": (),
        "head": None, "round": 3, "trains": True, "version": "0.1.0", "expires": int(NOW + 60),
    }  # fmt: skip
    return PeerRecord(**{**fields, **changes})


async def member(folder: Path, bootstrap: tuple[str, ...] = ()) -> Member:
    identity, traffic, clock = Identity.generate(), Traffic(), Clock()
    host = P2PHost(identity, folder / identity.peer_id, P2POptions(host="127.0.0.1", bootstrap=bootstrap))
    await host.start()
    directory = Directory(identity, host, EVENT, traffic, clock=clock)
    await directory.start(await host.dial_bootstrap())
    return Member(identity, host, directory, traffic, clock)


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[list[Member]]:
    first = await member(tmp_path)
    address = tuple(await first.host.dial_strings())
    others = await asyncio.gather(*(member(tmp_path, address) for _ in range(2)))
    yield [first, *others]
    for one in (first, *others):
        await one.directory.stop()
        await one.host.stop()


async def test_peers_and_providers_are_found_by_all(members: list[Member]) -> None:
    for one in members:
        await one.directory.announce(one.record())
    await members[0].directory.provide(BLOB)
    await members[1].directory.provide(BLOB)
    expected = {one.identity.peer_id for one in members}
    for one in members:
        assert {record.peer for record in await one.directory.peers()} == expected
        assert await one.directory.providers(BLOB) == {members[0].identity.peer_id, members[1].identity.peer_id}
        assert await one.directory.providers(bytes(32)) == set()
        assert one.traffic.refused == {}
    newer = members[0].record(round=4, expires=int(members[0].clock() + 90))
    await members[0].directory.announce(newer)
    assert newer in await members[2].directory.peers()
    members[2].clock.ahead = 70.0
    assert await members[2].directory.peers() == [newer]


async def test_forgeries_are_refused_by_the_nodes_that_would_store_them(members: list[Member], tmp_path: Path) -> None:
    host = P2PHost(BOB, tmp_path / "bob", P2POptions(host="127.0.0.1", bootstrap=tuple(await members[0].host.dial_strings())))
    await host.start()
    attacker = await DHTNode.create(p2p=host.p2p, initial_peers=await host.dial_bootstrap(), cache_locally=False)
    now = int(members[0].clock())
    good = SignedRecord.seal(BOB, peer_record(BOB, expires=now + 60)).encode()
    victim = members[1].identity.peer_id

    async def store(value: object, key: str = peers_key(EVENT), subkey: str = BOB.peer_id, expires: int = now + 60) -> bool:
        # The attacker's own node would take it, so that only the answer of the others counts.
        stored = await attacker.store(key, value, float(expires), subkey=subkey, exclude_self=True)
        return bool(stored)

    assert not await store(good, subkey=victim)
    assert not await store(good, expires=now + 61)
    assert not await store(good, key=blob_key(EVENT, BLOB))
    assert not await store(good[:-1] + bytes([good[-1] ^ 1]))
    assert not await store(b"x" * 5000)
    assert not await store({"a": 1})
    late = SignedRecord.seal(BOB, peer_record(BOB, expires=now + 100_000)).encode()
    assert not await store(late, expires=now + 100_000)
    foreign = SignedRecord.seal(BOB, peer_record(BOB, event=bytes(32), expires=now + 60)).encode()
    assert not await store(foreign)
    assert not await attacker.store(peers_key(EVENT), good, float(now + 60), exclude_self=True)
    assert await members[0].directory.peers() == []
    reasons = {reason for one in members for reason in one.traffic.refused}
    assert reasons == {
        "record_wrong_key", "record_wrong_expiration", "record_bad_signature", "record_oversized", "record_malformed",
        "record_expires_too_late", "record_wrong_event",
    }  # fmt: skip
    assert await store(good)
    assert [record.peer for record in await members[2].directory.peers()] == [BOB.peer_id]
    await attacker.shutdown()
    await host.stop()


async def test_a_directory_without_p2pd_is_a_network_error(tmp_path: Path) -> None:
    host = P2PHost(ALICE, tmp_path / "key", P2POptions(host="127.0.0.1"))
    directory = Directory(ALICE, host, EVENT, Traffic())
    with pytest.raises(NetworkError, match="not in the DHT"):
        await directory.peers()
    with pytest.raises(NetworkError, match="restarted"):
        await directory.start([])


def dht_record(value: bytes, *, key: str | None = None, subkey: object = ALICE.peer_id, expires: float = NOW + 60) -> DHTRecord:
    key_bytes = DHTID.generate(source=key or peers_key(EVENT)).to_bytes()
    return DHTRecord(key_bytes, msgpack.packb(subkey), msgpack.packb(value), expires)


def validator(stored: int = 10) -> tuple[RecordValidator, list[str]]:
    refused: list[str] = []
    return RecordValidator(EVENT, lambda: NOW, refused.append, stored), refused


def test_a_validator_takes_what_is_signed_and_in_its_place() -> None:
    judge, refused = validator()
    assert judge.validate(dht_record(SignedRecord.seal(ALICE, peer_record(ALICE)).encode()))
    provider = ProviderRecord(event=EVENT, peer=ALICE.peer_id, blob=BLOB, expires=int(NOW + 60))
    assert judge.validate(dht_record(SignedRecord.seal(ALICE, provider).encode(), key=blob_key(EVENT, BLOB)))
    assert refused == []


def test_a_validator_holds_only_so_many_records() -> None:
    judge, refused = validator(stored=2)
    for seed in (b"1", b"2", b"3"):
        identity = Identity(seed * 32)
        record = SignedRecord.seal(identity, peer_record(identity)).encode()
        judge.validate(dht_record(record, subkey=identity.peer_id))
    assert refused == ["too_many_records"]


def test_one_key_cannot_fill_the_directory_with_blobs_that_it_says_to_have() -> None:
    judge, refused = validator(stored=1000)
    for number in range(200):
        blob = sha256(number.to_bytes(4, "big"))
        provider = ProviderRecord(event=EVENT, peer=ALICE.peer_id, blob=blob, expires=int(NOW + 60))
        judge.validate(dht_record(SignedRecord.seal(ALICE, provider).encode(), key=blob_key(EVENT, blob)))
    assert len(refused) == 200 - 64
    assert set(refused) == {"too_many_records"}
    bob = SignedRecord.seal(BOB, peer_record(BOB)).encode()
    assert judge.validate(dht_record(bob, subkey=BOB.peer_id))


@given(st.binary(max_size=200))
def test_any_value_is_refused_without_another_exception(value: bytes) -> None:
    judge, refused = validator()
    assert not judge.validate(dht_record(value))
    assert not judge.validate(DHTRecord(b"", b"", value, NOW))
    assert len(refused) == 2


@pytest.mark.parametrize("address", ["/unix/tmp/x", "http://example.org", "/ip4/1.2.3.4/tcp/1"])
def test_a_record_with_a_strange_address_is_malformed(address: str) -> None:
    body = encode({**peer_record(ALICE).model_dump(), "p2p": [address]})
    with pytest.raises(RemoteProtocolError, match="malformed"):
        PeerRecord.decode(body)


def test_records_are_small() -> None:
    addresses = tuple(f"/ip4/203.0.113.{i}/tcp/65535/p2p/{ALICE.peer_id}" for i in range(3))
    record = peer_record(ALICE, p2p=addresses, gossip=addresses, head=bytes(32))
    assert len(SignedRecord.seal(ALICE, record).encode()) < 870
