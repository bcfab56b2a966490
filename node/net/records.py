"""What the DHT holds about an event: who is there, and how to reach them. Signed, small, expiring.

Nobody needs to trust the nodes that store a record: its key in the DHT, its subkey and its expiration are computed from what its
peer has signed, so that it can be neither moved, nor prolonged, nor published in another's name.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator

from ...protocol.canonical import Limits, encode
from ...protocol.errors import RemoteProtocolError
from ...protocol.identity import Identity, PeerId, verify
from ...protocol.names import Name
from ...protocol.record import Digest, Record, Signature
from .addresses import MAX_ADDRESS, is_address

MAX_RECORD = 2048
MAX_LIFETIME = 15 * 60
_LIMITS = Limits(size=MAX_RECORD, depth=4, items=64)
_DOMAIN = b"collab-node/record/1\0"

Addresses: TypeAlias = Annotated[
    tuple[Annotated[str, Field(max_length=MAX_ADDRESS)], ...], Field(max_length=6)
]
Expires: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 40)]


class PeerRecord(Record):
    """A peer of an event, and the name that it chose to be shown by. `expires` is in seconds since 1970.

    `metrics_port` is where the event's monitoring may scrape it, on the hosts of `p2p`; 0: it does not want to be.
    """

    event: Digest
    peer: PeerId
    p2p: Addresses
    gossip: Addresses
    head: Digest | None
    round: Annotated[int, Field(ge=0, lt=1 << 40)]
    trains: bool
    version: Annotated[str, Field(max_length=32)]
    name: Name = ""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    expires: Expires

    @field_validator("p2p", "gossip")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(is_address, value)):
            raise ValueError("not a multiaddress with a peer id")
        return value

    @property
    def key(self) -> str:
        """Where the DHT keeps it."""
        return peers_key(self.event)


class SignedRecord(Record):
    """A record and its peer's signature."""

    kind: Literal["peer"] = "peer"
    body: Annotated[bytes, Field(max_length=MAX_RECORD)]
    signature: Signature

    @classmethod
    def seal(cls, identity: Identity, record: PeerRecord) -> SignedRecord:
        """Sign `record`, which must be about ourselves."""
        assert record.peer == identity.peer_id
        body = record.encode()
        return cls(body=body, signature=identity.sign(_signed_bytes(body)))

    @classmethod
    def unseal(cls, data: bytes) -> PeerRecord:
        """Return the record in `data`. Raises RemoteProtocolError: "oversized", "malformed", "bad_signature"."""
        sealed = cls.decode(data, _LIMITS)
        record = PeerRecord.decode(sealed.body, _LIMITS)
        if not verify(record.peer, sealed.signature, _signed_bytes(sealed.body)):
            raise RemoteProtocolError("bad_signature", record.peer)
        return record


def _signed_bytes(body: bytes) -> bytes:
    return _DOMAIN + encode(["peer", body])


def peers_key(event: bytes) -> str:
    """Return the DHT key of an event's peers."""
    return f"{event.hex()}.peers"
