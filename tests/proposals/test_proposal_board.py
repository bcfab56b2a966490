"""The pieces without a worker process: making, keeping, merging all or nothing, and what a terminal shows."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from history_integrity.samples import Sample
from proposals.conftest import Proposing, Run
from rich.console import Console
from safetensors.torch import load_file, save_file

from collab.kernels.conflict import compare_updates
from collab.node.errors import UserError
from collab.node.history.replay import Replay
from collab.node.proposals.board import keep
from collab.node.proposals.conflicts import Comparison
from collab.node.proposals.making import make_proposal
from collab.node.proposals.merged import merged_fields, merged_lines
from collab.node.proposals.merging import keep_merge
from collab.node.proposals.printing import ROWS, conflict_table
from collab.node.store import RefMoved, Store
from collab.node.units import printable
from collab.protocol.commit import Commit, root_commit
from collab.protocol.messages import Blob, Signed
from collab.protocol.proposal import ModelProposal, ProposalMerge, Tried, merge_commit, open_proposal
from collab.protocol.record import sha256


class AtBase:
    """A replay whose every version has the same weights."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self._weights = weights

    async def go_to(self, commit: Commit) -> None:
        """Be there."""

    async def write(self, out: Path) -> None:
        """Write the weights."""
        save_file(self._weights, out)


async def proposed(sample: Sample, weights: dict[str, torch.Tensor], checkpoint: Path, error: float = 0.02) -> ModelProposal:
    replay = cast(Replay, AtBase(weights))
    root = root_commit(sample.event)
    made = await make_proposal(
        replay, sample.identity, root, checkpoint, error=error, samples=3, message="x", time=1
    )
    signer, proposal = open_proposal(made.signed.encode())
    assert signer == sample.identity.peer_id
    (payload,) = made.blobs
    assert (proposal.base, proposal.blobs()) == (root.digest, (Blob(sha256=sha256(payload), size=len(payload)),))
    return proposal


async def test_the_form_follows_the_change(sample: Sample, tmp_path: Path) -> None:
    base, out = {"w": torch.zeros(128, 128)}, tmp_path / "checkpoint"
    save_file({"w": torch.randn(128, 128, generator=torch.Generator().manual_seed(1))}, out)
    proposal = await proposed(sample, base, out)
    assert (proposal.form, proposal.error <= 0.02) == ("dense", True)
    save_file({"w": torch.eye(128)}, out)
    assert (await proposed(sample, base, out)).form == "sparse"


async def test_what_cannot_be_proposed(sample: Sample, original: Proposing, tmp_path: Path) -> None:
    base, out = load_file(original.base), tmp_path / "checkpoint"
    first = min(base)
    wrong: dict[str, tuple[dict[str, torch.Tensor] | None, float]] = {
        "nothing changed": (base, 0.02),
        "no form keeps to a relative error of 1e-09": (load_file(original.checkpoint), 1e-9),
        "lacks": ({name: tensor for name, tensor in base.items() if name != first}, 0.02),
        "is no part of the model": ({**base, "stranger": torch.zeros(1)}, 0.02),
        "the model's is F32": ({**base, first: base[first].half()}, 0.02),
        "NaN or infinite": ({**base, first: base[first] + float("nan")}, 0.02),
        "is not a safetensors file": (None, 0.02),
    }
    for problem, (tensors, error) in wrong.items():
        out.write_bytes(b"no tensors") if tensors is None else save_file(tensors, out)
        with pytest.raises(UserError, match=problem):
            await proposed(sample, base, out, error)


def signed_proposal(sample: Sample, **changed: Any) -> Signed:
    fields: dict[str, Any] = {
        "event": sample.event.digest, "base": sample.commit(5).digest, "form": "sparse", "samples": 5, "error": 0.01,
        "payload": Blob(sha256=sha256(b"payload"), size=7), "message": "", "time": 3,
    }  # fmt: skip
    return Signed.seal(sample.identity, ModelProposal(**(fields | changed)))


def test_a_merge_is_kept_whole_or_not_at_all(sample: Sample) -> None:
    signed, parent = signed_proposal(sample), sample.commit(5)
    made = ProposalMerge(
        event=sample.event.digest, base=parent.digest, state=bytes(32), proposals=(signed.encode(),), method="average",
        parameters={}, tried=(), message="", time=4,
    )  # fmt: skip
    with sample.store() as store:
        keep(store, signed, b"payload")
        commit = merge_commit(sample.identity, parent, store.certificate(parent.digest), made)
        with pytest.raises(RefMoved):
            keep_merge(store, "heads/merged", parent.digest, commit)
        assert not store.has_commit(commit.digest)
        assert "heads/merged" not in store.refs.all()
        keep_merge(store, "heads/merged", None, commit)
        assert store.refs.get("heads/merged") == commit.digest
        assert {each.digest for each in store.proposals.all() if each.merged == commit.digest} == {signed.digest}


