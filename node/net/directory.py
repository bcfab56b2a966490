"""The event's directory in the DHT: who is there.

hivemind's `DHTNode` runs in this process on the daemon's loop. Only signed records enter (see `records` and `validator`), and
what comes out of the DHT is checked again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from ...protocol.errors import RemoteProtocolError
from ...protocol.identity import Identity
from . import addresses
from .errors import NetworkError
from .hivemind_parts import DHTID, DHTNode, DHTRecord, MSGPackSerializer, PeerID, get_dht_time
from .p2p import FOREIGN_ERRORS, P2PHost
from .records import PeerRecord, SignedRecord, peers_key
from .traffic import Traffic
from .validator import RecordValidator

T = TypeVar("T")
CALL_SECONDS = 10.0


class Directory:
    """Our view of the DHT for one event. Its `start` comes after the host's; after a restart of p2pd it starts itself again."""

    def __init__(
        self,
        identity: Identity,
        host: P2PHost,
        event: bytes,
        traffic: Traffic,
        *,
        client_mode: bool = False,
        clock: Callable[[], float] = get_dht_time,
    ) -> None:
        """`client_mode` nodes store nothing for others: for those that nobody can reach."""
        self._identity = identity
        self._host = host
        self._event = event
        self._client_mode = client_mode
        self._clock = clock
        self._validator = RecordValidator(event, clock, self._on_refused)
        self._traffic = traffic
        self._node: DHTNode | None = None
        self._own: PeerRecord | None = None

    def _on_refused(self, reason: str) -> None:
        self._traffic.refused[f"record_{reason}"] += 1

    @property
    def alive(self) -> bool:
        """Whether a DHT node runs."""
        return self._node is not None

    @property
    def size(self) -> int:
        """How many nodes the DHT's routing table holds."""
        return len(self._node.protocol.routing_table.uid_to_peer_id) if self._node is not None else 0

    async def start(self, bootstrap: Sequence[str]) -> None:
        """Join the DHT through the peers of `bootstrap`, to which the host is connected. Raises NetworkError."""
        try:
            self._node = await DHTNode.create(
                p2p=self._host.p2p,
                initial_peers=list(bootstrap) or None,
                client_mode=self._client_mode,
                record_validator=self._validator,
                ensure_bootstrap_success=False,  # retried by `rejoin`
                strict=False,
                num_replicas=5,
                cache_locally=False,  # records change every few seconds, and a stale peer costs a dial
                cache_nearest=0,
            )
        except (*FOREIGN_ERRORS, RuntimeError) as error:
            raise NetworkError(f"cannot join the DHT: {error}") from error

    async def restart(self, bootstrap: Sequence[str]) -> None:
        """Join again after p2pd was restarted, and publish again what we had published."""
        node, self._node = self._node, None
        if node is not None:
            node.is_alive = False  # its own shutdown would wait for ever for the p2pd that is gone
        await self.start(bootstrap)
        if self._own is not None and self._own.expires > self._clock():
            with suppress(NetworkError):  # those who hold it already say no
                await self._store(self._own)

    async def stop(self) -> None:
        """Leave the DHT."""
        node, self._node = self._node, None
        if node is None:
            return
        try:
            async with asyncio.timeout(1.0):
                await node.shutdown()
        except FOREIGN_ERRORS:
            node.is_alive = False

    async def rejoin(self, bootstrap: Sequence[str]) -> int:
        """Ping the bootstrap peers and return how many answered: two DHTs that grew apart become one by this."""
        if self._node is None:
            return 0
        peers = [PeerID.from_base58(addresses.split(address)[1]) for address in bootstrap]
        answers = await asyncio.gather(*(self._node.protocol.call_ping(peer) for peer in peers))
        return sum(answer is not None for answer in answers)

    async def announce(self, record: PeerRecord) -> None:
        """Publish how to reach us. Raises NetworkError."""
        self._own = record
        await self._store(record)

    async def peers(self) -> list[PeerRecord]:
        """Return the records of all peers that are there, ours included. Raises NetworkError."""
        key = peers_key(self._event)
        answer = await self._call(lambda node: node.get(key, latest=True))
        if answer is None or not isinstance(answer.value, dict):
            return []
        found = [self._checked(key, subkey, item) for subkey, item in answer.value.items()]
        now = self._clock()
        return [record for record in found if record is not None and record.expires > now]

    async def _store(self, record: PeerRecord) -> None:
        value = SignedRecord.seal(self._identity, record).encode()
        stored = await self._call(
            lambda node: node.store(record.key, value, float(record.expires), subkey=record.peer)
        )
        if not stored:
            raise NetworkError("no node of the DHT took our record")

    def _checked(self, key: str, subkey: Any, item: Any) -> PeerRecord | None:
        record = DHTRecord(
            DHTID.generate(source=key).to_bytes(),
            MSGPackSerializer.dumps(subkey),
            MSGPackSerializer.dumps(item.value),
            item.expiration_time,
        )
        try:
            return self._validator.check(record)
        except RemoteProtocolError as error:
            self._on_refused(error.reason)
            return None

    async def _call(self, call: Callable[[DHTNode], Awaitable[T]]) -> T:
        if self._node is None:
            raise NetworkError("not in the DHT")
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await call(self._node)
        except (*FOREIGN_ERRORS, RuntimeError) as error:
            raise NetworkError(f"the DHT does not answer: {type(error).__name__}") from error


def expires_in(seconds: float) -> int:
    """Return an expiration for a record published now, in whole seconds since 1970."""
    return int(time.time() + seconds)
