"""Many nodes over a dictionary "internet" with a manual clock: loss, delay, duplication, reordering, partition, crash, restart.

`Node` is a small driver of the round machine: what the daemon does with sockets, a worker and a store, it does with dictionaries.
Training, payload checks, merges and replays are functions of hashes. A failure in a node fails the test.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

from rounds.worlds import contribution

from collab.protocol.admission import refusal
from collab.protocol.amendments import SignedAmendment
from collab.protocol.canonical import encode
from collab.protocol.commit import Commit
from collab.protocol.event import EventManifest
from collab.protocol.gates import refusal_of
from collab.protocol.history import History
from collab.protocol.identity import Identity
from collab.protocol.merging import clip_of, parts
from collab.protocol.messages import Contribution, Signed
from collab.protocol.record import sha256
from collab.protocol.rounds import effects as do
from collab.protocol.rounds.machine import RoundMachine
from collab.protocol.rounds.state import VotingState
from collab.protocol.tokens import TokenProof

PAYLOAD_LIMIT = 10_000


@dataclass
class Faults:
    """What the network does to a message; `groups` lists who can hear whom (all, if empty). Seconds and shares."""

    delay: tuple[float, float] = (0.01, 0.2)
    loss: float = 0.0
    duplicates: float = 0.0
    groups: list[set[str]] = field(default_factory=list)

    def connected(self, one: str, other: str) -> bool:
        """Say whether two peers hear each other."""
        return not self.groups or any(one in group and other in group for group in self.groups)


def norm_of(payload: bytes) -> float:
    """The norm that the fake payload with this hash has: up to 20, so that some are clipped."""
    return payload[0] / 12.8 + 0.1


def merged_state(base: bytes, draft: Commit) -> bytes:
    """The state hash of a fake merge."""
    listed = [
        [part.contribution.payload.sha256, str(part.share), part.clip] for part in parts(draft)
    ]
    return sha256(base + encode(listed))


class Node:
    """One peer: a history, a machine for its head, and what survives a crash."""

    def __init__(self, net: Net, identity: Identity, *, trains: bool = True) -> None:
        self.net = net
        self.identity = identity
        self.trains = trains
        self.admission: bytes | TokenProof | None = None
        self.alive = True
        self.history = History(net.event)
        self.durable: dict[bytes, VotingState] = {}
        self.store: dict[bytes, Commit] = {}
        self.claims: dict[bytes, Contribution] = {}
        self.refused: list[do.Refused] = []
        self.crash_on: Callable[[do.Effect], bool] = lambda effect: False
        self.train_seconds: Callable[[], float] = lambda: net.random.uniform(2.0, 6.0)
        self.life = 0
        self._armed = float("inf")
        self.machine = self._machine()

    @property
    def peer_id(self) -> str:
        """The node's peer id."""
        return self.identity.peer_id

    def boot(self) -> None:
        """Start, or start again after a crash."""
        self.alive = True
        self.life += 1
        self._armed = float("inf")
        self._begin()

    def crash(self) -> None:
        """Stop at once: what was not persisted is gone."""
        self.alive = False
        self.life += 1

    def wake(self) -> None:
        """Start again, if it is down."""
        if not self.alive:
            self.boot()

    def hear(self, signed: Signed) -> None:
        """An envelope arrives."""
        self._do(self.machine.receive(signed, self.net.now))

    def amend(self, *amendments: SignedAmendment) -> None:
        """Amendments arrive."""
        new = [signed for signed in amendments if self.history.amendments.add(signed)]
        if self.peer_id in self.history.in_force.banned:
            self.crash()  # as a daemon ends
        if new and self.alive:
            self._do(self.machine.amended(self.net.now))

    def sync(self, donor: Node) -> None:
        """Fetch what a donor has and we have not."""
        self.amend(*donor.history.amendments.after(0))
        common = donor.history.newest_common(self.history.locator())
        missing = donor.history.chain(common, donor.history.head.digest)
        certificate = donor.history.certificate(donor.history.head.digest)
        if missing and certificate is not None and self.history.extend(missing, certificate):
            self._begin()

    def _machine(self) -> RoundMachine:
        base = self.history.head.digest
        return RoundMachine(
            self.history,
            base,
            self.identity,
            trains=self.trains,
            payload_limit=PAYLOAD_LIMIT,
            sequence=self.life * 1_000_000,
            state=self.durable.get(base),
        )

    def _begin(self) -> None:
        if refusal(self.net.event, self.peer_id, self.admission, self.history.admitted) is not None:
            self.trains = False  # as the daemon, which ends then
        self._salvage()
        self.machine = machine = self._machine()
        self._do(machine.start(self.net.now))
        if machine is self.machine and self.alive and self.trains:
            self._rebase(machine)
            self._later(self.train_seconds(), lambda: self._train_to_the_end(machine))
        self._arm()

    def _salvage(self) -> None:
        """What was trained on a base that is no longer the head becomes a contribution to a later round."""
        base = self.machine.setting.base
        if self.trains and base.digest not in self.claims and base.digest != self.history.head.digest:
            self.claims[base.digest] = self._claim(base, steps=5)

    def _claim(self, base: Commit, steps: int = 10) -> Contribution:
        return contribution(self.net.event, base, self.peer_id.encode(), steps=steps, admission=self.admission)

    def _rebase(self, machine: RoundMachine) -> None:
        ancestry = machine.setting.ancestry
        for claim in list(self.claims.values()):
            age = ancestry.staleness(claim.base)
            if age and age <= self.net.event.rounds.max_staleness and not ancestry.is_spent(self.peer_id, claim.base):
                self._do(machine.contributed(claim, self.net.now))

    def _train_to_the_end(self, machine: RoundMachine) -> None:
        if machine is self.machine and machine.contribution is None:
            steps = self.net.event.inner.steps
            self._do(machine.progress(steps * self.net.event.inner.batch, steps, 2.0, 1.0, self.net.now, done=True))

    def _contribute(self) -> None:
        machine = self.machine
        if self.trains and machine.contribution is None:
            base = machine.setting.base
            claim = self._claim(base)
            self.claims = {base.digest: claim} | {old: self.claims[old] for old in list(self.claims)[:3]}
            self._do(machine.contributed(claim, self.net.now))

    def _do(self, effects: list[do.Effect]) -> None:
        for effect in effects:
            if self.crash_on(effect):
                self.crash()
            if not self.alive:
                return
            self._carry_out(effect)
        self._arm()

    def _carry_out(self, effect: do.Effect) -> None:
        now, machine = self.net.now, self.machine
        match effect:
            case do.Send(signed):
                self.net.broadcast(self, signed)
            case do.Persist(state):
                self.durable[state.base] = state
            case do.CloseTraining():
                self._later(0.1, lambda: self._contribute() if machine is self.machine else None)
            case do.CheckPayload(signed, claim):
                verdict = self.net.verdict(claim)
                self._answer(0.2, machine, lambda at: machine.checked(signed.digest, verdict, at))
            case do.BuildCommit(draft):
                merged = merged_state(machine.setting.base.state, draft.commit)
                at_fault = self.net.at_fault(draft.commit.contributions(), self)
                if at_fault:
                    reason = refusal_of(self.net.event.gate[0].name)
                    self._answer(0.5, machine, lambda at: machine.failed_gate(draft.key, at_fault, reason, at))
                else:
                    self._answer(0.2, machine, lambda at: machine.built(draft.key, merged, int(at), at))
            case do.KeepCommit(commit):
                self.store[commit.digest] = commit
            case do.FetchCommit(blob):
                self._answer(0.1, machine, lambda at: self._fetch(machine, blob.sha256, at))
            case do.ReplayCommit(commit, patience):
                problem = self._replay(machine, commit, patience)
                self._answer(0.2, machine, lambda at: machine.replayed(commit.digest, problem, at))
            case do.CheckRefusals(commit):
                upheld = self.net.at_fault(commit.failed_gates(), self)
                self._answer(0.5, machine, lambda at: machine.refusals_checked(commit.digest, upheld, at))
            case do.Finalise(commit, certificate):
                self.net.note_final(self, commit, certificate.epoch)
                self.history.add(commit, certificate)
                self.store[commit.digest] = commit
                self._later(0.0, self._begin)
            case do.Behind(peer):
                self.net.ask(self, peer)
            case do.Ahead(peer):
                self.net.tell(self, peer)
            case do.Refused():
                assert now >= 0
                self.refused.append(effect)

    def _fetch(self, machine: RoundMachine, digest: bytes, now: float) -> list[do.Effect]:
        for donor in self.net.reachable(self):
            if digest in donor.store:
                self.store[digest] = donor.store[digest]
                self.amend(*donor.history.amendments.after(0))
                return machine.commit_fetched(self.store[digest], now)
        return machine.commit_missing(digest, now)

    def _replay(self, machine: RoundMachine, commit: Commit, patience: int) -> str | None:
        clips = [clip_of(self.net.event, norm_of(part.contribution.payload.sha256)) == part.clip for part in parts(commit)]
        if not all(clips) or merged_state(machine.setting.base.state, commit) != commit.state:
            return "state_mismatch"
        if self.net.at_fault(commit.contributions(), self, 2.0**patience):
            return refusal_of(self.net.event.gate[0].name)
        return None

    def _answer(self, seconds: float, machine: RoundMachine, answer: Callable[[float], list[do.Effect]]) -> None:
        self._later(seconds, lambda: self._do(answer(self.net.now)) if machine is self.machine else None)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        life = self.life
        self.net.at(self.net.now + seconds, lambda: action() if self.alive and life == self.life else None)

    def _arm(self) -> None:
        """Keep one timer for the machine's next deadline."""
        due = self.machine.next_deadline()
        if self.alive and due is not None and due < self._armed:
            self._armed = due
            self._later(max(0.0, due - self.net.now), lambda: self._fire(due))

    def _fire(self, due: float) -> None:
        if due == self._armed:
            self._armed = float("inf")
            self._do(self.machine.tick(self.net.now))


