"""Who may certify for an event what a commit's history says: those who sign for it there, and those who sign for it now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ...protocol.amendments import Signers
from ...protocol.identity import PeerId
from ..amendments.making import standing
from ..errors import UserError
from ..home import EventFolder
from ..store import Store


@dataclass(frozen=True)
class Certifiers:
    """`entitled` may certify what the commit in question says; `former` could at other commits only. `noun` is what they are."""

    noun: str
    entitled: tuple[Signers, ...]
    former: frozenset[PeerId]

    @classmethod
    def of(cls, folder: EventFolder, store: Store, commit: bytes) -> Certifiers:
        """Return who may certify what the history up to `commit` says, as far as this home knows. Raises UserError."""
        event = folder.manifest().open()
        amendments = store.amendments.of(event)
        in_turn = amendments.signers(standing(folder, store).in_force.digest)
        noun = "maintainer" if event.maintainers else "coordinator"
        if not store.on_chain(commit):
            return cls(noun, (in_turn[-1],), frozenset())
        entitled = tuple(dict.fromkeys((in_turn[-1], amendments.signers(store.commit(commit).amendment)[-1])))
        may = {peer for signers in entitled for peer in signers.keys}
        return cls(noun, entitled, frozenset(peer for signers in in_turn for peer in signers.keys) - may)

    def missing(self, signed: Collection[PeerId]) -> int:
        """Return how many have to sign yet to make a certificate the event's."""
        return min(signers.missing(signed) for signers in self.entitled)

    @property
    def words(self) -> str:
        """Who has to sign."""
        signers = self.entitled[0]
        return f"{signers.threshold} of {', '.join(signers.keys)}"

    def role(self, signed: Collection[PeerId], *, own: bool) -> str:
        """Return what those who signed are to the event; `own`: the issuer certifies himself.

        Raises UserError if somebody signed who did so for the event at another time, but not at that commit.
        """
        missing = self.missing(signed)
        if not missing:
            several = max(signers.threshold for signers in self.entitled if not signers.missing(signed)) > 1
            return f"the event's {self.noun}{'s' if several else ''}"
        if own:
            return "the contributor"
        if gone := sorted(self.former & set(signed)):
            who = f"{', '.join(gone)}, who did not sign for the event any more at that commit"
            raise UserError(f"the certificate is by {who}", f"ask for one by {self.words}")
        if any(signers.missing(signed) < signers.threshold for signers in self.entitled):
            return f"a {self.noun} of the event, {missing} more of whom must sign"
        return "another peer"
