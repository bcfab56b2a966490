"""Laws of merging: what it computes, what it does not depend on, and what a liar cannot do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import kernels
from collab.kernels import Codec, Layout, PayloadError
from collab.kernels.merge import METHODS, Contribution, merge

Tensors = dict[str, torch.Tensor]
Make = Callable[..., Tensors]

SHAPES = {"a": (300,), "b": (70, 60), "c": (0,), "d": ()}
CODEC = Codec("sparse", 512, 3)
FULL = Codec("fp16")
codecs = st.sampled_from((CODEC, FULL))


def patch_of(delta: Tensors, codec: Codec = CODEC) -> bytes:
    return kernels.compress(delta, None, codec)[0]


def contribution(
    delta: Tensors, weight: float, fisher: Tensors | None = None, clip: float = 1.0, codec: Codec = CODEC
) -> Contribution:
    patch = patch_of(delta, codec)
    payload = None if fisher is None else kernels.compress_on_support(fisher, patch, bits=8)
    return Contribution(patch, weight, clip, payload)


def swarm(make: Make, seed: int, count: int, codec: Codec) -> list[Contribution]:
    parts = []
    for at in range(count):
        fisher = {name: tensor.square() for name, tensor in make(seed + 500 + at, "heavy", SHAPES).items()}
        parts.append(contribution(make(seed + at, "heavy", SHAPES), 1 / count, fisher, 0.9, codec))
    return parts


def same(a: Tensors, b: Tensors) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_methods_are_listed() -> None:
    assert list(METHODS) == ["average", "sparse-average", "fisher"]


@given(seed=st.integers(0, 1 << 20), count=st.integers(1, 5), codec=codecs)
@settings(max_examples=20)
def test_average_is_the_weighted_sum(make: Make, seed: int, count: int, codec: Codec) -> None:
    parts = swarm(make, seed, count, codec)
    layout = Layout.of(make(0, "normal", SHAPES))
    expected = layout.zeros()
    for part in parts:
        decoded = kernels.decompress(part.payload, layout)
        for name in expected:
            expected[name] = expected[name] + torch.tensor(part.weight * part.clip) * decoded[name]
    assert same(merge("average", layout, parts, cap=1.0), expected)


@given(seed=st.integers(0, 1 << 20), count=st.integers(1, 5), cap=st.sampled_from((0.3, 0.5, 1.0)), codec=codecs)
@settings(max_examples=20)
def test_sparse_average_divides_by_the_root_of_what_was_said(
    make: Make, seed: int, count: int, cap: float, codec: Codec
) -> None:
    parts = swarm(make, seed, count, codec)
    layout = Layout.of(make(0, "normal", SHAPES))
    average, merged = merge("average", layout, parts, cap=cap), merge("sparse-average", layout, parts, cap=cap)
    told = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    for part in parts:
        for name, entries in kernels.backend("reference").entries(part.payload, layout).items():
            entries.put(told[name], entries.gather(told[name]) + part.weight)
    limit = max(cap, 1 / count)
    for name in layout.names:
        divisor = told[name].sqrt().clamp(min=1 / count / limit)
        expected = torch.where(told[name] > 0, average[name].double() / divisor, 0.0)
        torch.testing.assert_close(merged[name].double(), expected, rtol=1e-5, atol=0.0)
        if codec is FULL:
            torch.testing.assert_close(merged[name], average[name], rtol=1e-5, atol=0.0)


def test_sparse_average_holds_even_what_only_one_says_below_the_limit(make: Make) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    parts = [contribution(make(seed, "heavy", SHAPES), weight) for seed, weight in ((1, 0.7), (2, 0.2), (3, 0.1))]
    decoded = [kernels.decompress(part.payload, layout) for part in parts]
    merged = merge("sparse-average", layout, parts, cap=0.4)
    for name in layout.names:
        alone = torch.stack([tensors[name] != 0 for tensors in decoded]).sum(dim=0) == 1
        largest = torch.stack([tensors[name].abs() for tensors in decoded]).amax(dim=0)
        assert bool((merged[name].abs() <= 0.4 * (1 + 1e-6) * largest)[alone].all())


@given(seed=st.integers(0, 1 << 20), count=st.integers(1, 5), flat=st.booleans(), codec=codecs)
@settings(max_examples=20)
def test_fisher_with_equal_fishers_is_the_average(
    make: Make, seed: int, count: int, flat: bool, codec: Codec
) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    ones = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    parts = [
        contribution(make(seed + at, "heavy", SHAPES), 1 / count, ones if flat else None, 0.7, codec)
        for at in range(count)
    ]
    average = merge("average", layout, parts, cap=0.5)
    fisher = merge("fisher", layout, parts, cap=0.5, damping=0.1)
    for name in average:
        largest = max(float(kernels.decompress(part.payload, layout)[name].abs().sum()) for part in parts)
        torch.testing.assert_close(fisher[name], average[name], rtol=1e-5, atol=1e-6 * largest)


def test_fisher_is_the_papers_formula_where_no_limit_binds(make: Make) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    parts = swarm(make, 11, 3, FULL)
    damping, numerator, denominator = 0.25, layout.zeros(), layout.zeros()
    for part in parts:
        assert part.fisher is not None
        values = kernels.decompress_on_support(part.fisher, part.payload, layout)
        mean = sum(float(tensor.double().sum()) for tensor in values.values()) / layout.numel()
        delta = kernels.decompress(part.payload, layout)
        for name in numerator:
            relative = (values[name] / mean).clamp(1 / 16, 16) + damping
            numerator[name] += part.weight * relative * part.clip * delta[name]
            denominator[name] += part.weight * relative
    merged = merge("fisher", layout, parts, cap=1.0, damping=damping)
    for name in merged:
        torch.testing.assert_close(merged[name], numerator[name] / denominator[name], rtol=1e-4, atol=1e-6)


@given(
    seed=st.integers(0, 1 << 20),
    cap=st.sampled_from((0.1, 0.25, 0.3, 0.5, 1.0)),
    lie=st.sampled_from(("times a billion", "one coordinate", "random")),
    weight=st.sampled_from((0.05, 0.25, 0.9)),
    codec=codecs,
)
@settings(max_examples=40)
def test_a_liars_fisher_moves_no_coordinate_beyond_the_limit(
    make: Make, seed: int, cap: float, lie: str, weight: float, codec: Codec
) -> None:
    """Three honest contributors agree on a patch; the fourth disagrees and claims any Fisher, and any weight."""
    layout = Layout.of(make(0, "normal", SHAPES))
    honest_delta, liars_delta = make(seed, "heavy", SHAPES), make(seed + 1, "heavy", SHAPES)
    claims = {name: tensor.square() for name, tensor in make(seed + 2, "heavy", SHAPES).items()}
    if lie == "times a billion":
        claims = {name: tensor * 1e9 for name, tensor in claims.items()}
    if lie == "one coordinate":
        claims = {name: torch.where(tensor == tensor.max(), 1e9, 1e-9) for name, tensor in claims.items() if tensor.numel()}
        claims["c"] = torch.zeros(0)
    parts = [contribution(honest_delta, (1 - weight) / 3, None, codec=codec) for _ in range(3)]
    parts.append(contribution(liars_delta, weight, claims, codec=codec))
    limit = max(cap, 1 / 4)
    honest, lies = (kernels.decompress(part.payload, layout) for part in (parts[0], parts[3]))
    together = 3 * min((1 - weight) / 3, limit)
    for method in ("average", "fisher"):
        merged = merge(method, layout, parts, cap=cap, damping=0.0)
        for name in merged:
            slack = 1e-5 * (honest[name].abs() + lies[name].abs())
            agreed = honest[name] != 0
            say = torch.where(lies[name] != 0, together + min(weight, limit), together)
            drift = (merged[name] - say * honest[name]).abs()
            bound = torch.where(lies[name] != 0, limit * (lies[name] - honest[name]).abs(), 0.0)
            assert bool((drift <= bound + slack)[agreed].all())
            assert bool((merged[name].abs() <= limit * lies[name].abs() + slack)[~agreed].all())


@given(seed=st.integers(0, 1 << 20), power=st.integers(-30, 30), codec=codecs)
@settings(max_examples=12)
def test_the_scale_of_a_fisher_means_nothing(make: Make, seed: int, power: int, codec: Codec) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    parts = swarm(make, seed, 3, codec)
    fisher = {name: tensor.square() for name, tensor in make(seed + 500, "heavy", SHAPES).items()}
    scaled = {name: tensor * 2.0**power for name, tensor in fisher.items()}
    first = make(seed, "heavy", SHAPES)
    a, b = (contribution(first, 1 / 3, claim, 0.9, codec) for claim in (fisher, scaled))
    assert same(
        merge("fisher", layout, [a, *parts[1:]], cap=0.5, damping=0.1),
        merge("fisher", layout, [b, *parts[1:]], cap=0.5, damping=0.1),
    )


@given(seed=st.integers(0, 1 << 20), cap=st.sampled_from((0.2, 0.4, 0.6)))
@settings(max_examples=8)
def test_shares_of_a_coordinate_add_up_and_none_exceeds_the_limit(make: Make, seed: int, cap: float) -> None:
    """With a patch of ones from everybody the merge is the sum of shares; with one from i alone it is i's share."""
    layout = Layout((("w", (600,)),))
    ones, zeros = {"w": torch.ones(600)}, {"w": torch.zeros(600)}
    fishers = [{"w": make(seed + at, "heavy", {"w": (600,)})["w"].square()} for at in range(5)]
    weights = [0.1, 0.15, 0.2, 0.25, 0.3]
    limited = sum(min(weight, max(cap, 0.2)) for weight in weights)
    everybody = [contribution(ones, *pair, codec=FULL) for pair in zip(weights, fishers, strict=True)]
    merged = merge("fisher", layout, everybody, cap=cap)
    torch.testing.assert_close(merged["w"], torch.full((600,), limited), rtol=1e-5, atol=0.0)
    for speaker in range(5):
        parts = [contribution(zeros, *pair, codec=FULL) for pair in zip(weights, fishers, strict=True)]
        parts[speaker] = everybody[speaker]
        share = merge("fisher", layout, parts, cap=cap)["w"]
        assert float(share.max()) <= float(torch.tensor(max(cap, 0.2)))
        assert float(share.min()) >= 0


