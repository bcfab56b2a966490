"""`clone`: the folder of an event that a home does not have, with all that somebody publishes. Nobody joins, nothing trains.

The event is verified as joining does, and what comes with it as `fetch` does: this only makes the place for it. Until main is
there the folder has a name that no other command sees: a clone that was interrupted is nothing, or goes on when it is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...protocol.invite import Invite
from ...protocol.manifest import SignedManifest
from ...protocol.refs import MAIN
from .. import keys
from ..errors import UserError
from ..event.create import forget_half_made, half_made, publish
from ..event.joining import is_invite, read_invite
from ..failpoints import failpoint
from ..files import atomic_write
from ..history.bundle_file import open_bundle
from ..history.progress import Progress, silent
from ..home import EventFolder, Home
from ..store import Store
from . import run
from .config import ORIGIN, add, home_or_bundle, of_invite, remotes, remove
from .outcome import Report
from .place import Place

_INVITE = "paste an invite, or name a home's folder or a bundle"


@dataclass(frozen=True)
class Origin:
    """Where an event is cloned from; a home and a bundle on this machine give its signed manifest at once."""

    text: str
    event: bytes
    manifest: SignedManifest | None = None
    invite: Invite | None = None


@dataclass(frozen=True)
class Cloned:
    """What is here now."""

    name: str
    event: bytes
    round: int
    report: Report

    def fields(self) -> dict[str, Any]:
        """Return it as plain values, digests in hex."""
        return {"name": self.name, "event": self.event.hex(), "round": self.round, **self.report.fields()}


def origin_of(text: str, event: str = "") -> Origin:
    """Return what `text` stands for; `event` are the first digits of the one that is meant of several. Raises UserError."""
    if is_invite(text):
        invite = read_invite(text)
        return Origin(text, invite.event, invite=invite)
    path = home_or_bundle(text)
    if path is None:
        raise UserError(f"{text[:80]!r} is no invite, and no home or bundle on this machine", _INVITE)
    if path.is_dir():
        manifest = Home(path).find_event(event).manifest()
    else:
        with open_bundle(path) as bundle:
            header = bundle.header()
            if header.needs:
                raise UserError(f"{path} holds only a part of a history", "`collab-node bundle FILE` writes a whole one")
            with bundle.errors():
                manifest = SignedManifest.decode_file(header.manifest)
                manifest.open()
    return Origin(str(path), manifest.open().digest, manifest)


async def clone(home: Home, origin: Origin, progress: Progress = silent) -> Cloned:
    """Make the event's folder, whole or not at all. Raises UserError."""
    target = home.event(origin.event)
    _check_new(target)
    with home.lock(), half_made(target) as folder:
        _check_new(target)
        manifest = origin.manifest or await _ask(home, folder, origin)
        folder.save_manifest(manifest)
        if origin.invite is not None:
            atomic_write(folder.invite_path, origin.invite.text().encode(), 0o600)  # `join` alone takes the event up
        failpoint("clone-event")
        with Store.open(folder.store_path) as store:
            cloned = await _fill(Place(home, folder, manifest.open(), store, alone=True), origin, progress)
        failpoint("clone-filled")
        publish(folder, target)
    return cloned


def _check_new(target: EventFolder) -> None:
    if target.exists():
        forget_half_made(target)  # an attempt before it was joined
        name = target.manifest().open().name
        raise UserError(f"{name} is in this home already", "`collab-node fetch` brings what is new; `remote add` says from where")


async def _ask(home: Home, folder: EventFolder, origin: Origin) -> SignedManifest:
    from .client import ask_manifest

    assert origin.invite is not None
    identity = keys.load_or_create(home.identity_path)
    return await ask_manifest(folder, identity, of_invite(ORIGIN, origin.invite), origin.event)


async def _fill(place: Place, origin: Origin, progress: Progress) -> Cloned:
    """Fetch everything."""
    from ..rounds.catch_up import restore_history  # imports the network, which a path needs none of

    event, store = place.event, place.store
    restore_history(event, store)
    if any(remote.name == ORIGIN for remote in remotes(store)):
        remove(store, ORIGIN)  # an attempt may have been from elsewhere
    remote = add(store, event, ORIGIN, origin.text)
    report = await run.fetch(run.Ends(place, remote, keys.load_or_create(place.home.identity_path), progress=progress))
    for outcome in report.outcomes:
        if outcome.name == MAIN and outcome.what == "refused":
            raise UserError(f"main did not come: {outcome.why}", "repeat, or clone from elsewhere: what came is kept")
    return Cloned(event.name, event.digest, store.head_commit().round, report)
