"""Maintainers' keys in the terms of The Update Framework: the key's id is the maintainer's PeerId."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey
from tuf.api.metadata import Root

from ...protocol.amendments import Signers
from ...protocol.identity import Identity, public_key_of

_AMENDMENT = "amendment"


def key_of(peer: str) -> SSlibKey:
    """Return the Ed25519 key that a PeerId spells. Raises ValueError if it is none."""
    return SSlibKey(peer, "ed25519", "ed25519", {"public": public_key_of(peer).hex()})


def appointment(signers: Signers) -> dict[str, str]:
    """Return the fields of a root by which it says that an amendment appointed its keys; none where the event itself did."""
    return {} if signers.since is None else {_AMENDMENT: signers.since.hex()}


def is_appointed(root: Root, fields: Mapping[str, Any]) -> bool:
    """Say whether a root's keys were appointed as `fields` (of `appointment`, or another root's) say, or by those who were."""
    return bool(root.unrecognized_fields.get(_AMENDMENT) == fields.get(_AMENDMENT))


class IdentitySigner(Signer):
    """Signs with a node's identity."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    @property
    def public_key(self) -> Key:
        """The identity's public key."""
        return key_of(self._identity.peer_id)

    def sign(self, payload: bytes) -> Signature:
        """Return the Ed25519 signature over `payload`."""
        return Signature(self._identity.peer_id, self._identity.sign(payload).hex())

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> IdentitySigner:
        """Not offered: identities are read by `node.keys` alone. Raises ValueError."""
        raise ValueError("a node's identity has no URI")
