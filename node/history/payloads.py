"""What commits did to the weights, from their payloads alone: no weights are loaded and nothing is replayed.

A change here is −rate · (merged pseudo-gradient), which with plain outer SGD is exactly what the commit added to the weights.
With Nesterov's outer step it is the commit's own push, without the momentum of the commits before it.

torch is imported when one of these is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.merging import parts
from ...protocol.messages import Blob
from ...protocol.proposal import open_merge
from ...protocol.record import sha256
from ...protocol.revert import open_revert, undone_by
from ..errors import UserError
from ..store import Store
from ..units import short
from .revisions import FSCK, read_commit
from .stated_changes import can_be_divided, change_of_revert, changes_of_proposals

if TYPE_CHECKING:
    from torch import Tensor

    from ...kernels.merge import Contribution


class Payloads:
    """The payloads of one store, under one event's model, and the merge policy of each commit's round."""

    def __init__(self, event: EventManifest, store: Store) -> None:
        """Raises UserError if the event's model cannot be built here."""
        from ...kernels import Layout
        from ..trainer.errors import WorkerError
        from ..trainer.models import build

        try:
            weights = build(event).weights()
        except WorkerError as error:
            raise UserError(str(error)) from error
        self.layout = Layout.of({name: weight.detach() for name, weight in weights.items()})
        self._rules = store.amendments.of(event).rules(store.commit)
        self._store = store

    @staticmethod
    def explain(commit: Commit) -> bool:
        """Say whether payloads tell what a commit did: not of a merge by slerp, which depends on the weights before it."""
        from ...kernels.merge.portions import PORTIONS

        if commit.method == "proposals":
            return can_be_divided(commit)
        return commit.method in ("root", "revert") or commit.method in PORTIONS

    def change(self, commit: Commit) -> dict[str, Tensor]:
        """Return what a commit did, float32, by tensor; zeros for the root.

        Raises UserError if a payload is not here, or if payloads do not `explain` the commit.
        """
        from ...kernels.merge import merge

        if commit.method == "root":
            return self.layout.zeros()
        if self.explain(commit) and commit.statement is not None:
            return _sum([change for _, change in self.changes(commit)])
        if not self.explain(commit):
            problem = f"the commit of round {commit.round} ({commit.method}) is no merge of contributions"
            raise UserError(problem, f"see `collab-node diff {short(commit.base)} {short(commit.digest)}`")
        policy = self._rules(commit).merge
        with _readable(commit):
            merged = merge(commit.method, self.layout, self._contributions(commit), cap=policy.cap, damping=policy.damping)
        return self._stepped(commit, merged)

    def changes(self, commit: Commit) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Yield (peer, what its contribution or proposal did), in the order of the commit; they add up to `change`.

        Of a revert, what it took back is its signer's. Nothing for a root, and for a commit that payloads do not `explain`.
        Raises UserError if a payload is not here.
        """
        from ...kernels.merge.portions import portions

        if commit.method == "root" or not self.explain(commit):
            return
        if commit.statement is not None:
            yield from self._stated(commit)
            return
        policy, claims = self._rules(commit).merge, self._contributions(commit)
        with _readable(commit):
            divided = portions(commit.method, self.layout, claims, cap=policy.cap, damping=policy.damping)
        for part, portion in zip(parts(commit), divided, strict=True):
            yield part.signed.signer, self._stepped(commit, portion)

    def _stated(self, commit: Commit) -> Iterator[tuple[str, dict[str, Tensor]]]:
        if commit.method == "proposals":
            merge = open_merge(commit)[1]
            with _readable(commit):
                parts = changes_of_proposals(merge, self.layout, lambda blob: self._read(commit, blob))
            for (signed, _), part in zip(merge.opened(), parts, strict=True):
                yield signed.signer, part
        else:
            signer, revert = open_revert(commit)
            undone = undone_by(self._rules, revert, lambda digest: read_commit(self._store, digest))
            yield signer, change_of_revert(self._rules, undone, self.layout, self._contributions)

    def _contributions(self, commit: Commit) -> list[Contribution]:
        from ...kernels.merge import Contribution

        return [
            Contribution(
                self._read(commit, part.contribution.payload), float(part.share), part.clip,
                None if part.contribution.fisher is None else self._read(commit, part.contribution.fisher),
            )
            for part in parts(commit)
        ]  # fmt: skip

    def _stepped(self, commit: Commit, merged: Mapping[str, Tensor]) -> dict[str, Tensor]:
        event = self._rules(commit)
        rate = event.merge.full_rate if commit.full else event.outer.rate
        return {name: -rate * tensor for name, tensor in merged.items()}

    def _read(self, commit: Commit, blob: Blob) -> bytes:
        data = self._store.blobs.read(blob.sha256)
        if data is None:
            problem = f"this store lacks payload {blob.sha256.hex()[:16]} of round {commit.round}"
            raise UserError(problem, "it was pruned, or never fetched; ask a node that keeps all of the history")
        if sha256(data) != blob.sha256:
            raise UserError(f"payload {blob.sha256.hex()[:16]} of round {commit.round} is damaged in this store", FSCK)
        return data


def _sum(changes: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    first, *others = changes
    whole = dict(first)
    for change in others:
        whole = {name: whole[name] + change[name] for name in whole}
    return whole


@contextmanager
def _readable(commit: Commit) -> Iterator[None]:
    """Say of a payload that is none which commit has it: nobody replayed that before it was fetched."""
    from ...kernels.errors import PayloadError

    try:
        yield
    except PayloadError as error:
        raise UserError(f"the commit of round {commit.round} cannot be replayed ({error})", "see `collab-node verify`") from error
