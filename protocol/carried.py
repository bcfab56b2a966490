"""Verdicts in the commit of a round: which may stand there, and which a proposer takes of those that it knows.

They are about other commits than the one that carries them, and nothing in it depends on them: they stand there so that whoever
has the history has what was said of its versions, and by whom, for good.

What may stand there follows from the commit, its base and the event alone: a signature that holds, a gate of the event (what
somebody's own file measures nobody can repeat), a signer who takes part, and one word of each on a gate and two versions. Two
things are left open on purpose. The versions may be any: a release on a branch, or a merge that others have yet to fetch, is no
ancestor, and who counts verdicts looks for a version's state hash, so that one about nothing is never found. And an ancestor may
carry the same verdict: to know that takes the whole history, and who counts counts each once, by its digest. An honest node keeps
and proposes neither (`node/gates/sharing.py`); a dishonest proposer can waste MAX_VERDICTS places, and no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

from .admission import needs_no_invite
from .ancestry import Ancestry
from .commit import MAX_VERDICTS, Commit
from .errors import RemoteProtocolError
from .event import EventManifest
from .identity import PeerId
from .messages import Signed
from .verdict import Verdict, read_verdict

Opened: TypeAlias = tuple[Signed, Verdict]


def verdict_problem(event: EventManifest, ancestry: Ancestry, signed: Signed, verdict: Verdict) -> str | None:
    """Return why a verdict (its signature is checked) may not stand in the commit after `ancestry.base`, or None.

    `event` is the one in force for that commit.
    """
    if verdict.event != event.digest:
        return "wrong_event"
    if verdict.measurement.gate not in {gate.name for gate in event.gate}:
        return "unknown_gate"
    if signed.signer in event.admission.banned:
        return "banned"
    return None if takes_part(event, ancestry, signed.signer) else "not_invited"


def takes_part(event: EventManifest, ancestry: Ancestry, peer: PeerId) -> bool:
    """Say whether a peer is on the roster, got in before, needs no invite, or is one of those who decide."""
    if needs_no_invite(event, peer) or peer in event.deciders().keys:
        return True
    return peer in ancestry.members or ancestry.admitted.has(peer)


def verify_verdicts(event: EventManifest, ancestry: Ancestry, commit: Commit) -> list[Signed]:
    """Return the verdicts of a round's commit. Raises RemoteProtocolError if one may not stand there."""
    opened = [read_verdict(envelope) for envelope in commit.verdicts]
    for signed, verdict in opened:
        if (problem := verdict_problem(event, ancestry, signed, verdict)) is not None:
            raise RemoteProtocolError("wrong_verdicts", problem)
    if len({_slot(*each) for each in opened}) != len(opened):
        raise RemoteProtocolError("duplicate", "two verdicts of one peer on one gate and the same versions")
    return [signed for signed, _ in opened]


def choose_verdicts(event: EventManifest, ancestry: Ancestry, known: Iterable[Opened]) -> list[Signed]:
    """Return what the commit after `ancestry.base` carries of `known`, at most MAX_VERDICTS.

    The peers take turns, in the order of their verdicts in `known`, so that none crowds the others out; who is on the roster
    comes before those who are not.
    """
    turns: Counter[PeerId] = Counter()
    said: set[tuple[PeerId, bytes, bytes, str]] = set()
    waiting: list[tuple[bool, int, bytes, Signed]] = []
    for signed, verdict in known:
        slot = _slot(signed, verdict)
        if slot not in said and verdict_problem(event, ancestry, signed, verdict) is None:
            said.add(slot)
            waiting.append((signed.signer not in ancestry.members, turns[signed.signer], signed.digest, signed))
            turns[signed.signer] += 1
    return [signed for *_, signed in sorted(waiting, key=lambda each: each[:3])[:MAX_VERDICTS]]


def _slot(signed: Signed, verdict: Verdict) -> tuple[PeerId, bytes, bytes, str]:
    return signed.signer, verdict.candidate, verdict.against, verdict.measurement.gate
