"""Gates run: by who certified a merge, and by who signed a verdict; each measurement of a peer once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gates.test_gates_verdict import measurement
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds.worlds import draft_on, event, finality, identity

from collab.protocol.commit import Commit
from collab.protocol.credits import CreditBook
from collab.protocol.gates import LossGate
from collab.protocol.history import History
from collab.protocol.messages import Signed
from collab.protocol.record import sha256
from collab.protocol.verdict import Verdict, sign_verdict

IN_ROUNDS = LossGate(name="held-out", kind="loss")
ON_RELEASES = LossGate(name="poetry", kind="loss", rounds=False)
EVENT = event(gate=(IN_ROUNDS, ON_RELEASES))
ROOT = History(EVENT).root
WITNESS = 9


def grown(rounds: int) -> list[Commit]:
    history = History(EVENT)
    for number in range(rounds):
        ancestry = history.ancestry(history.head.digest)
        draft = draft_on(EVENT, ancestry, history.certificate(history.head.digest), [0, 1])
        commit = draft.complete(sha256(b"%d" % number), 7)
        history.add(commit, finality(EVENT, ancestry.base, commit))
    return history.chain(history.root.digest, history.head.digest)


CHAIN = grown(4)


def said(version: int, gate: str = ON_RELEASES.name, who: int = WITNESS, **changes: Any) -> bytes:
    """A verdict on the commit of the chain with this number, as it stands in a commit."""
    against = CHAIN[version - 1].state if version else ROOT.state
    fields: dict[str, Any] = {
        "event": EVENT.digest, "candidate": CHAIN[version].state, "against": against, "data": bytes(32), "hardware": "cpu",
        "measurement": measurement(gate=gate),
    }  # fmt: skip
    return sign_verdict(identity(who), Verdict(**(fields | changes))).encode()


def carrying(commit: Commit, *verdicts: bytes) -> Commit:
    """The last commit of a chain with these verdicts."""
    return commit.model_copy(update={"verdicts": verdicts})


def gates(commits: Sequence[Commit], who: int = WITNESS) -> int:
    return CreditBook(EVENT, commits).of(identity(who).peer_id).gates


def test_who_certified_a_merge_ran_the_gates_of_rounds_on_it() -> None:
    book = CreditBook(EVENT, CHAIN)
    assert {(credit.gates, credit.checked) for credit in book.ranking() if credit.checked} == {(3, 3)}
    assert CreditBook(event(), CHAIN).ranking()[0].gates == 0


def test_nothing_merged_is_nothing_to_test() -> None:
    empty = CHAIN[0].model_copy(update={"accepted": ()})
    child = CHAIN[1].model_copy(update={"parents": (empty.digest,)})
    assert gates([CHAIN[0], CHAIN[1]], who=0) == 1
    assert gates([empty, child], who=0) == 0


def test_a_verdict_counts_once_whoever_shows_it_and_wherever() -> None:
    first, again = said(2), said(2, hardware="another machine")
    assert gates([*CHAIN[:3], carrying(CHAIN[3], first, first, again)]) == 1
    assert gates([*CHAIN[:3], carrying(CHAIN[3], said(2), said(1), said(0), said(2, IN_ROUNDS.name))]) == 4
    assert gates([*CHAIN[:2], carrying(CHAIN[2], said(2))]) == 1  # in its own commit


def test_who_certified_and_signed_ran_the_gate_once() -> None:
    before = gates(CHAIN, who=0)
    assert gates([*CHAIN[:3], carrying(CHAIN[3], said(2, IN_ROUNDS.name, who=0))], who=0) == before
    assert gates([*CHAIN[:3], carrying(CHAIN[3], said(2, ON_RELEASES.name, who=0))], who=0) == before + 1


def test_what_proves_no_run_counts_for_nothing() -> None:
    good = Signed.decode(said(2))
    forged = Signed(kind=good.kind, signer=identity(8).peer_id, body=good.body, signature=good.signature)
    wrong = (
        forged.encode(), b"noise", said(2, "made-up"), said(2, event=sha256(b"other")), said(2, against=CHAIN[2].state),
        said(2, candidate=sha256(b"elsewhere")), said(2, against=sha256(b"elsewhere")),
    )  # fmt: skip
    chain = [*CHAIN[:3], carrying(CHAIN[3], *wrong)]
    assert (gates(chain), gates(chain, who=8)) == (0, 0)


def test_a_release_is_tested_against_the_last_one_and_counts_once_all_the_same() -> None:
    far = said(2, against=ROOT.state)
    assert gates([*CHAIN[:3], carrying(CHAIN[3], far)]) == 1
    assert gates([*CHAIN[:3], carrying(CHAIN[3], far, said(2), said(2, against=CHAIN[0].state))]) == 1


names = st.sampled_from([IN_ROUNDS.name, ON_RELEASES.name, "made-up"])
shown = st.tuples(st.integers(0, 2), names, st.sampled_from([0, 8, WITNESS]))


@settings(max_examples=50)
@given(st.lists(shown, max_size=8), st.integers(0, 4))
def test_nobody_has_more_runs_than_commits_times_gates(verdicts: list[tuple[int, str, int]], cut: int) -> None:
    envelopes = [said(version, gate, who) for version, gate, who in verdicts]
    chain = [*CHAIN[:3], carrying(CHAIN[3], *envelopes)]
    book = CreditBook(EVENT, chain[:cut])
    for commit in chain[cut:]:
        book.add(commit)
    assert book.ranking() == CreditBook(EVENT, chain).ranking()
    for who in (8, WITNESS):
        runs = {(version, gate) for version, gate, by in verdicts if by == who and gate != "made-up"}
        assert gates(chain, who) == len(runs) <= 2 * len(chain)
    assert gates(chain, 0) <= 2 * len(chain)
