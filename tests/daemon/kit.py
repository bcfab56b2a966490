"""Nodes without a network: real stores and histories, really signed chains, and a dictionary for the internet between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from rounds.worlds import draft_on, event, finality, identity

from collab.node import keys
from collab.node.home import Home
from collab.node.net.errors import NetworkError
from collab.node.net.rpc import Rpc
from collab.node.rounds.catch_up import CatchUp, HistoryServer, restore_history
from collab.node.rounds.fetching import Fetcher
from collab.node.store import Store
from collab.protocol.commit import Certificate, Commit
from collab.protocol.event import EventManifest
from collab.protocol.history import History
from collab.protocol.identity import Identity
from collab.protocol.manifest import SignedManifest
from collab.protocol.messages import Blob
from collab.protocol.record import sha256

EVENT = event()
Step = tuple[Commit, Certificate]


def grow(history: History, base: bytes, tag: bytes, *, epoch: int = 0) -> Step:
    """Make a final commit on a known one."""
    ancestry = history.ancestry(base)
    commit = draft_on(history.event, ancestry, history.certificate(base), [0, 1, 2, 3]).complete(sha256(tag), 7)
    return commit, finality(history.event, ancestry.base, commit, epoch)


def line(
    length: int, manifest: EventManifest = EVENT, tag: bytes = b"main", start: Sequence[Step] = (), epoch: int = 0
) -> list[Step]:
    """A chain of `length` final commits on the last of `start`; the first of them was certified in `epoch`."""
    history = History(manifest)
    for step in start:
        history.add(*step)
    made: list[Step] = []
    for number in range(length):
        step = grow(history, history.head.digest, b"%s %d" % (tag, number), epoch=epoch if number == 0 else 0)
        history.add(*step)
        made.append(step)
    return made


def helped(helper: Identity, size: int, manifest: EventManifest = EVENT) -> list[Step]:
    """Two final commits, of which the second has a receipt for what `helper` served."""
    first, history = line(1, manifest)[0], History(manifest)
    history.add(*first)
    ancestry, proof = history.ancestry(history.head.digest), history.certificate(history.head.digest)
    draft = draft_on(manifest, ancestry, proof, [0, 1], received={1: ((helper.public_key, size),)})
    commit = draft.complete(sha256(b"helped"), 7)
    return [first, (commit, finality(manifest, ancestry.base, commit))]


def blob_of(commit: Commit) -> Blob:
    """The commit as a blob."""
    return Blob(sha256=commit.digest, size=len(commit.encode()))


def make_home(path: Path, number: int, *steps: Step) -> Home:
    """Make a home with the key of test identity `number`, and the event with these commits in it."""
    home = Home(path)
    home.prepare()
    keys.create(home.identity_path, identity(number))
    folder = home.event(EVENT.digest)
    folder.save_manifest(SignedManifest.seal(identity(0), EVENT))
    with Store.open(folder.store_path) as store:
        restore_history(EVENT, store)
        take(store, *steps)
    return home


def take(store: Store, *steps: Step) -> None:
    """Let a chain of the store go on by these."""
    with store.transaction():
        for commit, certificate in steps:
            store.add_commit(commit, certificate)
        if steps:
            store.set_head(steps[-1][0].digest)


class Internet:
    """Who can be called by which name, and what blobs they hold."""

    def __init__(self) -> None:
        self.rpcs: dict[str, FakeRpc] = {}
        self.blobs: dict[str, Callable[[bytes], bytes | None]] = {}


class FakeRpc:
    """`net.rpc.Rpc` over a dictionary."""

    def __init__(self, net: Internet, name: str) -> None:
        self.calls = 0
        self._net = net
        self._name = name
        self._handlers: dict[str, Callable[[str, bytes], Awaitable[bytes]]] = {}
        net.rpcs[name] = self

    def register(self, name: str, handler: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        self._handlers[name] = handler

    async def call(self, peer: str, name: str, body: bytes, *, timeout: float = 10.0, limit: int = 64 * 1024) -> bytes:
        self.calls += 1
        await asyncio.sleep(0)
        if peer not in self._net.rpcs:
            raise NetworkError(f"{peer} cannot be reached")
        answer = await self._net.rpcs[peer]._handlers[name](self._name, body)
        assert len(answer) <= limit
        return answer


class Peer:
    """One node's history and store, and how it catches up."""

    def __init__(self, net: Internet, name: str, folder: Path, manifest: EventManifest = EVENT) -> None:
        self.name = name
        self.store = Store.open(folder / name)
        self.history = restore_history(manifest, self.store)
        self.fetched: list[bytes] = []
        self.rpc = FakeRpc(net, name)
        self.fetcher = Fetcher(self.store.blobs, self._download, lambda: ())
        self.catch_up = CatchUp(self.history, self.store, cast(Rpc, self.rpc), self.fetcher)
        HistoryServer(SignedManifest.seal(identity(0), manifest), self.history, self.store).register(cast(Rpc, self.rpc))
        net.blobs[name] = self.store.blobs.read
        self._net = net

    def take(self, steps: Iterable[Step]) -> None:
        """Put a chain into the history and the store, as a node does that made it."""
        with self.store.transaction():
            for commit, certificate in steps:
                self.history.add(commit, certificate)
                self.store.add_commit(commit, certificate)
            self.store.set_head(self.history.head.digest)

    async def _download(self, digest: bytes, size: int, peers: Sequence[str]) -> Path:
        for peer in peers:
            await asyncio.sleep(0)
            data = self._net.blobs[peer](digest) if peer in self._net.blobs else None
            if data is not None and len(data) == size and sha256(data) == digest:
                self.fetched.append(digest)
                return self.store.blobs.path(self.store.blobs.put_bytes(data))
        raise NetworkError("nobody has it")

    def facts(self) -> tuple[bytes, bytes | None, int, set[bytes]]:
        """What must not change when a peer lies: both heads, the number of commits, the blobs."""
        return self.history.head.digest, self.store.head(), len(self.history), set(self.store.blobs.digests())


async def until(condition: Callable[[], bool], turns: int = 100_000) -> None:
    """Let everything that can run do so until a condition holds."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to pass")


def fields(record: Any) -> dict[str, Any]:
    """A record's fields, to build another one from."""
    return {name: getattr(record, name) for name in type(record).model_fields}
