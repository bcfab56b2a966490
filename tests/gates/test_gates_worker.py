"""Gates as the daemon asks the worker for them: by request, on base, candidates and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trainer.conftest import Bench, bench, data_dir, make_event, one_thread

from collab.node.trainer import messages
from collab.node.trainer.errors import WorkerError
from collab.node.trainer.gates.heads import fit, macro_f1
from collab.node.trainer.messages import VersionRef
from collab.node.trainer.tensor_file import write_tensors
from collab.protocol.event import AlbertModel
from collab.protocol.gates import Case, EventGate, ExactGate, HeadGate, LossGate
from collab.protocol.verdict import Measurement

__all__ = ["bench", "data_dir", "make_event", "one_thread"]  # fixtures

LOSS = LossGate(name="held-out", kind="loss", batch=8)
MakeBench = Callable[..., Bench]


def write_version(made: Bench, folder: Path, change: Callable[[Tensor], Tensor]) -> VersionRef:
    """Write the base with every tensor changed, and return what stands for it."""
    base = made.service.session.require_base().weights
    write_tensors(folder / "version.safetensors", {name: change(weight) for name, weight in base.items()})
    return VersionRef(of="file", path=str(folder / "version.safetensors"))


def run(made: Bench, gate: EventGate, candidate: VersionRef, seed: bytes = b"") -> Measurement:
    answer = made.ask(messages.RunGate(gate=gate.encode(), candidate=candidate, seed=seed))
    assert len(answer.data) == 32
    assert "cpu" in answer.hardware
    return Measurement.decode(answer.measurement)


def test_a_version_against_itself_is_no_worse(bench: MakeBench) -> None:
    measured = run(bench(), LOSS, VersionRef(of="base"))
    assert (measured.change, measured.passed, measured.reason) == (0.0, True, "no_worse")
    assert measured.base == measured.candidate


def test_training_makes_a_candidate_that_passes_and_the_other_way_round_fails(bench: MakeBench, tmp_path: Path) -> None:
    made = bench()
    made.train(steps=3)
    trained = made.local()
    write_tensors(tmp_path / "trained.safetensors", trained)
    after = VersionRef(of="file", path=str(tmp_path / "trained.safetensors"))
    gate = LOSS.model_copy(update={"tolerance": 0.0})
    better = run(made, gate, after)
    assert (better.passed, better.reason) == (True, "no_worse")
    worse = made.ask(messages.RunGate(gate=gate.encode(), base=after, candidate=VersionRef(of="base")))
    assert Measurement.decode(worse.measurement).reason == "worse"
    allowed = gate.model_copy(update={"direction": "higher"})
    assert not run(made, allowed, after).passed


def test_a_gate_neither_moves_the_local_weights_nor_stops_training(bench: MakeBench) -> None:
    made, other = bench("one"), bench("two")
    for each in (made, other):
        each.train(steps=1)
    run(made, LOSS, VersionRef(of="base"))
    for each in (made, other):
        each.train(steps=2)
    assert all(torch.equal(a, b) for a, b in zip(made.local().values(), other.local().values(), strict=True))


def test_perplexity_is_relative_and_decides_like_the_loss(bench: MakeBench, tmp_path: Path) -> None:
    made = bench()
    version = write_version(made, tmp_path, lambda weight: weight * 1.2)
    loss = run(made, LOSS, version)
    perplexity = run(made, LossGate(name="held-out", kind="perplexity", batch=8), version)
    assert loss.change is not None
    assert loss.base is not None
    assert perplexity.base is not None
    # The order of the samples differs with the gate; the numbers are those of a model that knows nothing yet.
    assert perplexity.base == pytest.approx(2.718281828**loss.base, rel=0.05)
    assert perplexity.change == pytest.approx(loss.change, abs=0.05)


def test_what_is_not_a_number_fails(bench: MakeBench, tmp_path: Path) -> None:
    made = bench()
    huge = write_version(made, tmp_path, lambda weight: weight * 1e30)
    measured = run(made, LOSS, huge)
    assert (measured.passed, measured.reason, measured.candidate) == (False, "not_finite", None)
    exact = ExactGate(name="words", kind="exact", cases=(Case(input="merge ro", output="und"),))
    assert run(made, exact, huge).candidate == 0.0


def test_shards_are_different_samples_and_files_are_read_from_the_data_folder(
    bench: MakeBench, data_dir: Path, make_event: Any
) -> None:
    (data_dir / "more.jsonl").write_text("\n".join(json.dumps({"body": f"line {at} of a file"}) for at in range(90)))
    gates = (
        LOSS, LossGate(name="first", kind="loss", path="more.jsonl", field="body", shard=(0, 2)),
        LossGate(name="second", kind="loss", path="more.jsonl", field="body", shard=(1, 2)),
    )  # fmt: skip
    made = bench(event=make_event(gate=gates))
    found = [made.ask(messages.RunGate(gate=gate.encode(), candidate=VersionRef())).data for gate in gates]
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (LossGate(name="g", kind="loss", path="none.txt"), "no .txt, .md, .text file at"),
        (LossGate(name="g", kind="loss", path="../text.txt"), "not a relative path inside the data folder"),
        (LossGate(name="g", kind="loss", shard=(4000, 4001)), "too few blocks for shard"),
        (HeadGate(name="g", kind="f1", path="none.jsonl"), "no file .*none.jsonl: put it there"),
        (HeadGate(name="g", kind="f1", path="text.txt"), "text.txt, line 1 is not JSON"),
    ],
)
def test_data_that_cannot_be_had_is_known_at_the_start(
    bench: MakeBench, make_event: Any, gate: EventGate, message: str
) -> None:
    with pytest.raises(WorkerError, match=message):
        bench(event=make_event(gate=(gate,)))
    bench(event=make_event(gate=(gate.model_copy(update={"rounds": False}),)))  # of no concern in rounds


def test_a_case_that_is_too_long_for_the_model(bench: MakeBench) -> None:
    gate = ExactGate(name="g", kind="exact", cases=(Case(input="x" * 16, output="y"),))
    with pytest.raises(WorkerError, match="do not fit into a block of 16 tokens"):
        run(bench(), gate, VersionRef())


def test_a_gate_needs_data_and_canonical_bytes(bench: MakeBench) -> None:
    with pytest.raises(WorkerError, match="without the event's data"):
        run(bench(data=False), LOSS, VersionRef())
    with pytest.raises(WorkerError, match="gate: malformed"):
        bench("two").ask(messages.RunGate(gate=b"x", candidate=VersionRef()))


def test_exact_gates_on_a_masked_language_model(bench: MakeBench, make_event: Any) -> None:
    model = AlbertModel(family="albert", layers=1, width=16, heads=2, feed_forward=16, embedding=8, vocabulary=257)
    made = bench(event=make_event(model=model))
    gate = ExactGate(name="g", kind="exact", cases=(Case(input="mer", output="ge"), Case(input="ro", output="und")))
    assert run(made, gate, VersionRef()).change == 0.0
    assert run(made, LOSS, VersionRef()).passed


def labelled(folder: Path, count: int = 160) -> None:
    rows = [{"text": ("abab" if at % 2 else "xyxy") * 3 + str(at), "label": at % 2} for at in range(count)]
    (folder / "labelled.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


@pytest.mark.parametrize("kind", ["accuracy", "f1"])
def test_a_head_sees_that_features_were_lost(bench: MakeBench, data_dir: Path, tmp_path: Path, kind: Any) -> None:
    labelled(data_dir)
    made = bench()
    gate = HeadGate(name="topics", kind=kind, path="labelled.jsonl", batch=32)
    same = run(made, gate, VersionRef())
    assert same.base is not None
    assert same.base > 0.95
    assert (same.change, same.passed) == (0.0, True)
    blind = write_version(made, tmp_path, torch.zeros_like)
    measured = run(made, gate, blind)
    assert measured.candidate is not None
    assert measured.candidate < 0.75
    assert (measured.passed, measured.reason) == (False, "worse")


def test_where_a_heads_training_begins_does_not_matter() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(60, 5, generator=draw, dtype=torch.float64)
    labels = (features[:, 0] + 0.3 * torch.randn(60, generator=draw, dtype=torch.float64) > 0).long()
    fresh = fit(features, labels, 2)
    moved = fit(features, labels, 2, fit(features.flip(1), labels, 2))
    torch.testing.assert_close(fresh.weight, moved.weight, atol=1e-4, rtol=1e-4)


def test_macro_f1_is_the_mean_of_the_classes() -> None:
    import numpy as np

    truth, answers = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert macro_f1(truth, answers) == pytest.approx((0.8 + 2 / 3) / 2)
    assert macro_f1(truth, truth) == 1.0
