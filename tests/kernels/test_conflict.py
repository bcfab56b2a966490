"""The conflict report: counts by hand, and its laws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import kernels
from collab.kernels import Codec, Layout
from collab.kernels.conflict import compare_updates, three_way
from collab.kernels.merge import Update

Tensors = dict[str, torch.Tensor]
Make = Callable[..., Tensors]


def test_by_hand() -> None:
    base = {"a": torch.tensor([1.0, 1.0, 1.0, 1.0]), "b": torch.zeros(2)}
    ours = {"a": torch.tensor([2.0, 3.0, 1.0, 0.0]), "b": torch.zeros(2)}
    theirs = {"a": torch.tensor([2.0, 0.0, 5.0, 1.0]), "b": torch.tensor([3.0, 0.0])}
    report = three_way(base, ours, theirs)
    a, b = report.tensors
    assert (a.name, a.elements, a.ours, a.theirs, a.both, a.opposed) == ("a", 4, 3, 3, 2, 1)
    assert a.squared_norm == (1 + 4 + 1) + (1 + 1 + 16)
    assert a.opposed_squared_norm == 4 + 1
    assert a.share == 5 / 24
    assert a.cosine == pytest.approx((1 - 2) / (6 * 18) ** 0.5)
    assert (b.both, b.opposed, b.share, b.cosine) == (0, 0, 0.0, None)
    whole = report.whole
    assert (whole.elements, whole.ours, whole.theirs, whole.both, whole.opposed) == (6, 3, 4, 2, 1)
    assert whole.share == 5 / 33
    assert whole.cosine == pytest.approx(-1 / (6 * 27) ** 0.5)


@given(seed=st.integers(0, 1 << 20))
@settings(max_examples=10)
def test_laws(make: Make, seed: int) -> None:
    base, ours, theirs = (make(seed + at, "heavy") for at in range(3))
    report, swapped = three_way(base, ours, theirs), three_way(base, theirs, ours)
    for one, other in zip((*report.tensors, report.whole), (*swapped.tensors, swapped.whole), strict=True):
        assert (one.ours, one.theirs, one.both, one.opposed) == (other.theirs, other.ours, other.both, other.opposed)
        assert one.share == other.share
        assert 0 <= one.share <= 1
        assert one.opposed <= one.both <= min(one.ours, one.theirs)
    agreeing = three_way(base, ours, ours).whole
    assert (agreeing.opposed, agreeing.share) == (0, 0.0)
    assert agreeing.cosine == pytest.approx(1.0)
    mirrored = compare_updates(ours, {name: -tensor for name, tensor in ours.items()}).whole
    assert (mirrored.opposed, mirrored.share) == (mirrored.both, 1.0)


def test_of_patches_it_is_that_of_the_models_that_they_make(make: Make) -> None:
    base = {name: torch.zeros_like(tensor) for name, tensor in make(0).items()}
    layout = Layout.of(base)
    payloads = [kernels.compress(make(seed), None, Codec("sparse", 64, 2))[0] for seed in (1, 2)]
    ours, theirs = (Update.of_patch(layout, payload).delta for payload in payloads)
    models = [{name: base[name] - kernels.decompress(payload, layout)[name] for name in base} for payload in payloads]
    assert compare_updates(ours, theirs) == three_way(base, *models)


def test_other_layouts_are_refused() -> None:
    with pytest.raises(ValueError, match="layout"):
        three_way({"a": torch.zeros(2)}, {"a": torch.zeros(2)}, {"a": torch.zeros(3)})
