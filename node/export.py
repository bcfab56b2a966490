"""The weights after any commit, as a safetensors file, from what this node's store holds.

The nearest snapshot before the commit is loaded and the merges after it are replayed, each against its state hash; so an export
is proven to be what the swarm agreed on, and works the same whether or not a node runs in the home.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..protocol.commit import Commit
from ..protocol.event import EventManifest
from ..protocol.merging import parts
from ..protocol.messages import Blob
from .errors import UserError
from .ipc import ChannelClosed, RemoteFailure
from .store import Store
from .trainer import messages
from .trainer.client import Worker
from .trainer.client import part as worker_part

_CANDIDATE = "export"
_FETCH = "start the node, so that it fetches them"


async def export_weights(event: EventManifest, store: Store, commit: Commit, out: Path) -> None:
    """Write the weights after `commit` to `out` (an absolute path), whole or not at all. Raises UserError."""
    start, path = _way_to(event, store, commit)
    merges = [(later, _merge(store, later)) for later in path]
    with tempfile.TemporaryDirectory(prefix="collab-export-") as folder:
        worker = await Worker.start()
        try:
            await worker.open(_open_request(event, folder))
            await _load(worker, event, store, start)
            for later, merge in merges:
                await worker.merge(merge)
                _check(later, await worker.adopt(_CANDIDATE, later.digest))
            await worker.snapshot(str(out), weights_only=True)
        except RemoteFailure as failure:
            raise UserError(failure.text) from failure
        except ChannelClosed as error:
            raise UserError("the process that holds the weights ended; is there enough memory?") from error
        finally:
            await worker.stop()


def _open_request(event: EventManifest, folder: str) -> messages.Open:
    return messages.Open(
        manifest=event.encode(), peer_id=event.coordinator, work_dir=folder, data_dir=folder, cache_dir=folder,
        device="cpu", data=False,
    )  # fmt: skip


def _way_to(event: EventManifest, store: Store, commit: Commit) -> tuple[Commit, list[Commit]]:
    """Return the nearest ancestor whose state is here (or follows from the seed), and the commits after it, oldest first."""
    path: list[Commit] = []
    at = commit
    while not _is_start(event, store, at):
        if not at.parents:
            raise UserError(f"the weights before round {commit.round} are not in this store", _FETCH)
        path.append(at)
        at = store.commit(at.base)
    return at, path[::-1]


def _is_start(event: EventManifest, store: Store, commit: Commit) -> bool:
    return _snapshot(store, commit) is not None or (not commit.parents and event.start.seed is not None)


def _snapshot(store: Store, commit: Commit) -> Path | None:
    snapshot = store.snapshot_of(commit.digest)
    return store.blobs.path(snapshot) if snapshot is not None and store.blobs.has(snapshot) else None


async def _load(worker: Worker, event: EventManifest, store: Store, commit: Commit) -> None:
    snapshot = _snapshot(store, commit)
    if snapshot is not None:
        state = await worker.load(str(snapshot), commit.digest)
    else:
        assert event.start.seed is not None
        state = await worker.init(event.start.seed, commit.digest)
    _check(commit, state)


def _merge(store: Store, commit: Commit) -> messages.Merge:
    """Return how a commit is merged again. Raises UserError if a contribution is not here."""
    assert commit.method != "root"
    merged = tuple(
        worker_part(
            str(_blob(store, commit, part.contribution.payload)),
            part.share,
            fisher_path=str(_blob(store, commit, part.contribution.fisher)) if part.contribution.fisher else None,
        )
        for part in parts(commit)
    )
    base = store.commit(commit.base).state
    return messages.Merge(key=_CANDIDATE, base=base, parts=merged, method=commit.method, full=commit.full)


def _blob(store: Store, commit: Commit, blob: Blob) -> Path:
    if not store.blobs.has(blob.sha256):
        raise UserError(f"this store lacks contributions of round {commit.round}", _FETCH)
    return store.blobs.path(blob.sha256)


def _check(commit: Commit, state: bytes) -> None:
    if state != commit.state:
        raise UserError(f"the weights of round {commit.round} are not those of its commit: the store is damaged")
