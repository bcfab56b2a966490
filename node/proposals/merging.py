"""Merging proposals into a commit: by a given method, or by whichever gives the lowest held-out loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...kernels.merge import MODEL_METHODS, model_method
from ...kernels.merge import parameters as parameters_of
from ...kernels.merge.auto import Candidate, auto
from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.identity import Identity
from ...protocol.proposal import MAX_PROPOSALS, STATISTICS, ProposalMerge, Tried, merge_commit
from ..errors import UserError
from ..failpoints import failpoint
from ..history.replay import Replay
from ..processes.ipc import RemoteFailure
from ..rounds.weights import changes_key
from ..store import Proposed, Store
from ..units import short

AUTO = "auto"
_UNKNOWN = bytes(32)
_ROUNDING = 1e-9


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
    *, method: str, parameters: Mapping[str, float], cap: float, message: str, time: int,
) -> Commit:  # fmt: skip
    """Return the commit after `parent` that merges the proposals, which are in the order of their ids. See `check_merge`.

    With "auto" every method is tried on the event's held-out samples, which the replay needs then; the commit says what each
    came to. `cap` bounds what the statistics of a proposal can do, unless the parameters have another. Raises UserError.
    """
    if without := lacking(method, chosen):
        whose = ", ".join(f"{short(each.digest)} by {each.maker}" for each in without)
        hint = "`propose --statistics` measures them; or merge by another method"
        raise UserError(f"{method} lacks statistics of {whose}", hint)
    draft = ProposalMerge(
        event=parent.event, base=parent.digest, state=_UNKNOWN, proposals=tuple(each.signed.encode() for each in chosen),
        method=method, parameters=_capped(method, parameters, cap), tried=(), message=message, time=time,
    )  # fmt: skip
    await replay.go_to(parent)
    if method == AUTO:
        draft = await _chosen(replay, parent, draft, chosen, cap)
    state = (await replay.merge_changes(parent.state, draft)).state
    return merge_commit(maintainer, parent, store.certificate(parent.digest), draft.model_copy(update={"state": state}))


def lacking(method: str, chosen: Sequence[Proposed]) -> list[Proposed]:
    """Return the proposals that came without the statistics that a method needs."""
    return [each for each in chosen if method in STATISTICS and not each.proposal.statistics(method)]


def _reason(without: Sequence[Proposed]) -> str:
    """Why a method was not tried, for a line of a terminal."""
    more = f" and {len(without) - 2} more" if len(without) > 2 else ""
    return f"no statistics of {', '.join(short(each.digest) for each in without[:2])}{more}"


def no_room(chosen: Sequence[Proposed], made: ProposalMerge) -> bool:
    """Say whether the cap leaves statistics nothing to decide: every share is as large as the average's already."""
    samples = [each.proposal.samples for each in chosen]
    cap = made.parameters.get("cap", 1.0)
    return len(chosen) > 1 and sum(max(cap, each / sum(samples)) for each in samples) <= 1 + _ROUNDING


def _capped(method: str, parameters: Mapping[str, float], cap: float) -> dict[str, float]:
    capped = {"cap": cap} if method != AUTO and "cap" in parameters_of(method) else {}
    return capped | dict(parameters)


async def _chosen(
    replay: Replay, parent: Commit, draft: ProposalMerge, chosen: Sequence[Proposed], cap: float
) -> ProposalMerge:
    """Return the draft with the best method, and what all came to, the parent itself in front."""
    unmerged = await replay.loss()
    candidates, losses = [], {}
    for name in MODEL_METHODS:
        if without := lacking(name, chosen):
            candidates.append(Candidate[str](name, None, _reason(without)))
            continue
        attempt = draft.model_copy(update={"method": name, "parameters": _capped(name, {}, cap)})
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
    parameters = _capped(choice.winner, {}, cap)
    return draft.model_copy(update={"method": choice.winner, "parameters": parameters, "tried": tuple(tried)})


def keep_merge(store: Store, name: str, expected: bytes | None, commit: Commit, chosen: Sequence[Proposed]) -> None:
    """Keep the commit, move the branch to it and note what it merged: all of it or nothing. Raises RefMoved, StoreFull."""
    with store.transaction():
        digest = store.add_commit(commit)
        failpoint("merge-commit")
        store.refs.update(name, digest, expected)
        store.proposals.mark_merged((each.digest for each in chosen), digest)
