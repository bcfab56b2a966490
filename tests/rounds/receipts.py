"""Histories whose contributions say from whom their signers got bytes."""

from __future__ import annotations

from typing import TypeAlias

from rounds.worlds import draft_on, event, finality, identity

from collab.protocol.commit import Commit
from collab.protocol.history import History
from collab.protocol.messages import Receipt
from collab.protocol.record import sha256

EVENT = event()
Said: TypeAlias = dict[int, int]
"""How many bytes a contributor says that it got from whom, by their numbers."""


def receipts(said: Said) -> tuple[Receipt, ...]:
    return tuple(sorted((identity(number).public_key, size) for number, size in said.items()))


def grown(rounds: list[dict[int, Said]]) -> list[Commit]:
    """A chain whose rounds merged a contribution of each of these identities, with its receipts."""
    history = History(EVENT)
    for number, claims in enumerate(rounds):
        ancestry, certificate = history.ancestry(history.head.digest), history.certificate(history.head.digest)
        said = {who: receipts(each) for who, each in claims.items()}
        commit = draft_on(EVENT, ancestry, certificate, list(claims), received=said).complete(sha256(b"%d" % number), 7)
        history.add(commit, finality(EVENT, ancestry.base, commit))
    return history.chain(history.root.digest, history.head.digest)
