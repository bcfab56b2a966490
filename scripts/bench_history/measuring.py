"""What a history costs and how well it is had again: sizes on the disk, every version checked out, a bisection."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from collab.node.history.bisect import bisect
from collab.node.history.bisect_state import Limit, Question, State, StateFile
from collab.node.history.difference import first_difference
from collab.node.history.reading import blobs_of_commit
from collab.node.history.replay import replaying
from collab.node.settings import Settings
from collab.node.store import Store
from collab.protocol.event import EventManifest

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Sizes:
    """Bytes on the disk. `whole_file_bytes`: a safetensors file for every version; `allowed_bytes`: root, snapshots, payloads."""

    versions: int
    store_bytes: int
    patch_bytes: int
    root_bytes: int
    snapshot_bytes: int
    whole_file_bytes: int

    @property
    def allowed_bytes(self) -> int:
        return self.root_bytes + self.snapshot_bytes + self.patch_bytes

    def fields(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "overhead": self.store_bytes / self.allowed_bytes,
            "whole_file_ratio": self.whole_file_bytes / self.store_bytes,
            "patch_bytes_a_version": self.patch_bytes / max(1, self.versions - 1),
        }


def sizes(path: Path, store: Store, whole_files: Sequence[Path]) -> Sizes:
    """Measure the store at `path`, everything in it, against files of whole versions."""
    payloads = {
        blob.sha256: blob.size for digest in store.digests() for blob in blobs_of_commit(store.commit(digest))
    }  # fmt: skip
    snapshots = {snapshot.blob.digest: snapshot.blob.size for snapshot in store.snapshots() if snapshot.round}
    root = next(snapshot.blob.size for snapshot in store.snapshots() if not snapshot.round)
    return Sizes(
        versions=len(store.digests()),
        store_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        patch_bytes=sum(payloads.values()),
        root_bytes=root,
        snapshot_bytes=sum(snapshots.values()),
        whole_file_bytes=sum(file.stat().st_size for file in whole_files),
    )


async def check_out_all(
    event: EventManifest, store: Store, settings: Settings, whole_files: Sequence[Path], scratch: Path, progress: Progress,
    *, every: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """Check every version (or every so many, from the newest back) out from what is on the disk; compare bit for bit."""
    seconds, applied, exact = [], [], 0
    async with replaying(event, store, settings) as replay:
        wanted = range(len(whole_files) - 1, -1, -every)
        for round in wanted:
            digest = store.at_round(round)
            assert digest is not None
            commit = store.commit(digest)
            replay.base = None  # so that no version helps the next
            before, started = replay.applied, time.monotonic()
            await replay.go_to(commit)
            await replay.write(scratch, weights_only=False)
            seconds.append(time.monotonic() - started)
            applied.append(replay.applied - before)
            exact += first_difference(scratch, whole_files[round]) is None
            progress(f"{len(seconds)} of {len(wanted)} versions checked out")
    return {
        "checkout_seconds": statistics.median(seconds),
        "checkout_seconds_max": max(seconds),
        "patches_applied_max": max(applied),
        "snapshot_every": event.rounds.snapshot_every,
        "checked_out": len(wanted),
        "bit_exact": exact == len(wanted),
    }


async def find_broken(
    event: EventManifest, store: Store, settings: Settings, folder: Path, broken: int, progress: Progress
) -> dict[str, Any]:
    """Look for the commit of round `broken`, in which somebody sent noise, by the held-out loss, among all versions."""
    good, bad = store.at_round(0), store.head()
    assert good is not None
    assert bad is not None
    limit = Limit(side="above", threshold=_UNTRAINED)
    question = Question(good=good.hex(), bad=bad.hex(), measure="metric", name="loss", limit=limit)
    found = await bisect(event, store, StateFile(folder / "bisect.json"), State(question=question), settings, progress)
    return {
        "bisect_versions": found.versions,
        "bisect_evaluations": found.evaluated,
        "bisect_bound": math.ceil(math.log2(found.versions)),
        "bisect_found_it": found.round == broken,
    }


_UNTRAINED = math.log(256) + 1
"""More than the loss of weights that know nothing: only noise gives it."""
