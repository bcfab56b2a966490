"""How verdicts travel: a node tells everybody of those that it made or was given, hears others', and hands on what waits.

Gossip brings one in seconds, and the next commit carries it (`protocol/carried.py`): so whoever comes later has it with the
history. What no commit carries yet, as when the event is over, a node that was not there asks any peer for, now and then.

What waits is bounded, because anyone may sign: only what may stand in a commit and is about two versions that are here, so many
of each peer, and so many in all. A verdict that only compares a version with the one before it, as every round brings, goes when
it is old; one that spans more, as a release is tested, waits until a commit carries it. What the owner of the store put there is
not bounded, and does not go.
"""

from __future__ import annotations

import random
from asyncio import sleep
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from ...protocol.canonical import DOCUMENT_LIMITS
from ...protocol.carried import Opened, verdict_problem
from ...protocol.errors import RemoteProtocolError
from ...protocol.exchange import VERDICTS_A_REPLY, VERDICTS_KNOWN, VerdictsReply, VerdictsRequest
from ...protocol.history import History
from ...protocol.identity import Identity
from ...protocol.messages import MAX_NOTICED, Signed, VerdictNotice
from ...protocol.verdict import Verdict, read_verdict
from ..net.errors import NetworkError
from ..net.rpc import Rpc
from ..store import Store

log = structlog.get_logger()

VERDICTS = "verdicts"
STALE, UNKNOWN, TOO_MANY = "stale", "unknown_version", "too_many_verdicts"
_ASK_SECONDS = 30.0
_REPLY_BYTES = 256 * 1024
_PAGE_BYTES = 192 * 1024
_ROUNDS = 32
_OF_A_PEER = 128
_OF_STRANGERS = 256
_IN_ALL = VERDICTS_KNOWN


