"""Making the line that a volunteer pastes, and remembering what was made. The seed in it is kept nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import hexdigits
from typing import Annotated

from pydantic import Field

from ...protocol.admission import Admitted
from ...protocol.ancestry import root_ancestry
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.identity import Identity
from ...protocol.invite import Invite
from ...protocol.record import Count, Digest, Record
from ...protocol.tokens import Terms
from .. import keys
from ..control.socket import ControlError, call
from ..errors import UserError
from ..files import atomic_write
from ..home import EventFolder, Home
from ..net.addresses import is_address
from ..store import Store
from .units import seconds

_ADDRESSES = 16
_EXAMPLE = "/ip4/203.0.113.7/tcp/4001/p2p/12D3Koo…"
_NAME_DIGITS = 16
_ID_DIGITS = 64
_MAX_SECONDS = 3653 * 86400
MAX_NOTE = 200


class Issued(Record):
    """An invite that this home made: its token's id, its terms (see `Terms`), and the coordinator's own note."""

    token: Digest
    created: Count
    expires: Count
    uses: Count
    note: Annotated[str, Field(max_length=MAX_NOTE)]


@dataclass(frozen=True)
class Wanted:
    """What an invite is to be good for: `seconds` from now on and `uses` nodes; 0: no limit."""

    seconds: float = 0.0
    uses: int = 0
    note: str = ""


def wanted(expires: str, uses: int, note: str) -> Wanted:
    """Return what was asked for on the command line; `expires` is such as "7d", or empty. Raises UserError."""
    try:
        duration = seconds(expires) if expires else 0.0
    except ValueError as error:
        raise UserError(f"--expires {error}") from error
    if expires and not 1 <= duration <= _MAX_SECONDS:
        raise UserError(f"--expires {expires} is no time for an invite", "a second at least, ten years at most; none: for ever")
    if len(note) > MAX_NOTE:
        raise UserError(f"the note is longer than {MAX_NOTE} characters")
    return Wanted(duration, uses, note)


def make_invite(home: Home, folder: EventFolder, addresses: Sequence[str], limits: Wanted, now: float) -> Invite:
    """Return an invite to an event of this home, with a token of its own where the event asks for one. Raises UserError.

    Without `addresses` the running node is asked for its own. `now` is in Unix seconds.
    """
    event = folder.manifest().open()
    for address in addresses:
        if not is_address(address):
            raise UserError(f"{address!r} is not a peer's address", f"it looks like {_EXAMPLE}")
    if event.admission.key is None and limits != Wanted():
        raise UserError(
            "this event is open: whoever has its address may join, so an invite to it has no expiry, uses or note",
            "leave them out, or create the event with --invited",
        )
    issuer = None if event.admission.key is None else _issuer(home, folder, event)
    bootstrap = (tuple(addresses) or _of_running_node(home))[:_ADDRESSES]
    if issuer is None:
        return Invite(event=event.digest, bootstrap=bootstrap)
    token = Identity.generate()
    issued = Issued(
        token=token.public_key, created=int(now), expires=int(now + limits.seconds) if limits.seconds else 0,
        uses=limits.uses, note=limits.note,
    )  # fmt: skip
    terms = Terms.seal(issuer, event.digest, issued.token, expires=issued.expires, uses=issued.uses)
    atomic_write(folder.issued_path / issued.token.hex()[:_NAME_DIGITS], issued.encode(), 0o600)
    return Invite(event=event.digest, bootstrap=bootstrap, token=token.seed, terms=terms)


def issued_invites(folder: EventFolder) -> list[Issued]:
    """Return the invites that were made in this home, the oldest first. Raises UserError for a file that is none."""
    if not folder.issued_path.is_dir():
        return []
    paths = [path for path in folder.issued_path.iterdir() if not path.name.startswith(".")]
    return sorted((_read(folder, path.name) for path in paths), key=lambda issued: (issued.created, issued.token))


def _read(folder: EventFolder, name: str) -> Issued:
    path = folder.issued_path / name
    try:
        return Issued.decode(path.read_bytes())
    except (OSError, RemoteProtocolError) as error:
        raise UserError(f"{path} is no record of an invite ({error})", "move it away") from error


def token_meant(folder: EventFolder, text: str) -> bytes:
    """Return the token's id that begins with these hex digits: of an invite of this home, or any in full. Raises UserError."""
    wanted = text.lower()
    found = [one.token for one in issued_invites(folder) if one.token.hex().startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise UserError(f"{len(found)} invites begin with {text}", "give more digits of its id")
    if len(wanted) == _ID_DIGITS and set(wanted) <= set(hexdigits):
        return bytes.fromhex(wanted)
    raise UserError(f"no invite of this home has an id that begins with {text}", "`collab-node event invites` lists them")


def admitted_so_far(event: EventManifest, store: Store) -> Admitted:
    """Return who got in by which token, up to the store's head."""
    ancestry = root_ancestry(event, store.amendments.of(event))
    for commit in store.chain()[::-1][1:]:
        ancestry = ancestry.after(event, commit)
    return ancestry.admitted


def _of_running_node(home: Home) -> tuple[str, ...]:
    try:
        found = tuple(str(address) for address in call(home.path, "status").get("addresses", ()))
    except ControlError as error:
        hint = f"start it with `collab-node seed --detach`, or give its address: --address {_EXAMPLE}"
        raise UserError(error.message, hint) from error
    if not found:
        raise UserError("the node cannot be reached by others", f"give an address that reaches it: --address {_EXAMPLE}")
    return found


def _issuer(home: Home, folder: EventFolder, event: EventManifest) -> Identity:
    """Return whose signature makes a token's terms good: the admission key, or the coordinator where it is not here."""
    try:
        key = keys.load(folder.admission_key_path)
    except FileNotFoundError as error:
        key = keys.require(home.identity_path)
        if key.peer_id == event.coordinator:
            return key
        hint = f"invite from the coordinator's home, or put the key's file at {folder.admission_key_path}"
        raise UserError("this home has neither the event's admission key nor its coordinator's key", hint) from error
    if key.peer_id != event.admission.key:
        raise UserError(f"{folder.admission_key_path} is not the event's admission key ({event.admission.key})")
    return key
