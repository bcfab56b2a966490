"""`outage_…`: a volunteer's router loses its line for minutes, while the rest of a small swarm goes on.

What the volunteer sends then vanishes, and so does what is sent to it: unlike a pulled cable, nothing tells its system. It has
trained on a commit that the others leave behind meanwhile, so that this work counts only if it is kept and handed in later.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from collab.node.home import Home
from collab.node.local_networks import Network, joined
from collab.node.local_swarm import LocalNode, LocalSwarm
from collab.node.store import Store
from collab.protocol.commit import Commit

from .event import write_event
from .processes import family, slow

DEFINITIONS = {
    "outage_minutes": "how long what a volunteer sends, and what is sent to it, vanished",
    "outage_said_seconds": "from its beginning until the volunteer's `status` says so",
    "outage_words": "what it says at the end of the outage",
    "outage_rounds_missed": "rounds that the others merged meanwhile",
    "outage_heard_seconds": "from its end until the volunteer hears others again",
    "outage_same_state_seconds": "from its end until the volunteer has the others' newest round, with the same state hash",
    "outage_handed_in_seconds": "from its end until a commit holds what the volunteer trained on the commit it was left with",
    "outage_handed_in_samples": "how many samples these were",
    "outage_restarts": "processes of the volunteer's node that are not the ones from before the outage",
}
_SWARM, _VOLUNTEER = "10.201.79.1", "10.201.79.2"
_PAUSE_SECONDS = 3.0
# A round is long beside its merge, so that the outage begins while the volunteer trains, as it would in an event.
_EVENT: dict[str, dict[str, Any]] = {
    "rounds": {"deadline": 30.0, "collect": 15.0, "view": 10.0, "max_staleness": 64, "stale_decay": 0.9},
}
_START_SECONDS = 180.0
_RECOVER_SECONDS = 300.0


def measure(folder: Path, *, minutes: float) -> dict[str, Any]:
    """Return the figures. Raises SwarmError, and UserError where no networks can be made."""
    with joined(_SWARM, _VOLUNTEER) as (rest, home), _swarm(folder, rest) as swarm:
        outage = Outage(swarm, _join(swarm, home), rest, home)
        swarm.wait(outage.may_begin, _START_SECONDS, "the volunteer to train, and to have contributed before")
        with slow(outage.volunteer, _PAUSE_SECONDS):
            return outage.measure(minutes)


@contextmanager
def _swarm(folder: Path, network: Network) -> Iterator[LocalSwarm]:
    """A coordinator's node that does not train, and a volunteer, in one network."""
    swarm = LocalSwarm(folder)
    swarm.create(write_event(folder / "event.toml", _EVENT))
    try:
        swarm.coordinator.prefix = network.prefix
        swarm.seed(trains=False, arguments=["--host", network.address, "--reachability", "public"])
        companion = _join(swarm, network)
        swarm.wait_for_round(1, _START_SECONDS)
        with slow(companion, _PAUSE_SECONDS):
            yield swarm
    finally:
        swarm.stop()


def _join(swarm: LocalSwarm, network: Network) -> LocalNode:
    node = swarm.add()
    node.prefix = network.prefix
    node.start(["join", swarm.invite(), "--host", network.address, "--reachability", "public"])
    return node


@dataclass
class Outage:
    """One outage of `volunteer`, who is in `home`, and its end."""

    swarm: LocalSwarm
    volunteer: LocalNode
    rest: Network
    home: Network

    def may_begin(self) -> bool:
        """Say whether the volunteer is in the middle of a round, and has contributed to the newest commit."""
        status = self.volunteer.status() or {}
        trains = status.get("phase") == "training" and int(status.get("step", 0)) > 0
        return trains and status["peer"] in {signed.signer for signed, _ in self._chain()[-1].contributions()}

    def measure(self, minutes: float) -> dict[str, Any]:
        """Lose the line for `minutes`, wait until everything is as before, and return the figures."""
        began, before, processes = time.monotonic(), self._round(), self._processes()
        self.home.lose(self.rest)
        self.rest.lose(self.home)
        _say(f"the volunteer has lost its line in round {before + 1}")
        said = self._wait(lambda: self._words().startswith("alone"), "the volunteer to say that it is alone")
        self._wait(lambda: time.monotonic() - began >= 60 * minutes, "the outage to end", 60 * minutes + 60)
        words, left, now_at = self._words(), self._position(), self._round()
        _say(words)
        self.home.find(self.rest)
        self.rest.find(self.home)
        ended = time.monotonic()
        found = {
            "outage_minutes": minutes, "outage_said_seconds": said, "outage_words": words,
            "outage_rounds_missed": now_at - left,
        }  # fmt: skip
        found["outage_heard_seconds"] = self._wait(self._hears, "the volunteer to hear others again")
        self._wait(lambda: self._agrees(now_at), "the volunteer to have the others' state")
        found["outage_same_state_seconds"] = round(time.monotonic() - ended, 1)
        self._wait(lambda: self._handed_in(left, now_at) > 0, "the volunteer's work to be merged")
        found["outage_handed_in_seconds"] = round(time.monotonic() - ended, 1)
        found["outage_handed_in_samples"] = self._handed_in(left, now_at)
        found["outage_restarts"] = len(processes - self._processes())
        return found

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float = _RECOVER_SECONDS) -> float:
        """Return after how many seconds `condition` holds."""
        began = time.monotonic()
        self.swarm.wait(condition, seconds, what)
        took = round(time.monotonic() - began, 1)
        _say(f"waited {took} s for {what}")
        return took

    def _words(self) -> str:
        return str((self.volunteer.status() or {}).get("warning", "?"))

    def _hears(self) -> bool:
        return not self._words().startswith(("alone", "?"))

    def _position(self) -> int:
        return int(self.volunteer.ask("status")["round"])

    def _round(self) -> int:
        return int(self.swarm.coordinator.ask("status")["round"])

    def _agrees(self, least: int) -> bool:
        """Say whether the newest round is `least` or later, and all have the same state after it."""
        newest = self._round()
        return newest >= least and self._position() >= newest and len(set(self.swarm.states(newest).values())) == 1

    def _handed_in(self, base_round: int, since: int) -> int:
        """Return the samples that the volunteer trained on the commit of `base_round` and commits after `since` merged."""
        me = self.volunteer.ask("status")["peer"]
        later = [claim for commit in self._chain(since + 1) for signed, claim in commit.contributions() if signed.signer == me]
        return sum(claim.samples for claim in later if claim.round == base_round)

    def _chain(self, first: int = 0) -> list[Commit]:
        (folder,) = Home(self.swarm.coordinator.home).events()
        with Store.open(folder.store_path, read_only=True) as store:
            return store.chain(max(1, store.head_commit().round - first + 1))[::-1]

    def _processes(self) -> set[psutil.Process]:
        assert self.volunteer.process is not None
        return set(family(self.volunteer.process.pid))


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