def test_a_weight_above_the_cap_is_limited() -> None:
    layout, ones = Layout((("w", (4,)),)), {"w": torch.ones(4)}
    greedy = [contribution(ones, 0.97, codec=FULL), *(contribution({"w": -ones["w"]}, 0.01, codec=FULL) for _ in range(3))]
    for method in METHODS:
        assert float(merge(method, layout, greedy, cap=0.3)["w"].max()) <= 0.3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("codec", [CODEC, FULL])
def test_result_depends_on_neither_threads_nor_a_contribution_without_weight(
    make: Make, method: str, codec: Codec
) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    parts = swarm(make, 20, 4, codec)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(merge(method, layout, parts, cap=0.3, damping=0.1))
    finally:
        torch.set_num_threads(before)
    silent = contribution(make(99, "huge", SHAPES), 0.0, codec=codec)
    results.append(merge(method, layout, [*parts, silent], cap=0.3, damping=0.1))
    assert all(same(result, results[0]) for result in results)


@pytest.mark.parametrize("method", METHODS)
def test_nobody_and_nothing(make: Make, method: str) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    zeros = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    assert same(merge(method, layout, [], cap=0.5), layout.zeros())
    assert same(merge(method, layout, [contribution(zeros, 1.0, zeros)], cap=0.5), layout.zeros())
    assert same(merge(method, layout, [contribution(make(1, "heavy", SHAPES), 0.0)], cap=0.5), layout.zeros())


