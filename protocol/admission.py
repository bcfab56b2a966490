"""Who may contribute to an event: everyone, or whoever was invited; nobody who is banned.

An invited peer shows a signature over the event and its PeerId: by the admission key itself (as all invites did before there were
tokens; they are good for ever), or by a token with terms (`protocol/tokens.py`). Terms are judged against the history and nothing
else, so that every node comes to the same answer, today and when it replays:

- **Getting in** is a peer's first merged contribution. The terms say who may get in; who is in stays, past the expiry too, and
  when the token is revoked. To get rid of somebody there is a ban.
- **Revoking** is an amendment (`protocol/amendments`), which commits name: it counts from the first commit on that follows it.
- **Uses.** The first N peers in the history's order are in: by commit, and within a commit by the envelopes' hashes. Those that
  come too late for the last place are listed as refused, and `verify_commit` holds a proposer to that.
- **Expiry.** The time of a history is the median of its newest commits' times (as in Bitcoin, BIP 113). A commit's time is its
  proposer's clock, so one liar, or some, move it by little; more than half of the newest commits' proposers would have to lie.

What this does not hold against: the median is about half of `TIMES` rounds old, so that an expired token still works for some
rounds, and in a swarm that sleeps until it wakes. A volunteer's own node goes by its own clock before that, which stops who is
honest (`node/event/admitting.py`). A peer that the proposer keeps out of a commit waits for the next proposer. When the event is
handed over to another coordinator, tokens that the former one signed let nobody in any more; the admission key's still do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median_low

from .amendments.event import AmendedEvent
from .commit import Commit
from .event import EventManifest
from .identity import Identity, PeerId, peer_id_of, verify
from .messages import Contribution, Signed, admission_bytes
from .tokens import Terms, TokenProof

TIMES = 11
EXPIRED, USED_UP, REVOKED = "invite_expired", "invite_used_up", "invite_revoked"
SHUT_OUT = frozenset({"banned", "not_invited", EXPIRED, USED_UP, REVOKED})
"""The reasons that `refusal` gives."""


@dataclass(frozen=True)
class Admitted:
    """Who got in by which token up to a commit, and the times of the newest commits (Unix seconds)."""

    peers: Mapping[bytes, frozenset[PeerId]] = field(default_factory=dict)
    times: tuple[int, ...] = ()

    @property
    def time(self) -> int:
        """The history's time in Unix seconds; 0 before the first commit."""
        return median_low(self.times) if self.times else 0

    def by(self, token: bytes) -> frozenset[PeerId]:
        """Return who got in by a token."""
        return self.peers.get(token, frozenset())

    def has(self, peer: PeerId) -> bool:
        """Say whether `peer` got in by any token."""
        return any(peer in inside for inside in self.peers.values())

    def after(self, event: EventManifest, commit: Commit) -> Admitted:
        """Return what holds after the next commit; `event` is in force for it.

        Raises RemoteProtocolError if a contribution in it is not what it says.
        """
        if event.admission.key is None:
            return self
        peers = dict(self.peers)
        for signer, proof in _shown(event, commit.contributions()):
            peers[proof.token] = peers.get(proof.token, frozenset()) | {signer}
        return Admitted(peers if peers != self.peers else self.peers, (*self.times, commit.time)[-TIMES:])


NOBODY = Admitted()


def issuers(event: EventManifest) -> tuple[PeerId, ...]:
    """Return whose signatures make a token's terms good: none in an open event, which needs no tokens."""
    return () if event.admission.key is None else (event.admission.key, event.coordinator)


def needs_no_invite(event: EventManifest, peer: PeerId) -> bool:
    """Say whether `peer` needs no invite."""
    return event.admission.key is None or (isinstance(event, AmendedEvent) and peer in event.admitted)


def refusal(
    event: EventManifest, peer: PeerId, admission: bytes | TokenProof | None, admitted: Admitted = NOBODY
) -> str | None:
    """Return why `peer` may not contribute (one of SHUT_OUT), or None if it may.

    `admission` is what the peer shows (an open event needs nothing), `admitted` who got in before.
    """
    if peer in event.admission.banned:
        return "banned"
    if needs_no_invite(event, peer):
        return None
    if isinstance(admission, TokenProof):
        return _token_refusal(event, peer, admission, admitted)
    key = event.admission.key
    invited = key is not None and admission is not None and verify(key, admission, admission_bytes(event.digest, peer))
    return None if invited else "not_invited"


def _token_refusal(event: EventManifest, peer: PeerId, proof: TokenProof, admitted: Admitted) -> str | None:
    inside, terms = admitted.by(proof.token), proof.terms
    if peer in inside:
        return None
    if not _is_genuine(event.digest, issuers(event), peer, proof):
        return "not_invited"
    if isinstance(event, AmendedEvent) and proof.token in event.revoked:
        return REVOKED
    if 0 < terms.expires <= admitted.time:
        return EXPIRED
    return USED_UP if 0 < terms.uses <= len(inside) else None


@lru_cache(maxsize=8192)
def _is_genuine(event: bytes, issuers: tuple[PeerId, ...], peer: PeerId, proof: TokenProof) -> bool:
    shown = verify(peer_id_of(proof.token), proof.signature, admission_bytes(event, peer))
    return shown and proof.terms.are_by(issuers, event, proof.token)


def _shown(event: EventManifest, claims: Iterable[tuple[Signed, Contribution]]) -> Iterator[tuple[PeerId, TokenProof]]:
    """Yield who shows which token, of those that get in by it."""
    for signed, claim in claims:
        peer, proof = signed.signer, claim.admission
        if not isinstance(proof, TokenProof) or needs_no_invite(event, peer):
            continue
        if _is_genuine(event.digest, issuers(event), peer, proof):
            yield peer, proof


def too_many(event: EventManifest, admitted: Admitted, claims: Iterable[tuple[Signed, Contribution]]) -> frozenset[bytes]:
    """Return the envelopes (digests) of newcomers for whom their token has no place left, if `claims` were merged together.

    None of the claims is refused on its own. Places go in the order of the envelopes' digests.
    """
    inside: dict[bytes, set[PeerId]] = {}
    late = set()
    for entry in sorted(claims, key=lambda entry: entry[0].digest):
        for signer, proof in _shown(event, [entry]):
            peers = inside.setdefault(proof.token, set(admitted.by(proof.token)))
            if signer in peers or not proof.terms.uses or len(peers) < proof.terms.uses:
                peers.add(signer)
            else:
                late.add(entry[0].digest)
    return frozenset(late)


def admit(event: EventManifest, peer: PeerId, token: bytes, terms: Terms | None = None) -> bytes | TokenProof:
    """Return what `peer` shows, given the 32-byte seed in an invite; without `terms` it is the admission key's."""
    key = Identity(token)
    signature = key.sign(admission_bytes(event.digest, peer))
    return signature if terms is None else TokenProof(token=key.public_key, terms=terms, signature=signature)
