"""The phases of a round, as data: what a display shows, and when each of them ends."""

from enum import Enum


class Phase(Enum):
    """Where a node stands in the round of one base commit."""

    TRAINING = "training"
    COLLECTING = "collecting"
    VOTING = "voting"
    FINAL = "final"


class Turning(Enum):
    """What ends a phase."""

    CLOSED = "our training closed"
    VOTE = "a proposal is due, or was made"
    DECIDED = "a commit is final"


# A vote may begin while this node still trains: the swarm does not wait for the slowest, whose contribution becomes a stale one.
TRANSITIONS: dict[tuple[Phase, Turning], Phase] = {
    (Phase.TRAINING, Turning.CLOSED): Phase.COLLECTING,
    (Phase.TRAINING, Turning.VOTE): Phase.VOTING,
    (Phase.COLLECTING, Turning.VOTE): Phase.VOTING,
    (Phase.VOTING, Turning.CLOSED): Phase.VOTING,
    (Phase.TRAINING, Turning.DECIDED): Phase.FINAL,
    (Phase.COLLECTING, Turning.DECIDED): Phase.FINAL,
    (Phase.VOTING, Turning.DECIDED): Phase.FINAL,
}
