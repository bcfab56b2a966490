from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from collab.node.errors import StoreFull
from collab.node.trainer import checkpoint, messages, tensor_file
from collab.node.trainer.errors import WorkerError
from collab.protocol.event import Merge, OuterOptimiser
from collab.protocol.identity import Identity


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("outer", [OuterOptimiser(), OuterOptimiser(kind="nesterov", rate=0.7, momentum=0.9)])
def test_a_restart_in_a_round_changes_nothing(bench: Any, make_event: Any, outer: OuterOptimiser) -> None:
    event = make_event(outer=outer)
    steady, stopped = bench("steady", event=event), bench("stopped", event=event)
    for node in (steady, stopped):
        node.train(1, 2)
        node.ask(messages.Compress())
        node.train(1, 3)
    stopped.service.close()
    again = bench("stopped", event=event)
    for node in (steady, again):
        node.train(1, 6)
    one, other = steady.service.session, again.service.session
    assert same(steady.local(), again.local())
    assert same(one.residual, other.residual)
    assert same(one.reference, other.reference)
    assert same(one.base.tensors(), other.base.tensors())
    assert (one.meter, one.position, one.round) == (other.meter, other.position, other.round)
    assert steady.ask(messages.Compress()).sha256 == again.ask(messages.Compress()).sha256


def test_what_was_found_is_told(bench: Any) -> None:
    first = bench()
    first.train(7, 2)
    payload = first.ask(messages.Compress())
    first.train(7, 3)
    first.ask(messages.Save(commit=b"c" * 32))
    restored = bench(init=False).restored
    assert restored == messages.Restored(
        commit=b"c" * 32,
        state=first.service.session.base_hash,
        round=7,
        position=12,
        samples=4,
        outstanding=(payload.sha256,),
    )


def test_loading_the_base_that_was_restored_keeps_the_round(bench: Any, tmp_path: Path) -> None:
    first = bench()
    first.ask(messages.Snapshot(path=str(tmp_path / "base")))
    first.train(1, 2)
    first.service.close()
    again = bench()
    local = again.local()
    again.ask(messages.Load(path=str(tmp_path / "base"), commit=b"x" * 32))
    assert same(again.local(), local)
    assert again.service.session.commit == b"x" * 32


@pytest.mark.parametrize("carry", [True, False])
def test_loading_another_base_carries_what_was_not_sent(bench: Any, tmp_path: Path, carry: bool) -> None:
    other = bench("other", init=False)
    other.ask(messages.Init(seed=2))
    other.ask(messages.Snapshot(path=str(tmp_path / "base")))
    first = bench()
    first.train(1, 2)
    unsent = first.service.session.unsent()
    state = first.ask(messages.Load(path=str(tmp_path / "base"), carry=carry)).state
    session = first.service.session
    assert state == other.service.session.base_hash
    assert same(first.local(), session.base.weights)
    assert session.meter.samples == 0
    assert same(session.residual, unsent) if carry else session.residual is None


def test_a_payload_that_could_not_be_saved_was_not_made(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    one, other = bench("one"), bench("other")
    one.train()
    other.train()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_tensors", full)
        with pytest.raises(WorkerError) as caught:
            one.ask(messages.Compress())
    assert caught.value.code == "no_space"
    assert one.ask(messages.Compress()).sha256 == other.ask(messages.Compress()).sha256


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensor_file, "save_file", full)
    with pytest.raises(StoreFull):
        tensor_file.write_tensors(tmp_path / "checkpoint", {"a": torch.ones(3)})
    assert list(tmp_path.iterdir()) == []


def test_it_is_saved_while_training(bench: Any) -> None:
    one = bench(checkpoint_seconds=0.0)
    one.train(1, 2)
    assert bench(init=False).restored.position == 8


def test_a_checkpoint_of_another_event_or_peer_is_refused(bench: Any, make_event: Any) -> None:
    bench().service.close()
    with pytest.raises(WorkerError, match="another event or identity"):
        bench(event=make_event(merge=Merge(cap=0.9)))
    with pytest.raises(WorkerError, match="another event or identity"):
        bench(peer_id=Identity(bytes(32)).peer_id)


def test_a_damaged_checkpoint_is_refused(bench: Any, tmp_path: Path) -> None:
    one = bench()
    one.service.close()
    path = checkpoint.path_of(one.service.session)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    flipped = bytearray(whole)
    flipped[header + 1] ^= 1  # the first tensor in the file is a tensor of the base
    for content in (bytes(flipped), whole[:-1], b""):
        path.write_bytes(content)
        with pytest.raises(WorkerError, match="is damaged: delete it") as caught:
            bench(init=False)
        assert caught.value.code == "bad_checkpoint"
