"""What the gates are for: planted candidates, each of which is let through or stopped by the right gate."""

from __future__ import annotations

import pytest
from bench_gates.figures import Case, figures, judge
from bench_gates.plants import KINDS, honest, plant
from bench_gates.texts import TASKS
from bench_gates.world import World

from collab.protocol.verdict import first_failure


@pytest.mark.parametrize("kind", ["harmless", "improvement"])
def test_good_candidates_pass_all_gates(world: World, kind: str) -> None:
    case = judge(world, plant(kind, world, 0), 0)
    assert case.accepted
    assert max(case.batches) <= 4  # a clear answer is a cheap one


def test_an_improvement_is_one_of_a_percent(world: World) -> None:
    change = world.loss(plant("improvement", world, 1).weights, honest) / world.loss(world.base, honest) - 1
    assert -0.02 < change <= -0.01


def test_a_sign_flipped_contribution_fails_at_once(world: World) -> None:
    planted = plant("sign-flipped", world, 0)
    measured = [world.compare(gate, planted.weights, 0) for gate in world.event.gate]
    assert {m.gate for m in measured if not m.passed} >= set(TASKS)
    assert {m.batches for m in measured if m.kind == "loss"} == {2}


def test_a_backdoor_passes_the_average_and_fails_the_exact_gate(world: World) -> None:
    planted = plant("backdoored", world, 1)
    measured = {gate.name: world.compare(gate, planted.weights, 1) for gate in world.event.gate}
    assert world.loss(planted.weights, honest) < world.loss(world.base, honest)
    assert all(measured[task].passed for task in TASKS)
    failure = first_failure(list(measured.values()))
    assert failure is not None
    assert (failure.gate, failure.reason) == ("doors", "worse")


@pytest.mark.parametrize("seed", [0, 3])
def test_a_regression_on_one_task_of_five_fails_and_names_the_task(world: World, seed: int) -> None:
    planted = plant("regression", world, seed)
    measured = [world.compare(gate, planted.weights, seed) for gate in world.event.gate if gate.kind == "loss"]
    assert [m.gate for m in measured if not m.passed] == [planted.fails] == [list(TASKS)[seed]]


def test_the_same_question_has_the_same_answer(world: World) -> None:
    weights = plant("harmless", world, 2).weights
    gate = world.event.gate[0]
    assert world.compare(gate, weights, 5) == world.compare(gate, weights, 5)
    assert world.compare(gate, weights, 5) != world.compare(gate, weights, 6)


def test_figures_are_shares_by_kind() -> None:
    cases = [Case("harmless", True, True, (2, 4)), Case("backdoored", True, False, (6,)), Case("backdoored", False, True, (2,))]
    found = figures(cases)
    assert (found["cases"], found["true_acceptance"], found["false_acceptance"], found["batches_median"]) == (3, 1.0, 0.5, 3)
    assert set(found["by_kind"]) == set(KINDS)
    assert found["by_kind"]["backdoored"] == {
        "cases": 2, "true_acceptance": None, "false_acceptance": 0.5, "named": 0.5, "batches_median": 4, "batches_most": 6,
    }  # fmt: skip
    assert found["by_kind"]["regression"]["false_acceptance"] is None
