"""What a round waits for that time alone does not bring, in words: for whoever looks at a round that does not end."""

from __future__ import annotations

from ...protocol.committee import Committee
from ...protocol.rounds.machine import RoundMachine
from ...protocol.rounds.phases import Phase
from ..units import counted


def waits_for(machine: RoundMachine, began: float, now: float) -> str:
    """Say what is missing, and what happens then; empty while the round goes on by itself. Times are monotonic seconds."""
    if machine.setting.is_over or now - began < machine.setting.silence:  # who has just begun has heard of nobody yet
        return ""
    match machine.phase:
        case Phase.TRAINING if not machine.setting.trains and not machine.training_peers:
            return "nobody trains: the round goes on when somebody joins"
        case Phase.COLLECTING if machine.lacking:
            return _contributions(machine.lacking, machine.setting.event.rounds.min_contributors)
        case Phase.VOTING if machine.committee_here < machine.poll.voting.committee().quorum:
            return _members(machine.committee_here, machine.poll.voting.committee())
    return ""


def _contributions(lacking: int, needed: int) -> str:
    here, more = counted(needed - lacking, "is", "are"), counted(lacking, "more comes", "more come")
    return f"a merge needs {counted(needed, 'contribution')} and {here} here: the round goes on when {more}"


def _members(here: int, committee: Committee) -> str:
    members = len(committee.members)
    who = f"{committee.quorum} of the {members} on the committee have to agree and {counted(here, 'is', 'are')} here"
    alone = "the only member of the committee is not here"
    then = "the round goes on when they come back, or with another committee once every proposer was tried"
    return f"{who if members > 1 else alone}: {then}"
