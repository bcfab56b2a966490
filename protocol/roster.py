"""How the roster changes with a commit: who took part stays, who left or fell silent goes."""

from collections.abc import Collection, Iterable

from .commit import Member
from .identity import PeerId

MAX_ROSTER = 8192


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
    the old roster stays: a swarm that slept must be able to wake up. Of more than MAX_ROSTER, the newest to speak stay.
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
    if len(kept) > MAX_ROSTER:
        longest = sorted(kept, key=lambda member: (-member.last, member.joined, member.peer))[:MAX_ROSTER]
        kept = sorted(longest, key=lambda member: member.peer)
    return tuple(kept) or tuple(members[peer] for peer in sorted(members))
