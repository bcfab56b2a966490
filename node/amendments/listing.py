"""Amendments as `event amendments` lists them."""

from __future__ import annotations

import time
from typing import Any

from ...protocol.amendments import SignedAmendment
from .words import body_words, peer_words


def line_of(signed: SignedAmendment) -> str:
    """Return an amendment in one line."""
    content = signed.content
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(content.time))
    signers = ", ".join(peer_words(signer) for signer in signed.signers)
    return f"{content.number:>4}  {day}  {body_words(content.body)}  (signed by {signers})"


def fields_of(signed: SignedAmendment) -> dict[str, Any]:
    """Return an amendment as plain values, digests in hex."""
    content = signed.content
    return {
        "number": content.number, "digest": signed.name.hex(), "time": content.time, "says": body_words(content.body),
        "body": _plain(content.body.model_dump()), "signers": list(signed.signers),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