class Sharing:
    """The verdicts of a running node. `on_new` is called when some came in."""

    def __init__(
        self, identity: Identity, history: History, store: Store, publish: Callable[[Signed], Awaitable[None]],
        on_new: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.on_new = on_new
        self._identity = identity
        self._history = history
        self._store = store
        self._publish = publish
        self._versions = _Versions(history, store)
        self._told: set[bytes] = set()

    def waiting(self) -> list[Opened]:
        """Return what a commit may carry, as far as this node knows: what spans more than a round first."""
        rules = _Rules(self._history, self._versions)
        allowed = [each for each in self._store.verdicts.waiting() if rules.problem(*each) is None]
        return sorted(allowed, key=lambda each: self._versions.age(each[1]) is not None)

    # Hearing

    def hear(self, notice: Signed) -> list[str]:
        """Keep what is new in a notice; return why the others are refused, a word each. Raises RemoteProtocolError."""
        found = notice.open_as(VerdictNotice)
        if found.event != self._history.event.digest:
            raise RemoteProtocolError("wrong_event")
        return self._take(found.verdicts)

    def _take(self, envelopes: Sequence[bytes]) -> list[str]:
        """Keep what is new of these; return why some are refused. Raises RemoteProtocolError if one is no verdict."""
        verdicts = self._store.verdicts
        new = [each for each in map(read_verdict, envelopes) if not verdicts.knows(*each)]
        if not new:
            return []
        rules, room, refused = _Rules(self._history, self._versions), _Room(self._history, verdicts.heard()), list[str]()
        with self._store.transaction():
            for signed, verdict in new:
                problem = rules.problem(signed, verdict) or room.problem(signed)
                if problem is not None:
                    refused.append(problem)
                elif verdicts.hear(signed):
                    room.take(signed)
                    log.debug("verdict", gate=verdict.measurement.gate, peer=signed.signer[-8:])
        if len(refused) < len(new):
            self.on_new()
        return refused

    # Telling

    async def tell(self) -> None:
        """Tell everybody of what came into the store by another way than from them, and forget what is too old."""
        verdicts = self._store.verdicts
        waiting, heard = verdicts.waiting(), verdicts.heard()
        rules = _Rules(self._history, self._versions)
        verdicts.forget([signed.digest for signed, verdict in waiting if signed.digest in heard and rules.is_stale(verdict)])
        ours = [each for each in waiting if heard.get(each[0].digest, self._identity.peer_id) == self._identity.peer_id]
        new = [signed for signed, verdict in ours if signed.digest not in self._told and rules.problem(signed, verdict) is None]
        self._told &= {signed.digest for signed, _ in ours}
        for start in range(0, len(new), MAX_NOTICED):
            batch = new[start : start + MAX_NOTICED]
            notice = VerdictNotice(event=self._history.event.digest, verdicts=tuple(signed.encode() for signed in batch))
            await self._publish(Signed.seal(self._identity, notice))
            self._told |= {signed.digest for signed in batch}
        if new:
            self.on_new()

    # Who was not there

    def register(self, rpc: Rpc) -> None:
        """Answer those who ask, from now on."""
        rpc.register(VERDICTS, self._answer)

    async def _answer(self, peer: str, body: bytes) -> bytes:
        request = VerdictsRequest.decode(body)
        if request.event != self._history.event.digest:
            raise RemoteProtocolError("unknown_event")
        known, page = set(request.known), list[bytes]()
        for envelope in (signed.encode() for signed, _ in self.waiting() if signed.digest not in known):
            if len(page) == VERDICTS_A_REPLY or sum(map(len, page)) + len(envelope) > _PAGE_BYTES:
                break
            page.append(envelope)
        return VerdictsReply(verdicts=tuple(page)).encode()

    async def ask(self, rpc: Rpc, peer: str) -> None:
        """Take over what waits at a peer and not here. Raises NetworkError, and RemoteProtocolError if it lies."""
        known = tuple(signed.digest for signed, _ in self._store.verdicts.waiting())[:VERDICTS_KNOWN]
        body = VerdictsRequest(event=self._history.event.digest, known=known).encode()
        reply = await rpc.call(peer, VERDICTS, body, limit=_REPLY_BYTES)
        self._take(VerdictsReply.decode(reply, DOCUMENT_LIMITS).verdicts)

    async def run(self, rpc: Rpc, peers: Callable[[], list[str]]) -> None:
        """Tell everybody what is new, and ask somebody now and then what is waiting there, for ever."""
        while True:
            await self.tell()
            if likely := peers():
                with suppress(NetworkError, RemoteProtocolError):  # another time, another peer
                    await self.ask(rpc, random.choice(likely))
            await sleep(_ASK_SECONDS)


class _Versions:
    """The rounds of the versions here, by their state hashes: the chain's from memory, those of branches from the store."""

    def __init__(self, history: History, store: Store) -> None:
        self._history = history
        self._store = store
        self._seen: set[bytes] = set()
        self._rounds: dict[bytes, int] = {}

    def round(self, state: bytes) -> int | None:
        """Return the newest round with this state; None if there is none."""
        found = self._history.round_with(state)
        return self._rounds.get(state) if found is None else found

    def look(self) -> None:
        """Read what branches the store has got."""
        for at in self._store.refs.all().values():
            while at not in self._history and at not in self._seen and self._store.has_commit(at):
                self._seen.add(at)
                commit = self._store.commit(at)
                self._rounds[commit.state] = max(commit.round, self._rounds.get(commit.state, 0))
                at = commit.base

    def age(self, verdict: Verdict) -> int | None:
        """Return how many rounds ago a version was made that is only compared with the one before it; None if it spans more."""
        candidate, against = self.round(verdict.candidate), self.round(verdict.against)
        if candidate is None or against is None or candidate - against > 1:
            return None
        return self._history.head.round - candidate


class _Rules:
    """What may wait for the commit after the head."""

    def __init__(self, history: History, versions: _Versions) -> None:
        self._ancestry = history.ancestry(history.head.digest)
        self._event = history.amendments.event(history.head, history.in_force.digest)
        self._versions = versions
        versions.look()

    def problem(self, signed: Signed, verdict: Verdict) -> str | None:
        """Return why a verdict may not wait here, or None."""
        if None in (self._versions.round(verdict.candidate), self._versions.round(verdict.against)):
            return UNKNOWN  # said first: whoever is ahead of us is not to blame for it
        problem = verdict_problem(self._event, self._ancestry, signed, verdict)
        return problem or (STALE if self.is_stale(verdict) else None)

    def is_stale(self, verdict: Verdict) -> bool:
        """Say whether it is about an old round, and nothing more."""
        age = self._versions.age(verdict)
        return age is not None and age > _ROUNDS


class _Room:
    """How many verdicts may still be heard; whoever is not on the roster shares a part of it with others of his kind."""

    def __init__(self, history: History, heard: dict[bytes, str]) -> None:
        self._members = {member.peer for member in history.head.roster}
        self._of = Counter(heard.values())
        self._strangers = sum(count for peer, count in self._of.items() if peer not in self._members)

    def problem(self, signed: Signed) -> str | None:
        """Return why there is no room for one more, or None."""
        stranger = signed.signer not in self._members
        full = self._of[signed.signer] >= _OF_A_PEER or (stranger and self._strangers >= _OF_STRANGERS)
        return TOO_MANY if full or self._of.total() >= _IN_ALL else None

    def take(self, signed: Signed) -> None:
        """Count one more."""
        self._of[signed.signer] += 1
        self._strangers += signed.signer not in self._members
