"""The variants that the bench compares."""

from __future__ import annotations

from importlib import import_module

import pytest

from collab.node.event.file import embedded_event

plan = import_module("bench_swarm.plan")
EVENT = embedded_event()
SCALES = pytest.mark.parametrize("scale", [plan.full(EVENT), plan.quick()], ids=["full", "quick"])


def samples(variant: str, scale: object) -> int:
    """The samples that a variant's nodes draw together."""
    event = plan.variant_event(EVENT, variant, scale)
    rounds = event.rounds
    return int(rounds.last_round * rounds.min_contributors * event.inner.steps * event.inner.batch)


@SCALES
def test_sparse_is_the_recipe_of_the_event(scale: object) -> None:
    event = plan.variant_event(EVENT, plan.SPARSE, scale)
    assert event.model == EVENT.model
    assert event.compression == EVENT.compression
    assert event.outer == EVENT.outer
    assert event.merge == EVENT.merge
    assert event.inner.rate == EVENT.inner.rate


def test_the_full_sparse_variant_has_the_schedule_of_the_event() -> None:
    event = plan.variant_event(EVENT, plan.SPARSE, plan.full(EVENT))
    assert event.inner == EVENT.inner
    assert event.rounds.last_round == EVENT.rounds.last_round


@SCALES
@pytest.mark.parametrize("variant", [plan.DENSE, plan.SINGLE, plan.SINGLE_SAME_SAMPLES])
def test_baselines_average_weights_and_clip_nobody(variant: str, scale: object) -> None:
    event = plan.variant_event(EVENT, variant, scale)
    assert event.compression.kind == "fp16"
    assert (event.outer.kind, event.outer.rate, event.merge.method) == ("sgd", 1.0, "average")
    assert event.merge.max_norm > 1e5


@SCALES
@pytest.mark.parametrize("variant", plan.VARIANTS)
def test_a_schedule_ends_with_the_last_sample(variant: str, scale: object) -> None:
    event = plan.variant_event(EVENT, variant, scale)
    assert event.inner.total_samples == samples(variant, scale)
    share = event.inner.warmup_samples / event.inner.total_samples
    assert share == pytest.approx(EVENT.inner.warmup_samples / EVENT.inner.total_samples, abs=0.005)


@SCALES
def test_comparisons_are_at_the_same_samples_or_the_same_steps(scale: object) -> None:
    assert samples(plan.DENSE, scale) == samples(plan.SPARSE, scale) == samples(plan.SINGLE_SAME_SAMPLES, scale)
    sparse, single = (plan.variant_event(EVENT, name, scale) for name in (plan.SPARSE, plan.SINGLE))
    assert single.rounds.min_contributors == 1
    assert single.rounds.last_round * single.inner.steps == sparse.rounds.last_round * sparse.inner.steps


def test_a_round_waits_for_every_node() -> None:
    scale = plan.full(EVENT)
    assert plan.variant_event(EVENT, plan.DENSE, scale).rounds.min_contributors == scale.nodes


def test_the_estimate_grows_with_runs_and_shrinks_with_cores() -> None:
    full = plan.full(EVENT, runs=3)
    assert plan.estimated_seconds(full, 2) == pytest.approx(3 * plan.estimated_seconds(plan.full(EVENT, runs=1), 2))
    assert plan.estimated_seconds(full, 4) < plan.estimated_seconds(full, 2)
    assert plan.estimated_seconds(plan.quick(), 2) < 60
