"""`revert`: takes what commits merged, or what somebody contributed to them, out of the weights again, as a new commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...protocol.commit import Commit
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.identity import Identity
from ...protocol.refs import MAIN, branch_name
from ...protocol.revert import MAX_COMMITS, Revert, open_revert, revert_commit, undone_by
from ..errors import UserError
from ..failpoints import failpoint
from ..settings import Settings
from ..store import Store
from ..trainer import messages
from .replay import Replay, replaying
from .revisions import read_commit, ref_errors

_UNKNOWN = bytes(32)


@dataclass(frozen=True)
class Moved:
    """Of one tensor: how many coordinates are taken back, and how many of these later rounds moved as well."""

    tensor: str
    taken: int
    later: int


@dataclass(frozen=True)
class Reverted:
    """The new commit, what it takes out, and where later commits moved the same coordinates."""

    commit: Commit
    contributions: int
    rounds: tuple[int, ...]
    later_commits: int
    tensors: tuple[Moved, ...]

    def fields(self) -> dict[str, Any]:
        """Return it as plain values, digests in hex."""
        return {
            "commit": self.commit.digest.hex(), "round": self.commit.round, "state": self.commit.state.hex(),
            "contributions": self.contributions, "rounds": list(self.rounds), "later_commits": self.later_commits,
            "tensors": [{"tensor": each.tensor, "taken": each.taken, "moved_later": each.later} for each in self.tensors],
        }  # fmt: skip


def commits_with(store: Store, parent: Commit, peer: str) -> list[Commit]:
    """Return the ancestors of `parent`, and itself, that merged something of `peer` and were not relieved of it, newest first."""
    found, at = [], parent
    gone: set[bytes] = set()
    while True:
        if at.method == "revert":
            gone.update(_reverted(at, peer))
        elif at.digest not in gone and any(signed.signer == peer for signed, _ in at.contributions()):
            found.append(at)
        if not at.parents:
            return found
        at = read_commit(store, at.base)


def _reverted(commit: Commit, peer: str) -> tuple[bytes, ...]:
    revert = open_revert(commit)[1]
    return revert.commits if not revert.peers or peer in revert.peers else ()


def peer_named(store: Store, parent: Commit, name: str) -> str:
    """Return the contributor to `parent` or its ancestors whose peer id is, or ends with, `name`. Raises UserError."""
    found, at = set(), parent
    while True:
        found |= {signed.signer for signed, _ in at.contributions() if signed.signer.endswith(name)}
        if not at.parents:
            break
        at = read_commit(store, at.base)
    if len(found) == 1:
        return found.pop()
    if not found:
        raise UserError(f"nobody whose peer id ends with {name} contributed to this", "`collab-node blame TENSOR` lists who did")
    raise UserError(f"{name} is the end of several peer ids: {', '.join(sorted(found))}", "give more of it")


async def make_revert(
    event: EventManifest, store: Store, settings: Settings, identity: Identity, parent: Commit, commits: Sequence[Commit],
    *, peer: str | None, message: str, time: int,
) -> Reverted:  # fmt: skip
    """Return the commit after `parent` that takes out what `commits` merged, or what they merged of `peer`. Raises UserError.

    `commits` are newest first. `time` is in Unix seconds.
    """
    if not 1 <= len(commits) <= MAX_COMMITS:
        raise UserError(f"one to {MAX_COMMITS} commits are reverted at once, not {len(commits)}")
    draft = Revert(
        event=event.digest, base=parent.digest, state=_UNKNOWN, commits=tuple(commit.digest for commit in commits),
        peers=() if peer is None else (peer,), message=message, time=time,
    )  # fmt: skip
    try:
        rules = store.amendments.of(event).rules(lambda digest: read_commit(store, digest))
        undone = undone_by(rules, draft, lambda digest: read_commit(store, digest))
    except RemoteProtocolError as error:
        raise UserError(f"this cannot be reverted: {error.detail}", "name commits of rounds on the same branch") from error
    kept = {each.commit.digest: each.kept for each in undone}
    oldest = undone[-1]
    async with replaying(event, store, settings) as replay:
        await replay.go_to(parent)
        state = (await replay.undo(parent.state, draft)).state
        tensors = await _overlaps(replay, [*oldest.later[::-1], oldest.commit], kept)
    return Reverted(
        commit=revert_commit(identity, parent, draft.model_copy(update={"state": state})),
        contributions=sum(stays.count(False) for stays in kept.values()),
        rounds=tuple(each.commit.round for each in undone),
        later_commits=len(oldest.later),
        tensors=tensors,
    )


async def _overlaps(replay: Replay, rounds: Sequence[Commit], kept: dict[bytes, tuple[bool, ...]]) -> tuple[Moved, ...]:
    request = messages.Overlap(rounds=tuple([
        messages.Unmerge(
            parts=await replay.files_of(commit), kept=kept.get(commit.digest, (True,) * len(commit.accepted)),
            method=commit.round_method,
        )
        for commit in rounds
    ]))  # fmt: skip
    return tuple(Moved(*row) for row in (await replay.overlap(request)).tensors if row[1])


def branch_to_take(store: Store, branch: str, onto: Commit) -> tuple[str, bytes | None, Commit]:
    """Return the full name of the branch that is to take a commit, where it is now, and the commit that the new one follows.

    A branch that is there goes on from where it is; a new one starts from `onto`. Raises UserError.
    """
    with ref_errors():
        name = branch_name(branch)
    if name == MAIN:
        raise UserError("main moves with the swarm's rounds", "name a branch of your own: --into NAME")
    now = store.refs.get(name)
    return name, now, onto if now is None else read_commit(store, now)


def keep_revert(store: Store, name: str, expected: bytes | None, commit: Commit) -> None:
    """Keep the commit and move the branch to it, both or neither. Raises RefMoved, StoreFull."""
    with store.transaction():
        digest = store.add_commit(commit)
        failpoint("revert-commit")
        store.refs.update(name, digest, expected)
        failpoint("revert-transaction")

