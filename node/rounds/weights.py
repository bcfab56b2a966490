"""The shared weights of this node, held by the worker, moved along the chain of commits.

The worker knows tensors, the store knows commits; this is where the two meet. A state is believed only when its hash is the one
in the commit: whether it came from the event's seed, from a peer's snapshot or from a merge of our own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import structlog

from ...protocol.amendments import SECTIONS, Amendments
from ...protocol.canonical import encode
from ...protocol.commit import Commit
from ...protocol.event import EventManifest, MergeMethod
from ...protocol.merging import Part, parts
from ...protocol.messages import Blob, Signed
from ...protocol.proposal import ModelProposal, ProposalMerge, open_merge
from ...protocol.record import sha256
from ...protocol.revert import Revert, open_revert, undone_by
from ..failpoints import failpoint
from ..metrics.metrics import Metrics
from ..processes.ipc import RemoteFailure
from ..processes.worker_host import WorkerHost
from ..store import behind
from ..store.store import Store
from ..trainer import messages as worker_messages
from ..trainer.client import Worker
from ..trainer.client import part as worker_part
from .fetching import Fetcher, Unavailable
from .offers import SnapshotOffers

log = structlog.get_logger()

# float32 weights and, at most, as much outer momentum; the header names the tensors.
_SNAPSHOT_BYTES_A_PARAMETER = 8
_SNAPSHOT_HEADER_BYTES = 1 << 20
_NEAR = 4  # snapshots of the chain: as many as a peer offers at once

A = TypeVar("A")


class StateMismatch(Exception):
    """A merge that was replayed here gave another state hash than the commit says."""


class Weights:
    """Where the worker's base is on the chain, and how it gets elsewhere."""

    def __init__(
        self, event: EventManifest, host: WorkerHost, store: Store, fetcher: Fetcher, offers: SnapshotOffers, metrics: Metrics,
        *, writes: bool = True, amendments: Amendments | None = None,
    ) -> None:  # fmt: skip
        """`writes` into the store: how far the weights have come, and a snapshot every so many rounds, as the event says.
        `amendments`: the history's; default: the store's.
        """
        self.base: bytes | None = None
        self._offers = offers
        self._event = event
        self._amendments = store.amendments.of(event) if amendments is None else amendments
        self._recipe = event
        self._host = host
        self._store = store
        self._fetcher = fetcher
        self._metrics = metrics
        self._writes = writes
        self._fresh: Worker | None = None
        self._recovery: asyncio.Task[Any] | None = None

    async def recover(self, worker: Worker, opened: worker_messages.Opened) -> None:
        """Take over a worker that was just started, and bring it to where the last one was."""
        restored = opened.restored
        wanted, self.base = self.base, None
        if restored is not None and restored.commit is not None and self._store.has_commit(restored.commit):
            self.base = restored.commit if self._store.commit(restored.commit).state == restored.state else None
        self._fresh, self._recovery = worker, asyncio.current_task()
        try:
            if self.base is not None:
                await self._follow(self._store.commit(self.base))
            if wanted is not None:
                await self.bring_to(self._store.commit(wanted))
        except BaseException:
            self.base = wanted  # nobody gets this worker; its successor is to be brought there
            raise
        finally:
            self._fresh = self._recovery = None

    async def _call(self, call: Callable[[Worker], Awaitable[A]]) -> A:
        # Until it is recovered nobody else gets the new worker, so the recovery itself does not ask the host for it.
        if self._fresh is not None and asyncio.current_task() is self._recovery:
            return await call(self._fresh)
        return await self._host.use(call)

    async def bring_to(self, target: Commit, *, carry: bool = True) -> None:
        """Make `target` the worker's base: replay from where it is, or from the best snapshot here or at a peer.

        `carry`: what was trained on the old base and not sent goes into the residual. Raises StateMismatch, Unavailable.
        """
        path = self._path_from(self.base, target) if self.base is not None else None
        if path is None:
            path = await self._start_from_snapshot(target, carry)
        self._note_reached()
        for commit in path:
            await self.replay(commit)
            await self.adopt(commit, carry=carry)
            self._note_reached()
            log.debug("replayed", round=commit.round)

    def _note_reached(self) -> None:
        if self._writes and self.base is not None:
            behind.reached(self._store, self._store.commit(self.base))

    def _path_from(self, start: bytes, target: Commit) -> list[Commit] | None:
        """Return the commits after `start` up to `target`, or None if `start` is not an ancestor."""
        path: list[Commit] = []
        at = target
        while at.digest != start:
            path.append(at)
            if not at.parents:
                return None
            at = self._store.commit(at.base)
        return path[::-1]

    async def _start_from_snapshot(self, target: Commit, carry: bool) -> list[Commit]:
        """Load the newest usable ancestor state, and return the commits from there to `target`.

        What is here or what several peers offer comes before what a single one does, who may lie, and serve it for ever: unless
        it is old, and much would have to be replayed.
        """
        near = _NEAR * self._event.rounds.snapshot_every
        for sure in (True, False):
            for path in self._starts(target):
                start = self._store.commit(path[0].base) if path else target
                if sure and (len(path) > near or not self._is_sure(start)):
                    continue
                try:
                    await self._load(start, carry)
                except (Unavailable, StateMismatch, RemoteFailure) as error:
                    log.warning("a snapshot cannot be used", round=start.round, why=str(error))
                    continue
                return path
        raise Unavailable(f"no snapshot at or before round {target.round} can be had from any peer")

    def _is_sure(self, start: Commit) -> bool:
        return self._store.snapshot_of(start.digest) is not None or self._offers.are_agreed(start.digest)

    def _starts(self, target: Commit) -> Iterator[list[Commit]]:
        """Yield the ways to `target` from each state that might be had, the shortest first."""
        path: list[Commit] = []
        at = target
        while True:
            if not at.parents or at.digest in self._offers or self._store.snapshot_of(at.digest) is not None:
                yield path[::-1]
            if not at.parents:
                return
            path.append(at)
            at = self._store.commit(at.base)

    async def _load(self, commit: Commit, carry: bool) -> None:
        """Make the state after `commit` the worker's base, from a snapshot or the event's seed."""
        own, seed = self._store.snapshot_of(commit.digest), self._event.start.seed
        if own is not None and self._store.blobs.has(own):
            await self._load_file(commit, self._store.blobs.path(own), carry)
        elif not commit.parents and seed is not None:
            state = await self._call(lambda worker: worker.init(seed, commit.digest))
            await self._believe(commit, state)
        else:
            await self._load_offered(commit, carry)

    async def _load_offered(self, commit: Commit, carry: bool) -> None:
        largest = _SNAPSHOT_BYTES_A_PARAMETER * self._host.opened.parameters + _SNAPSHOT_HEADER_BYTES
        for blob in self._offers.of(commit.digest):
            strange = not self._store.blobs.has(blob.sha256)
            try:
                if blob.size > largest:
                    raise Unavailable(f"an offered snapshot of {blob.size} bytes is too large for this model")
                await self._load_file(commit, await self._fetcher.fetch(blob, ()), carry)
            except (Unavailable, StateMismatch, RemoteFailure) as error:
                log.warning("an offered snapshot cannot be used", round=commit.round, why=str(error))
                self._offers.drop(commit.digest, blob)
                if strange:
                    self._store.blobs.delete(blob.sha256)
            else:
                self._store.record_snapshot(commit.digest, blob.sha256)
                return
        raise Unavailable(f"nobody has the state of round {commit.round}")

    async def _load_file(self, commit: Commit, path: Path, carry: bool) -> None:
        await self._believe(commit, await self._call(lambda worker: worker.load(str(path), commit.digest, carry=carry)))

    async def _believe(self, commit: Commit, state: bytes) -> None:
        self.base = commit.digest if state == commit.state else None
        if self.base is None:
            raise StateMismatch(f"the state of round {commit.round} has another hash than its commit")
        await self._follow(commit)

    async def _follow(self, base: Commit) -> None:
        """Let the worker go by the recipe of the round on its base."""
        event = self._amendments.event_on(base)
        if any(getattr(event, name) != getattr(self._recipe, name) for name in SECTIONS):
            manifest = event.encode()
            self._host.reopen_with(manifest=manifest)
            await self._call(lambda worker: worker.amend(manifest))
            self._recipe = event

    async def replay(self, commit: Commit) -> None:
        """Merge what `commit` merged, and compare. Raises StateMismatch, Unavailable, RemoteFailure."""
        started = time.monotonic()
        base_state = self._store.commit(commit.base).state
        if commit.method == "proposals":
            merged = await self.merge_changes(base_state, open_merge(commit)[1])
        elif commit.method == "revert":
            merged = await self.undo(base_state, open_revert(commit)[1])
        else:
            merged = await self.merge(base_state, parts(commit), commit.round_method, commit.full)
        self._metrics.replay_seconds.observe(time.monotonic() - started)
        if merged.state != commit.state:
            raise StateMismatch(f"round {commit.round}: {merged.state.hex()[:16]} where {commit.state.hex()[:16]} is claimed")
        if merged.clips != tuple(accepted.clip for accepted in commit.accepted):
            raise StateMismatch(f"round {commit.round}: a clip factor differs")

    async def merge(
        self, base_state: bytes, merged: Sequence[Part], method: MergeMethod, full: bool
    ) -> worker_messages.Merged:
        """Fetch the payloads and merge them into a candidate named after its inputs. Raises Unavailable, RemoteFailure."""
        files = await self.fetch(merged)
        key = candidate_key(base_state, merged, method, full)
        request = worker_messages.Merge(key=key, base=base_state, parts=files, method=method, full=full)
        return await self._call(lambda worker: worker.merge(request))

    async def merge_changes(self, base_state: bytes, merge: ProposalMerge) -> worker_messages.Merged:
        """Fetch the proposals' payloads and merge them into a candidate. Raises Unavailable, RemoteFailure."""
        changes = [await self._change(signed, proposal, merge.method) for signed, proposal in merge.opened()]
        request = worker_messages.MergeChanges(
            key=changes_key(base_state, merge), base=base_state, changes=tuple(changes),
            method=merge.method, parameters=merge.parameters,
        )  # fmt: skip
        return await self._call(lambda worker: worker.merge_changes(request))

    async def _change(self, signed: Signed, proposal: ModelProposal, method: str) -> worker_messages.Change:
        """Fetch what a proposal brings to a merge by this method. Raises Unavailable."""
        path = await self._fetcher.fetch(proposal.payload, (signed.signer,))
        paths = {
            f"{name}_path": str(await self._fetcher.fetch(blob, (signed.signer,)))
            for name, blob in proposal.statistics(method).items()
        }
        return worker_messages.Change(
            path=str(path), form=proposal.form, weight=float(proposal.samples), key=signed.digest, **paths
        )

    async def undo(self, base_state: bytes, revert: Revert) -> worker_messages.Merged:
        """Take out of a candidate what a revert takes out. Raises Unavailable, RemoteFailure, RemoteProtocolError."""
        rules = self._amendments.rules(self._store.commit)
        undone = tuple([
            worker_messages.Unmerge(
                parts=await self.files_of(each.commit), kept=each.kept, method=each.commit.round_method, weight=each.weight,
                momentum=each.momentum, cap=rules(each.commit).merge.cap, damping=rules(each.commit).merge.damping,
            )
            for each in undone_by(rules, revert, self._store.commit)
        ])  # fmt: skip
        request = worker_messages.Undo(key=revert_key(base_state, revert), base=base_state, undone=undone)
        return await self._call(lambda worker: worker.undo(request))

    async def files_of(self, commit: Commit) -> tuple[worker_messages.Part, ...]:
        """Fetch what a round's commit merged. Raises Unavailable."""
        return await self.fetch(parts(commit))

    async def fetch(self, merged: Sequence[Part]) -> tuple[worker_messages.Part, ...]:
        """Fetch the payloads, so that a merge of them waits for nobody. Raises Unavailable."""
        return tuple(await asyncio.gather(*(self._files(part) for part in merged)))

    async def _files(self, part: Part) -> worker_messages.Part:
        claim, sources = part.contribution, (part.signed.signer,)
        path = await self._fetcher.fetch(claim.payload, sources)
        fisher = await self._fetcher.fetch(claim.fisher, sources) if claim.fisher is not None else None
        return worker_part(str(path), part.share, fisher_path=str(fisher) if fisher is not None else None)

    async def adopt(self, commit: Commit, *, carry: bool = False) -> None:
        """Make the candidate that `replay` or `merge` made for `commit` the base; write a snapshot where one is due."""
        key = key_of(self._store.commit(commit.base).state, commit)
        failpoint("adopting")
        state = await self._call(lambda worker: worker.adopt(key, commit.digest, carry=carry))
        if state != commit.state:
            self.base = None
            raise StateMismatch(f"round {commit.round}: the adopted state has another hash")
        self.base = commit.digest
        await self._follow(commit)
        if self._writes and commit.round % self._amendments.event_on(commit).rounds.snapshot_every == 0:
            await self.snapshot(commit)

    async def snapshot(self, commit: Commit) -> Blob:
        """Write the base's state into the store and note it as the snapshot of `commit`."""
        path = self._store.blobs.partial_path(sha256(b"snapshot" + commit.digest))
        written = await self._call(lambda worker: worker.snapshot(str(path)))
        await self._store.blobs.put_file_async(path, written.sha256)
        path.unlink(missing_ok=True)
        self._store.record_snapshot(commit.digest, written.sha256)
        return Blob(sha256=written.sha256, size=written.size)


def key_of(base_state: bytes, commit: Commit) -> str:
    """Return the name of the candidate that a commit's merge gives."""
    if commit.method == "proposals":
        return changes_key(base_state, open_merge(commit)[1])
    if commit.method == "revert":
        return revert_key(base_state, open_revert(commit)[1])
    return candidate_key(base_state, parts(commit), commit.method, commit.full)


def changes_key(base_state: bytes, merge: ProposalMerge) -> str:
    """As `candidate_key`, of proposals; what the maintainer wrote about the merge is no part of it."""
    return sha256(encode([base_state, merge.proposals, merge.method, merge.parameters])).hex()


def revert_key(base_state: bytes, revert: Revert) -> str:
    """As `candidate_key`, of a revert."""
    return sha256(encode([base_state, revert.commits, revert.peers, Revert.KIND])).hex()


def candidate_key(base_state: bytes, merged: Sequence[Part], method: str, full: bool) -> str:
    """Return the name of a merge's result: the same for the same inputs, so a merge is not done twice."""
    rows = [
        [part.contribution.payload.sha256, part.contribution.fisher and part.contribution.fisher.sha256,
         str(part.share)]
        for part in merged
    ]  # fmt: skip
    return sha256(encode([base_state, rows, method, full])).hex()
