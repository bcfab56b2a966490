"""What a user of an event's model relies on."""

from __future__ import annotations

from ...protocol.event import EventManifest
from ...protocol.record import sha256
from ...protocol.versions import Interface


def interface_of(event: EventManifest) -> Interface:
    """Return the interface of every version of the event's model: its tokenizer, what goes in and what comes out."""
    tokenizer = sha256(b"collab-node/tokenizer/1\0" + event.data.tokenizer.encode())
    return Interface(tokenizer=tokenizer, inputs=("input_ids",), outputs=("logits",))
