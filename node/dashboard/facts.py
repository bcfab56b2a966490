"""What one commit says, in plain numbers, read from a node's own store.

The store holds only what was verified before it was written, so signatures are not checked again: a history of a thousand rounds
with two hundred contributors each would take minutes of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...protocol.commit import Commit, decode_commit
from ...protocol.messages import Contribution, Signed
from ..errors import UserError
from ..reading import share_of
from ..store import Store


@dataclass(frozen=True)
class Claim:
    """One accepted contribution; `size` in bytes, `share` of the merge from 0 to 1, `loss` in nats a token."""

    peer: str
    samples: int
    loss: float
    size: int
    share: float


@dataclass(frozen=True)
class Refusal:
    """One contribution that a commit left out."""

    peer: str
    reason: str


@dataclass(frozen=True)
class RoundFacts:
    """One commit. `time` is the proposer's clock in Unix seconds; `members` are the peers on its roster, with their last round.

    A loss is in nats a token, None for the root.
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
    members: dict[str, int]
    claims: tuple[Claim, ...]
    refusals: tuple[Refusal, ...]

    @property
    def samples(self) -> int:
        """Samples of all accepted contributions."""
        return sum(claim.samples for claim in self.claims)

    @property
    def size(self) -> int:
        """Bytes of all accepted payloads."""
        return sum(claim.size for claim in self.claims)


def read_facts(store: Store, digest: bytes) -> RoundFacts:
    """Return the facts of a commit of the store. Raises UserError if its blob is gone, RemoteProtocolError if it is damaged."""
    data = store.blobs.read(digest)
    if data is None:
        raise UserError(f"the store lacks commit {digest.hex()[:16]}", "`collab-node join` fetches it again")
    return facts_of(digest, decode_commit(data))


def facts_of(digest: bytes, commit: Commit) -> RoundFacts:
    """Return the facts of a commit."""
    return RoundFacts(
        round=commit.round,
        commit=digest,
        state=commit.state,
        time=commit.time,
        method=commit.method,
        full=commit.full,
        proposer=commit.proposer,
        loss=commit.loss,
        total_samples=commit.samples,
        members={member.peer: member.last for member in commit.roster},
        claims=tuple(_claim(accepted.envelope, float(share_of(accepted))) for accepted in commit.accepted),
        refusals=tuple(Refusal(Signed.decode(refused.envelope).signer, refused.reason) for refused in commit.rejected),
    )


def _claim(envelope: bytes, share: float) -> Claim:
    signed = Signed.decode(envelope)
    said = Contribution.decode(signed.body)
    size = said.payload.size + (said.fisher.size if said.fisher is not None else 0)
    return Claim(signed.signer, said.samples, said.loss, size, share)