def merged_by(store: Store, signed: Signed) -> bytes | None:
    return next(each.merged for each in store.proposals.all() if each.digest == signed.digest)


@pytest.mark.parametrize("proposal_first", [True, False])
def test_a_proposal_is_merged_while_a_commit_that_merged_it_is_here(sample: Sample, run: Run, proposal_first: bool) -> None:
    """However the two come, as when a node catches up, and whichever of them comes first."""
    signed, parent = signed_proposal(sample), sample.commit(5)
    made = ProposalMerge(
        event=sample.event.digest, base=parent.digest, state=bytes(32), proposals=(signed.encode(),), method="average",
        parameters={}, tried=(), message="", time=4,
    )  # fmt: skip
    commit = merge_commit(sample.identity, parent, None, made)
    with sample.store() as store:
        for adds_proposal in (proposal_first, not proposal_first):
            if adds_proposal:
                keep(store, signed, b"payload")
            else:
                store.add_commit(commit)
        assert merged_by(store, signed) == commit.digest
        store.blobs.delete(commit.digest)
    with sample.store() as store:
        assert merged_by(store, signed) is None  # lost, which `fsck` tells
        store.add_commit(commit)
    assert run("gc").exit_code == 0
    with sample.store() as store:
        assert merged_by(store, signed) is None  # no branch led to it


def test_a_merge_says_what_it_took_and_why(run: Run, sample: Sample) -> None:
    signed, parent = signed_proposal(sample, message="\x1bone"), sample.commit(5)
    tried = (Tried(method="ties", loss=1.25), Tried(method="fisher", loss=None, reason="needs a Fisher"))
    made = ProposalMerge(
        event=sample.event.digest, base=parent.digest, state=bytes(32), proposals=(signed.encode(),), method="ties",
        parameters={"density": 0.5}, tried=tried, message="why", time=4,
    )  # fmt: skip
    commit = merge_commit(sample.identity, parent, None, made)
    maker, short = sample.identity.peer_id, signed.digest.hex()[:12]
    assert merged_lines(commit) == [
        "merged by ties density=0.5", "  why", f"  {short} by {maker}: sparse, 7 B, 5 samples", "    \ufffdone",
        "* ties             loss 1.2500", "  fisher           needs a Fisher",
    ]  # fmt: skip
    fields = merged_fields(commit)
    assert (fields["method"], fields["parameters"], fields["message"]) == ("ties", {"density": 0.5}, "why")
    assert [each["proposal"] for each in fields["proposals"]] == [signed.digest.hex()]
    with sample.store() as store:
        store.refs.update("heads/next", store.add_commit(commit), None)
    shown = run("show", "next")
    assert "merged by ties density=0.5" in shown.stdout
    assert json.loads(run("show", "next", "--json").stdout)["merged"] == json.loads(json.dumps(fields))


def test_gc_keeps_the_payloads_of_proposals(run: Run, sample: Sample) -> None:
    with sample.store() as store:
        keep(store, signed_proposal(sample), b"payload")
    assert run("gc").exit_code == 0
    with sample.store(read_only=True) as store:
        assert store.blobs.read(sha256(b"payload")) == b"payload"


def test_a_strangers_message_cannot_steer_the_terminal(run: Run, sample: Sample) -> None:
    with sample.store() as store:
        keep(store, signed_proposal(sample, message="\x1b[2J[red]gone\nmore"), b"payload")
    shown = run("review").stdout
    assert "\x1b[2J" not in shown
    assert "[red]" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert printable("a\nb\x07\x9b") == "a\nb\ufffd\ufffd"


def test_a_report_fits_eighty_columns_and_starts_with_the_worst() -> None:
    ours = {f"layers.{at:02}.a-very-long-module-name.weight": torch.full((50, 40), float(at)) for at in range(20)}
    report = compare_updates(ours, {name: -tensor for name, tensor in ours.items()})
    console = Console(width=80, record=True, file=StringIO())
    console.print(conflict_table(Comparison("rounds 4 to 5", "0123456789ab", report)))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "(8 more tensors)" in lines[0]
    rows = [line.strip() for line in lines if "layers." in line]
    assert len(rows) == ROWS
    assert rows[0].startswith("layers.19")
    assert rows[0].split()[1:] == ["100.0%"] * 5 + ["-1.00"]
