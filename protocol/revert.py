"""The commit that takes contributions out of the model again.

Like a merge of proposals it is signed by whoever makes it (where an event names maintainers, by enough of them), not by a
committee, and its `statement` says all of it: which commits, and whose contributions in them. It brings no payload: what is taken
out is computed again from those that were merged, which its ancestors keep; so it costs a message, and replays bit for bit.

What was merged acts on as the outer optimiser has it. Plain SGD subtracted rate · update once. Nesterov's momentum m went on
subtracting it: k rounds later rate · μ^(k+1) · update, with μ^k · update left in m. Both are linear in the update, so they can be
taken back exactly, but for rounding (`lasting_effect`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, model_validator

from .commit import Commit
from .errors import RemoteProtocolError
from .event import EventManifest
from .identity import Identity, PeerId
from .messages import Message, Signed
from .record import Digest, Moment
from .stated import open_stated, stated_commit

MAX_COMMITS = 1024
MAX_PEERS = 64
MAX_MESSAGE = 2000

Lookup = Callable[[bytes], Commit]
Rules = Callable[[Commit], EventManifest]  # a commit of a round → the event in force for it


class Revert(Message):
    """I took what these commits merged out of the commit `base`, and the state hash is `state`.

    `commits`: what rounds made, `base` or before it, newest first. `peers`: only the contributions of these, sorted; empty: all.
    """

    KIND = "revert"
    base: Digest
    state: Digest
    commits: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MAX_COMMITS)]
    peers: Annotated[tuple[PeerId, ...], Field(max_length=MAX_PEERS)]
    message: Annotated[str, Field(max_length=MAX_MESSAGE)]
    time: Moment

    @model_validator(mode="after")
    def _ordered(self) -> Revert:
        if list(self.peers) != sorted(set(self.peers)) or len(set(self.commits)) != len(self.commits):
            raise ValueError("peers are sorted, each once, and so is each commit")
        return self


@dataclass(frozen=True)
class Undone:
    """A commit some of whose contributions are taken out: `kept` says which stay, in the commit's order.

    The weights get back `weight` times what those that do not stay added to the update, the momentum loses `momentum` times it.
    """

    commit: Commit
    kept: tuple[bool, ...]
    weight: float
    momentum: float
    later: tuple[Commit, ...]


def open_revert(commit: Commit) -> tuple[PeerId, Revert]:
    """Return who reverted what in a commit of method "revert". Raises RemoteProtocolError."""
    assert commit.statement is not None
    return open_stated(commit.statement, Revert)


def revert_commit(identity: Identity, parent: Commit, revert: Revert) -> Commit:
    """Return the commit after `parent` that says `revert`."""
    return _commit(Signed.seal(identity, revert), parent, revert)


def undone_by(rules: Rules, revert: Revert, lookup: Lookup) -> list[Undone]:
    """Return what a revert takes out, newest first. `lookup` returns a commit that is an ancestor of the revert's base.

    Raises RemoteProtocolError for a commit that is no such ancestor, for one that merged nothing of these peers, and for what
    an earlier revert took out already.
    """
    wanted = list(revert.commits)
    taken: set[tuple[bytes, PeerId]] = set()
    later: list[Commit] = []
    undone: list[Undone] = []
    for commit in _ancestors(lookup, revert.base):
        if not wanted:
            break
        if commit.digest == wanted[0]:
            undone.append(_undone(rules, revert, commit, later, taken))
            del wanted[0]
        elif commit.method == "revert":
            taken |= _taken(open_revert(commit)[1], lookup)
        if commit.statement is None:
            later.append(commit)
    if wanted:
        raise RemoteProtocolError("wrong_revert", f"{wanted[0].hex()[:12]} is no commit before this one, or out of order")
    return undone


def _ancestors(lookup: Lookup, digest: bytes) -> Iterator[Commit]:
    commit = lookup(digest)
    yield commit
    while commit.parents:
        commit = lookup(commit.base)
        yield commit


def _undone(
    rules: Rules, revert: Revert, commit: Commit, later: Sequence[Commit], taken: set[tuple[bytes, PeerId]]
) -> Undone:
    if commit.statement is not None or not commit.parents:
        raise RemoteProtocolError("wrong_revert", f"no round made commit {commit.digest.hex()[:12]}")
    signers = [signed.signer for signed, _ in commit.contributions()]
    kept = tuple(bool(revert.peers) and signer not in revert.peers for signer in signers)
    out = {(commit.digest, signer) for signer, stays in zip(signers, kept, strict=True) if not stays}
    if not out:
        raise RemoteProtocolError("wrong_revert", f"commit {commit.digest.hex()[:12]} merged nothing of theirs")
    if out & taken:
        raise RemoteProtocolError("wrong_revert", f"what commit {commit.digest.hex()[:12]} merged was taken out already")
    weight, momentum = lasting_effect(rules, commit, later[::-1])
    return Undone(commit, kept, weight, momentum, tuple(later[::-1]))


def _taken(earlier: Revert, lookup: Lookup) -> set[tuple[bytes, PeerId]]:
    pairs = {(digest, signed.signer) for digest in earlier.commits for signed, _ in lookup(digest).contributions()}
    return {pair for pair in pairs if not earlier.peers or pair[1] in earlier.peers}


def lasting_effect(rules: Rules, commit: Commit, later: Sequence[Commit]) -> tuple[float, float]:
    """Return what a commit's update still does after the rounds' commits `later`, oldest first.

    The factor by which it was subtracted from the weights in all, and that with which it is in the momentum (0 without one).
    """
    first = rules(commit)
    if first.outer.kind == "sgd":
        return _rate(first, commit), 0.0
    weight, momentum = _rate(first, commit) * (1.0 + first.outer.momentum), 1.0
    for after in later:
        event = rules(after)
        momentum *= event.outer.momentum
        weight += _rate(event, after) * event.outer.momentum * momentum
    return weight, momentum


def _rate(event: EventManifest, commit: Commit) -> float:
    return event.merge.full_rate if commit.full else event.outer.rate


def verify_revert_commit(rules: Rules, parent: Commit, commit: Commit, lookup: Lookup) -> None:
    """Raise RemoteProtocolError unless `commit` is a valid revert after `parent`. The state hash is left to a replay."""
    _, revert = open_revert(commit)
    assert commit.statement is not None
    if revert.event != parent.event:
        raise RemoteProtocolError("wrong_event")
    if revert.base != parent.digest:
        raise RemoteProtocolError("wrong_base")
    undone_by(rules, revert, lookup)
    expected = _commit(Signed.decode(commit.statement), parent, revert).model_copy(update={"cosigners": commit.cosigners})
    if expected != commit:
        raise RemoteProtocolError("wrong_revert", "the commit is not what its statement says")


def _commit(statement: Signed, parent: Commit, revert: Revert) -> Commit:
    return stated_commit(statement, parent, "revert", state=revert.state, time=revert.time)
