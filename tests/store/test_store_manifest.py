"""The signed manifest."""

from __future__ import annotations

import pytest
from store_samples import COORDINATOR, draft, manifest

from collab.protocol.errors import LocalProtocolError, RemoteProtocolError
from collab.protocol.identity import Identity
from collab.protocol.manifest import SignedManifest


def test_a_manifest_opens_to_what_was_sealed() -> None:
    event = manifest()
    signed = SignedManifest.decode_file(SignedManifest.seal(COORDINATOR, event).encode())
    assert signed.open(event.digest) == event


def test_another_events_manifest_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="wrong_event"):
        SignedManifest.seal(COORDINATOR, manifest()).open(bytes(32))


def test_only_the_coordinator_can_sign() -> None:
    event = manifest()
    with pytest.raises(LocalProtocolError):
        SignedManifest.seal(Identity.generate(), event)
    signed = SignedManifest.seal(COORDINATOR, event)
    forged = SignedManifest(manifest=event.encode(), signature=bytes(64))
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        forged.open()
    other = draft().manifest(event.coordinator, event.created + 1, event.start)
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        SignedManifest(manifest=other.encode(), signature=signed.signature).open()


def test_bytes_that_are_no_manifest_are_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        SignedManifest(manifest=b"\x80", signature=bytes(64)).open()
    with pytest.raises(RemoteProtocolError, match="oversized"):
        SignedManifest.decode_file(bytes(1 << 20))
