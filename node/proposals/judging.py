"""`auto`: every method is tried on the data that the event's gates name, and the one that makes the model best is kept.

All methods are judged on the same samples: as many of each gate as it may look at, drawn by the parent's state alone, and looked
at to the end. What counts is the *change*: how much worse than the parent, relative to it, in the mean over the gates. A method
that fails a gate is kept only if every other one does too. An event without gates is judged by its held-out loss.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ...kernels.merge import MODEL_METHODS
from ...kernels.merge.auto import Candidate, auto
from ...protocol.commit import Commit
from ...protocol.gates import EventGate
from ...protocol.proposal import ProposalMerge, Tried
from ...protocol.verdict import Measurement
from ..errors import UserError
from ..gates.run import request_for, result_of, seed_of
from ..history.replay import Replay
from ..processes.ipc import RemoteFailure
from ..rounds.weights import changes_key
from ..trainer.messages import VersionRef
from .statistics import capped, lacking, why_not

_MOST_REASON = 200


@dataclass(frozen=True)
class _Judged:
    """What a method came to: lower is better; `fails` names the gates that it fails, `why` says why there is no score."""

    method: str
    score: float = math.nan
    fails: tuple[str, ...] = ()
    why: str = ""

    @property
    def reason(self) -> str:
        return self.why or f"fails {', '.join(self.fails)}"[:_MOST_REASON]


async def choose_method(
    replay: Replay, parent: Commit, draft: ProposalMerge, gates: Sequence[EventGate], cap: float
) -> ProposalMerge:
    """Return the draft with the best method, and what all came to, the parent itself in front. The replay stands at the parent.

    `cap`: see `statistics.capped`. Raises UserError if no method gives a model that can be measured.
    """
    judged = [each async for each in _judge(replay, parent, draft, gates, cap)]
    passing = any(not each.fails and not math.isnan(each.score) for each in judged)
    candidates = [
        Candidate(each.method, None if each.why or (each.fails and passing) else each.score, each.reason) for each in judged
    ]
    try:
        _, choice = auto(candidates, lambda score: -score)
    except ValueError as error:
        raise UserError("no method gives a model whose loss is a number", "look at the proposals with `review`") from error
    unmerged = 0.0 if gates else await replay.loss()
    scores = [("unmerged", unmerged), *((name, -score) for name, score in choice.scores)]
    tried = [_tried(name, score, bool(gates)) for name, score in scores if math.isfinite(score)]
    tried += [Tried(method=name, loss=None, reason=reason) for name, reason in choice.skipped]
    parameters = capped(choice.winner, {}, cap)
    return draft.model_copy(update={"method": choice.winner, "parameters": parameters, "tried": tuple(tried)})


def _tried(method: str, score: float, by_gates: bool) -> Tried:
    return Tried(method=method, loss=None, change=score) if by_gates else Tried(method=method, loss=score)


async def _judge(
    replay: Replay, parent: Commit, draft: ProposalMerge, gates: Sequence[EventGate], cap: float
) -> AsyncIterator[_Judged]:
    for method in MODEL_METHODS:
        attempt = draft.model_copy(update={"method": method, "parameters": capped(method, {}, cap)})
        if without := lacking(attempt):
            yield _Judged(method, why=why_not(without))
            continue
        try:
            await replay.merge_changes(parent.state, attempt)
        except RemoteFailure as failure:
            if failure.code != "bad_merge":
                raise
            yield _Judged(method, why=failure.text[:_MOST_REASON])
            continue
        key = changes_key(parent.state, attempt)
        if gates:
            yield _scored(method, [await _measure(replay, gate, parent, key) for gate in gates])
        else:
            yield _Judged(method, await replay.loss(candidate=key))


async def _measure(replay: Replay, gate: EventGate, parent: Commit, key: str) -> Measurement:
    request = request_for(gate, VersionRef(of="candidate", key=key), seed_of(parent.state, parent.state), whole=True)
    return result_of(await replay.gate(request)).measurement


def _scored(method: str, measured: Sequence[Measurement]) -> _Judged:
    changes = [relative_change(each) for each in measured]
    fails = tuple(each.gate for each in measured if not each.passed)
    if any(change is None for change in changes):
        return _Judged(method, fails=fails, why=f"fails {', '.join(fails)}: not a number"[:_MOST_REASON])
    return _Judged(method, math.fsum(change or 0.0 for change in changes) / len(changes), fails)


def relative_change(measured: Measurement) -> float | None:
    """Return how much worse the candidate is, as a share of what the version before has (of 1, where it has 0)."""
    if measured.base is None or measured.candidate is None or measured.change is None:
        return None
    size = abs(measured.candidate - measured.base) / (abs(measured.base) or 1.0)
    return math.copysign(size, measured.change)
