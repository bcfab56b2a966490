"""Which contributions a round waits for, and the draft that is made of those that came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..admission import SHUT_OUT, USED_UP, too_many
from ..carried import Opened, choose_verdicts
from ..commit import Certificate
from ..identity import PeerId
from ..merging import MAX_ACCEPTED, MAX_DEPARTED, MAX_REJECTED, Draft, clip_of, make_draft
from .pool import UNAVAILABLE, Claim, Pool
from .presence import Presence
from .setting import Setting


class Gathering:
    """Joins who is here (`Presence`) with what came in (`Pool`). `verdicts`: those that no ancestor of the draft carries yet."""

    def __init__(self, setting: Setting, pool: Pool, presence: Presence) -> None:
        self._setting = setting
        self._pool = pool
        self._presence = presence
        self.verdicts: Sequence[Opened] = ()

    def has_contributed(self, peer: PeerId, *, checked: bool) -> bool:
        """Say whether a peer's contribution on this base is here (and, if asked, checked: accepted or refused)."""
        claim = self._pool.get((peer, self._setting.base.digest))
        return claim is not None and (not checked or claim.verdict is not None or claim.twin is not None)

    def is_done(self, peer: PeerId) -> bool:
        """Say whether a peer trains no more in this round, as far as we heard."""
        progress = self._presence.newest(peer)
        return (progress is not None and progress.done) or self.has_contributed(peer, checked=False)

    def everyone_is_done(self, now: float) -> bool:
        """Say whether there are trainers and all of them have finished: for a node that does not train itself."""
        training = self._presence.training(now)
        return all(map(self.is_done, training)) and (bool(training) or len(self._pool) > 0)

    def has_enough(self, *, checked: bool) -> bool:
        """Say whether there is enough to merge; a node that checks no payloads goes by what was not refused."""
        return self.lacking(checked=checked) == 0

    def lacking(self, *, checked: bool) -> int:
        """Return how many contributions there are too few for a merge."""
        counted = [claim for claim in self._pool if self._counts(claim, checked=checked)]
        late = self._late(claim for claim in counted if not claim.fails_a_gate)
        return max(0, self._setting.event.rounds.min_contributors - (len(counted) - len(late)))

    @staticmethod
    def _counts(claim: Claim, *, checked: bool) -> bool:
        return claim.fails_a_gate or (claim.norm is not None if checked else claim.refusal is None)

    def _late(self, claims: Iterable[Claim]) -> frozenset[bytes]:
        """Return those (envelopes' digests) for whom their token has no place left, if `claims` were merged together."""
        setting = self._setting
        return too_many(setting.event, setting.ancestry.admitted, ((claim.signed, claim.contribution) for claim in claims))

    def is_complete(self, now: float, *, checked: bool) -> bool:
        """Say whether everyone who trains here has contributed, we included."""
        setting = self._setting
        own = not setting.trains or self.has_contributed(setting.me, checked=checked)
        return own and all(self.has_contributed(peer, checked=checked) for peer in self._presence.training(now))

    def draft(self, certificate: Certificate | None) -> Draft | None:
        """Return a draft of all that is known; None while there is too little. `certificate` is what made the base final.

        Contributions that a gate refused count: their peers have no others on this base, and waiting would wait for ever.
        """
        setting = self._setting
        if not self.has_enough(checked=True):
            return None
        sound = [claim for claim in self._pool if claim.norm is not None][:MAX_ACCEPTED]
        late = self._late(sound)
        accepted = [claim for claim in sound if claim.signed.digest not in late]
        crowded = [(claim.signed, USED_UP) for claim in sound if claim.signed.digest in late][: MAX_REJECTED // 4]
        known = [claim for claim in self._pool if claim.verdict not in SHUT_OUT]  # what they sent is no part of the history
        twofold = [(claim, claim.twin) for claim in known if claim.twin is not None][: MAX_REJECTED // 4]
        refused = [claim for claim in known if claim.norm is None and claim.twin is None]
        refused = sorted(refused, key=lambda claim: not claim.fails_a_gate)[: MAX_REJECTED // 4]
        members = {member.peer for member in setting.base.roster}
        farewells = [signed for peer, signed in self._presence.goodbyes.items() if peer in members]
        return make_draft(
            setting.event,
            setting.ancestry,
            accepted=[(claim.signed, claim.contribution, clip_of(setting.event, claim.norm or 0.0)) for claim in accepted],
            rejected=[(signed, claim.refusal or UNAVAILABLE) for claim, twin in twofold for signed in (claim.signed, twin)]
            + [(claim.signed, claim.refusal or UNAVAILABLE) for claim in refused]
            + crowded,
            departed=farewells[:MAX_DEPARTED],
            certificate=certificate,
            proposer=setting.me,
            amendment=setting.in_force.digest,
            verdicts=choose_verdicts(setting.event, setting.ancestry, self.verdicts),
        )