class Net:
    """The clock, the wires and all nodes."""

    def __init__(self, event: EventManifest, identities: list[Identity], *, seed: int = 0, faults: Faults | None = None) -> None:
        self.event = event
        self.random = Random(seed)
        self.faults = faults or Faults()
        self.now = 0.0
        self.bad_payloads: dict[bytes, str] = {}
        self.worsening: Callable[[Node, str], float] = lambda node, contributor: 0.0
        self.finals: dict[bytes, dict[int, set[bytes]]] = {}
        self.on_final: list[Callable[[Node, Commit], None]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.nodes = {identity.peer_id: Node(self, identity) for identity in identities}

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._queue, (time, next(self._order), action))

    def run(self, until: Callable[[], bool], limit: float) -> None:
        """Let time pass until a condition holds; fails after `limit` seconds of the manual clock."""
        end = self.now + limit
        while not until():
            for _ in range(min(20, len(self._queue))):
                self.now, _, action = heapq.heappop(self._queue)
                action()
            assert self.now <= end, f"no progress: {self.rounds()}"

    def rounds(self) -> list[int]:
        """Each living node's round."""
        return [node.history.head.round for node in self if node.alive]

    def broadcast(self, sender: Node, signed: Signed) -> None:
        """Gossip: everyone else gets it, or not, once or twice, sooner or later."""
        for node in self:
            if node is not sender:
                for _ in range(1 + (self.random.random() < self.faults.duplicates)):
                    self.send(sender, node, signed)

    def send(self, sender: Node, node: Node, signed: Signed) -> None:
        """One copy on one wire."""
        if self.random.random() >= self.faults.loss and self.faults.connected(sender.peer_id, node.peer_id):
            self.at(self.now + self.random.uniform(*self.faults.delay), lambda: node.hear(signed) if node.alive else None)

    def reachable(self, node: Node) -> list[Node]:
        """The living nodes that a node can open a stream to, and itself."""
        return [other for other in self if other.alive and self.faults.connected(node.peer_id, other.peer_id)]

    def ask(self, node: Node, peer: str) -> None:
        """A node asks a peer for its history."""
        donor = self.nodes.get(peer)
        if donor is not None and donor in self.reachable(node):
            self.at(self.now + 0.1, lambda: node.sync(donor) if node.alive and donor.alive else None)

    def tell(self, node: Node, peer: str) -> None:
        """A node offers its history to a peer."""
        if peer in self.nodes:
            self.ask(self.nodes[peer], node.peer_id)

    def verdict(self, claim: Contribution) -> float | str:
        """What checking a payload shows."""
        return self.bad_payloads.get(claim.payload.sha256, norm_of(claim.payload.sha256))

    def at_fault(self, claims: list[tuple[Signed, Contribution]], node: Node, tolerance: float = 1.0) -> frozenset[bytes]:
        """The envelopes whose contributions make the model worse than the event's gate tolerates, as a node measures it."""
        return frozenset(signed.digest for signed, _ in claims if self.worsening(node, signed.signer) > tolerance)

    def note_final(self, node: Node, commit: Commit, epoch: int) -> None:
        """Nobody may see two final commits on one base in one epoch."""
        digests = self.finals.setdefault(commit.base, {}).setdefault(epoch, set())
        digests.add(commit.digest)
        assert len(digests) == 1, "two final commits on one base in one epoch"
        for hook in self.on_final:
            hook(node, commit)
