"""The numbers of an event that is over, or on its way: what its report and a paper are made of."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError, safe_open

from ...protocol.amendments import SignedAmendment
from ...protocol.event import EventManifest
from ...protocol.verdict import Measurement
from ..amendments.making import standing
from ..credit.leaderboard import read_names
from ..dashboard.facts import read_commit
from ..dashboard.ledger import Ledger, RoundLine
from ..dashboard.quality import Measured
from ..dashboard.released import Released
from ..errors import UserError
from ..gates import own_verdicts
from ..home import EventFolder
from ..rounds import held_out
from ..store import Store
from ..version import VERSION

_MOMENTUM = "outer.momentum/"
_DENSE_BYTES = 4


@dataclass(frozen=True)
class EventRecord:
    """An event and its whole history, summed up.

    `measured` are held-out losses by round, `names` those that peers chose; `parameters` is None if not known. `tested` is what
    this node's gates showed, by state hash, `released` the releases, the newest first, or why they cannot be told,
    `decided` the amendments that count, oldest first.
    """

    event: EventManifest
    ledger: Ledger
    measured: dict[int, float]
    names: dict[str, str]
    parameters: int | None
    tested: Measured
    released: Released
    decided: tuple[SignedAmendment, ...] = ()

    @classmethod
    def read(cls, event: EventManifest, folder: EventFolder, store: Store) -> EventRecord:
        """Read the history in a store. Raises UserError if there is none to tell of."""
        ledger = Ledger(event)
        for digest in reversed(store.digests()):
            ledger.take(read_commit(store, digest))
        if len(ledger.lines) < 2:
            raise UserError("there is nothing to report yet: no round is merged", "come back after the first commit")
        released = Released(folder, event)
        released.read(store)
        tested = own_verdicts.read(store.note(own_verdicts.NOTE))
        decided = standing(folder, store).chain
        return cls(event, ledger, held_out.read(store), read_names(store), _parameters(store), tested, released, decided)

    def results(self, gate: str) -> list[tuple[RoundLine, Measurement]]:
        """Return what a gate showed here, and of which rounds."""
        return [(line, found[gate]) for line in self.ledger.lines if gate in (found := self.tested.get(line.state, {}))]

    def figures(self) -> dict[str, Any]:
        """Return plain numbers by name; units are in the names, losses in nats a token. None: not known."""
        lines, credits = self.ledger.lines[1:], self.ledger.ranking
        newest = self.ledger.newest
        assert newest is not None
        gave = [credit.samples for credit in credits if credit.contributions]
        # The root bears the time of the event's creation: nobody trained before the first round began.
        seconds = lines[-1].time - lines[0].time
        samples = sum(line.samples for line in lines[1:])
        size = lines[-1].total_size
        trained = [line.loss for line in lines if line.loss is not None]
        merged = sum(line.contributors for line in lines)
        dense = None if self.parameters is None else self.parameters * _DENSE_BYTES * merged
        return {
            "event": self.event.digest.hex(),
            "commit": newest.commit.hex(),
            "state": newest.state.hex(),
            "version": VERSION,
            "rounds": lines[-1].round,
            "began": lines[0].time,
            "ended": lines[-1].time,
            "seconds_between_first_and_last_commit": seconds,
            "seconds_a_round_median": statistics.median([line.seconds for line in lines[1:]] or [0]),
            "contributors": len(gave),
            "contributors_a_round_median": statistics.median(line.contributors for line in lines),
            "contributors_a_round_most": max(line.contributors for line in lines),
            "contributions_merged": merged,
            "contributions_refused": self.ledger.reasons.total(),
            "samples": newest.total_samples,
            "tokens": newest.total_samples * self.event.data.block,
            "samples_a_second": samples / seconds if seconds else None,
            "training_loss_first": trained[0] if trained else None,
            "training_loss_last": trained[-1] if trained else None,
            "held_out_loss_first": self.measured[min(self.measured)] if self.measured else None,
            "held_out_loss_last": self.measured[max(self.measured)] if self.measured else None,
            "held_out_loss_best": min(self.measured.values()) if self.measured else None,
            "parameters": self.parameters,
            "payload_bytes": size,
            "payload_bytes_mean": size / max(1, merged),
            "dense_bytes": dense,
            "times_smaller_than_dense": dense / size if dense and size else None,
            "share_of_the_most_active": gave[0] / sum(gave) if gave else None,
            "gini_of_samples": gini(gave),
            "releases": len(self.released.releases),
            "gates_run": sum(credit.gates for credit in credits),
            "served_bytes": sum(credit.served for credit in credits),
            "gates_run_here": sum(len(self.results(gate.name)) for gate in self.event.gate),
        }


def gini(values: list[int]) -> float | None:
    """Return the Gini coefficient: 0 where all gave the same, near 1 where one gave everything. None of nothing."""
    ordered, total = sorted(values), sum(values)
    if not total:
        return None
    weighted = sum(rank * value for rank, value in enumerate(ordered, start=1))
    return 2 * weighted / (len(ordered) * total) - (len(ordered) + 1) / len(ordered)


def _parameters(store: Store) -> int | None:
    """Count the model's parameters in the header of a snapshot, if there is one here."""
    snapshot = store.latest_snapshot()
    if snapshot is None:
        return None
    try:
        with safe_open(store.blobs.path(snapshot.blob.digest), framework="np") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys() if not name.startswith(_MOMENTUM)]  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    return sum(_product(shape) for shape in shapes)


def _product(shape: list[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product
