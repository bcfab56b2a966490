"""Identities, an event and messages to test with; all the same on every run."""

import pytest
from event_kit import draft_fields

from collab.protocol.event import EventManifest, Start
from collab.protocol.identity import Identity
from collab.protocol.messages import Blob, Contribution


@pytest.fixture(scope="session")
def identities() -> list[Identity]:
    """Eight keys."""
    return [Identity(bytes([number]) * 32) for number in range(1, 9)]


@pytest.fixture(scope="session")
def event(identities: list[Identity]) -> EventManifest:
    """An open event of the first identity."""
    start = Start(state=bytes(32), seed=0)
    return EventManifest(**draft_fields(coordinator=identities[0].peer_id, created=1_700_000_000, start=start))


@pytest.fixture(scope="session")
def contribution(event: EventManifest) -> Contribution:
    """A claim about that event."""
    payload = Blob(sha256=b"p" * 32, size=1000)
    return Contribution(
        event=event.digest, base=b"b" * 32, round=3, payload=payload, fisher=None, samples=160, steps=20, loss=2.5, admission=None
    )
