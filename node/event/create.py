"""Creating an event: its first weights, its signed manifest and its root commit, in a home, all or nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...protocol.commit import root_commit
from ...protocol.event import Admission, EventDraft, EventManifest, Start
from ...protocol.identity import Identity
from ...protocol.manifest import SignedManifest
from .. import keys
from ..errors import UserError, disk_errors
from ..files import is_running, make_folder, sync
from ..home import EventFolder, Home
from ..store import Store, file_digest
from .start import make_start

_STAGING = ".new-"


def create_event(
    home: Home, draft: EventDraft, *, seed: int = 0, checkpoint: Path | None = None, invited: bool = False
) -> EventManifest:
    """Create the event and return it. `invited` makes an admission key, whose invites let volunteers in. Raises UserError."""
    home.prepare()
    identity = keys.load_or_create(home.identity_path)
    with staging(home) as folder:
        if invited:
            draft = _with_admission_key(draft, keys.create(folder.admission_key_path))
        state = folder.path / "state.safetensors"
        event = _manifest(draft, identity, make_start(draft, state, seed=seed, checkpoint=checkpoint))
        folder.save_manifest(SignedManifest.seal(identity, event))
        _start_history(folder, event, state)
        publish(folder, home.event(event.digest))
    return event


def _with_admission_key(draft: EventDraft, key: Identity) -> EventDraft:
    if draft.admission.key is not None:
        raise UserError("the event file names an admission key, so --invited cannot make one", "leave out one of the two")
    admission = Admission(mode="invited", key=key.peer_id, banned=draft.admission.banned)
    return EventDraft.from_fields({**draft.model_dump(), "admission": admission.model_dump()})


def _manifest(draft: EventDraft, identity: Identity, start: Start) -> EventManifest:
    try:
        return draft.manifest(identity.peer_id, int(time.time()), start)
    except ValueError as error:
        raise UserError("the event bans its own coordinator", "remove this node's peer id from admission.banned") from error


def _start_history(folder: EventFolder, event: EventManifest, state: Path) -> None:
    with Store.open(folder.store_path) as store:
        root = store.add_commit(root_commit(event))
        store.set_head(root)
        digest = file_digest(state)
        store.blobs.put_file(state, digest)
        store.record_snapshot(root, digest)


@contextmanager
def staging(home: Home) -> Iterator[EventFolder]:
    """Give a folder that no other command sees, removed again unless it was published."""
    with disk_errors(home.path):
        for left in home.events_path.glob(f"{_STAGING}*"):
            if not is_running(left.name.removeprefix(_STAGING)):
                shutil.rmtree(left, ignore_errors=True)
        path = home.events_path / f"{_STAGING}{os.getpid()}"
        path.mkdir(mode=0o755)
        try:
            yield EventFolder(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def half_made(target: EventFolder) -> Iterator[EventFolder]:
    """As `staging`, for what takes long: until it is published it stays for the next attempt, unless not even the event came."""
    folder = _half_made(target)
    with disk_errors(folder.path):
        make_folder(folder.path)
        try:
            yield folder
        finally:
            folder.remove_unless_joined()


def forget_half_made(target: EventFolder) -> None:
    """Remove what an attempt left of an event that came in another way meanwhile."""
    shutil.rmtree(_half_made(target).path, ignore_errors=True)


def _half_made(target: EventFolder) -> EventFolder:
    return EventFolder(target.path.with_name(f".half-made-{target.path.name}"))


def publish(folder: EventFolder, target: EventFolder) -> None:
    """Give a staged folder its place, whole and durably. Raises UserError if the event is there already."""
    target.remove_unless_joined()  # what a killed `join` left there
    if target.exists():
        raise UserError(f"{target.path} is this very event already", "`collab-node seed` starts its node")
    os.rename(folder.path, target.path)
    sync(target.path.parent)
