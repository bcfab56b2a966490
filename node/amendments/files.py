"""A draft of an amendment on its way from coordinator to coordinator: a text file that each signs, with what it says in front."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from pathlib import Path
from textwrap import wrap

from ...protocol.amendments import SignedAmendment
from ...protocol.errors import RemoteProtocolError
from ..errors import UserError, disk_errors
from ..files import atomic_write
from .words import body_words

_MOST_BYTES = 64 * 1024


def write_draft(path: Path, signed: SignedAmendment) -> None:
    """Write a draft, with lines for people that nobody reads back. Raises UserError."""
    content = signed.content
    lines = [
        f"# amendment {content.number} of event {content.event.hex()}",
        f"# {body_words(content.body)}",
        *(f"# signed by {signer}" for signer in signed.signers),
        *wrap(b64encode(signed.encode()).decode(), 100),
    ]
    with disk_errors(path):
        atomic_write(path, "\n".join(lines).encode() + b"\n")


def read_draft(path: Path) -> SignedAmendment:
    """Read a draft. Raises UserError."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    body = b"".join(line.strip() for line in data.splitlines() if not line.startswith(b"#"))
    try:
        return SignedAmendment.read(b64decode(body, validate=True))
    except (binascii.Error, RemoteProtocolError) as error:
        raise UserError(f"{path} is no draft of an amendment", "pass it on whole, as the command before wrote it") from error
