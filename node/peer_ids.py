"""Whom a person means: a peer id, the end of one as views show it, or a name that only one peer chose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..protocol.identity import PeerId, public_key_of
from .errors import UserError


def peer_meant(text: str, known: Iterable[PeerId], names: Mapping[PeerId, str]) -> PeerId:
    """Return the peer id that `text` is; else the one of `known` that it ends or names. Raises UserError."""
    try:
        public_key_of(text)
        return text
    except ValueError:
        pass
    end = text.removeprefix("…")
    found = sorted(peer for peer in {*known} if end and (peer.endswith(end) or names.get(peer) == text))
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{text} is the end, or the name, of several: {', '.join(found)}", "give a whole peer id")
    hint = "`collab-node credits` lists who does, with --json their whole ids"
    raise UserError(f"{text!r} is no peer id, nor the end or the name of one that takes part", hint)
