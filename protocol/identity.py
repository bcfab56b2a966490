"""Ed25519 identities whose PeerId is the libp2p peer id of the same key.

A libp2p peer id of an Ed25519 key is the base58 text of an "identity" multihash (00 24) over the protobuf-encoded public key
(08 01 12 20, then the 32 bytes), so the PeerId *is* the public key: whoever knows it can verify.

Specification: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

import base58
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AfterValidator

_PREFIX = bytes.fromhex("0024" "08011220")
_PRIVATE_PREFIX = bytes.fromhex("08011240")
_PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{52}")


@lru_cache(maxsize=4096)
def public_key_of(peer_id: str) -> bytes:
    """Return the 32-byte public key that `peer_id` spells. Raises ValueError if it is not an Ed25519 peer id."""
    # Base58 takes quadratic time, and every such peer id has the same length: look before decoding what a stranger sent.
    raw: bytes = base58.b58decode(peer_id) if _PEER_ID.fullmatch(peer_id) else b""
    if len(raw) != len(_PREFIX) + 32 or not raw.startswith(_PREFIX) or base58.b58encode(raw).decode() != peer_id:
        raise ValueError(f"{peer_id[:60]!r} is not the peer id of an Ed25519 key")
    return raw[len(_PREFIX) :]


@lru_cache(maxsize=4096)
def peer_id_of(public_key: bytes) -> str:
    """Return the peer id of a 32-byte Ed25519 public key."""
    text: bytes = base58.b58encode(_PREFIX + public_key)
    return text.decode()


def _checked(peer_id: str) -> str:
    public_key_of(peer_id)
    return peer_id


PeerId = Annotated[str, AfterValidator(_checked)]


class Identity:
    """A private key and the PeerId that everyone knows it by."""

    def __init__(self, seed: bytes) -> None:
        """`seed` is the 32-byte Ed25519 private key (RFC 8032)."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.seed = seed
        self.public_key = self._key.public_key().public_bytes_raw()
        self.peer_id = peer_id_of(self.public_key)

    @classmethod
    def generate(cls) -> Identity:
        """Make a new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over `data`."""
        return self._key.sign(data)

    def libp2p_bytes(self) -> bytes:
        """Return the protobuf private key as p2pd reads it from an identity file."""
        return _PRIVATE_PREFIX + self.seed + self.public_key

    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"


def verify(peer_id: str, signature: bytes, data: bytes) -> bool:
    """Say whether `signature` over `data` is by the key of `peer_id`; False as well for a peer id or signature that is none."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key_of(peer_id)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True
