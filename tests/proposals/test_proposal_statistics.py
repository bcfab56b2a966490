"""Statistics that proposals carry: measured, sent, needed, named where they lack, and no stronger than the cap."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from history_integrity.samples import Sample
from proposals.conftest import Proposing, Run, runner, trained
from safetensors.torch import load_file

from collab.kernels import Layout, fisher, grams
from collab.kernels.merge import Update, merge_models, model_method
from collab.node.proposals.conflicts import change_of
from collab.node.proposals.statistics import leaves_room
from collab.node.store import Proposed, Store
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.messages import Blob, Signed
from collab.protocol.proposal import ModelProposal, ProposalMerge, open_proposal


def answer(run: Run, *arguments: object) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Measured:
    """A home with two proposals that carry statistics, and the file of the second."""

    sample: Sample
    first: str
    second: str
    file: Path

    @property
    def both(self) -> tuple[str, str]:
        return self.first, self.second


@pytest.fixture(scope="module")
def made(original: Proposing, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("measured")
    shutil.copytree(original.sample.home.path, folder / "home")
    sample, file = Sample(folder / "home", original.sample.data), folder / "measured.proposal"
    with pytest.MonkeyPatch.context() as patch:
        run = runner(original.sample, sample.home.path, patch)
        first = answer(run, "propose", trained(original.base, 4), "-m", "a", "--statistics", "--samples", 30)
        more = ("--statistics", "--samples", 20, "--out", file)
        second = answer(run, "propose", trained(original.base, 5), "-m", "b", *more)
    assert set(first["statistics"]) == {"fisher", "regmean"}
    return Measured(sample, first["proposal"], second["proposal"], file)


@pytest.fixture
def sample(made: Measured, tmp_path: Path) -> Sample:
    """A copy of the home with the measured proposals, in the place of the one without."""
    shutil.copytree(made.sample.home.path, tmp_path / "home")
    return Sample(tmp_path / "home", made.sample.data)


def update_of(store: Store, proposed: Proposed, layout: Layout) -> Update:
    proposal = proposed.proposal
    payload, diagonal, matrices = (store.blobs.read(blob.sha256) for blob in proposal.blobs())
    assert payload is not None
    assert diagonal is not None
    assert matrices is not None
    return Update(
        change_of(store, proposed, layout), proposal.samples,
        fisher.decode(diagonal, proposal.form, payload, layout), grams.decode(matrices, layout), proposed.digest,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["fisher", "regmean"])
def test_merged_by_statistics_and_proven(
    run: Run, sample: Sample, original: Proposing, made: Measured, method: str, tmp_path: Path
) -> None:
    merged = answer(run, "merge", *made.both, "--method", method, "--set", "cap=0.9")
    assert merged["parameters"] == {"cap": 0.9}
    assert f"merged by {method} cap=0.9" in run("show", "merged").stdout
    assert run("export", tmp_path / "merged", "--rev", "merged").exit_code == 0
    base = load_file(original.base)
    with sample.store(read_only=True) as store:
        chosen = [each for each in store.proposals.all() if each.digest.hex() in made.both]
        updates = [update_of(store, each, Layout.of(base)) for each in sorted(chosen, key=lambda each: each.digest)]
    expected = merge_models(model_method(method, cap=0.9), base, updates)
    weights = load_file(tmp_path / "merged")
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert answer(run, "verify", "merged")["wrong"] is None
    assert "no errors" in run("fsck").stdout
    assert answer(run, "gc")["blobs"] == 0


def test_auto_tries_them_all_under_the_events_cap(run: Run, sample: Sample, made: Measured) -> None:
    merged = answer(run, "merge", *made.both)
    assert {each["method"] for each in merged["tried"] if each["loss"] is not None} >= {"fisher", "regmean", "average"}
    assert merged["parameters"] == ({"cap": sample.event.merge.cap} if merged["method"] in ("fisher", "regmean") else {})


def test_who_came_without_is_named_in_a_line(run: Run, original: Proposing, sample: Sample, made: Measured) -> None:
    without, maker = original.first, sample.identity.peer_id
    done = run("merge", made.first, without, "--method", "fisher")
    assert done.exit_code == 1
    assert f"fisher lacks statistics of {without[:12]} by {maker}\n" in done.stderr
    assert made.first[:12] not in done.stderr
    assert "propose --statistics" in done.stderr


def test_a_cap_that_leaves_nothing_to_decide_is_told(sample: Sample) -> None:
    def merge(*samples: int, cap: float = 0.5) -> ProposalMerge:
        signed = sorted((Signed.seal(sample.identity, plain(sample, count)) for count in samples), key=lambda each: each.digest)
        return ProposalMerge(
            event=sample.event.digest, base=bytes(32), state=bytes(32), proposals=tuple(each.encode() for each in signed),
            method="fisher", parameters={"cap": cap}, tried=(), message="", time=0,
        )  # fmt: skip

    assert leaves_room(merge(30, 20))  # 20 of 50 may become 0.5
    assert leaves_room(merge(7))
    # Three of nearly a third each, and a cap that none of them reaches.
    assert not leaves_room(merge(1000, 1001, 1002, cap=0.3))
    assert leaves_room(merge(1000, 1001, 1002, cap=0.4))
    assert leaves_room(merge(1, 2).model_copy(update={"method": "average", "parameters": {}}))


def plain(sample: Sample, samples: int = 1) -> ModelProposal:
    """A proposal without statistics."""
    return ModelProposal(
        event=sample.event.digest, base=bytes(32), form="dense", payload=Blob(sha256=bytes(32), size=1), samples=samples,
        error=0.0, message="", time=0,
    )  # fmt: skip


def test_a_file_carries_them_to_another_store(
    run: Run, original: Proposing, made: Measured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(original.before, tmp_path / "other")
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "other"))
    whole = made.file.read_bytes()
    for spoilt in (whole[:-1], whole + b"x", whole[:-1] + bytes([whole[-1] ^ 1])):
        (tmp_path / "spoilt").write_bytes(spoilt)
        assert "is damaged" in run("review", tmp_path / "spoilt").stderr
    assert run("review", made.file).exit_code == 0
    found = {each["proposal"]: each for each in answer(run, "review")}
    assert set(found[made.second]["statistics"]) == {"fisher", "regmean"}
    assert answer(run, "gc")["blobs"] == 0
    assert answer(run, "merge", made.second, "--method", "regmean")["method"] == "regmean"


def test_a_proposal_without_statistics_keeps_its_bytes(sample: Sample) -> None:
    without = plain(sample)
    assert b"fisher" not in without.encode()
    assert without.blobs() == (without.payload,)
    full = without.model_copy(update={"fisher": Blob(sha256=bytes(32), size=2), "grams": Blob(sha256=bytes(32), size=3)})
    assert [blob.size for blob in full.blobs()] == [1, 2, 3]
    assert full.statistics("fisher") == {"fisher": full.fisher}
    assert full.statistics("average") == {}
    for proposal in (without, full):
        assert open_proposal(Signed.seal(sample.identity, proposal).encode())[1] == proposal
    with pytest.raises(RemoteProtocolError):
        ModelProposal.decode(without.encode().replace(b"form", b"firm"))


def test_show_log_and_blame_tell_what_each_proposal_moved(
    run: Run, sample: Sample, original: Proposing, made: Measured, tmp_path: Path
) -> None:
    merged = answer(run, "merge", *made.both, "--method", "fisher", "--set", "cap=0.9")
    shown = answer(run, "show", "merged")
    assert run("export", tmp_path / "merged", "--rev", "merged").exit_code == 0
    before, after = load_file(original.base), load_file(tmp_path / "merged")
    norms = {each["tensor"]: each["norm"] for each in shown["tensors"]}
    for name, tensor in before.items():
        assert norms.get(name, 0.0) == pytest.approx(float((after[name] - tensor).norm()), rel=1e-3, abs=1e-6)
    told = {each["proposal"]: each["tensors"] for each in shown["merged"]["proposals"]}
    assert set(told) == set(made.both)
    assert all(moves and moves[0]["norm"] > 0 for moves in told.values())
    text = run("show", "merged").stdout
    assert all(f"{proposal[:12]} moved" in text for proposal in made.both)
    assert "coordinates, norm" in run("log", "merged", "--stat", "-n", "1").stdout
    (maker,) = answer(run, "blame", "embedding.weight", f"{merged['commit'][:12]}~1..merged")["contributors"]
    assert (maker["peer"], maker["share"]) == (sample.identity.peer_id, 1.0)
