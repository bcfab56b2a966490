"""`fetch`: what a source publishes comes here. Branches become `remotes/NAME/…`; tags, proposals, releases and packages, which
everybody calls alike, keep their names."""

from __future__ import annotations

from collections.abc import Sequence

from ...protocol.errors import RemoteProtocolError
from ...protocol.refs import MAIN
from ...protocol.remote import Target
from ..errors import UserError
from ..history.graph import StoreGraph
from ..history.progress import Progress, silent
from ..store import RefMoved
from .landing import Arrived, Newer, bring, current, descends, land
from .outcome import Outcome, Report, What
from .place import Place
from .receive import Receiver
from .source import Source, path_after


async def fetch(
    place: Place, source: Source, remote: str, where: str, wanted: Sequence[str] = (), progress: Progress = silent
) -> Report:
    """Fetch what is `wanted` of what the source publishes; nothing named: all. Where no node runs in this home, main follows.

    What is wrong with one name does not keep the others from coming: its outcome says what. Raises UserError for a name that is
    not there, NetworkError and RemoteProtocolError if the source does not tell what it has.
    """
    found = await source.refs()
    chosen = choose(found, wanted)
    receiver = Receiver(place, source, progress)
    outcomes = []
    for at, name in enumerate(chosen, 1):
        outcomes.append(await _one(receiver, remote, name, found[name]))
        progress("refs", at, len(chosen))
    if place.alone and any(outcome.name == MAIN and outcome.what != "refused" for outcome in outcomes):
        outcomes += _follow(place, remote)
    return Report(where, outcomes, receiver.brought)


def choose(found: dict[str, Target], wanted: Sequence[str]) -> list[str]:
    """Return the names that are meant: whole ones, branches, tags, or all of a kind. Raises UserError for what is not there."""
    if not wanted:
        return list(found)
    chosen: dict[str, None] = {}
    for each in wanted:
        exact = [name for name in (each, f"heads/{each}", f"tags/{each}") if name in found][:1]
        meant = exact or [name for name in found if name.startswith(f"{each}/")]
        if not meant:
            raise UserError(f"{each[:80]!r} is not published there", "without a REF, all that is published is fetched")
        chosen.update(dict.fromkeys(meant))
    return list(chosen)


async def _one(receiver: Receiver, remote: str, name: str, target: Target) -> Outcome:
    to = f"remotes/{remote}/{name.removeprefix('heads/')}" if name.startswith("heads/") else name
    old, new = current(receiver.place, to), target.blob.sha256
    if old == new:
        return Outcome(name, to, "same", old, new)
    if old is not None and name.startswith("tags/"):
        return Outcome(name, to, "kept", old, new, "the tag here is another one")
    try:
        arrived = await bring(receiver, name, target)
        what = _what(receiver.place, to, old, arrived)
        land(receiver.place, to, arrived, old)
    except Newer:
        return Outcome(name, to, "kept", old, new, "what is here is newer")
    except RefMoved as moved:
        return Outcome(name, to, "refused", old, new, f"{moved.message}: repeat")
    except UserError as error:
        return Outcome(name, to, "refused", old, new, error.message)
    except RemoteProtocolError as error:
        return Outcome(name, to, "refused", old, new, f"not valid: {error}")
    return Outcome(name, to, what, old, new)


def _what(place: Place, to: str, old: bytes | None, arrived: Arrived) -> What:
    if old is None:
        return "new"
    forced = to.startswith("remotes/") and arrived.commit is not None and not descends(place, old, arrived.commit)
    return "forced" if forced else "moved"


def _follow(place: Place, remote: str) -> list[Outcome]:
    """Move main along what is proven of theirs, by the same fork choice as between nodes."""
    store, old = place.store, place.store.head()
    tip = store.refs.get(f"remotes/{remote}/main")
    if tip is None or store.on_chain(tip):
        return []
    from ..rounds.catch_up import restore_history  # imports the network, which a path needs none of

    history = restore_history(place.event, store)
    for digest in path_after(StoreGraph(store), tip, frozenset(store.digests())):
        certificate = store.certificate(digest)
        if certificate is None:
            break  # no round made it
        history.add(store.commit(digest), certificate)
    new = history.head.digest
    store.set_head(new)
    return [Outcome(MAIN, MAIN, "moved", old, new)] if new != old else []
