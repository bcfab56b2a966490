"""Amendments in words, for volunteers and coordinators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...protocol.amendments import (
    Admit,
    Announce,
    Ban,
    Bootstrap,
    Close,
    Coordinators,
    Extend,
    InForce,
    Open,
    Pause,
    Recipe,
    Revoke,
)  # fmt: skip
from ...protocol.record import Record

ANNOUNCEMENTS = 3
_DIGITS = 6


def peer_words(peer: str) -> str:
    """Return a peer's short name."""
    return f"…{peer[-_DIGITS:]}"


def body_words(body: Record) -> str:
    """Say in a few words what an amendment does."""
    return str(_WORDS[type(body)](body))


def _because(text: str, reason: str) -> str:
    return f"{text}: {reason}" if reason else text


def _extension(body: Extend) -> str:
    parts = []
    if body.last_round is not None:
        parts.append(f"the last round is {body.last_round}" if body.last_round else "there is no last round")
    if body.total_samples is not None:
        parts.append(f"the learning rate ends at {body.total_samples:,} samples")
    return " and ".join(parts)


def _coordinators(keys: Sequence[str], threshold: int) -> str:
    named = ", ".join(map(peer_words, keys))
    return f"{named} is the coordinator" if len(keys) == 1 else f"{named} are the coordinators, {threshold} of whom sign"


_WORDS: dict[type[Record], Any] = {
    Ban: lambda body: _because(f"peer {body.peer} is banned", body.reason),
    Admit: lambda body: _because(f"peer {body.peer} is admitted", body.reason),
    Revoke: lambda body: _because(f"invite {body.token.hex()[:12]} is revoked", body.reason),
    Pause: lambda body: _because("the event is paused", body.reason),
    Open: lambda body: "the event goes on",
    Extend: _extension,
    Close: lambda body: f"the event is over after round {body.after}",
    Recipe: lambda body: f"a new recipe from round {body.from_round} on ({', '.join(body.sections())})",
    Coordinators: lambda body: _coordinators(body.keys, body.threshold),
    Bootstrap: lambda body: f"peers are found at {', '.join(body.addresses)}",
    Announce: lambda body: f"announced: {body.text}",
}


def pause_words(state: InForce) -> str:
    """Say why a paused event rests."""
    return _because("the coordinators paused the event", state.pause_reason)


def end_words(state: InForce, round: int) -> str:
    """Say when an event that was closed or extended ends; empty where no amendment says so."""
    if not state.last_round or state.last_round == state.created.rounds.last_round:
        return ""
    if state.is_over(round):
        return f"the event is over since round {state.last_round}"
    return f"the event {'closes' if state.closed else 'ends'} after round {state.last_round}"


def standing_words(before: InForce, state: InForce) -> Iterator[str]:
    """Yield what a volunteer should know of a change, but for announcements and pauses, which are shown by themselves."""
    for peer in sorted(state.banned.keys() - before.banned.keys()):
        yield _because(f"peer {peer_words(peer)} is banned", state.banned[peer])
    for peer in sorted(before.banned.keys() - state.banned.keys()):
        yield f"peer {peer_words(peer)} is admitted again"
    if before.last_round != state.last_round:
        yield f"the event ends after round {state.last_round}" if state.last_round else "the event has no last round"
    if before.paused and not state.paused:
        yield "the event goes on"
    if before.coordinators != state.coordinators or before.threshold != state.threshold:
        yield _coordinators(state.coordinators, state.threshold)
    if before.bootstrap != state.bootstrap:
        yield f"peers are found at {', '.join(state.bootstrap)}"
    for change in state.changes[len(before.changes) :]:
        yield f"a new recipe from round {change.from_round} on ({', '.join(change.values)})"
