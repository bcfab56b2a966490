"""What versions are made of, brought from a source into a store: payloads, and whole states.

A version is the newest state before it and every payload since. Payloads come the newest first, because what lies before a state
may be pruned over there: that is left out then, and told only to whoever needs it. A state is kept once its tensors have the hash
that the commit says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...protocol.commit import Commit, root_commit
from ...protocol.errors import RemoteProtocolError
from ...protocol.messages import Blob
from ...protocol.revert import open_revert
from ..failpoints import failpoint
from ..history.graph import StoreGraph
from ..history.progress import Progress, silent
from ..history.reading import blobs_of_commit
from ..history.state_file import holds
from ..units import short
from .place import Place
from .source import Gone, Missing, Source, path_after

LARGEST_BLOB = 1 << 36
_BLOBS_AT_ONCE = 8


@dataclass
class Brought:
    """What was new here."""

    commits: int = 0
    blobs: int = 0
    bytes: int = 0


class Material:
    """Brings blobs from one source into one place. Methods raise what it raises, and RemoteProtocolError for what is wrong."""

    def __init__(self, place: Place, source: Source, progress: Progress = silent, limit: int = LARGEST_BLOB) -> None:
        """`limit`: how many bytes may come in all."""
        self.brought = Brought()
        self._place = place
        self._store = place.store
        self._source = source
        self._progress = progress
        self._limit = limit
        self._graph = StoreGraph(place.store)
        self._gone: dict[bytes, Gone] = {}
        self._sound: set[bytes] = set()

    async def blobs(self, wanted: Iterable[Blob]) -> None:
        """Bring those of the blobs that are not here. Raises Gone for one that is not there either."""
        blobs = list(wanted)
        self._check_room(self._lacking(blobs))
        await self._bring(blobs)
        for blob in blobs:
            if blob.sha256 in self._gone:
                raise self._gone[blob.sha256]

    async def payloads(self, commits: Iterable[bytes]) -> None:
        """Bring of what a replay of the commits takes whatever is there."""
        await self._bring(self._replays(commits))

    def _replays(self, commits: Iterable[bytes]) -> list[Blob]:
        """Return what a replay of the commits takes, the newest first."""
        newest_first = sorted(commits, key=self._graph.round, reverse=True)
        return [blob for digest in newest_first for blob in self._replay(self._store.commit(digest))]

    def _replay(self, commit: Commit) -> list[Blob]:
        """Return what a replay of the commit takes: what it merged, and for a revert what it takes out again."""
        undone = open_revert(commit)[1].commits if commit.method == "revert" else ()
        return [blob for each in (commit, *map(self._store.commit, undone)) for blob in blobs_of_commit(each)]

    async def version(self, tip: bytes, strange: Collection[bytes]) -> None:
        """Bring what a checkout of `tip` needs, and of what a replay of the commits `strange` takes whatever is there.

        A state comes where none is here that is as near as an event's states are, and where a payload after it is to be had from
        nobody. Raises Missing unless the version can be made here then.
        """
        if len(self._replayed(tip)) > self._place.event.rounds.snapshot_every:
            with suppress(Missing):  # then it is replayed from further back
                await self._state(tip)
        needed = self._replayed(tip)
        self._check_room(self._lacking(self._replays(needed)))
        await self.payloads({*needed, *strange})
        if self._problem(tip) is not None:
            await self._state(tip)
        if (problem := self._problem(tip)) is not None:
            raise problem
        self._sound.update(self._replayed(tip))

    def _replayed(self, tip: bytes) -> list[bytes]:
        """Return what is replayed to make a version: the commits after the newest one that is sound, or after the root."""
        if not self._sound:
            states, blobs = self._store.states(), self._store.blobs
            self._sound.update(commit for commit, state in states.items() if blobs.size(state.digest) == state.size)
            if self._place.event.start.seed is not None:
                self._sound.add(root_commit(self._place.event).digest)
        return path_after(self._graph, tip, self._sound)

    def _start(self, tip: bytes) -> bytes:
        """Return the commit that the replay to `tip` begins after."""
        path = self._replayed(tip)
        return self._graph.parents(path[0])[0] if path else tip

    def _problem(self, tip: bytes) -> Missing | None:
        """Return why the version cannot be made here, None if it can."""
        if self._start(tip) not in self._sound:
            return Missing(f"no state before commit {short(tip)} is here or there", "fetch from a node that has one")
        for digest in reversed(self._replayed(tip)):
            commit = self._store.commit(digest)
            for blob in self._replay(commit):
                if not self._store.blobs.has(blob.sha256):
                    problem = f"payload {short(blob.sha256)} of round {commit.round} is neither here nor there"
                    return self._gone.get(blob.sha256) or Missing(problem, "fetch from a node that has it")
        return None

    async def _state(self, tip: bytes) -> None:
        """Bring the newest state before `tip` that is there, if it is newer than what is here."""
        newer = {self._start(tip), *self._replayed(tip)} - self._sound
        offer = await self._source.state(tip) if newer else None
        if offer is None or offer.commit not in newer:
            return
        blob, blobs = offer.blob, self._store.blobs
        strange = not blobs.has(blob.sha256)
        await self.blobs([blob])
        if not await asyncio.to_thread(holds, blobs.path(blob.sha256), self._store.commit(offer.commit).state):
            if strange:
                blobs.delete(blob.sha256)
            raise RemoteProtocolError("wrong_bytes", f"the state after commit {short(offer.commit)} has another hash")
        failpoint("remote-state")
        self._store.record_snapshot(offer.commit, blob.sha256)
        self._sound.add(offer.commit)

    def _lacking(self, wanted: Iterable[Blob]) -> list[Blob]:
        blobs = self._store.blobs
        return [
            blob for blob in dict.fromkeys(wanted) if blob.sha256 not in self._gone and blobs.size(blob.sha256) != blob.size
        ]

    def _check_room(self, blobs: Iterable[Blob]) -> None:
        needed = sum(blob.size for blob in blobs)
        if self.brought.bytes + needed > self._limit:
            raise RemoteProtocolError("oversized", f"{needed} bytes where {self._limit - self.brought.bytes} are allowed")
        self._place.home.ensure_space(needed)

    async def _bring(self, wanted: Iterable[Blob]) -> None:
        """Bring those that are not here, in order, until of several nothing is there: then what is older was pruned as well."""
        lacking = self._lacking(wanted)
        for start in range(0, len(lacking), _BLOBS_AT_ONCE):
            chunk = lacking[start : start + _BLOBS_AT_ONCE]
            self._check_room(chunk)
            await _all(self._blob(blob) for blob in chunk)
            self._progress("payloads", start + len(chunk), len(lacking))
            if all(blob.sha256 in self._gone for blob in chunk):
                return

    async def _blob(self, blob: Blob) -> None:
        try:
            await self._source.blob(blob)
        except Gone as gone:
            self._gone[blob.sha256] = gone
            return
        if self._store.blobs.size(blob.sha256) != blob.size:
            raise Missing(f"blob {short(blob.sha256)} here is damaged: its size is another", "see `collab-node fsck`")
        self.brought.blobs += 1
        self.brought.bytes += blob.size
        failpoint("remote-blob")


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once to the end of each; then raise what the first of those that failed raised."""
    failures = [each for each in await asyncio.gather(*work, return_exceptions=True) if each is not None]
    if failures:
        raise failures[0]
