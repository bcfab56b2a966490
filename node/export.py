"""The weights after any commit, as a safetensors file, from what this node's store holds.

The nearest snapshot before the commit is loaded and the merges after it are replayed, each against its state hash; so an export
is proven to be what the swarm agreed on, and works the same whether or not a node runs in the home.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..protocol.commit import Commit
from ..protocol.event import EventManifest
from .errors import UserError
from .fetching import Fetcher, Unavailable
from .ipc import ChannelClosed, RemoteFailure
from .metrics import Metrics
from .net.errors import NetworkError
from .offers import SnapshotOffers
from .store import Store
from .trainer import messages
from .trainer.client import Worker
from .weights import StateMismatch, Weights
from .worker_host import WorkerHost


async def export_weights(event: EventManifest, store: Store, commit: Commit, out: Path) -> None:
    """Write the weights after `commit` to `out` (an absolute path), whole or not at all. Raises UserError."""
    await export_versions(event, store, [(commit, out)])


async def export_versions(event: EventManifest, store: Store, versions: Sequence[tuple[Commit, Path]]) -> None:
    """Write the weights after each commit to the file beside it, in this order: cheapest where each follows the one before.

    Paths are absolute; a file is there whole or not at all. Raises UserError.
    """
    commit = versions[0][0]
    with tempfile.TemporaryDirectory(prefix="collab-export-") as folder:
        host = WorkerHost(on_notice=lambda notice: None, on_ready=_ready, on_death=lambda name, why: None)
        fetcher = Fetcher(store.blobs, _offline, lambda: ())
        weights = Weights(event, host, store, fetcher, SnapshotOffers(), Metrics(), keeps_snapshots=False)
        try:
            await host.start(_open_request(event, folder))
            for commit, out in versions:
                await weights.bring_to(commit)
                await host.use(partial(_write, out))
        except RemoteFailure as failure:
            raise UserError(failure.text) from failure
        except Unavailable as error:
            hint = "start the node, so that it fetches them"
            raise UserError(f"this store lacks what the weights of round {commit.round} are made of", hint) from error
        except StateMismatch as error:
            raise UserError(f"the store is damaged: {error}") from error
        except ChannelClosed as error:
            raise UserError("the process that holds the weights ended; is there enough memory?") from error
        finally:
            await host.stop()


async def _write(out: Path, worker: Worker) -> None:
    await worker.snapshot(str(out), weights_only=True)


async def _ready(worker: object, opened: messages.Opened) -> None:
    """A new worker has nothing to be brought back to."""


async def _offline(digest: bytes, size: int, peers: Sequence[str]) -> Path:
    raise NetworkError("an export takes only what is here")


def _open_request(event: EventManifest, folder: str) -> messages.Open:
    return messages.Open(
        manifest=event.encode(), peer_id=event.coordinator, work_dir=folder, data_dir=folder, cache_dir=folder,
        device="cpu", data=False,
    )  # fmt: skip
