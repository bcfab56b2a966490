"""The amendments of an event that a node knows, and which of them count.

They make a chain; two that follow the same one (coordinators who did not know of each other's) make a fork. A commit names the
newest amendment that its proposer has applied, and names only go forward along the chain: from the first commit that names one of
two on, that one counts, for everyone and for ever. Until then it is the one with the smaller digest, so that nobody is in doubt
once he has seen both; the other is void, and has to be made again.

What is in force in a round follows from the history alone: the recipe, the committee and the coordinators from what the *base*
names, so that everybody knows them when the round begins; who may take part, and whether the event goes on, from what the round's
own commit names, so that a ban counts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..commit import Commit
from ..errors import RemoteProtocolError
from ..event import EventManifest
from .amendment import SignedAmendment
from .signers import Signers, in_turn
from .state import InForce

MAX_AMENDMENTS = 2048
_EVENTS = 64


class Amendments:
    """All that is known; each was checked before it came in."""

    def __init__(self, event: EventManifest, known: Iterable[SignedAmendment] = ()) -> None:
        """`known` are in an order in which each follows those before. Raises RemoteProtocolError as `add` does."""
        self._states: dict[bytes | None, InForce] = {None: InForce.at_first(event)}
        self._signed: dict[bytes, SignedAmendment] = {}
        self._children: dict[bytes | None, list[bytes]] = {}
        self._events: dict[tuple[bytes | None, bytes | None, int], EventManifest] = {}
        for signed in known:
            self.add(signed)

    def __contains__(self, digest: object) -> bool:
        return digest in self._states

    def __len__(self) -> int:
        return len(self._signed)

    def add(self, signed: SignedAmendment) -> bool:
        """Take in an amendment; False if it is known. Raises RemoteProtocolError; "unknown_previous" if a gap is before it."""
        amendment = signed.content
        if amendment.digest in self._signed:
            return False
        if len(self._signed) >= MAX_AMENDMENTS:
            raise RemoteProtocolError("too_many_amendments")
        before = self._states.get(amendment.previous)
        if before is None:
            raise RemoteProtocolError("unknown_previous", f"amendment {amendment.number}")
        self._states[amendment.digest] = before.after(signed)
        self._signed[amendment.digest] = signed
        self._children.setdefault(amendment.previous, []).append(amendment.digest)
        return True

    def state(self, digest: bytes | None) -> InForce:
        """Return what is in force with the amendment of this digest, None for none. Raises RemoteProtocolError."""
        found = self._states.get(digest)
        if found is None:
            raise RemoteProtocolError("unknown_amendment", "" if digest is None else digest.hex()[:16])
        return found

    def newest(self, named: bytes | None = None) -> InForce:
        """Return what is in force with everything that follows the amendment that the newest commit names."""
        while children := self._children.get(named):
            named = min(children)
        return self.state(named)

    def chain(self, named: bytes | None = None) -> list[SignedAmendment]:
        """Return what counts, oldest first, given what the newest commit names."""
        return self._until(self.newest(named).digest)

    def _until(self, digest: bytes | None) -> list[SignedAmendment]:
        found = []
        while digest is not None:
            found.append(self._signed[digest])
            digest = self._signed[digest].content.previous
        return found[::-1]

    def signers(self, digest: bytes | None) -> list[Signers]:
        """Return who signs for the event with the amendment of this digest, last, and who did in turn before, oldest first.

        Raises RemoteProtocolError: "unknown_amendment".
        """
        self.state(digest)
        return in_turn([self.state(None), *(self.state(signed.name) for signed in self._until(digest))])

    def after(self, number: int) -> list[SignedAmendment]:
        """Return all with a number above `number`, forks included, by number."""
        later = [signed for signed in self._signed.values() if signed.content.number > number]
        return sorted(later, key=lambda signed: (signed.content.number, signed.name))

    def follows(self, newer: bytes | None, older: bytes | None) -> bool:
        """Say whether `newer` is `older` or comes after it on one chain. Raises RemoteProtocolError for an unknown one."""
        least = self.state(older).number
        at = newer
        while self.state(at).number > least:
            assert at is not None
            at = self._signed[at].content.previous
        return at == older

    def event(self, base: Commit, named: bytes | None) -> EventManifest:
        """Return the event in force for a commit on `base` that names the amendment `named`.

        Raises RemoteProtocolError: "unknown_amendment", or "wrong_amendment" if it does not follow the one that the base names.
        """
        if not self.follows(named, base.amendment):
            raise RemoteProtocolError("wrong_amendment", "not after the one that the base names")
        state = self.state(base.amendment)
        recipes = sum(change.from_round <= base.round + 1 for change in state.changes)
        key = (base.amendment, named, recipes)
        if key not in self._events:
            if len(self._events) >= _EVENTS:
                self._events.clear()
            self._events[key] = state.event(base.round + 1, self.state(named))
        return self._events[key]

    def rules(self, lookup: Callable[[bytes], Commit]) -> Callable[[Commit], EventManifest]:
        """Return what gives the event in force for a commit of a round; `lookup` returns its base, given its digest."""
        return lambda commit: self.event(lookup(commit.base), commit.amendment)

    def event_on(self, base: Commit) -> EventManifest:
        """Return the event as `base` leaves it: what draws the committee, and what trainers train by."""
        return self.event(base, base.amendment)


def amended(event: EventManifest, chain: Iterable[SignedAmendment]) -> InForce:
    """Return what is in force with a whole chain, oldest first. Raises RemoteProtocolError for the first that breaks a rule."""
    state = InForce.at_first(event)
    for signed in chain:
        state = state.after(signed)
    return state
