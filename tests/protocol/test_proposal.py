"""Proposals and the commits that merge them: what is signed, what is refused, and that rounds' commits did not change."""

from __future__ import annotations

from typing import Any

import pytest
from gates.test_gates_verdict import measurement
from pydantic import ValidationError
from rounds.worlds import event as make_event
from rounds.worlds import identity

from collab.protocol.amendments.chain import Amendments
from collab.protocol.canonical import decode
from collab.protocol.commit import Commit, decode_commit, root_commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import EventManifest
from collab.protocol.gates import LossGate
from collab.protocol.messages import Blob, Signed
from collab.protocol.proposal import (
    ModelProposal,
    ProposalMerge,
    Tried,
    merge_commit,
    open_merge,
    open_proposal,
    verify_merge_commit,
)
from collab.protocol.statement import verify_statement
from collab.protocol.verdict import Measurement, Verdict, sign_verdict

MAKER, COORDINATOR = identity(7), identity(0)


@pytest.fixture(scope="module")
def event() -> EventManifest:
    return make_event()


def proposal(event: EventManifest, **changed: Any) -> Signed:
    fields: dict[str, Any] = {
        "event": event.digest, "base": root_commit(event).digest, "form": "sparse", "payload": Blob(sha256=bytes(32), size=10),
        "samples": 5, "error": 0.01, "message": "", "time": 3,
    }  # fmt: skip
    return Signed.seal(MAKER, ModelProposal(**(fields | changed)))


def merge(event: EventManifest, *proposals: Signed, **changed: Any) -> ProposalMerge:
    fields: dict[str, Any] = {
        "event": event.digest, "base": root_commit(event).digest, "state": bytes([4]) * 32, "method": "ties",
        "proposals": tuple(each.encode() for each in sorted(proposals, key=lambda each: each.digest)),
        "parameters": {"density": 0.5}, "tried": (), "message": "", "time": 9,
    }  # fmt: skip
    return ProposalMerge(**(fields | changed))


def test_a_merge_commit_is_a_commit_that_can_be_checked(event: EventManifest) -> None:
    root = root_commit(event)
    made = merge(event, proposal(event), proposal(event, samples=7))
    commit = decode_commit(merge_commit(COORDINATOR, root, None, made).encode())
    verify_merge_commit(event, root, commit)
    assert (commit.round, commit.samples, commit.state, commit.parents) == (1, 12, made.state, (root.digest,))
    assert commit.roster == root.roster
    signer, opened = open_merge(commit)
    assert (signer, opened) == (COORDINATOR.peer_id, made)
    assert [each.samples for _, each in opened.opened()] in ([5, 7], [7, 5])


def test_a_commit_of_a_round_does_not_mention_a_statement(event: EventManifest) -> None:
    fields = decode(root_commit(event).encode())
    assert isinstance(fields, dict)
    assert "statement" not in fields


def test_a_statement_and_its_method_go_together(event: EventManifest) -> None:
    root = root_commit(event)
    commit = merge_commit(COORDINATOR, root, None, merge(event, proposal(event)))
    with pytest.raises(ValidationError, match="statement"):
        commit.model_copy(update={"method": "average"})
    with pytest.raises(ValidationError, match="statement"):
        commit.model_copy(update={"statement": None})


def test_nobody_else_merges_and_nothing_else_is_merged(event: EventManifest) -> None:
    root = root_commit(event)
    good = merge(event, proposal(event))
    other = make_event(name="other")
    forged = proposal(event).model_copy(update={"signature": bytes(64)})
    for commit, problem in (
        (merge_commit(MAKER, root, None, good), "not_the_coordinator"),
        (merge_commit(COORDINATOR, root, None, merge(event, proposal(other))), "wrong_event"),
        (merge_commit(COORDINATOR, root, None, merge(event, proposal(event), base=bytes(32))), "wrong_base"),
        (merge_commit(COORDINATOR, root, None, good).model_copy(update={"samples": 6}), "wrong_merge"),
        (merge_commit(COORDINATOR, root, None, good).model_copy(update={"state": bytes(32)}), "wrong_merge"),
        (merge_commit(COORDINATOR, root, None, good).model_copy(update={"proposer": MAKER.peer_id}), "wrong_merge"),
    ):
        with pytest.raises(RemoteProtocolError, match=problem):
            verify_statement(Amendments(event), root, commit, {root.digest: root}.__getitem__)
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        merge(event, forged).opened()


