"""The signed manifest: an event as its coordinator publishes it, and as nodes keep it and hand it on."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from .canonical import Limits
from .errors import LocalProtocolError, RemoteProtocolError
from .event import EventManifest
from .identity import Identity, verify
from .record import Record, Signature

_DOMAIN = b"collab-node/manifest/1\0"
_MANIFEST_BYTES = 512 * 1024
_LIMITS = Limits(size=_MANIFEST_BYTES + 1024)
_MANIFEST_LIMITS = Limits(size=_MANIFEST_BYTES)


class SignedManifest(Record):
    """The canonical bytes of an event manifest, and its coordinator's signature over them."""

    manifest: Annotated[bytes, Field(max_length=_MANIFEST_BYTES)]
    signature: Signature

    @classmethod
    def seal(cls, identity: Identity, event: EventManifest) -> Self:
        """Sign `event` as its coordinator. Raises LocalProtocolError if `identity` is somebody else."""
        if identity.peer_id != event.coordinator:
            raise LocalProtocolError("an event is signed by its coordinator")
        body = event.encode()
        return cls(manifest=body, signature=identity.sign(_DOMAIN + body))

    @classmethod
    def decode_file(cls, data: bytes | memoryview) -> Self:
        """Decode what `encode` wrote; manifests may be larger than messages. Raises RemoteProtocolError."""
        return cls.decode(data, _LIMITS)

    def open(self, event: bytes | None = None) -> EventManifest:
        """Return the manifest, which must have the id `event` if that is given.

        Raises RemoteProtocolError: "malformed", "wrong_event" or "bad_signature".
        """
        manifest = EventManifest.decode(self.manifest, _MANIFEST_LIMITS)
        if event is not None and manifest.digest != event:
            raise RemoteProtocolError("wrong_event", f"the manifest of {manifest.digest.hex()[:16]}")
        if not verify(manifest.coordinator, self.signature, _DOMAIN + self.manifest):
            raise RemoteProtocolError("bad_signature", manifest.coordinator)
        return manifest
