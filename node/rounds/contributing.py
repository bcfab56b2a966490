"""From what was trained to a contribution, and what becomes of it: in a commit, or back into the residual."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from ...protocol.amendments import Amendments
from ...protocol.canonical import DOCUMENT_LIMITS, decode, encode
from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.identity import PeerId
from ...protocol.messages import Blob, Contribution
from ...protocol.tokens import TokenProof
from ..credit.receipts import OpenReceipts
from ..failpoints import failpoint
from ..processes.ipc import ChannelClosed, RemoteFailure
from ..processes.worker_host import WorkerHost
from ..store.store import Store
from ..trainer import messages
from ..trainer.client import Worker

log = structlog.get_logger()

_NOTE = "outstanding"


class Contributor:
    """Makes this node's contributions and keeps account of those that no commit has taken yet."""

    def __init__(
        self, event: EventManifest, peer_id: PeerId, admission: bytes | TokenProof | None, store: Store, host: WorkerHost,
        amendments: Amendments | None = None, receipts: OpenReceipts | None = None,
    ) -> None:  # fmt: skip
        """`peer_id` is ours; `admission` is what lets this node into an event by invitation.

        `amendments` are the history's, `receipts` what this node got from whom; default: the store's.
        """
        self._amendments = store.amendments.of(event) if amendments is None else amendments
        self._event = event
        self._peer_id = peer_id
        self._admission = admission
        self._store = store
        self._host = host
        self._receipts = OpenReceipts(store) if receipts is None else receipts

    async def contribute(self, base: Commit) -> Contribution | None:
        """Compress what was trained on `base` into a claim; None if there is nothing worth sending."""
        made_before = next((claim for claim in self.outstanding() if claim.base == base.digest), None)
        if made_before is not None:
            return made_before
        full = self._amendments.event_on(base).is_full_merge(base.round + 1)
        try:
            made = await self._host.use(lambda worker: worker.compress(full=full))
        except (RemoteFailure, ChannelClosed) as failure:
            log.warning("no contribution this round", why=str(failure))
            return None
        payload = await self._keep(made.path, made.sha256, made.size)
        fisher = None
        if made.fisher_path is not None and made.fisher_sha256 is not None:
            fisher = await self._keep(made.fisher_path, made.fisher_sha256, made.fisher_size)
        claim = self._claim(base, made, payload, fisher)
        failpoint("contributing")
        self._remember([*self.outstanding(), claim])
        return claim

    def _claim(self, base: Commit, made: messages.Compressed, payload: Blob, fisher: Blob | None) -> Contribution:
        return Contribution(
            event=self._event.digest,
            base=base.digest,
            round=base.round,
            payload=payload,
            fisher=fisher,
            samples=made.samples,
            steps=made.steps,
            loss=made.loss,
            admission=self._admission,
            received=self._receipts.next(self.outstanding()),
        )

    async def _keep(self, path: str, digest: bytes, size: int) -> Blob:
        await self._store.blobs.put_file_async(Path(path), digest)
        return Blob(sha256=digest, size=size)

    def unsettled_since(self) -> int | None:
        """Return the round of the oldest commit on which something was made that is still to be settled; None: nothing is."""
        return min((claim.round for claim in self.outstanding()), default=None)

    async def settle(self, head: Commit) -> int:
        """Settle what `head` took, and what no later commit can take any more; return the samples that it took.

        What a gate refused counts as taken, with no samples: carried on in the residual, it would be refused again. Its receipts
        are open again, as are those of what is lost.
        """
        taken = self._taken_by(head)
        settled: list[Contribution] = []
        samples = 0
        for claim in self.outstanding():
            payload = claim.payload.sha256
            lost = head.round > claim.round + self._event.rounds.max_staleness
            if payload in taken or lost:
                await self._settle(payload, accepted=payload in taken)
                samples += taken.get(payload, 0)
                settled.append(claim)
        self._receipts.settle(claim for claim in settled if taken.get(claim.payload.sha256))
        # Read again: a contribution may have been made meanwhile.
        self._remember([claim for claim in self.outstanding() if claim not in settled])
        return samples

    async def reclaim(self, worker: Worker, restored: messages.Restored) -> None:
        """Settle the payloads that a worker remembers from an earlier life and this node does not.

        Either nobody ever heard of one, because it was made just before somebody died; or a commit took it, and the worker died
        before it saved that.
        """
        known = {claim.payload.sha256 for claim in self.outstanding()}
        taken = self._taken_after(restored.round - self._event.rounds.max_staleness - 1)
        for payload in restored.outstanding:
            if payload not in known:
                path = str(self._store.blobs.path(payload)) if self._store.blobs.has(payload) else ""
                await _settled(worker, payload, path, accepted=payload in taken)

    def _taken_after(self, round: int) -> set[bytes]:
        """Return the payloads that the commits after `round` took."""
        later = self._store.chain(max(0, self._store.head_commit().round - max(0, round)))
        return {payload for commit in later for payload in self._taken_by(commit)}

    def _taken_by(self, commit: Commit) -> dict[bytes, int]:
        """Return the payloads of ours that a commit took, and their samples; somebody else may have copied the bytes.

        Those that a gate refused are among them, with 0.
        """
        refused = {claim.payload.sha256: 0 for signed, claim in commit.failed_gates() if signed.signer == self._peer_id}
        claims = (claim for signed, claim in commit.contributions() if signed.signer == self._peer_id)
        return refused | {claim.payload.sha256: claim.samples for claim in claims}

    async def _settle(self, payload: bytes, *, accepted: bool) -> None:
        path = str(self._store.blobs.path(payload))
        await self._host.use(lambda worker: _settled(worker, payload, path, accepted=accepted))

    def outstanding(self) -> list[Contribution]:
        """Return our contributions that no commit has taken and that one still may, oldest first."""
        return outstanding(self._store)

    def _remember(self, claims: Sequence[Contribution]) -> None:
        with self._store.transaction():
            self._store.put_note(_NOTE, encode([claim.encode() for claim in claims]))
            self._receipts.save()


def outstanding(store: Store) -> list[Contribution]:
    """Return what the node of this store has contributed and no commit took yet, oldest first."""
    note = store.note(_NOTE)
    rows = decode(note, DOCUMENT_LIMITS) if note is not None else ()
    assert isinstance(rows, tuple)
    return [Contribution.decode(row) for row in rows if isinstance(row, bytes)]


async def _settled(worker: Worker, payload: bytes, path: str, *, accepted: bool) -> None:
    """Settle a payload; that it cannot be settled any more stops nothing."""
    try:
        await worker.settle(payload, path, accepted=accepted)
    except RemoteFailure as failure:
        log.warning("a payload was not settled", payload=payload.hex()[:16], why=failure.text)
    else:
        log.debug("settled", payload=payload.hex()[:16], accepted=accepted)
