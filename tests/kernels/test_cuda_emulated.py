"""The CUDA kernels compiled for the host: every bit as the reference gives it."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import cuda_cases
import pytest
import torch
from cuda_emulated import EmulatedLauncher, build, build_races, compiler

from collab.kernels import Codec, Layout, NonFiniteError
from collab.kernels.cuda import Cuda
from collab.kernels.cuda.arguments import KERNELS
from collab.kernels.form import Form

Make = Callable[..., dict[str, torch.Tensor]]

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> EmulatedLauncher:
    return EmulatedLauncher(build(tmp_path_factory.mktemp("cuda_emulated")))


@pytest.fixture
def cuda(launch: EmulatedLauncher) -> Cuda:
    return Cuda(launch)


@pytest.mark.parametrize("case", cuda_cases.CASES.values(), ids=cuda_cases.CASES)
def test_bits_are_the_reference_s(cuda: Cuda, case: cuda_cases.Case, make: Make) -> None:
    cuda_cases.compare(cuda, case, make)


def test_merges_and_squares_are_the_reference_s(cuda: Cuda, make: Make) -> None:
    cuda_cases.compare_merge(cuda, make)
    cuda_cases.compare_squares(cuda, make)


def test_no_barrier_is_missing(tmp_path: Path) -> None:
    """Lanes are threads to the sanitizer, and only barriers order what they do."""
    try:
        program = build_races(tmp_path)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the compiler has no thread sanitizer: {error.stderr.splitlines()[-1]}")
    done = subprocess.run([program], check=False, capture_output=True, text=True)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("the thread sanitizer does not work on this kernel")
    assert done.returncode == 0, (done.stdout + done.stderr)[:4000]


def test_structs_have_the_compiler_s_sizes(launch: EmulatedLauncher) -> None:
    for kernel, (arguments, _) in KERNELS.items():
        assert ctypes.sizeof(arguments) == launch.size_of(kernel)


def test_no_bitmap_is_longer_than_the_kernel_s_memory_for_it() -> None:
    forms = [Form.of(size, density, 2) for size in range(1, 4097) for density in range(1, 33)]
    assert max(form.kept + ((form.size - form.kept) >> form.remainder) for form in forms if form.has_gaps) == 1408
    assert max(form.most_bitmap - form.least_bitmap for form in forms) <= 255


def test_nothing_at_all(cuda: Cuda) -> None:
    for tensors in ({}, {"empty": torch.zeros(0, 3)}):
        layout = Layout.of(tensors)
        payload, left = cuda.compress(tensors, tensors, Codec(), layout, None)
        assert payload == cuda_cases.REFERENCE.compress(tensors, None, Codec(), layout, None)[0]
        assert left.keys() == tensors.keys()
        cuda.accumulate(left, [(payload, 1.0)], layout)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("codec", [Codec(), Codec(dense_below=1 << 20), Codec("fp16")])
def test_what_is_not_finite_is_refused(cuda: Cuda, bad: float, codec: Codec, make: Make) -> None:
    for position in (0, 4095, 4096):
        delta, residual = make(1), make(2)
        delta["g.one-over"].view(-1)[position] = bad
        before = {name: tensor.clone() for name, tensor in residual.items()}
        with pytest.raises(NonFiniteError):
            cuda.compress(delta, residual, codec, Layout.of(delta), None)
        cuda_cases.same(residual, before)


def test_tensors_need_not_be_contiguous_but_here(cuda: Cuda) -> None:
    cuda_cases.compare_strided(cuda)
    elsewhere = {"w": torch.zeros(3, device="meta")}
    with pytest.raises(ValueError, match="is on meta"):
        cuda.compress(elsewhere, None, Codec(), Layout.of(elsewhere), None)


def test_parts_are_added_in_order_and_all_checked_first(cuda: Cuda, make: Make) -> None:
    cuda_cases.compare_order(cuda, make)


def test_the_device_s_checks_are_the_reference_s(cuda: Cuda, make: Make) -> None:
    cuda_cases.compare_checks(cuda, make, 100)
