"""Making an amendment: signed with this home's key, told to the running node, or kept in the home until it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ...protocol.amendments import Amendment, Body, InForce, Recipe, SignedAmendment
from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.identity import Identity, PeerId
from .. import keys, peer_ids
from ..control.socket import NotRunning, call
from ..credit.leaderboard import read_names
from ..errors import UserError
from ..home import EventFolder, Home
from ..store import Store
from .files import read_draft, write_draft


@dataclass(frozen=True)
class Standing:
    """What is in force in a home's event, the newest commit's round and samples, and what counts so far, oldest first."""

    in_force: InForce
    round: int
    samples: int
    chain: tuple[SignedAmendment, ...]


@dataclass(frozen=True)
class Made:
    """An amendment that was made or signed: a `draft` where signatures are missing, else told to the running node or not."""

    signed: SignedAmendment
    missing: int = 0
    draft: Path | None = None
    told: bool = False


def standing(folder: EventFolder, store: Store | None = None) -> Standing:
    """Read what is in force in an event, beside a node that may run. Raises UserError."""
    if store is None:
        with Store.open(folder.store_path, read_only=True) as opened:
            return standing(folder, opened)
    head = store.head_commit()
    known = store.amendments.of(folder.manifest().open())
    if head.amendment not in known:
        raise UserError(f"{folder.path} lacks an amendment that its newest commit names", "start the node, so that it fetches it")
    return Standing(known.newest(head.amendment), head.round, head.samples, tuple(known.chain(head.amendment)))


def decide(home: Home, folder: EventFolder, body: Body, out: Path | None = None) -> Made:
    """Make the next amendment, sign it, and tell the swarm; or write a draft to `out` if others must sign. Raises UserError."""
    now = standing(folder)
    state = now.in_force
    if isinstance(body, Recipe):
        _check_rounds(body, now)
    content = Amendment(
        event=state.created.digest, number=state.number + 1, previous=state.digest, time=int(time.time()), body=body
    )
    return _sign(home, folder, state, SignedAmendment.draft(content), out)


def _check_rounds(body: Recipe, now: Standing) -> None:
    """Raise UserError for a recipe that no round would have, or only some of one."""
    if body.from_round < now.round + 2:
        problem = f"round {body.from_round} is over or under way"
        raise UserError(problem, f"the first round that a recipe can begin with is {now.round + 2}")
    if 0 < now.in_force.last_round < body.from_round:
        problem = f"the event ends after round {now.in_force.last_round}, so no round would have this recipe"
        raise UserError(problem, "begin it earlier, or `collab-node event extend --last-round N` first")


def made_body(make: Callable[[], Body]) -> Body:
    """Return what `make` makes. Raises UserError where a person gave what no amendment can say."""
    try:
        return make()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = f"{first['loc'][0]}: " if first["loc"] else ""
        words = _TEXT_WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise UserError(where + words.format(**first.get("ctx", {}))) from error


def peer_meant(folder: EventFolder, text: str) -> PeerId:
    """Return the peer id that a text is, or ends, or names, of those who took part. Raises UserError."""
    with Store.open(folder.store_path, read_only=True) as store:
        names = read_names(store)
        known = {member.peer for member in store.head_commit().roster} | set(names)
    return peer_ids.peer_meant(text, known | set(standing(folder).in_force.banned), names)


def sign(home: Home, folder: EventFolder, path: Path) -> Made:
    """Sign the draft in a file, and publish it if that was the last signature that it needs. Raises UserError."""
    draft, now = read_draft(path), standing(folder)
    if draft.name in (signed.name for signed in now.chain):
        raise UserError("this is decided already: no signature is missing", "`collab-node event amendments` lists it")
    return _sign(home, folder, now.in_force, draft, path)


def _sign(home: Home, folder: EventFolder, state: InForce, signed: SignedAmendment, out: Path | None) -> Made:
    identity = _coordinator(home, state)
    try:
        signed = signed.signed_by(identity)
    except LocalProtocolError as error:
        raise UserError("this node's key has signed it already", "pass the file on to the next coordinator") from error
    with problems():
        state.after(signed, complete=False)
    missing = state.threshold - len(signed.signers)
    if missing <= 0:
        return Made(signed, told=publish(home, folder, signed))
    out = out or Path(f"amendment-{signed.content.number}.txt")
    write_draft(out, signed)
    return Made(signed, missing, out)


def _coordinator(home: Home, state: InForce) -> Identity:
    try:
        identity = keys.load(home.identity_path)
    except FileNotFoundError as error:
        raise UserError(f"{home.path} has no key yet", "run this in a coordinator's home: --home DIR") from error
    if identity.peer_id not in state.coordinators:
        hint = f"run it in the home of {' or '.join(state.coordinators)}"
        raise UserError("this node's key is not a coordinator's, so nobody would take its word", hint)
    return identity


def publish(home: Home, folder: EventFolder, signed: SignedAmendment) -> bool:
    """Hand a signed amendment to the running node, or keep it until one starts; True if a node runs. Raises UserError."""
    try:
        call(home.path, "amend", amendment=signed.encode())
    except NotRunning:
        with home.lock(), Store.open(folder.store_path) as store, problems():
            state = standing(folder, store).in_force
            state.after(signed)
            store.amendments.add(signed)
        return False
    return True


@contextmanager
def problems() -> Iterator[None]:
    """Turn a broken rule into a UserError with its sentence."""
    try:
        yield
    except RemoteProtocolError as error:
        hint = _HINTS.get(error.reason, "`collab-node event amendments` lists what was decided")
        raise UserError(f"this cannot be decided: {error.detail or error.reason}", hint) from error


_TEXT_WORDS = {
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
}
_HINTS = {
    "wrong_previous": "another amendment came in between: make it again, and have it signed again",
    "wrong_event": "name the event that it is of: --event ID",
    "not_a_coordinator": "a signature under it is by somebody who is no coordinator: make it again",
}
