"""The invite that a volunteer pastes, and how a node takes up again an event that it knows."""

from __future__ import annotations

from typing import Literal

from ...protocol.invite import PREFIX, Invite, InviteError
from .. import keys
from ..errors import UsageError, UserError
from ..home import EventFolder, Home
from .admitting import check_expiry


def read_invite(text: str) -> Invite:
    """Return the invite. Raises UserError that says what is wrong with it."""
    try:
        return Invite.parse(text)
    except InviteError as error:
        raise UserError(str(error)) from error


def is_invite(text: str) -> bool:
    """Say whether the text is meant to be an invite."""
    return text.lstrip().startswith(PREFIX)


def check_usable(home: Home, invite: Invite, now: float) -> None:
    """Raise NothingToDo for an invite that expired (`now` in Unix seconds), unless the event was joined from this home before."""
    if not home.event(invite.event).exists():
        check_expiry(invite, now)


def remembered_invite(home: Home, event: str) -> Invite:
    """Return the invite with which the event was joined from this home before. Raises UserError."""
    joined = [folder for folder in home.events() if folder.invite_path.is_file()]
    if not joined:
        hint = "`collab-node join collab1-…`, with the line that the coordinator sent you"
        raise UsageError(f"INVITE is missing: no event was joined from {home.path} yet", hint)
    folder = home.find_event(event or (joined[0].path.name if len(joined) == 1 else ""))
    try:
        return read_invite(folder.invite_path.read_text(encoding="ascii", errors="replace"))
    except OSError as error:
        raise UserError(f"the invite of this event is not kept here: {error.strerror}", "paste it again") from error


def taken_up_by(home: Home, event: str) -> tuple[Literal["seed", "join"], EventFolder]:
    """Return the command that takes an event of this home up again without being told more, and where the event is.

    `join` with the invite that is kept, `seed` where the event was created. Raises UserError.
    """
    folder = home.find_event(event)
    if not folder.invite_path.is_file() and _created_here(home, folder):
        return "seed", folder
    remembered_invite(home, folder.path.name)
    return "join", folder


def _created_here(home: Home, folder: EventFolder) -> bool:
    try:
        return keys.load(home.identity_path).peer_id == folder.manifest().open().coordinator
    except FileNotFoundError:
        return False
