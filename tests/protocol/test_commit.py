"""Commits and events: round trips, the root, and what the records refuse."""

from typing import Any

import pytest
from pydantic import ValidationError

from collab.protocol.canonical import decode, encode
from collab.protocol.commit import Accepted, Certificate, Commit, Member, Rejected, decode_commit, open_contribution, root_commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import EventManifest
from collab.protocol.identity import Identity
from collab.protocol.messages import Attestation, Contribution, Goodbye, Signed


@pytest.fixture
def child(event: EventManifest, identities: list[Identity], contribution: Contribution) -> Commit:
    root = root_commit(event)
    envelope = Signed.seal(identities[1], contribution).encode()
    vote = Attestation(event=event.digest, base=bytes(32), epoch=0, view=1, stage="precommit", commit=root.digest)
    votes = (Signed.seal(identities[0], vote).encode(),)
    certificate = Certificate(event=event.digest, base=bytes(32), commit=root.digest, epoch=0, view=1, precommits=votes)
    peers = sorted(identity.peer_id for identity in identities[:3])
    return Commit(
        event=event.digest,
        parents=(root.digest,),
        round=1,
        state=b"s" * 32,
        method="average",
        full=False,
        accepted=(Accepted(envelope=envelope, numerator=b"\1", denominator=b"\3", clip=0.5),),
        rejected=(Rejected(envelope=envelope, reason="oversized"),),
        departed=(Signed.seal(identities[2], Goodbye(event=event.digest, base=root.digest, round=1)).encode(),),
        roster=tuple(Member(peer=peer, joined=0, last=1) for peer in peers),
        samples=160,
        loss=2.5,
        proposer=identities[0].peer_id,
        time=1_700_000_001,
        parent_certificate=certificate,
    )


def test_a_commit_comes_back_from_its_bytes(child: Commit) -> None:
    again = decode_commit(child.encode())
    assert again == child
    assert again.digest == child.digest


def test_contributions_are_opened(child: Commit, contribution: Contribution, identities: list[Identity]) -> None:
    ((signed, opened),) = child.contributions()
    assert (signed.signer, opened) == (identities[1].peer_id, contribution)
    with pytest.raises(RemoteProtocolError, match="unexpected_kind"):
        open_contribution(child.departed[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time", 1 << 61), ("time", 253_402_300_800),
        ("parents", ()), ("parents", (bytes(32),) * 3), ("roster", ()), ("method", "median"), ("loss", float("inf")), ("loss", 1),
        ("rejected", ({"envelope": b"", "reason": "Not a word"},)), ("rejected", ({"envelope": b"", "reason": "line\n"},)),
        ("accepted", ({"envelope": b"", "numerator": b"", "denominator": b"\1", "clip": 1.0},)),
        ("accepted", ({"envelope": b"", "numerator": b"\1", "denominator": b"\1", "clip": 0.0},)),
    ],
)  # fmt: skip
def test_a_wrong_commit_is_refused(child: Commit, field: str, value: Any) -> None:
    fields = decode(child.encode())
    assert isinstance(fields, dict)
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode_commit(encode(fields | {field: value}))


def test_a_roster_is_in_order_and_names_nobody_twice(child: Commit) -> None:
    for roster in (child.roster[::-1], (child.roster[0], *child.roster)):
        with pytest.raises(ValidationError, match="sorted by peer, each once"):
            child.model_copy(update={"roster": roster})


def test_the_root_follows_from_the_event(event: EventManifest) -> None:
    root = root_commit(event)
    assert root == root_commit(EventManifest.decode(event.encode()))
    assert (root.round, root.state, root.parents, root.samples) == (0, event.start.state, (), 0)
    assert [member.peer for member in root.roster] == [event.coordinator]
    with pytest.raises(ValidationError, match="only the root, has no parent"):
        root.model_copy(update={"parents": (bytes(32),)})


def test_an_event_comes_back_from_its_bytes(event: EventManifest) -> None:
    again = EventManifest.decode(event.encode())
    assert again == event
    assert again.digest == event.digest


def test_every_field_of_an_event_is_in_its_name(event: EventManifest) -> None:
    changed = [
        event.model_copy(update={"name": "other"}),
        event.model_copy(update={"created": event.created + 1}),
        event.model_copy(update={"outer": event.outer.model_copy(update={"rate": 1.0})}),
        event.model_copy(update={"start": event.start.model_copy(update={"seed": 1})}),
    ]
    assert len({event.digest, *(other.digest for other in changed)}) == 5


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("outer", {"momentum": 0.9}, "momentum goes with kind 'nesterov'"),
        ("inner", {"warmup_samples": 1 << 20}, "warmup_samples must be below total_samples"),
        ("inner", {"betas": (0.9, 1.0)}, "less than 1"),
        ("data", {"source": "text"}, "source 'text' needs a path"),
        ("model", {"heads": 3}, "width must be a multiple of 2 \\* heads"),
        ("model", {"vocabulary": 255}, "model.vocabulary must be at least 256"),
        ("compression", {"k": 40}, "multiple of 16"),
        ("admission", {"mode": "invited"}, "needs a key"),
    ],
)
def test_an_event_that_cannot_work_is_refused(event: EventManifest, section: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        event.model_copy(update={section: getattr(event, section).model_copy(update=changes)})


def test_full_merges_come_every_so_many_rounds(event: EventManifest) -> None:
    often = event.model_copy(update={"merge": event.merge.model_copy(update={"full_every": 3})})
    assert [round for round in range(1, 10) if often.is_full_merge(round)] == [3, 6, 9]
    assert not any(event.is_full_merge(round) for round in range(1, 10))
