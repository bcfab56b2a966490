"""Merging proposals into a commit: by a given method, or by whichever gives the lowest held-out loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...kernels.merge import MODEL_METHODS, model_method
from ...kernels.merge.auto import Candidate, auto
from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.identity import Identity
from ...protocol.proposal import MAX_PROPOSALS, ProposalMerge, Tried, merge_commit
from ..errors import UserError
from ..failpoints import failpoint
from ..history.replay import Replay
from ..processes.ipc import RemoteFailure
from ..rounds.weights import changes_key
from ..store import Proposed, Store

AUTO = "auto"
_UNKNOWN = bytes(32)


def check_merge(event: EventManifest, maintainer: Identity, count: int, method: str, parameters: Mapping[str, float]) -> None:
    """Raise UserError unless this maintainer may merge so many proposals, and there is such a method with such parameters."""
    if maintainer.peer_id != event.coordinator:
        raise UserError("only the event's coordinator merges proposals", f"send them to {event.coordinator}: propose --out FILE")
    if not 1 <= count <= MAX_PROPOSALS:
        raise UserError(f"one to {MAX_PROPOSALS} proposals are merged at once, not {count}")
    if method == AUTO and not parameters:
        return
    try:
        model_method(method, **parameters)
    except ValueError as error:
        raise UserError(str(error), f"--method is one of {', '.join((AUTO, *MODEL_METHODS))}") from error


async def merge_proposals(
    replay: Replay, store: Store, maintainer: Identity, parent: Commit, chosen: Sequence[Proposed],
    *, method: str, parameters: Mapping[str, float], message: str, time: int,
) -> Commit:  # fmt: skip
    """Return the commit after `parent` that merges the proposals, which are in the order of their ids. See `check_merge`.

    With "auto" every method is tried on the event's held-out samples, which the replay needs then; the commit says what each
    came to. Raises UserError.
    """
    draft = ProposalMerge(
        event=parent.event, base=parent.digest, state=_UNKNOWN, proposals=tuple(each.signed.encode() for each in chosen),
        method=method, parameters=dict(parameters), tried=(), message=message, time=time,
    )  # fmt: skip
    await replay.go_to(parent)
    if method == AUTO:
        draft = await _chosen(replay, parent, draft)
    state = (await replay.merge_changes(parent.state, draft)).state
    return merge_commit(maintainer, parent, store.certificate(parent.digest), draft.model_copy(update={"state": state}))


async def _chosen(replay: Replay, parent: Commit, draft: ProposalMerge) -> ProposalMerge:
    """Return the draft with the best method, and what all came to, the parent itself in front."""
    unmerged = await replay.loss()
    candidates, losses = [], {}
    for name in MODEL_METHODS:
        attempt = draft.model_copy(update={"method": name})
        key = changes_key(parent.state, attempt)
        try:
            await replay.merge_changes(parent.state, attempt)
        except RemoteFailure as failure:
            if failure.code != "bad_merge":
                raise
            candidates.append(Candidate[str](name, None, failure.text[:200]))
            continue
        losses[key] = await replay.loss(candidate=key)
        candidates.append(Candidate(name, key))
    try:
        _, choice = auto(candidates, lambda key: -losses[key])
    except ValueError as error:
        raise UserError("no method gives a model whose loss is a number", "look at the proposals with `review`") from error
    scores = (("unmerged", -unmerged), *choice.scores)
    tried = [Tried(method=name, loss=-score) for name, score in scores if math.isfinite(score)]
    tried += [Tried(method=name, loss=None, reason=reason) for name, reason in choice.skipped]
    return draft.model_copy(update={"method": choice.winner, "tried": tuple(tried)})


def keep_merge(store: Store, name: str, expected: bytes | None, commit: Commit, chosen: Sequence[Proposed]) -> None:
    """Keep the commit, move the branch to it and note what it merged: all of it or nothing. Raises RefMoved, StoreFull."""
    with store.transaction():
        digest = store.add_commit(commit)
        failpoint("merge-commit")
        store.refs.update(name, digest, expected)
        store.proposals.mark_merged((each.digest for each in chosen), digest)
