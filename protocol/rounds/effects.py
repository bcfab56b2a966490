"""What the round machine asks its driver to do: frozen values, in the order in which they are to be done.

The machine does no I/O. Each of its inputs returns a list of these; the driver works through the list from front to back, and
answers those that say so by calling the machine's method named in the docstring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..commit import Certificate, Commit
from ..identity import PeerId
from ..merging import Draft
from ..messages import Blob, Contribution, Signed
from .state import VotingState


@dataclass(frozen=True)
class Send:
    """Gossip this envelope to everyone. Often our own words; sometimes someone else's contribution that a proposer missed."""

    signed: Signed


@dataclass(frozen=True)
class Persist:
    """Make this record durable before any later effect of the list is done; the newest one for a base is the one to restore."""

    state: VotingState


@dataclass(frozen=True)
class CloseTraining:
    """Stop taking inner steps; make the contribution and answer `contributed`. Once a round at most.

    `reason`: "steps" (all inner steps taken), "target" (the swarm's samples), "deadline", or "others" (every trainer is done;
    only where this node does not train).
    """

    reason: str


@dataclass(frozen=True)
class CheckPayload:
    """Fetch and inspect the payloads of a contribution; answer `checked(signed.digest, norm or reason)`."""

    signed: Signed
    contribution: Contribution


@dataclass(frozen=True)
class BuildCommit:
    """Merge the payloads that the draft lists; answer `built(draft.key, state hash or None)`.

    In an event with gates, run those of rounds on the candidate first. If one fails, find the contributions at fault and answer
    `failed_gate(draft.key, digests of their envelopes, reason)` instead: a draft without them is then built.
    """

    draft: Draft


@dataclass(frozen=True)
class KeepCommit:
    """Store this commit and serve it to others: we are about to propose it."""

    commit: Commit


@dataclass(frozen=True)
class FetchCommit:
    """Fetch a proposed commit, from `sources` or anyone; answer `commit_fetched(commit)` or `commit_missing(blob.sha256)`."""

    blob: Blob
    sources: tuple[PeerId, ...]


@dataclass(frozen=True)
class ReplayCommit:
    """Replay a commit's merge; compare its state hash and every clip; answer `replayed(commit.digest, None or reason)`.

    In an event with gates, run those of rounds on the candidate, `gates.relaxed` with this `patience`; the reason is
    `gates.refusal_of` the one that clearly fails.
    """

    commit: Commit
    patience: int = 0


@dataclass(frozen=True)
class CheckRefusals:
    """Run again the gates for which a commit leaves contributions out.

    Answer `refusals_checked(commit.digest, digests of those envelopes whose refusal is right)`.
    """

    commit: Commit


@dataclass(frozen=True)
class Finalise:
    """The round is over: `commit` is final and `certificate` proves it. Add both to the history, start the next round on it."""

    commit: Commit
    certificate: Certificate


@dataclass(frozen=True)
class Behind:
    """A peer speaks of a base that our history lacks: ask it, or anyone, for the history up to there."""

    peer: PeerId
    base: bytes
    round: int


@dataclass(frozen=True)
class Ahead:
    """A peer is on an older base of our chain: our head and its certificate would help it."""

    peer: PeerId


@dataclass(frozen=True)
class Refused:
    """Something from a peer was not accepted. `reason` is a short word for a metric's label; it lowers the peer's standing."""

    peer: PeerId
    reason: str
    detail: str = ""


Effect: TypeAlias = (
    Send | Persist | CloseTraining | CheckPayload | BuildCommit | KeepCommit | FetchCommit | ReplayCommit
    | CheckRefusals | Finalise | Behind | Ahead | Refused
)  # fmt: skip
