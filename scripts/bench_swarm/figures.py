"""From what the runs measured to the figures: medians, with the lowest and the highest run beside each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Any

from .plan import DENSE, SINGLE, SPARSE, VARIANTS, Scale

DEFINITIONS = {
    "sparse": "the event's recipe, on real daemons over the real DHT, streams and gossip",
    "dense": "the same nodes, rounds and samples; weights are averaged in fp16 with outer rate 1",
    "single": "one node alone, as many inner steps as each node of the swarm took",
    "single_same_samples": "one node alone, as many samples as the whole swarm took: more steps, one after the other",
    "loss": "held-out loss of the last commit, nats a token",
    "bytes_per_node_round": "payload and Fisher bytes of an accepted contribution",
    "network_bytes_per_node_round": "all bytes of blobs, calls and gossip that a node sent, from the second round on",
    "seconds": "from the moment when every node has taken an inner step to the last commit on every node",
    "fp16_bytes_ratio": "2 bytes × parameters / bytes_per_node_round of sparse",
    "overhead_share": "1 − (seconds in the phase training) / (seconds in all phases) from the second round on, "
    "median of the nodes of sparse; waiting for slower nodes and for a core counts as overhead",
    "join_seconds": "from the start of `collab-node join` to the first inner step, dependencies there, swarm running",
    "idle_cpu_share": "CPU time of the process of a daemon that waits for volunteers while nobody trains, as a share of one core",
    "idle_cpu_share_with_children": "the same with p2pd, gossip sidecar and trainer",
    "state_hashes_equal": "every node of every swarm ended with the same state hash",
}


@dataclass(frozen=True)
class Outcome:
    """What one variant gave in one run."""

    loss: float
    samples: int
    bytes_per_node_round: float
    network_bytes_per_node_round: float
    seconds: float
    overhead_share: float
    states: tuple[str, ...]
    parameters: int

    @property
    def agreed(self) -> bool:
        """Whether all nodes ended with one state hash."""
        return len(set(self.states)) == 1


@dataclass(frozen=True)
class RunResult:
    """What one run of everything gave."""

    outcomes: dict[str, Outcome]
    join_seconds: tuple[float, ...]
    idle_cpu_share: float
    idle_cpu_share_with_children: float


def with_spread(name: str, values: Sequence[float], digits: int) -> dict[str, Any]:
    """Return the median under `name`, and beside it `name_spread`: lowest and highest. Raises ValueError if empty."""
    if not values:
        raise ValueError(f"{name} was never measured")
    low, middle, high = (round(value, digits) for value in (min(values), median(values), max(values)))
    return {name: middle, f"{name}_spread": [low, high]}


_DIGITS = {
    "loss": 4, "samples": 0, "bytes_per_node_round": 1, "network_bytes_per_node_round": 1, "seconds": 2, "overhead_share": 4,
}  # fmt: skip


def variant_figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return a variant's figures over its runs."""
    found: dict[str, Any] = {}
    for field in fields(Outcome):
        if field.name in _DIGITS:
            found |= with_spread(field.name, [getattr(outcome, field.name) for outcome in outcomes], _DIGITS[field.name])
    return found


def all_figures(results: Sequence[RunResult], scale: Scale, cores: int) -> dict[str, Any]:
    """Return everything that the bench writes as JSON."""
    by_variant = {name: [result.outcomes[name] for result in results] for name in VARIANTS}
    sparse, dense, single = by_variant[SPARSE], by_variant[DENSE], by_variant[SINGLE]
    ratios = [2 * outcome.parameters / outcome.bytes_per_node_round for outcome in sparse]
    above = [ours.loss / other.loss - 1 for ours, other in zip(sparse, dense, strict=True)]
    below = [1 - ours.loss / other.loss for ours, other in zip(sparse, single, strict=True)]
    return {
        **{name: variant_figures(outcomes) for name, outcomes in by_variant.items()},
        **with_spread("fp16_bytes_ratio", ratios, 2),
        **with_spread("loss_above_dense", above, 4),
        **with_spread("loss_below_single", below, 4),
        **with_spread("overhead_share", [outcome.overhead_share for outcome in sparse], 4),
        **with_spread("join_seconds", [seconds for result in results for seconds in result.join_seconds], 2),
        **with_spread("idle_cpu_share", [result.idle_cpu_share for result in results], 5),
        **with_spread("idle_cpu_share_with_children", [result.idle_cpu_share_with_children for result in results], 5),
        "state_hashes_equal": all(outcome.agreed for result in results for outcome in result.outcomes.values()),
        "quick": not scale.judges,
        "nodes": scale.nodes,
        "rounds": scale.rounds,
        "steps": scale.steps,
        "runs": len(results),
        "joins": sum(len(result.join_seconds) for result in results),
        "parameters": sparse[0].parameters,
        "cores": cores,
        "definitions": DEFINITIONS,
    }
