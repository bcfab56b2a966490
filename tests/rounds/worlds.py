"""Events, identities and contributions for the tests of the rounds."""

from __future__ import annotations

from typing import Any

from collab.protocol.commit import Commit
from collab.protocol.event import (
    Admission,
    Compression,
    Data,
    EventManifest,
    GptModel,
    InnerOptimiser,
    Merge,
    OuterOptimiser,
    Rounds,
    Start,
)
from collab.protocol.identity import Identity
from collab.protocol.messages import Blob, Contribution
from collab.protocol.record import sha256

ROUNDS = Rounds(deadline=60.0, collect=5.0, view=4.0)


def identity(number: int) -> Identity:
    """The test identity with this number."""
    return Identity(sha256(b"test identity" + number.to_bytes(4, "big")))


def event(rounds: Rounds = ROUNDS, **parts: Any) -> EventManifest:
    """An event whose coordinator is identity 0."""
    fields: dict[str, Any] = {
        "name": "test",
        "coordinator": identity(0).peer_id,
        "created": 1,
        "model": GptModel(family="gpt"),
        "data": Data(source="stdlib"),
        "inner": InnerOptimiser(batch=2, steps=10),
        "compression": Compression(),
        "outer": OuterOptimiser(),
        "merge": Merge(),
        "rounds": rounds,
        "admission": Admission(),
        "start": Start(state=sha256(b"start"), seed=1),
    }
    return EventManifest(**(fields | parts))


def contribution(manifest: EventManifest, base: Commit, tag: bytes, *, steps: int = 10, **changes: Any) -> Contribution:
    """A plausible contribution on `base`; `tag` tells one payload from another."""
    fields: dict[str, Any] = {
        "event": manifest.digest,
        "base": base.digest,
        "round": base.round,
        "payload": Blob(sha256=sha256(b"payload" + tag + base.digest), size=1000),
        "fisher": None,
        "samples": steps * manifest.inner.batch,
        "steps": steps,
        "loss": 2.0,
        "admission": None,
    }
    return Contribution(**(fields | changes))
