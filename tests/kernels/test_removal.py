"""Taking contributions out again: the terms that they put in, nothing where they say nothing, and one step back."""

from __future__ import annotations

import pytest
import torch

from collab.kernels import Codec, Layout, compress, compress_on_support
from collab.kernels.merge import METHODS, Contribution, merge
from collab.kernels.removal import added_by, step_back, touched

LAYOUT = Layout((("a", (40, 200)), ("b", (300,))))
CAP = 0.6


def contributions() -> list[Contribution]:
    """Three that overlap in part, one of them clipped."""
    found = []
    for number, (weight, clip) in enumerate([(0.5, 1.0), (0.3, 0.25), (0.2, 1.0)]):
        draw = torch.Generator().manual_seed(number)
        delta = {name: torch.randn(shape, generator=draw) for name, shape in LAYOUT.tensors}
        payload, _ = compress(delta, None, Codec(kind="sparse", k=64))
        fisher = compress_on_support({name: delta[name].square() for name in LAYOUT.names}, payload)
        found.append(Contribution(payload, weight, clip, fisher))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_what_is_taken_out_and_what_stays_add_up_to_the_merge(method: str) -> None:
    parts = contributions()
    whole = merge(method, LAYOUT, parts, cap=CAP, damping=0.1)
    everything = added_by(method, LAYOUT, parts, [False] * 3, cap=CAP, damping=0.1)
    assert all(torch.equal(everything[name], whole[name]) for name in LAYOUT.names)
    for kept in ([True, False, True], [False, True, False]):
        out = added_by(method, LAYOUT, parts, kept, cap=CAP, damping=0.1)
        rest = added_by(method, LAYOUT, parts, [not stays for stays in kept], cap=CAP, damping=0.1)
        leaving = [each for each, stays in zip(parts, kept, strict=True) if not stays]
        moved = touched(LAYOUT, leaving)
        for name in LAYOUT.names:
            torch.testing.assert_close(out[name] + rest[name], whole[name], rtol=0, atol=1e-6)
            assert not out[name][~moved[name]].any()
            assert out[name][moved[name]].any()


def test_touched_is_the_union_of_the_supports() -> None:
    parts = contributions()
    each = [touched(LAYOUT, [part]) for part in parts]
    union = touched(LAYOUT, parts)
    for name in LAYOUT.names:
        assert torch.equal(union[name], torch.stack([found[name] for found in each]).any(dim=0))
    assert not touched(LAYOUT, [])["a"].any()


def test_a_step_back_is_two_float32_operations() -> None:
    weights = {"w": torch.tensor([1.0, 1e8, -3.0])}
    added = {"w": torch.tensor([0.1, 0.3, 0.0])}
    expected = weights["w"] + torch.tensor(0.7) * added["w"]
    assert torch.equal(step_back(weights, added, 0.7)["w"], expected)
