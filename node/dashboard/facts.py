"""What one commit says, in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

from ...protocol.commit import Commit, decode_commit, open_contribution
from ...protocol.errors import RemoteProtocolError
from ..errors import UserError
from ..store import Store


@dataclass(frozen=True)
class Refusal:
    """One contribution that a commit left out; `peer` is empty where nobody signed it."""

    peer: str
    reason: str


@dataclass(frozen=True)
class RoundFacts:
    """One commit. `time` is the proposer's clock in Unix seconds; `members` are the peers on its roster.

    `samples` and `size` (bytes) are of the `contributors` contributions that it merged. The loss is in nats a token, None for the
    root.
    """

    round: int
    commit: bytes
    state: bytes
    time: int
    method: str
    full: bool
    proposer: str
    loss: float | None
    total_samples: int
    members: frozenset[str]
    amendment: bytes | None
    contributors: int
    samples: int
    size: int
    refusals: tuple[Refusal, ...]


def read_commit(store: Store, digest: bytes) -> Commit:
    """Return a commit, past the store's cache: a history is read once. Raises UserError if its blob is gone."""
    data = store.blobs.read(digest)
    if data is None:
        raise UserError(f"the store lacks commit {digest.hex()[:16]}", "`collab-node fsck` says what else is wrong")
    return decode_commit(data)


def facts_of(commit: Commit) -> RoundFacts:
    """Return the facts of a commit."""
    claims = [claim for _, claim in commit.contributions()]
    blobs = [blob for claim in claims for blob in (claim.payload, claim.fisher) if blob is not None]
    return RoundFacts(
        round=commit.round,
        commit=commit.digest,
        state=commit.state,
        time=commit.time,
        method=commit.method,
        full=commit.full,
        proposer=commit.proposer,
        loss=commit.loss,
        total_samples=commit.samples,
        members=frozenset(member.peer for member in commit.roster),
        amendment=commit.amendment,
        contributors=len(claims),
        samples=sum(claim.samples for claim in claims),
        size=sum(blob.size for blob in blobs),
        refusals=tuple(Refusal(_signer(refused.envelope), refused.reason) for refused in commit.rejected),
    )


def _signer(envelope: bytes) -> str:
    try:
        return open_contribution(envelope)[0].signer
    except RemoteProtocolError:
        return ""  # not said by the peer that is named
