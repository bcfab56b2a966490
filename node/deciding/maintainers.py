"""Who may decide."""

from __future__ import annotations

from ...protocol.event import EventManifest
from ...protocol.identity import Identity
from ..errors import UserError


def check_maintainer(event: EventManifest, identity: Identity) -> None:
    """Raise UserError unless this is somebody who decides on merges and reverts."""
    if identity.peer_id in event.deciders().keys:
        return
    if event.maintainers is None:
        raise UserError("only the event's coordinator merges proposals", f"send them to {event.coordinator}: propose --out FILE")
    raise UserError("only the event's maintainers decide on this", f"they are {', '.join(event.maintainers.keys)}")
