"""What several peers measured of what is to be released: gathered, counted, and not believed where it contradicts itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from ...protocol.commit import Commit
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.gates import OwnGate
from ...protocol.identity import Identity, PeerId
from ...protocol.messages import Signed
from ...protocol.release import MAX_DESPITE, MAX_RELEASE_VERDICTS
from ...protocol.verdict import contradictions, open_about, open_verdict, too_few
from ..errors import UsageError, UserError
from ..gates.verdicts import verdicts_of
from ..modules.index import Index
from ..store import Store


@dataclass(frozen=True)
class Wish:
    """What a maintainer wants of a release. `version`: that one, or higher than the computed one never lower.

    `verdicts` are those beside what the store has; of each gate those of at least `require` peers are needed. `despite`: why it
    is released although they contradict each other. `index`: packages; those that require the last release are re-tested. `gates`
    are the maintainer's own, beside the event's.
    """

    version: str
    message: str
    licence: str
    verdicts: Sequence[Signed]
    require: int = 1
    despite: str = ""
    index: Index | None = None
    gates: Sequence[OwnGate] = ()


def gathered(event: EventManifest, store: Store, commit: Commit, against: bytes, given: Iterable[Signed]) -> list[Signed]:
    """Return the verdicts on a commit against the state of the last release: those given, and those that the store has.

    Each once, in the order of their digests; those of banned peers do not count. Raises UserError for one about something else.
    Of more than a record has room for, those given are in it, then what failed, then peers in turn on each gate.
    """
    found = {held.signed.digest: held.signed for held in verdicts_of(store, commit, against)}
    named = {signed.digest: signed for signed in given}
    for signed in named.values():
        try:
            open_about(signed, event.digest, commit.state, against)
        except RemoteProtocolError as error:
            raise UserError(f"a verdict does not count: {error}") from error
    found |= named
    if len(named) > MAX_RELEASE_VERDICTS:
        raise UserError(f"there are {len(named)} verdicts, a release has at most {MAX_RELEASE_VERDICTS}", "give fewer files")
    chosen = [found[digest] for digest in sorted(found) if found[digest].signer not in event.admission.banned]
    return sorted(sorted(chosen, key=_Turns(named))[:MAX_RELEASE_VERDICTS], key=lambda signed: signed.digest)


class _Turns:
    """A key that sorts verdicts by how much a record needs them; `named` are the digests of those that it must have."""

    def __init__(self, named: Container[bytes]) -> None:
        self._named = named
        self._words: Counter[tuple[PeerId, str]] = Counter()
        self._peers: Counter[tuple[str, int]] = Counter()

    def __call__(self, signed: Signed) -> tuple[bool, bool, int, int]:
        measured = open_verdict(signed).measurement
        word = self._words[signed.signer, measured.gate]
        peer = self._peers[measured.gate, word]
        self._words[signed.signer, measured.gate] += 1
        self._peers[measured.gate, word] += 1
        return signed.digest not in self._named, measured.passed, word, peer


def check_opinions(event: EventManifest, verdicts: Sequence[Signed], wish: Wish, coming: Identity | None = None) -> None:
    """Raise UserError if a gate has verdicts of too few peers, or if some contradict others and there is no reason given.

    `coming`: whose verdicts on all gates are still to be made, and will count.
    """
    if len(wish.despite) > MAX_DESPITE:
        raise UsageError(f"the reason has {len(wish.despite)} characters, {MAX_DESPITE} are allowed")
    opened = [(signed.signer, open_verdict(signed)) for signed in verdicts]
    said = [(peer, verdict.measurement.gate) for peer, verdict in opened]
    said += [(coming.peer_id, gate.name) for gate in event.gate if coming is not None]
    if (lacking := too_few(event.gate, said, wish.require)) is not None:
        hint = "other peers run `gate run REV --against LAST --json --sign`, and you `verdict add FILE`"
        raise UserError(lacking, hint)
    if not wish.despite and (against := contradictions(opened)):
        hint = "see `collab-node verdicts`; `verdict drop` what is wrong, or --despite-contradictions REASON: the worst counts"
        raise UserError("verdicts contradict each other: " + "; ".join(against), hint)
