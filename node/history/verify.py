"""`verify`: proves a version from the bytes that the store holds, or names the first thing that is wrong.

1. Commits, from the root on: each one's bytes against its digest, its rules and signatures, and the certificate that it is final.
2. Payloads: each one's bytes against the digest in its signed claim.
3. Replay: every merge gives the state hash of its commit, and every snapshot holds the bytes that the replay gives.

Replay starts at the root where everything since is here; in a store whose old payloads were pruned, at the oldest snapshot after
which everything is. Memory is bounded by a few commits and the worker's model.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.messages import Blob
from ..processes.ipc import RemoteFailure
from ..rounds.fetching import Unavailable
from ..rounds.weights import StateMismatch
from ..settings import Settings
from ..store import Store, file_digest
from ..units import short
from .difference import first_difference, tensor_at
from .findings import Broken, Finding
from .progress import Progress, silent
from .reading import FETCH, REPLACE, ReplayStart, blobs_of_commit, checked_commits, path_to
from .replay import Replay, replaying


@dataclass
class Report:
    """What was checked, and the first thing that is wrong, if anything is. `start` is the round that the replay began from."""

    commit: bytes
    round: int = 0
    commits: int = 0
    payloads: int = 0
    snapshots: int = 0
    replayed: int = 0
    start: int = 0
    wrong: Finding | None = None

    def fields(self) -> dict[str, Any]:
        """Return it as plain values, digests in hex."""
        counted = asdict(self) | {"commit": self.commit.hex()}
        return {**counted, "wrong": None if self.wrong is None else self.wrong.fields()}


async def verify(
    event: EventManifest, store: Store, digest: bytes, settings: Settings, progress: Progress = silent, *, replay: bool = True
) -> Report:
    """Check the version `digest` and everything that it was made of. Raises UserError where the checks themselves cannot run."""
    report = Report(digest)
    try:
        path = path_to(event, store, digest)
        starts = _check_commits(event, store, path, report, progress)
        if replay:
            async with replaying(event, store, settings) as weights:
                await _Replayed(store, weights, report, progress).check(path[starts:])
    except Broken as broken:
        report.wrong = broken.finding
    return report


def _check_commits(event: EventManifest, store: Store, path: list[bytes], report: Report, progress: Progress) -> int:
    """Check commits and payloads; return the position in `path` that a replay can start from. Raises Broken."""
    start = ReplayStart(event, store)
    for at, commit in enumerate(checked_commits(event, store, path), 1):
        start.saw(commit)
        for blob in blobs_of_commit(commit):
            if store.blobs.has(blob.sha256):
                _check_blob(store, blob, commit)
                report.payloads += 1
        report.commits, report.round = at, commit.round
        progress("commits and payloads", at, len(path))
    unfetched = start.unfetched()
    if unfetched is not None and (start.position is not None or start.awaits_state):
        raise Broken(replace(unfetched, severity="error"))
    if start.position is None:
        raise _no_start(start)
    return start.position


def _check_blob(store: Store, blob: Blob, commit: Commit) -> None:
    path = store.blobs.path(blob.sha256)
    size = path.stat().st_size
    what = f"payload {short(blob.sha256)} of round {commit.round}"
    if size == blob.size and file_digest(path) == blob.sha256:
        return
    if size == blob.size:
        text, offset = f"{what} is damaged: its {size} bytes have another hash", None
    elif size < blob.size:
        text, offset = f"{what} is cut off at byte {size} of {blob.size}", size
    else:
        text, offset = f"{what} goes on after byte {blob.size}, where it ends", blob.size
    raise Broken(Finding(
        "payload", text, REPLACE.format(path), round=commit.round, commit=commit.digest, blob=blob.sha256, offset=offset
    ))  # fmt: skip


def _no_start(start: ReplayStart) -> Broken:
    if start.lost is None:
        text = "the first weights are missing, and there is no snapshot to start from"
        return Broken(Finding("snapshot", text, FETCH))
    blob, commit = start.lost
    text = f"payload {short(blob.sha256)} of round {commit.round} is missing, and no snapshot comes after it"
    return Broken(Finding("payload", text, FETCH, round=commit.round, commit=commit.digest, blob=blob.sha256))


class _Replayed:
    """The third check: every state and every snapshot of a path, by replay from its first commit."""

    def __init__(self, store: Store, weights: Replay, report: Report, progress: Progress) -> None:
        self._store = store
        self._weights = weights
        self._report = report
        self._progress = progress

    async def check(self, path: list[bytes]) -> None:
        """Replay the path. Raises Broken, UserError."""
        for at, digest in enumerate(path):
            commit = self._store.commit(digest)
            if at == 0:
                await self._start(commit)
            else:
                await self._step(commit)
                self._report.replayed += 1
            await self._compare(commit)
            self._progress("replay", at + 1, len(path))

    async def _start(self, commit: Commit) -> None:
        self._report.start = commit.round
        try:
            await self._weights.start_at(commit)
        except (StateMismatch, RemoteFailure, Unavailable) as error:
            blob = self._store.snapshot_of(commit.digest)
            whole = blob is not None and file_digest(self._store.blobs.path(blob)) == blob
            text = f"the snapshot of round {commit.round} {'is not what the commit says' if whole else 'is damaged'}: {error}"
            raise self._broken("snapshot", text, commit, blob) from error

    async def _step(self, commit: Commit) -> None:
        try:
            await self._weights.replay(commit)
            await self._weights.adopt(commit)
        except RemoteFailure as error:
            raise self._broken("payload", f"round {commit.round} cannot be merged: {error}", commit) from error
        except StateMismatch as error:
            with suppress(StateMismatch):
                await self._weights.adopt(commit)
            await self._compare(commit, because=f"the replay gives another state: {error}")
            raise self._broken("state", f"the replay gives another state: {error}", commit) from error

    async def _compare(self, commit: Commit, because: str = "") -> None:
        """Compare the commit's snapshot, if there is one, with the replay's. Raises Broken."""
        blob = self._store.snapshot_of(commit.digest)
        if blob is None or not self._store.blobs.has(blob):
            return
        path = self._store.blobs.path(blob)
        with TemporaryDirectory(prefix="collab-verify-") as folder:
            right = Path(folder) / "state.safetensors"
            await self._weights.write(right, weights_only=False)
            offset = first_difference(path, right)
            if offset is not None:
                tensor = tensor_at(right, offset)
                text = because or f"the snapshot of round {commit.round} is not what its merges give"
                where = f", in tensor {tensor!r}" if tensor else ""
                text += f"; snapshot and replay differ from byte {offset} on{where}"
                raise self._broken("state" if because else "snapshot", text, commit, blob, tensor, offset)
        self._report.snapshots += 1

    def _broken(
        self, kind: str, text: str, commit: Commit, blob: bytes | None = None, tensor: str | None = None,
        offset: int | None = None,
    ) -> Broken:  # fmt: skip
        hint = REPLACE.format(self._store.blobs.path(blob)) if blob is not None else ""
        return Broken(Finding(
            kind, text, hint, round=commit.round, commit=commit.digest, blob=blob, tensor=tensor, offset=offset
        ))  # fmt: skip

