"""How the roster changes with a commit: who took part stays, who left or fell silent goes."""

from collections.abc import Collection, Iterable

from .commit import Member
from .identity import PeerId


def next_roster(
    roster: Iterable[Member],
    round: int,
    *,
    active: Collection[PeerId],
    gone: Collection[PeerId],
    silent_rounds: int,
) -> tuple[Member, ...]:
    """Return the roster after the commit of `round`.

    `active` contributed to the commit or attested its parent; `gone` said goodbye or are banned. If everybody would be dropped,
    the old roster stays: a swarm that slept must be able to wake up.
    """
    members = {member.peer: member for member in roster}
    for peer in active:
        joined = members[peer].joined if peer in members else round
        members[peer] = Member(peer=peer, joined=joined, last=round)
    kept = [
        members[peer]
        for peer in sorted(members)
        if peer not in gone and round - members[peer].last < silent_rounds
    ]
    return tuple(kept) or tuple(members[peer] for peer in sorted(members))
