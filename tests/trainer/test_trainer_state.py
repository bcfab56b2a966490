from __future__ import annotations

from pathlib import Path

import pytest
import torch

from collab.node.trainer.errors import WorkerError
from collab.node.trainer.state import SharedState
from collab.node.trainer.tensor_file import write_tensors
from collab.protocol.event import OuterOptimiser

SGD = OuterOptimiser()
NESTEROV = OuterOptimiser(kind="nesterov", momentum=0.9)
SHAPES: dict[str, tuple[int, ...]] = {"a": (3,), "b.weight": (2, 2), "scalar": ()}


def weights() -> dict[str, torch.Tensor]:
    return {name: torch.full(shape, 0.5) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("outer", [SGD, NESTEROV])
def test_a_snapshot_is_the_state(tmp_path: Path, outer: OuterOptimiser) -> None:
    state = SharedState.start(weights(), outer)
    state.write(tmp_path / "one")
    read = SharedState.read(tmp_path / "one", SHAPES, outer)
    assert read.hash() == state.hash()
    assert (read.momentum is None) == (outer is SGD)
    read.write(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_the_momentum_is_part_of_the_state() -> None:
    assert SharedState.start(weights(), SGD).hash() != SharedState.start(weights(), NESTEROV).hash()


def test_the_hash_is_of_names_shapes_and_bits() -> None:
    first = SharedState.start(weights(), SGD).hash()
    for change in ({"a": torch.full((3,), 0.5000001)}, {"a": torch.full((3, 1), 0.5)}, {"c": torch.zeros(1)}):
        assert SharedState.start({**weights(), **change}, SGD).hash() != first
    assert SharedState.start(dict(reversed(weights().items())), SGD).hash() == first


def test_a_model_alone_starts_an_event(tmp_path: Path) -> None:
    state = SharedState.start(weights(), NESTEROV)
    state.write(tmp_path / "model", weights_only=True)
    assert SharedState.read(tmp_path / "model", SHAPES, NESTEROV, weights_only=True).hash() == state.hash()


def bad_tensors() -> dict[str, dict[str, torch.Tensor]]:
    good = weights()
    return {
        "lacks 'a'": {name: tensor for name, tensor in good.items() if name != "a"},
        "no part of the model": {**good, "z": torch.zeros(0)},
        r"is F32 \(1, 3\)": {**good, "a": torch.zeros(1, 3)},
        r"is F16 \(3,\)": {**good, "a": torch.zeros(3).half()},
        "NaN or infinite": {**good, "a": torch.tensor([0.0, float("nan"), 0.0])},
        "bytes, this model has": {**good, "z": torch.zeros(100_000)},
    }


@pytest.mark.parametrize("words", bad_tensors())
def test_any_other_snapshot_is_refused(tmp_path: Path, words: str) -> None:
    write_tensors(tmp_path / "bad", bad_tensors()[words])
    with pytest.raises(WorkerError, match=words) as caught:
        SharedState.read(tmp_path / "bad", SHAPES, SGD)
    assert caught.value.code == "bad_tensors"


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_any_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(WorkerError) as caught:
        SharedState.read(tmp_path / "bad", SHAPES, SGD)
    assert caught.value.code == "bad_tensors"


def test_what_was_read_outlives_the_file(tmp_path: Path) -> None:
    SharedState.start(weights(), SGD).write(tmp_path / "one")
    read = SharedState.read(tmp_path / "one", SHAPES, SGD)
    (tmp_path / "one").write_bytes(b"\xff" * (tmp_path / "one").stat().st_size)
    assert read.hash() == SharedState.start(weights(), SGD).hash()
