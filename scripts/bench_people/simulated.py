"""A node of a large swarm that is made up: its home holds a real signed history, and its control socket tells of peers who train.

Nothing here is a stand-in for the dashboard's own parts: it reads this home as it reads any other.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from collab.node.control.socket import ControlServer, Handler
from collab.node.display.view import NodeView
from collab.node.event.file import embedded_event
from collab.node.files import atomic_write
from collab.node.home import EventFolder, Home
from collab.node.processes.frames import Message
from collab.node.rounds import held_out
from collab.node.store import Store
from collab.protocol.commit import Accepted, Commit, Member, Rejected, root_commit
from collab.protocol.event import EventManifest, Start
from collab.protocol.identity import Identity
from collab.protocol.manifest import SignedManifest
from collab.protocol.messages import Blob, Contribution, Signed
from collab.protocol.record import sha256

_BEGAN = 1_760_000_000
_ROUND_SECONDS = 95
_PHASES = ("training", "training", "training", "collecting", "voting", "final")
_REASONS = ("implausible", "non_finite", "payload_size", "unavailable", "oversized")


@dataclass
class SimulatedSwarm:
    """`nodes` peers, of whom the first is the coordinator and owns `home`."""

    home: Home
    nodes: int
    seed: int = 0
    folder: EventFolder = field(init=False)
    event: EventManifest = field(init=False)
    head: Commit = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._turn = 0
        self.identities = [Identity(sha256(b"simulated" + number.to_bytes(4, "big"))) for number in range(self.nodes)]
        self._speeds = [self._random.lognormvariate(2.5, 0.6) for _ in self.identities]
        coordinator = self.identities[0]
        self.event = embedded_event().manifest(coordinator.peer_id, _BEGAN, Start(state=sha256(b"start"), seed=1))
        self.head = root_commit(self.event)
        self.home.prepare()
        atomic_write(self.home.identity_path, coordinator.seed.hex().encode(), 0o600)
        self.folder = self.home.event(self.event.digest)
        self.folder.save_manifest(SignedManifest.seal(coordinator, self.event))
        self.store = Store.open(self.folder.store_path)
        self._extend(self.head)

    def grow(self, rounds: int) -> None:
        """Add commits, each with a contribution of nearly everybody and a refusal now and then."""
        for _ in range(rounds):
            self._extend(self._next())

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _extend(self, commit: Commit) -> None:
        self.store.add_commit(commit)
        self.store.set_head(commit.digest)
        self.head = commit
        if commit.round % 2 == 0:
            held_out.keep(self.store, commit.round, self._loss(commit.round) + 0.05)

    def _loss(self, round: int) -> float:
        return 1.4 + 4.1 * math.exp(-round / 25) + 0.02 * self._random.random()

    def _next(self) -> Commit:
        base, round = self.head, self.head.round + 1
        here = [n for n in range(self.nodes) if self._random.random() < min(0.95, 0.3 + round / 30)] or [0]
        claims = [self._claim(base, number) for number in here]
        refused = [self._random.choice(claims)] if len(claims) > 1 and self._random.random() < 0.3 else []
        merged = sorted((claim for claim in claims if claim not in refused), key=lambda claim: claim[0].digest)
        joined = {member.peer: member.joined for member in base.roster}
        peers = sorted(joined.keys() | {signed.signer for signed, _ in claims})
        samples = sum(claim.samples for _, claim in merged)
        return Commit(
            event=self.event.digest, parents=(base.digest,), round=round, state=sha256(b"%d" % round), method="sparse-average",
            full=False, accepted=tuple(_accepted(signed, claim.samples, samples) for signed, claim in merged),
            rejected=tuple(Rejected(envelope=signed.encode(), reason=self._random.choice(_REASONS)) for signed, _ in refused),
            departed=(), roster=tuple(Member(peer=peer, joined=joined.get(peer, round), last=round) for peer in peers),
            samples=base.samples + samples, loss=self._loss(round), proposer=merged[0][0].signer,
            time=base.time + round % 7 + _ROUND_SECONDS, parent_certificate=None,
        )  # fmt: skip

    def _claim(self, base: Commit, number: int) -> tuple[Signed, Contribution]:
        steps = max(1, min(self.event.inner.steps, round(self._speeds[number])))
        said = Contribution(
            event=self.event.digest, base=base.digest, round=base.round,
            payload=Blob(sha256=sha256(b"%d %d" % (base.round, number)), size=180_000 + self._random.randrange(20_000)),
            fisher=None, samples=steps * self.event.inner.batch, steps=steps, loss=self._loss(base.round), admission=None,
        )  # fmt: skip
        return Signed.seal(self.identities[number], said), said

    # What the daemon would say

    def answers(self) -> dict[str, Callable[[], Mapping[str, Any]]]:
        """Return what `answering` needs."""
        return {"status": self._status, "swarm": self._swarm}

    def _status(self) -> dict[str, Any]:
        self._turn += 1
        turn = self._turn
        phase = _PHASES[turn // 4 % len(_PHASES)]
        return NodeView(
            event=self.event.name, event_id=self.event.digest.hex(), peer=self.identities[0].peer_id, trains=False,
            round=self.head.round, commit=self.head.digest.hex(), phase=phase, phase_seconds_left=60 - turn % 60,
            message="training" if phase == "training" else f"{phase} now", peers=self.nodes - 1,
            gossip_peers=min(12, self.nodes - 1), device="cpu",
        ).to_dict()  # fmt: skip

    def _swarm(self) -> dict[str, Any]:
        turn = self._turn
        peers = {identity.peer_id: self._peer(number, turn) for number, identity in enumerate(self.identities)}
        return {
            "peers": peers,
            "committee": [identity.peer_id for identity in self.identities[2:9]],
            "sent": {"blob": 9_000_000 * turn, "gossip": 40_000 * turn, "rpc": 9_000 * turn},
            "received": {"blob": 12_000_000 * turn, "gossip": 900_000 * turn, "rpc": 7_000 * turn},
            "refused": {"rate_limited": turn // 5},
            "parts": {"p2pd": True, "dht": True, "sidecar": True, "worker": True},
        }

    def _peer(self, number: int, turn: int) -> dict[str, Any]:
        if number == 0:
            return {"trains": False, "self": True, "round": self.head.round}
        steps = (turn + number) % (self.event.inner.steps + 1)
        told = {"round": self.head.round, "trains": True, "version": "0.1.0", "gossip": number % (self.nodes // 12 + 1) == 0}
        rate = self._speeds[number] * self.event.inner.batch / _ROUND_SECONDS * (1 + 0.1 * math.sin(turn + number))
        return told | {"steps": steps, "samples": steps * 8, "loss": 2.0, "rate": rate, "done": steps == self.event.inner.steps}


def _accepted(signed: Signed, samples: int, of: int) -> Accepted:
    numerator, denominator = (value.to_bytes((value.bit_length() + 7) // 8, "big") for value in (samples, of))
    return Accepted(envelope=signed.encode(), numerator=numerator, denominator=denominator, clip=1.0)


@contextmanager
def answering(home: Home, answers: Mapping[str, Callable[[], Mapping[str, Any]]]) -> Iterator[None]:
    """Answer these questions on the home's control socket, from a thread, as a daemon would."""
    loop = asyncio.new_event_loop()
    stop, ready = asyncio.Event(), threading.Event()

    def handler(answer: Callable[[], Mapping[str, Any]]) -> Handler:
        async def handle(request: Message) -> Mapping[str, Any]:
            return answer()

        return handle

    async def run() -> None:
        async with ControlServer(home.control_path, {name: handler(answer) for name, answer in answers.items()}):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