@pytest.mark.parametrize("method", METHODS)
def test_a_payload_that_does_not_decode_is_refused(make: Make, method: str) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    good = contribution(make(1, "heavy", SHAPES), 0.5)
    with pytest.raises(PayloadError):
        merge(method, layout, [good, Contribution(good.payload[:-1], 0.5)], cap=0.5)
    if method == "fisher":
        with pytest.raises(PayloadError):
            merge(method, layout, [good, Contribution(good.payload, 0.5, 1.0, good.payload)], cap=0.5)


def test_numbers_out_of_range_are_refused() -> None:
    layout, patch = Layout((("w", (1,)),)), patch_of({"w": torch.ones(1)})
    for weight, clip in ((-0.1, 1.0), (1.1, 1.0), (float("nan"), 1.0), (0.5, 1.5), (0.5, float("inf"))):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Contribution(patch, weight, clip)
    for method in METHODS:
        with pytest.raises(ValueError, match="add up"):
            merge(method, layout, [Contribution(patch, 0.6), Contribution(patch, 0.6)], cap=0.5)
    for cap, damping in ((0.0, 0.0), (1.5, 0.0), (0.5, -1.0), (0.5, float("inf"))):
        with pytest.raises(ValueError):
            merge("average", layout, [], cap=cap, damping=damping)
    with pytest.raises(ValueError, match="no merge method"):
        merge("vote", layout, [], cap=0.5)
