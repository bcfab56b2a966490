"""What is run: the recipes that are compared, as variants of the embedded demo event, and how much of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collab.protocol.event import EventDraft

SPARSE, DENSE, SINGLE, SINGLE_SAME_SAMPLES = "sparse", "dense", "single", "single_same_samples"
VARIANTS = (SPARSE, DENSE, SINGLE, SINGLE_SAME_SAMPLES)

# Plain averaging of the weights, two bytes each; clipping is against strangers, and would only blur a baseline.
_DENSE_SECTIONS: dict[str, dict[str, Any]] = {
    "compression": {"kind": "fp16"},
    "outer": {"kind": "sgd", "rate": 1.0},
    "merge": {"method": "average", "max_norm": 1e6},
}
# Measured with nothing else running: one inner step of the demo's model on one core, the start of one node, the end of a round.
_STEP_SECONDS, _START_SECONDS, _MERGE_SECONDS = 0.06, 5.0, 0.5


@dataclass(frozen=True)
class Scale:
    """How much is run: `nodes` that train `steps` inner steps in each of `rounds`, the whole `runs` times.

    `held_out_samples`: how many each loss is the mean of. `idle_seconds`: how long, at least, the CPU time of an idle node is
    measured. `judges`: whether it is long enough to hold losses and overhead against their goals.
    """

    nodes: int
    rounds: int
    steps: int
    runs: int
    held_out_samples: int
    judges: bool
    idle_seconds: float = 10.0

    def nodes_of(self, variant: str) -> int:
        """Return how many nodes train in a variant."""
        return self.nodes if variant in (SPARSE, DENSE) else 1

    def rounds_of(self, variant: str) -> int:
        """Return how many rounds a variant has."""
        return self.rounds * self.nodes if variant == SINGLE_SAME_SAMPLES else self.rounds


def full(event: EventDraft, runs: int = 3) -> Scale:
    """Return the scale of the event itself, on four nodes."""
    rounds, steps, held_out = event.rounds.last_round, event.inner.steps, event.data.held_out_samples
    return Scale(nodes=4, rounds=rounds, steps=steps, runs=runs, held_out_samples=held_out, judges=True)


def quick(runs: int = 1) -> Scale:
    """Return a scale for less than a minute on two cores."""
    return Scale(nodes=2, rounds=4, steps=10, runs=runs, held_out_samples=64, judges=False)


def variant_event(event: EventDraft, variant: str, scale: Scale) -> EventDraft:
    """Return the event of a variant; its learning rate's schedule ends with its last sample, as the original's does.

    `sparse` is the event's own recipe; the others average weights in fp16 (with one node: plain local training).
    """
    nodes, rounds = scale.nodes_of(variant), scale.rounds_of(variant)
    total = nodes * rounds * scale.steps * event.inner.batch
    warmup = total * event.inner.warmup_samples // event.inner.total_samples
    changes: dict[str, Mapping[str, Any]] = {
        **({} if variant == SPARSE else _DENSE_SECTIONS),
        "data": {"held_out_samples": scale.held_out_samples},
        "inner": {"steps": scale.steps, "total_samples": total, "warmup_samples": warmup},
        # Every round has everybody, so that the variants see the same number of samples.
        "rounds": {"last_round": rounds, "min_contributors": nodes, "committee": nodes},
    }
    sections = event.model_dump()
    for section, fields in changes.items():
        sections[section] = {**sections[section], **fields}
    return EventDraft.from_fields({**sections, "name": f"bench-{variant}"})


def estimated_seconds(scale: Scale, cores: int) -> float:
    """Return about how long the whole bench takes on so many cores with nothing else to do."""
    steps = scale.nodes * scale.rounds * scale.steps
    swarms = 2 * (steps * _STEP_SECONDS / min(cores, scale.nodes) + scale.rounds * _MERGE_SECONDS)
    alone = max(steps * _STEP_SECONDS + _START_SECONDS, scale.idle_seconds)
    starts = 2 * scale.nodes * _START_SECONDS
    return scale.runs * (swarms + alone + starts)
