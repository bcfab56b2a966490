"""Making the line that a volunteer pastes."""

from __future__ import annotations

from collections.abc import Sequence

from ...protocol.event import EventManifest
from ...protocol.invite import Invite
from .. import keys
from ..control.socket import ControlError, call
from ..errors import UserError
from ..home import EventFolder, Home
from ..net.addresses import is_address

_ADDRESSES = 16
_EXAMPLE = "/ip4/203.0.113.7/tcp/4001/p2p/12D3Koo…"


def make_invite(home: Home, folder: EventFolder, addresses: Sequence[str]) -> Invite:
    """Return an invite to an event of this home; without `addresses` the running node is asked for its own. Raises UserError."""
    event = folder.manifest().open()
    for address in addresses:
        if not is_address(address):
            raise UserError(f"{address!r} is not a peer's address", f"it looks like {_EXAMPLE}")
    bootstrap = tuple(addresses) or _of_running_node(home)
    return Invite(event=event.digest, bootstrap=bootstrap[:_ADDRESSES], token=_token(folder, event))


def _of_running_node(home: Home) -> tuple[str, ...]:
    try:
        found = tuple(str(address) for address in call(home.path, "status").get("addresses", ()))
    except ControlError as error:
        raise UserError(error.message, f"start the node, or give its address: --address {_EXAMPLE}") from error
    if not found:
        raise UserError("the node cannot be reached by others", f"give an address that reaches it: --address {_EXAMPLE}")
    return found


def _token(folder: EventFolder, event: EventManifest) -> bytes | None:
    if event.admission.key is None:
        return None
    try:
        key = keys.load(folder.admission_key_path)
    except FileNotFoundError as error:
        hint = f"put the key's file at {folder.admission_key_path}"
        raise UserError("this home lacks the event's admission key, so it cannot invite", hint) from error
    if key.peer_id != event.admission.key:
        raise UserError(f"{folder.admission_key_path} is not the event's admission key ({event.admission.key})")
    return key.seed
