"""The weights after any commit, as a safetensors file, from what this node's store holds.

The nearest snapshot before the commit is loaded and the merges after it are replayed, each against its state hash; so an export
is proven to be what the swarm agreed on, and works the same whether or not a node runs in the home.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..protocol.commit import Commit
from ..protocol.event import EventManifest
from .history.replay import replaying
from .settings import Settings
from .store import Store


async def export_weights(event: EventManifest, store: Store, commit: Commit, out: Path) -> None:
    """Write the weights after `commit` to `out` (an absolute path), whole or not at all. Raises UserError."""
    await export_versions(event, store, [(commit, out)])


async def export_versions(event: EventManifest, store: Store, versions: Sequence[tuple[Commit, Path]]) -> None:
    """Write the weights after each commit to the file beside it, in this order: cheapest where each follows the one before.

    Paths are absolute; a file is there whole or not at all. Raises UserError.
    """
    async with replaying(event, store, Settings(device="cpu")) as replay:
        for commit, out in versions:
            await replay.go_to(commit)
            await replay.write(out)