def test_proposals_stand_in_order_each_once(event: EventManifest) -> None:
    one, other = sorted((proposal(event), proposal(event, samples=7)), key=lambda each: each.digest)
    for wrong in ((other, one), (one, one), ()):
        with pytest.raises(ValidationError):
            merge(event, proposals=tuple(each.encode() for each in wrong))


def test_a_proposal_is_no_message_of_a_round(event: EventManifest) -> None:
    signed = proposal(event)
    assert open_proposal(signed.encode()) == (MAKER.peer_id, ModelProposal.decode(signed.body))
    with pytest.raises(RemoteProtocolError, match="unknown_kind"):
        signed.open()
    merged = Signed.seal(COORDINATOR, merge(event, signed))
    with pytest.raises(RemoteProtocolError, match="unexpected_kind"):
        open_proposal(merged.encode())


def test_numbers_out_of_range_are_refused(event: EventManifest) -> None:
    for changed in ({"samples": 0}, {"error": 1.5}, {"error": float("nan")}, {"form": "vague"}, {"message": "x" * 701}):
        with pytest.raises(ValidationError):
            proposal(event, **changed)


def test_the_largest_merge_fits_its_envelope(event: EventManifest) -> None:
    """16 proposals with full messages, and as many verdicts as there may be."""
    proposals = [proposal(event, message="𝔪" * 700, samples=number) for number in range(1, 17)]
    made = merge(event, *proposals, message="𝔪" * 700, despite="𝔪" * 200)
    measured = measurement(gate="g" * 48, passed=False, reason="worse", change=1.0)
    said = Verdict(
        event=event.digest, candidate=made.state, against=root_commit(event).state, data=bytes(32), hardware="𝔪" * 128,
        measurement=measured,
    )  # fmt: skip
    verdicts = [sign_verdict(identity(number), said) for number in range(1, 65)]
    commit: Commit = merge_commit(COORDINATOR, root_commit(event), None, made, verdicts)
    verify_merge_commit(event, root_commit(event), decode_commit(commit.encode()))


def test_every_gate_of_the_event_has_passed_or_there_is_a_reason() -> None:
    gated = make_event(gate=(LossGate(name="poetry", kind="loss"), LossGate(name="prose", kind="loss")))
    root = root_commit(gated)
    lookup = {root.digest: root}.__getitem__

    def shown(*measured: Measurement, despite: str = "", **changes: Any) -> Commit:
        fields: dict[str, Any] = {
            "event": gated.digest, "candidate": bytes([4]) * 32, "against": root.state, "data": None, "hardware": "",
        }  # fmt: skip
        verdicts = [sign_verdict(MAKER, Verdict(measurement=each, **(fields | changes))) for each in measured]
        return merge_commit(COORDINATOR, root, None, merge(gated, proposal(gated), despite=despite), verdicts)

    passed, other = measurement(), measurement(gate="prose")
    failed = measurement(gate="prose", passed=False, reason="worse", change=1.0)
    own = measurement(gate="mine", passed=False, reason="worse", change=1.0)
    verify_statement(Amendments(gated), root, shown(passed, other), lookup)
    verify_statement(Amendments(gated), root, shown(passed, failed, despite="known"), lookup)
    verify_statement(Amendments(gated), root, shown(despite="no data here"), lookup)
    for commit, problem in (
        (shown(passed), "gate_failed: prose"),
        (shown(), "gate_failed: poetry"),
        (shown(passed, failed), "gate_failed: prose"),
        (shown(passed, other, own), "gate_failed: mine"),
        (shown(passed, other, candidate=bytes(32)), "wrong_state"),
        (shown(passed, other, against=bytes(32)), "wrong_state"),
        (shown(passed, other, event=bytes(32)), "wrong_event"),
    ):
        with pytest.raises(RemoteProtocolError, match=problem):
            verify_statement(Amendments(gated), root, commit, lookup)


def test_what_came_later_is_not_in_the_bytes_of_what_does_without(event: EventManifest) -> None:
    made = merge(event, proposal(event), tried=(Tried(method="ties", loss=1.0),))
    text = str(decode(made.encode())) + str(decode(merge_commit(COORDINATOR, root_commit(event), None, made).encode()))
    assert not {word for word in ("verdicts", "despite", "cosigners", "change") if word in text}
