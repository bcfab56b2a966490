"""Events, identities and contributions for the tests of the rounds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from event_kit import draft_fields

from collab.protocol.ancestry import Ancestry
from collab.protocol.certificates import certify
from collab.protocol.commit import Certificate, Commit
from collab.protocol.committee import draw
from collab.protocol.event import EventManifest, GptModel, InnerOptimiser, Rounds, Start
from collab.protocol.identity import Identity
from collab.protocol.merging import Draft, make_draft
from collab.protocol.messages import Attestation, Blob, Contribution, Receipt, Signed
from collab.protocol.record import sha256

ROUNDS = Rounds(deadline=60.0, collect=5.0, view=4.0)


def identity(number: int) -> Identity:
    """The test identity with this number."""
    return Identity(sha256(b"test identity" + number.to_bytes(4, "big")))


def event(rounds: Rounds = ROUNDS, **parts: Any) -> EventManifest:
    """An event whose coordinator is identity 0."""
    fields = draft_fields(
        coordinator=identity(0).peer_id, created=1, model=GptModel(family="gpt"), inner=InnerOptimiser(batch=2, steps=10),
        rounds=rounds, start=Start(state=sha256(b"start"), seed=1),
    )  # fmt: skip
    return EventManifest(**(fields | parts))


def contribution(manifest: EventManifest, on: Commit, tag: bytes, *, steps: int = 10, **changes: Any) -> Contribution:
    """A plausible contribution on a commit; `tag` tells one payload from another."""
    fields: dict[str, Any] = {
        "event": manifest.digest,
        "base": on.digest,
        "round": on.round,
        "payload": Blob(sha256=sha256(b"payload" + tag + on.digest), size=1000),
        "fisher": None,
        "samples": steps * manifest.inner.batch,
        "steps": steps,
        "loss": 2.0,
        "admission": None,
    }
    return Contribution(**(fields | changes))


def signed_contribution(manifest: EventManifest, on: Commit, number: int, **changes: Any) -> tuple[Signed, Contribution]:
    """A contribution by the identity with this number."""
    claim = contribution(manifest, on, number.to_bytes(4, "big"), **changes)
    return Signed.seal(identity(number), claim), claim


def draft_on(
    manifest: EventManifest, ancestry: Ancestry, certificate: Certificate | None, numbers: list[int], proposer: int = 0,
    received: Mapping[int, tuple[Receipt, ...]] = MappingProxyType({}),
) -> Draft:
    """A draft that merges a contribution of each of these identities, with the receipts that are given for it."""
    return make_draft(
        manifest,
        ancestry,
        accepted=[
            (*signed_contribution(manifest, ancestry.base, number, received=received.get(number, ())), 1.0) for number in numbers
        ],
        rejected=[],
        departed=[],
        certificate=certificate,
        proposer=identity(proposer).peer_id,
    )


def finality(manifest: EventManifest, base: Commit, commit: Commit, epoch: int = 0, size: int = 10) -> Certificate:
    """A certificate by the committee of an epoch, whose members are among the first `size` identities."""
    keys = {identity(number).peer_id: identity(number) for number in range(size)}
    attestation = Attestation(
        event=manifest.digest, base=base.digest, epoch=epoch, view=0, stage="precommit", commit=commit.digest
    )
    committee = draw(manifest, base, epoch)
    return certify(attestation, [Signed.seal(keys[peer], attestation) for peer in committee.members])
