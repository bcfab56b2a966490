"""`fetch` and `push` with any remote: a node, a home on this machine, or a bundle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...protocol.errors import RemoteProtocolError
from ...protocol.identity import Identity
from ..errors import UserError
from ..history.progress import Progress, silent
from ..home import Home
from ..modules.index import Index
from ..net.errors import NetworkError
from ..store import Store
from . import fetching, pushing
from .accepting import accept
from .bundled import BundleSource
from .config import Remote
from .home import HomeSource
from .outcome import Report
from .place import Place, open_place
from .receive import Receiver
from .source import Source

if TYPE_CHECKING:
    from .client import Line


@dataclass(frozen=True)
class Ends:
    """Both ends: here, the remote, and how nodes are reached: over `line`, or over one of our own with our key."""

    place: Place
    remote: Remote
    identity: Identity
    line: Line | None = None
    progress: Progress = silent

    @property
    def where(self) -> str:
        """Where the remote is, for people."""
        return f"{self.remote.name} ({self.remote.where})"


async def fetch(ends: Ends, wanted: Sequence[str] = ()) -> Report:
    """Fetch what is wanted; nothing named: all that is published. Raises UserError."""
    async with _source(ends) as source:
        return await fetching.fetch(ends.place, source, ends.remote.name, ends.where, wanted, ends.progress)


async def push(ends: Ends, specs: Sequence[str], *, force: bool = False) -> Report:
    """Push what `specs` say. Raises UserError."""
    wanted = pushing.wishes(ends.place, specs, force=force)
    if ends.remote.path is None:
        async with _talking(ends) as (line, peer):
            there = await line.source(ends.place, peer).refs()
            asked, outcomes = pushing.updates(ends.place, ends.remote.name, there, wanted)
            updates = [update for _, update in asked]
            refused = await line.push(peer, ends.place.event.digest, updates) if updates else []
    else:
        with _other(ends.place, ends.remote.path) as other:
            there = await HomeSource(other.store, other.packages, ends.place.store.blobs).refs()
            asked, outcomes = pushing.updates(ends.place, ends.remote.name, there, wanted)
            ours = HomeSource(ends.place.store, ends.place.packages, other.store.blobs)
            refused = await accept(Receiver(other, ours, ends.progress), [update for _, update in asked])
    outcomes += [pushing.outcome_of(wish, update, why) for (wish, update), why in zip(asked, refused, strict=True)]
    pushing.track(ends.place, ends.remote.name, outcomes)
    return Report(ends.where, outcomes)


@asynccontextmanager
async def _source(ends: Ends) -> AsyncIterator[Source]:
    path = ends.remote.path
    if path is None:
        async with _talking(ends) as (line, peer):
            yield line.source(ends.place, peer)
    elif path.is_dir():
        folder = Home(path).find_event(ends.place.event.digest.hex())
        with Store.open(folder.store_path, read_only=True) as store:
            yield HomeSource(store, Index(folder.store_path), ends.place.store.blobs)
    else:
        with BundleSource.open(path, ends.place) as bundle:
            yield bundle


@asynccontextmanager
async def _talking(ends: Ends) -> AsyncIterator[tuple[Line, str]]:
    from .client import calling, refusal

    try:
        if ends.line is not None:
            yield ends.line, await ends.line.dial(ends.remote)
            return
        async with calling(ends.place, ends.identity) as line:
            yield line, await line.dial(ends.remote)
    except RemoteProtocolError as error:
        raise refusal(ends.remote, ends.identity.peer_id, error) from error
    except NetworkError as error:
        raise UserError(f"{ends.remote.name}: {error}", "repeat: what came is kept") from error


@contextmanager
def _other(place: Place, path: Path) -> Iterator[Place]:
    if path.is_file():
        raise UserError(f"{path} is a bundle, which is not pushed to", "`collab-node bundle FILE` writes one")
    home = Home(path)
    if path.resolve() == place.home.path.resolve():
        raise UserError("that is this home itself")
    with open_place(home, home.find_event(place.event.digest.hex())) as other:
        yield other
