"""Merging proposals into a commit: what is merged how, what the gates show of it, and who may do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...kernels.merge import MODEL_METHODS, model_method
from ...protocol import refs
from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.gates import CommandGate, OwnGate
from ...protocol.identity import Identity
from ...protocol.messages import Signed
from ...protocol.proposal import MAX_DESPITE, MAX_PROPOSALS, ProposalMerge, merge_commit, open_merge
from ...protocol.verdict import unmet_gate
from ..errors import UsageError, UserError
from ..failpoints import failpoint
from ..gates.run import Result, run_on_child
from ..history.graph import StoreGraph
from ..history.progress import Progress, silent
from ..history.replay import Replay
from ..history.revisions import read_commit
from ..store import Proposed, Store
from ..units import short
from .judging import choose_method
from .statistics import capped, require

AUTO = "auto"
_UNKNOWN = bytes(32)


@dataclass(frozen=True)
class Plan:
    """How proposals are merged, and what the result is tested by; `time` in Unix seconds.

    `cap` bounds what the statistics of a proposal can do, unless the parameters have another.
    """

    method: str
    parameters: Mapping[str, float]
    message: str
    time: int
    gates: Sequence[OwnGate] = ()
    cap: float = 1.0

    def check(self, count: int) -> None:
        """Raise UserError unless so many proposals can be merged like this."""
        if not 1 <= count <= MAX_PROPOSALS:
            raise UserError(f"one to {MAX_PROPOSALS} proposals are merged at once, not {count}")
        if self.method == AUTO and not self.parameters:
            return
        try:
            model_method(self.method, **self.parameters)
        except ValueError as error:
            raise UserError(str(error), f"--method is one of {', '.join((AUTO, *MODEL_METHODS))}") from error


@dataclass(frozen=True)
class Attempt:
    """A merge that was tried, not yet signed for: what its statement is to say, and what the gates showed."""

    parent: Commit
    merge: ProposalMerge
    results: tuple[Result, ...]

    @property
    def failed(self) -> list[str]:
        """The gates that the candidate fails."""
        return [result.measurement.gate for result in self.results if not result.measurement.passed]


def check_new(store: Store, parent: Commit, chosen: Sequence[Proposed]) -> None:
    """Raise UserError if the parent, or what it descends from, has merged one of the proposals."""
    merged = {each.digest for each in chosen if each.merged is not None}
    if not merged:
        return
    for digest in refs.ancestors(StoreGraph(store), [parent.digest]):
        commit = read_commit(store, digest)
        taken = open_merge(commit)[1].proposals if commit.method == "proposals" else ()
        if again := merged.intersection(Signed.decode(each).digest for each in taken):
            problem = f"proposal {short(min(again))} is in commit {short(digest)} already"
            raise UserError(problem, "leave it out, or merge it into another branch: --into NAME")


def check_despite(reason: str) -> None:
    """Raise UsageError for a reason that is too long to stand in a commit."""
    if len(reason) > MAX_DESPITE:
        raise UsageError(f"the reason has {len(reason)} characters, {MAX_DESPITE} are allowed")


def needs_data(plan: Plan) -> bool:
    """Say whether the event's data is needed."""
    return plan.method == AUTO or any(not isinstance(gate, CommandGate) for gate in plan.gates)


async def try_merge(
    replay: Replay, store: Store, identity: Identity, parent: Commit, chosen: Sequence[Proposed], plan: Plan,
    progress: Progress = silent,
) -> Attempt:  # fmt: skip
    """Merge the proposals, which are in the order of their ids, and run the plan's gates on the result. Nothing is kept.

    `identity` signs a commit that nobody sees. Raises UserError, and what the replay raises.
    """
    draft = ProposalMerge(
        event=parent.event, base=parent.digest, state=_UNKNOWN, proposals=tuple(each.signed.encode() for each in chosen),
        method=plan.method, parameters=capped(plan.method, plan.parameters, plan.cap), tried=(), message=plan.message,
        time=plan.time,
    )  # fmt: skip
    require(draft)
    await replay.go_to(parent)
    if plan.method == AUTO:
        progress("trying all methods", 0, 0)
        judges = [gate for gate in plan.gates if not isinstance(gate, CommandGate)]
        draft = await choose_method(replay, parent, draft, judges, plan.cap)
    state = (await replay.merge_changes(parent.state, draft)).state
    draft = draft.model_copy(update={"state": state})
    if not plan.gates:
        return Attempt(parent, draft, ())
    trial = merge_commit(identity, parent, store.certificate(parent.digest), draft)
    return Attempt(parent, draft, tuple(await run_on_child(replay, plan.gates, parent, trial, progress)))


def commit_of(event: EventManifest, store: Store, maintainer: Identity, tested: Attempt, despite: str = "") -> Commit:
    """Return the commit, signed by one maintainer, with a signed verdict of each gate.

    `despite`: the reason for a merge although a gate failed; without one that is a UserError.
    """
    failed = unmet_gate(event.gate, [result.measurement for result in tested.results])
    if failed is not None and not despite:
        what = f"the merged model fails gate {', '.join(tested.failed) or failed}"
        raise UserError(what, "`collab-node test` shows how; --despite-gates REASON merges it all the same")
    merge = tested.merge.model_copy(update={"despite": despite if failed is not None else ""})
    certificate = store.certificate(tested.parent.digest)
    trial = merge_commit(maintainer, tested.parent, certificate, merge)
    verdicts = [result.sign(maintainer, event, trial, tested.parent) for result in tested.results]
    return merge_commit(maintainer, tested.parent, certificate, merge, verdicts)


def keep_merge(store: Store, name: str, expected: bytes | None, commit: Commit) -> None:
    """Keep the commit and move the branch to it: all of it or nothing. Raises RefMoved, StoreFull."""
    with store.transaction():
        digest = store.add_commit(commit)
        failpoint("merge-commit")
        store.refs.update(name, digest, expected)
