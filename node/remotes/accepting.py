"""The other side of a push: what the pusher names is fetched from it like anything else, and then the names move."""

from __future__ import annotations

from collections.abc import Sequence

from ...protocol.errors import RemoteProtocolError
from ...protocol.remote import MAX_REASON, Update
from ..errors import UserError
from .landing import bring, current, delete, land
from .receive import Receiver


async def accept(receiver: Receiver, updates: Sequence[Update]) -> list[str]:
    """Make the updates, each by itself, and return for each why not; empty where it was made.

    Raises NetworkError if the pusher is gone.
    """
    return [await _one(receiver, update) for update in updates]


async def _one(receiver: Receiver, update: Update) -> str:
    try:
        if update.new is None:
            delete(receiver.place, update.name, update.expected)
            return ""
        now = current(receiver.place, update.name)
        if now == update.new.blob.sha256:
            return ""
        if now != update.expected:
            return f"{update.name} moved meanwhile; fetch first"  # before anything is fetched for it
        arrived = await bring(receiver, update.name, update.new)
        land(receiver.place, update.name, arrived, update.expected, force=update.force)
    except UserError as error:
        return f"{error.message}; {error.hint}"[:MAX_REASON] if error.hint else error.message[:MAX_REASON]
    except RemoteProtocolError as error:
        return f"not valid: {error}"[:MAX_REASON]
    return ""
