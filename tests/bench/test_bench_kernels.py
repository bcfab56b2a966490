"""What the kernel bench measures is what it says."""

from __future__ import annotations

import math

import pytest
import torch
from bench_kernels.figures import Bench, Scale, identical
from bench_kernels.rivals import bound_bits, floor, torch_pipeline

from collab import kernels
from collab.kernels import Codec

CPU = torch.device("cpu")


def test_the_bound_is_the_number_of_ways_to_choose() -> None:
    assert bound_bits(64, 2) == pytest.approx((math.log2(math.comb(4096, 64)) + 128) / 4096)


def test_the_floor_and_the_pipeline_keep_what_they_leave_out() -> None:
    delta, residual = torch.randn(2, 3 * 4096, generator=torch.Generator().manual_seed(3)).unbind()
    total = residual * 0.5 + delta
    torch.testing.assert_close(floor(delta, residual.clone(), 0.5), total)
    left = residual.clone()
    positions, codes, scales = torch_pipeline(delta, left, 64, 0.5)
    assert (positions.shape, codes.shape, scales.shape) == ((3, 64), (3, 64), (3, 2))
    sent = (total - left).view(3, 4096)
    assert bool((sent.count_nonzero(dim=1) == 64).all())
    assert float(left.square().sum()) < float(total.square().sum())


def test_every_backend_gives_the_same() -> None:
    assert identical(CPU, Codec("sparse", 64, 2)) == dict.fromkeys(kernels.backends(), True)


def test_the_figures_have_what_was_promised() -> None:
    figures = Bench(Scale(8192, 1, Codec("sparse", 64, 2)), CPU, kernels.backend(), lambda _: None).figures()
    promised = {
        "device", "parameters", "k", "value_bits", "bits_per_parameter", "fp32_ratio", "bound_bits_per_parameter",
        "compress_seconds", "floor_seconds", "torch_seconds", "decode8_seconds", "fp16_read8_seconds", "hivemind", "identical",
    }  # fmt: skip
    assert promised <= figures.keys()
    assert figures["fp32_ratio"] == pytest.approx(32 / figures["bits_per_parameter"])
    assert set(figures["hivemind"]) == {"FLOAT16", "UNIFORM_8BIT", "BLOCKWISE_8BIT"}
