"""Merges: contributions and the base give a candidate, and a candidate that the swarm agreed on becomes the base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ... import kernels
from ...kernels import PayloadError, grams
from ...kernels import fisher as fishers
from ...kernels.change import decode
from ...kernels.merge import Contribution, Update, merge_updates, model_method
from ...kernels.merge import merge as merge_contributions
from ...kernels.outer import nesterov, sgd
from .errors import WorkerError, translated
from .messages import Adopt, Change, Merge, MergeChanges, Merged, Undo
from .parts import contribution_of
from .session import Session
from .state import SharedState
from .undoing import undone

_MOST = 2


@dataclass(frozen=True)
class Candidate:
    """A merge's result, what was answered about it, and the state hash it was made from."""

    state: SharedState
    answer: Merged
    base_hash: bytes


class Candidates:
    """The last merges by key; a new one takes the place of the oldest."""

    def __init__(self) -> None:
        self._kept: dict[str, Candidate] = {}

    def get(self, key: str) -> Candidate:
        """Return the candidate named `key`. Raises WorkerError("unknown_candidate")."""
        try:
            return self._kept[key]
        except KeyError:
            raise WorkerError("unknown_candidate", f"no merge {key!r} is kept; merge again") from None

    def merge(self, session: Session, request: Merge) -> Merged:
        """See messages.Merge."""
        base = session.require_base()
        if (made := self._answered(session, request)) is not None:
            return made
        with translated("merging"):
            contributions = [contribution_of(session, part) for part in request.parts]
            update = _update(session, request, contributions) if contributions else {}
            state = outer_step(session, base, update, request.full) if contributions else base
        clips = tuple(contribution.clip for contribution in contributions)
        answer = Merged(state=state.hash(), norm=kernels.norm(update), clips=clips)
        self._keep(request.key, Candidate(state, answer, session.base_hash))
        return answer

    def merge_changes(self, session: Session, request: MergeChanges) -> Merged:
        """See messages.MergeChanges."""
        base = session.require_base()
        if (made := self._answered(session, request)) is not None:
            return made
        with translated("merging"):
            update = _merged_changes(session, base, request)
            state = SharedState(sgd(base.weights, update, rate=1.0), base.momentum)
        answer = Merged(state=state.hash(), norm=kernels.norm(update), clips=())
        self._keep(request.key, Candidate(state, answer, session.base_hash))
        return answer

    def undo(self, session: Session, request: Undo) -> Merged:
        """See messages.Undo."""
        base = session.require_base()
        if (made := self._answered(session, request)) is not None:
            return made
        with translated("reverting"):
            state = undone(session, base, request)
            difference = {name: base.weights[name] - weight for name, weight in state.weights.items()}
        answer = Merged(state=state.hash(), norm=kernels.norm(difference), clips=())
        self._keep(request.key, Candidate(state, answer, session.base_hash))
        return answer

    def _answered(self, session: Session, request: Merge | MergeChanges | Undo) -> Merged | None:
        """Return the answer if the merge is kept. Raises WorkerError("wrong_base")."""
        made = self._kept.get(request.key)
        if made is not None and made.base_hash == request.base == session.base_hash:
            return made.answer
        if request.base != session.base_hash:
            text = f"the base is {session.base_hash.hex()[:12]}, not {request.base.hex()[:12]}"
            raise WorkerError("wrong_base", text)
        return None

    def _keep(self, key: str, candidate: Candidate) -> None:
        self._kept.pop(key, None)
        self._kept[key] = candidate
        if len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]

    def adopt(self, session: Session, request: Adopt) -> bytes:
        """See messages.Adopt; returns the new base's state hash."""
        candidate = self.get(request.key)
        if candidate.base_hash != session.base_hash:
            raise WorkerError("unknown_candidate", f"merge {request.key!r} was made on another base; merge again")
        session.restart_from(candidate.state, candidate.answer.state, request.commit, carry=request.carry)
        if request.reset_optimiser:
            session.optimiser.reset()
        self._kept.clear()
        return candidate.answer.state


def _update(session: Session, request: Merge, contributions: list[Contribution]) -> dict[str, Tensor]:
    policy = session.event.merge
    try:
        return merge_contributions(
            request.method, session.layout, contributions, cap=policy.cap, damping=policy.damping
        )
    except PayloadError as error:
        raise WorkerError("bad_payload", str(error)) from error
    except ValueError as error:
        raise WorkerError("bad_merge", str(error)) from error


def _merged_changes(session: Session, base: SharedState, request: MergeChanges) -> dict[str, Tensor]:
    try:
        updates = [_update_of(session, change) for change in request.changes]
        return merge_updates(model_method(request.method, **request.parameters), base.weights, updates)
    except ValueError as error:
        raise WorkerError("bad_merge", str(error)) from error


def _update_of(session: Session, change: Change) -> Update:
    """Read a proposal's files. Raises WorkerError("bad_payload"), ValueError on a weight out of range."""
    layout = session.layout
    try:
        payload = Path(change.path).read_bytes()
        fisher = Path(change.fisher_path).read_bytes() if change.fisher_path else None
        matrices = Path(change.grams_path).read_bytes() if change.grams_path else None
        return Update(
            decode(change.form, payload, layout),
            change.weight,
            fisher=None if fisher is None else fishers.decode(fisher, change.form, payload, layout),
            grams=None if matrices is None else grams.decode(matrices, layout),
            key=change.key,
        )
    except PayloadError as error:
        raise WorkerError("bad_payload", f"{Path(change.path).name[:16]}: {error}") from error


def outer_step(session: Session, base: SharedState, update: dict[str, Tensor], full: bool) -> SharedState:
    """Return the state after the event's outer optimiser took its step; a full merge has a rate of its own."""
    outer = session.event.outer
    rate = session.event.merge.full_rate if full else outer.rate
    if outer.kind == "sgd":
        return SharedState(sgd(base.weights, update, rate=rate))
    weights, momentum = nesterov(base.weights, base.momentum, update, rate=rate, momentum_factor=outer.momentum)
    return SharedState(weights, momentum)
