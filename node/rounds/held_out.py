"""The held-out losses that this node measured, by round: kept in its store, for the dashboard and the report."""

from __future__ import annotations

from collections.abc import Iterable

from ...protocol.canonical import DOCUMENT_LIMITS, decode, encode
from ...protocol.errors import RemoteProtocolError
from ..store import Store

_NOTE = "held_out"
_MOST = 2048


def keep(store: Store, round: int, loss: float) -> None:
    """Add a measurement, in nats a token, in place of an older one of the same round; of too many, older ones are thinned out."""
    losses = read(store) | {round: loss}
    if len(losses) > _MOST:
        older = sorted(losses)[: _MOST // 2 : 2]
        losses = {round: loss for round, loss in losses.items() if round not in older}
    store.put_note(_NOTE, encode(_pairs(losses.items())))


def read(store: Store) -> dict[int, float]:
    """Return the losses by round."""
    try:
        value = decode(store.note(_NOTE) or b"", DOCUMENT_LIMITS)
    except RemoteProtocolError:
        return {}
    pairs = value if isinstance(value, tuple) else ()
    return {round: loss for round, loss in map(_pair, pairs) if round >= 0}


def _pairs(items: Iterable[tuple[int, float]]) -> list[list[int | float]]:
    return [[round, loss] for round, loss in sorted(items)]


def _pair(value: object) -> tuple[int, float]:
    match value:
        case (int(round), float(loss)):
            return round, loss
    return -1, 0.0
