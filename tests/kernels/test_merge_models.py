"""Laws of merging models: closed forms, what a result does not depend on, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import kernels
from collab.kernels import Codec, Layout, NonFiniteError
from collab.kernels.errors import MissingStatisticsError
from collab.kernels.merge import MODEL_METHODS, Update, merge_models, merge_updates, model_method, parameters

Tensors = dict[str, torch.Tensor]
Make = Callable[..., Tensors]

SHAPES = {"a": (40,), "b": (7, 6), "c": (0,), "d": ()}
INVARIANT = [name for name in MODEL_METHODS if name != "slerp"]


def statistics(make: Make, seed: int) -> dict[str, Tensors]:
    fisher = {name: tensor.square() for name, tensor in make(seed + 500, "heavy", SHAPES).items()}
    inputs = make(seed + 900, "heavy", {"x": (30, 6)})["x"]
    return {"fisher": fisher, "grams": {"b": inputs.T @ inputs / 30}}


def models(make: Make, seed: int, count: int) -> tuple[Tensors, list[Update]]:
    base = make(seed, "heavy", SHAPES)
    others = [make(seed + 1 + at, "heavy", SHAPES) for at in range(count)]
    return base, [
        Update.of_model(base, other, weight=1 + at, key=bytes([at]), **statistics(make, seed + at))
        for at, other in enumerate(others)
    ]


def close(a: Tensors, b: Tensors, tolerance: float = 1e-4) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=tolerance, atol=tolerance)


def reweighted(updates: Sequence[Update], factor: float) -> list[Update]:
    return [Update(each.delta, each.weight * factor, each.fisher, each.grams, each.key) for each in updates]


def test_methods_and_their_parameters_are_listed() -> None:
    assert list(MODEL_METHODS) == ["average", "fisher", "regmean", "ties", "dare", "task_arithmetic", "slerp"]
    assert parameters("ties") == {"density": 0.2, "scale": 1.0}
    assert parameters("average") == {}


@pytest.mark.parametrize("name", INVARIANT)
@given(seed=st.integers(0, 1 << 20), count=st.integers(2, 5))
@settings(max_examples=8)
def test_order_changes_no_more_than_rounding_does(make: Make, name: str, seed: int, count: int) -> None:
    base, updates = models(make, seed, count)
    shuffled = random.Random(seed).sample(updates, count)
    close(merge_models(model_method(name), base, updates), merge_models(model_method(name), base, shuffled))


@given(seed=st.integers(0, 1 << 20))
@settings(max_examples=8)
def test_slerp_of_two_has_no_order(make: Make, seed: int) -> None:
    base, updates = models(make, seed, 2)
    close(merge_models(model_method("slerp"), base, updates), merge_models(model_method("slerp"), base, updates[::-1]))


@pytest.mark.parametrize("name", MODEL_METHODS)
@given(seed=st.integers(0, 1 << 20), power=st.integers(-20, 20))
@settings(max_examples=8)
def test_the_unit_of_weights_means_nothing(make: Make, name: str, seed: int, power: int) -> None:
    base, updates = models(make, seed, 3)
    before, after = (merge_models(model_method(name), base, each) for each in (updates, reweighted(updates, 2.0**power)))
    assert all(torch.equal(before[tensor], after[tensor]) for tensor in before)


WHOLE = {"ties": {"density": 1.0}, "dare": {"drop": 0.0, "scale": 1 / 3}, "task_arithmetic": {"scale": 1 / 3}}


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_identical_models_merge_into_themselves(make: Make, name: str) -> None:
    base, (update, *_) = models(make, 3, 1)
    merged = merge_models(model_method(name, **WHOLE.get(name, {})), base, [update] * 3)
    close(merged, {tensor: base[tensor] - update.delta[tensor] for tensor in base}, 1e-5)


@pytest.mark.parametrize("name", ["average", "fisher", "slerp"])
def test_a_single_models_update_stays_to_the_bit(make: Make, name: str) -> None:
    base, (update, *_) = models(make, 4, 1)
    merged = merge_updates(model_method(name), {each: torch.zeros_like(base[each]) for each in base}, [update])
    assert all(torch.equal(merged[each], update.delta[each]) for each in base)


def test_a_single_model_goes_through_regmean_and_whole_ties(make: Make) -> None:
    base, (update, *_) = models(make, 4, 1)
    for method in (model_method("regmean"), model_method("ties", density=1.0)):
        close(merge_updates(method, base, [update]), dict(update.delta), 1e-5)


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_bits_depend_on_no_thread(make: Make, name: str) -> None:
    base, updates = models(make, 5, 3)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(merge_models(model_method(name), base, updates))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result[each], results[0][each]) for result in results for each in base)


@pytest.mark.parametrize("name", ["average", "fisher", "ties", "dare", "task_arithmetic", "slerp"])
@pytest.mark.parametrize("codec", [Codec("fp16"), Codec("sparse", 256, 3)])
def test_patches_merge_like_the_models_that_they_make(make: Make, name: str, codec: Codec) -> None:
    base = make(1, "heavy", SHAPES)
    layout = Layout.of(base)
    payloads = [kernels.compress(make(seed, "heavy", SHAPES), None, codec)[0] for seed in (2, 3)]
    fishers = [kernels.compress_on_support(statistics(make, seed)["fisher"], payloads[seed]) for seed in (0, 1)]
    patches = [Update.of_patch(layout, payload, fisher=fisher) for payload, fisher in zip(payloads, fishers, strict=True)]
    whole = [
        Update.of_model(
            base,
            {each: base[each] - kernels.decompress(payload, layout)[each] for each in base},
            fisher=kernels.decompress_on_support(fisher, payload, layout),
        )
        for payload, fisher in zip(payloads, fishers, strict=True)
    ]
    close(merge_models(model_method(name), base, patches), merge_models(model_method(name), base, whole))


def test_fisher_finds_the_minimum_of_quadratic_losses_exactly() -> None:
    """Loss i = ½ Σ Fᵢ (θ − θᵢ)², of n samples: the minimum of the sum of all is Σ nFθ / Σ nF. All numbers here are dyadic."""
    rng = np.random.default_rng(1)
    base = {"w": torch.from_numpy(rng.integers(-64, 64, 500).astype(np.float32)) / 8}
    models = [{"w": torch.from_numpy(rng.integers(-64, 64, 500).astype(np.float32)) / 8} for _ in range(2)]
    curvature = {"w": torch.from_numpy(2.0 ** rng.integers(-3, 3, 500)).float()}
    fishers = [curvature, {"w": 3 * curvature["w"]}]  # F and 3F: the sum is a power of two, so no division rounds
    updates = [Update.of_model(base, model, fisher=fisher) for model, fisher in zip(models, fishers, strict=True)]
    merged = merge_models(model_method("fisher"), base, updates)
    above = fishers[0]["w"].double() * models[0]["w"].double() + fishers[1]["w"].double() * models[1]["w"].double()
    assert torch.equal(merged["w"].double(), above / (4 * curvature["w"].double()))


def test_fisher_goes_to_the_average_as_it_is_damped_and_where_it_says_nothing(make: Make) -> None:
    base, updates = models(make, 6, 3)
    average = merge_models(model_method("average"), base, updates)
    close(merge_models(model_method("fisher", damping=1e6), base, updates), average)
    silent = [Update(each.delta, each.weight, {name: torch.zeros_like(base[name]) for name in base}) for each in updates]
    close(merge_models(model_method("fisher"), base, silent), average)


def test_regmean_is_least_squares_over_everybodys_inputs() -> None:
    generator = torch.Generator().manual_seed(1)
    base = {"w": torch.randn(5, 8, generator=generator), "bias": torch.randn(5, generator=generator)}
    others = [{name: tensor + torch.randn(tensor.shape, generator=generator) for name, tensor in base.items()} for _ in range(3)]
    inputs = [torch.randn(count, 8, generator=generator) for count in (40, 60, 100)]
    updates = [
        Update.of_model(base, model, weight=len(x), grams={"w": x.T @ x / len(x)})
        for model, x in zip(others, inputs, strict=True)
    ]
    merged = merge_models(model_method("regmean", alpha=1.0, damping=0.0), base, updates)
    outputs = torch.cat([x @ model["w"].T for model, x in zip(others, inputs, strict=True)])
    best = torch.linalg.lstsq(torch.cat(inputs).double(), outputs.double()).solution.T
    torch.testing.assert_close(merged["w"].double(), best, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(merged["bias"], merge_models(model_method("average"), base, updates)["bias"])


def test_regmean_averages_where_no_input_goes() -> None:
    """Inputs whose last coordinate is always 0 have a singular Gram matrix."""
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(2))
    gram = torch.nn.functional.pad(x, (0, 1)).T @ torch.nn.functional.pad(x, (0, 1)) / 20
    base, updates = {"w": torch.zeros(2, 4)}, []
    for value in (1.0, 3.0):
        updates.append(Update.of_model(base, {"w": torch.full((2, 4), value)}, grams={"w": gram}))
    close(merge_models(model_method("regmean"), base, updates), {"w": torch.full((2, 4), 2.0)}, 1e-5)
    with pytest.raises(ValueError, match="positive definite"):
        merge_models(model_method("regmean", damping=0.0), base, updates)


def test_dare_keeps_the_expectation_and_draws_by_seed_and_key(make: Make) -> None:
    base, ones = {"w": torch.zeros(100_000)}, {"w": torch.ones(100_000)}
    first, second = (Update.of_model(base, ones, key=key) for key in (b"a", b"b"))
    method = model_method("dare", drop=0.9, scale=1.0)
    drawn = merge_models(method, base, [first])["w"]
    assert set(drawn.tolist()) == {0.0, float(torch.tensor(1 / (1 - 0.9)))}
    assert abs(float(drawn.mean()) - 1) < 0.03
    assert torch.equal(drawn, merge_models(method, base, [first])["w"])
    assert not torch.equal(drawn, merge_models(method, base, [second])["w"])
    assert not torch.equal(drawn, merge_models(model_method("dare", drop=0.9, scale=1.0, seed=1), base, [first])["w"])


def test_dare_does_not_touch_a_global_generator(make: Make) -> None:
    base, updates = models(make, 7, 2)
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state()
    merge_models(model_method("dare"), base, updates)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.random() == np.random.RandomState(0).random()


def test_ties_by_hand() -> None:
    base = {"w": torch.zeros(4)}
    deltas = ([4.0, -3.0, 1.0, 2.0], [2.0, 5.0, -1.0, -2.0], [3.0, -4.0, 0.5, -2.0])
    updates = [Update({"w": torch.tensor(delta)}) for delta in deltas]
    merged = merge_updates(model_method("ties", density=0.5), base, updates)
    # Kept: (4, −3, ·, ·), (2, 5, ·, ·), (3, −4, ·, ·); the sums' signs are + and −.
    assert torch.allclose(merged["w"], torch.tensor([3.0, -3.5, 0.0, 0.0]))


def test_what_does_not_fit_is_refused(make: Make) -> None:
    base, (update, *_) = models(make, 8, 1)
    for name in ("fisher", "regmean"):
        with pytest.raises(MissingStatisticsError):
            merge_models(model_method(name), base, [update, Update(update.delta)])
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_models(model_method("average"), base, [])
    with pytest.raises(ValueError, match="layout"):
        merge_models(model_method("average"), {"w": torch.zeros(3)}, [update])
    with pytest.raises(ValueError, match="no merge method"):
        model_method("vote")
    with pytest.raises(ValueError, match="no parameter 'density', only scale"):
        model_method("task_arithmetic", density=0.5)
    wrong = (("ties", "density", 1.1), ("dare", "drop", 1.0), ("dare", "seed", 0.5), ("fisher", "damping", -1))
    for name, parameter, value in wrong:
        with pytest.raises(ValueError):
            model_method(name, **{parameter: value})


def test_updates_out_of_range_are_refused() -> None:
    ones = {"w": torch.ones(2, 3)}
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive and finite"):
            Update(ones, weight)
    with pytest.raises(NonFiniteError, match="update of 'w'"):
        Update({"w": torch.tensor([float("nan")])})
    with pytest.raises(ValueError, match="negative"):
        Update(ones, fisher={"w": -torch.ones(2, 3)})
    with pytest.raises(ValueError, match="layout"):
        Update(ones, fisher={"w": torch.ones(3)})
    for grams in ({"w": torch.eye(2)}, {"v": torch.eye(3)}):
        with pytest.raises(ValueError, match="does not fit"):
            Update(ones, grams=grams)
    huge = Update({"w": torch.full((2, 3), 3e38)})
    with pytest.raises(NonFiniteError, match="merge of 'w'"):
        merge_updates(model_method("task_arithmetic", scale=2.0), ones, [huge])
