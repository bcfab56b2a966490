"""The graph of final commits: what enters it, and which chain wins."""

from __future__ import annotations

from typing import Any

import pytest
from rounds.worlds import draft_on, event, finality

from collab.protocol.commit import Certificate, Commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.history import History
from collab.protocol.record import sha256

EVENT = event()


def grow(history: History, base: bytes, tag: bytes, *, epoch: int = 0) -> tuple[Commit, Certificate]:
    """Make a final commit on a known one."""
    ancestry = history.ancestry(base)
    commit = draft_on(EVENT, ancestry, history.certificate(base), [0, 1, 2, 3]).complete(sha256(tag), 7)
    return commit, finality(EVENT, ancestry.base, commit, epoch)


def line(length: int) -> History:
    history = History(EVENT)
    for number in range(length):
        assert history.add(*grow(history, history.head.digest, b"main %d" % number))
    return history


def test_a_history_starts_with_the_root_and_grows_by_final_commits() -> None:
    history = line(3)
    assert history.head.round == 3
    assert len(history) == 4
    assert [commit.round for commit in history.chain(history.root.digest, history.head.digest)] == [1, 2, 3]
    assert history.at_round(0) == history.root.digest
    assert history.at_round(4) is None


def test_a_late_joiner_takes_a_chain_with_the_newest_certificate() -> None:
    donor, joiner = line(4), History(EVENT)
    common = donor.newest_common(joiner.locator())
    chain = donor.chain(common, donor.head.digest)
    certificate = donor.certificate(donor.head.digest)
    assert certificate is not None
    assert joiner.extend(chain, certificate)
    assert joiner.head == donor.head
    assert not joiner.extend(chain, certificate)


def test_nothing_of_a_chain_with_a_gap_is_kept() -> None:
    donor, joiner = line(4), History(EVENT)
    chain = donor.chain(donor.root.digest, donor.head.digest)
    certificate = donor.certificate(donor.head.digest)
    assert certificate is not None
    with pytest.raises(RemoteProtocolError, match="bad_certificate"):
        joiner.extend([chain[0], *chain[2:]], certificate)
    with pytest.raises(RemoteProtocolError, match="unknown_parent"):
        joiner.extend(chain[1:], certificate)
    assert len(joiner) == 1


def test_a_commit_needs_a_certificate_by_its_own_committee() -> None:
    history = line(1)
    commit, certificate = grow(history, history.head.digest, b"next")
    short = Certificate(**(dict_of(certificate) | {"precommits": certificate.precommits[:2]}))
    other, _ = grow(history, history.head.digest, b"other")
    twice = Certificate(**(dict_of(certificate) | {"precommits": certificate.precommits[:1] * 3}))
    for pair in ((commit, short), (other, certificate), (commit, twice)):
        with pytest.raises(RemoteProtocolError, match="bad_certificate"):
            history.add(*pair)
    assert history.add(commit, certificate)


def dict_of(certificate: Certificate) -> dict[str, Any]:
    return {name: getattr(certificate, name) for name in Certificate.model_fields}


def test_the_lower_epoch_wins_where_two_chains_part() -> None:
    history = line(1)
    fork = history.head.digest
    late, late_proof = grow(history, fork, b"late", epoch=1)
    early, early_proof = grow(history, fork, b"early", epoch=0)
    history.add(late, late_proof)
    for number in range(3):
        history.add(*grow(history, history.head.digest, b"late %d" % number))
    assert history.head.round == 5
    assert history.add(early, early_proof)
    assert history.head == early
    assert history.is_ancestor(fork, late.digest)
    assert not history.is_ancestor(early.digest, late.digest)
    assert history.newest_common([late.digest, fork]) == fork


def test_the_fork_choice_does_not_depend_on_the_order() -> None:
    trunk = line(1)
    branches = [grow(trunk, trunk.head.digest, tag, epoch=epoch) for tag, epoch in ((b"a", 1), (b"b", 1), (b"c", 2))]
    heads = set()
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        history = line(1)
        for at in order:
            history.add(*branches[at])
        heads.add(history.head.digest)
    assert heads == {min(branches[0][0].digest, branches[1][0].digest)}


def test_a_lower_epoch_certificate_of_a_known_commit_can_turn_the_choice() -> None:
    history = line(1)
    fork = history.head.digest
    one, proof = grow(history, fork, b"one", epoch=1)
    other, other_proof = grow(history, fork, b"other", epoch=2)
    history.add(one, proof)
    history.add(other, other_proof)
    assert history.head == one
    assert history.add(other, finality(EVENT, history.ancestry(fork).base, other, 0))
    assert history.head == other


def test_a_locator_is_short_and_ends_at_the_root() -> None:
    history = line(20)
    locator = history.locator()
    assert locator[0] == history.head.digest
    assert locator[-1] == history.root.digest
    assert len(locator) < 14


def test_strangers_are_refused() -> None:
    history, other = line(1), History(event(name="another"))
    with pytest.raises(RemoteProtocolError, match="wrong_event"):
        other.add(*grow(history, history.head.digest, b"x"))
