"""What the kernel bench measures is what it says."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from bench_kernels import __main__ as command
from bench_kernels.figures import Bench, Scale, identical
from bench_kernels.rivals import bound_bits, floor, torch_pipeline
from cuda_emulated import EmulatedLauncher, build, compiler

from collab import kernels
from collab.kernels import Codec, cuda

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
    assert identical(Codec("sparse", 64, 2)) == dict.fromkeys(kernels.backends(), True)


def test_the_figures_have_what_was_promised() -> None:
    figures = Bench(Scale(8192, 1, Codec("sparse", 64, 2)), CPU, kernels.backend(), lambda _: None).figures()
    promised = {
        "device", "parameters", "k", "value_bits", "bits_per_parameter", "fp32_ratio", "bound_bits_per_parameter",
        "compress_seconds", "floor_seconds", "torch_seconds", "decode8_seconds", "fp16_read8_seconds", "hivemind", "identical",
    }  # fmt: skip
    assert promised <= figures.keys()
    assert figures["fp32_ratio"] == pytest.approx(32 / figures["bits_per_parameter"])
    assert set(figures["hivemind"]) == {"FLOAT16", "UNIFORM_8BIT", "BLOCKWISE_8BIT"}


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_of_a_device_its_own_part_is_measured_too(tmp_path: Path) -> None:
    emulated = cuda.Cuda(EmulatedLauncher(build(tmp_path)))
    figures = Bench(Scale(8192, 1, Codec("sparse", 64, 2)), CPU, emulated, lambda _: None).figures()
    assert figures["compress_device_seconds"] > 0
    assert figures["decode8_device_seconds"] > 0
    rows = [str(cell) for cell in command.table(figures).columns[0].cells]
    assert "compress, the device's part" in rows
    assert "add 8 that are there" in rows


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--device", "cuda"], "error: Some GPU: No module named 'cuda'; install what it needs with: pip install 'cuda-bindings"),
        (["--backend", "abacus"], "error: no backend 'abacus' here, only "),
        (["--parameters", "5000"], "error: parameters must be a multiple of 4096, not 5000\n"),
    ],
)
def test_what_cannot_be_measured_is_a_line(
    options: list[str], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise cuda.Unavailable("Some GPU: No module named 'cuda'") from ImportError()

    monkeypatch.setattr(cuda, "open_device", fail)
    monkeypatch.setattr(sys, "argv", ["scripts/bench kernels", *options])
    assert command.main() == 1
    assert capsys.readouterr().err.startswith(why)
