"""The CUDA backend on a GPU, bit for bit the reference. `scripts/bench kernels --device cuda` runs this before it measures."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cuda_cases
import pytest
import torch

from collab import kernels
from collab.kernels import Codec, Layout, NonFiniteError
from collab.kernels.cuda import Cuda, open_device
from collab.kernels.cuda.compile import OLDEST

Make = Callable[..., dict[str, torch.Tensor]]

DENSE = Codec(tensors=(("*", 0),))


def _missing() -> str:
    """Why nothing here can run. What is none of these has to work."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    major, minor = torch.cuda.get_device_capability()
    if 10 * major + minor < OLDEST:
        return f"a CUDA device of compute capability {major}.{minor}"
    return "" if importlib.util.find_spec("cuda") else "no cuda-bindings"


pytestmark = [pytest.mark.skipif(bool(_missing()), reason=_missing() or "-"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cuda() -> Cuda:
    return open_device()


@pytest.mark.parametrize("case", cuda_cases.CASES.values(), ids=cuda_cases.CASES)
def test_bits_are_the_reference_s(cuda: Cuda, case: cuda_cases.Case, make: Make) -> None:
    cuda_cases.compare(cuda, case, make)


def test_merges_and_squares_are_the_reference_s(cuda: Cuda, make: Make) -> None:
    cuda_cases.compare_merge(cuda, make)
    cuda_cases.compare_squares(cuda, make)


def test_inputs_need_not_be_contiguous(cuda: Cuda) -> None:
    cuda_cases.compare_strided(cuda)


def test_parts_are_added_in_order_and_all_checked_first(cuda: Cuda, make: Make) -> None:
    cuda_cases.compare_order(cuda, make)


def test_the_device_s_checks_are_the_reference_s(cuda: Cuda, make: Make) -> None:
    cuda_cases.compare_checks(cuda, make, 500)


@pytest.mark.parametrize("codec", [Codec(k=64), Codec(k=256, value_bits=3), Codec(k=512, value_bits=8), DENSE])
def test_many_blocks_give_the_same_bits_every_time(cuda: Cuda, codec: Codec, make: Make) -> None:
    shapes = {"a": (1000, 3001), "b": (2048, 512)}
    delta, residual = make(1, "heavy", shapes), make(2, "heavy", shapes)
    layout = Layout.of(delta)
    payload, left = cuda_cases.REFERENCE.compress(delta, residual, codec, layout, None)
    parts = [(payload, 0.125 * i - 0.3) for i in range(8)]
    expected = make(3, "heavy", shapes)
    cuda_cases.REFERENCE.accumulate(expected, parts, layout)
    for _ in range(5):
        found = cuda.compress(cuda_cases.on(cuda, delta), cuda_cases.on(cuda, residual), codec, layout, None)
        assert found[0] == payload
        cuda_cases.same(found[1], left)
        into = cuda_cases.on(cuda, make(3, "heavy", shapes))
        cuda.accumulate(into, parts, layout)
        cuda_cases.same(into, expected)


@pytest.mark.parametrize("offset", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_addresses_need_not_be_aligned(cuda: Cuda, offset: int, dtype: torch.dtype, make: Make) -> None:
    delta = {name: tensor.to(dtype) for name, tensor in make(1, "heavy").items()}
    residual = make(2, "heavy")
    layout = Layout.of(residual)
    expected = cuda_cases.REFERENCE.compress(delta, residual, Codec(), layout, None)

    def shifted(tensor: torch.Tensor) -> torch.Tensor:
        room = torch.zeros(tensor.numel() + offset, dtype=tensor.dtype, device=cuda.device)
        return room[offset:].copy_(tensor.reshape(-1)).view(tensor.shape)

    out = {name: shifted(tensor) for name, tensor in residual.items()}
    payload, _ = cuda.compress({name: shifted(tensor) for name, tensor in delta.items()}, out, Codec(), layout, out)
    assert payload == expected[0]
    cuda_cases.same(out, expected[1])


def test_work_is_ordered_with_the_current_stream_s(cuda: Cuda, make: Make) -> None:
    shapes = {"w": (4096, 1024)}
    delta = make(1, "heavy", shapes)
    layout = Layout.of(delta)
    expected = cuda_cases.REFERENCE.compress(delta, None, Codec(), layout, None)
    stream: torch.cuda.Stream = torch.cuda.Stream(cuda.device)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        here = {name: torch.zeros(shape, device=cuda.device) for name, shape in layout.tensors}
        torch.cuda._sleep(100_000_000)  # type: ignore[no-untyped-call]
        for name, tensor in here.items():
            tensor.copy_(delta[name], non_blocking=True)
        payload, left = cuda.compress(here, None, Codec(), layout, None)
        for tensor in here.values():
            tensor.zero_()
    assert payload == expected[0]
    cuda_cases.same(left, expected[1])


@pytest.mark.parametrize("codec", [Codec(), Codec(dense_below=1 << 20), Codec("fp16")])
def test_what_is_not_finite_is_refused(cuda: Cuda, codec: Codec, make: Make) -> None:
    delta = cuda_cases.on(cuda, make(1))
    delta["g.one-over"].view(-1)[4096] = float("nan")
    with pytest.raises(NonFiniteError):
        cuda.compress(delta, None, codec, Layout.of(delta), None)


def test_any_thread_may_call(cuda: Cuda, make: Make) -> None:
    """Also one in which torch has not worked yet."""
    with ThreadPoolExecutor(1) as other:
        other.submit(cuda_cases.compare_squares, cuda, make).result()


def test_the_public_functions_choose_it(cuda: Cuda, make: Make) -> None:
    assert kernels.backend("cuda").name == "cuda"
    delta = make(1)
    payload, left = kernels.compress(cuda_cases.on(cuda, delta), None, Codec())
    expected, expected_left = kernels.compress(delta, None, Codec())
    assert payload == expected
    cuda_cases.same(left, expected_left)
    assert all(tensor.device == cuda.device for tensor in left.values())
