"""A change made outside the swarm: proposed, reviewed with its conflicts, merged, and proven like any other version."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from history_integrity.samples import Sample, killed_at
from proposals.conftest import Proposing
from safetensors.torch import load_file, save_file
from typer.testing import Result

from collab.kernels import Layout
from collab.kernels.merge import Update, merge_models, model_method
from collab.node.export import export_weights
from collab.node.interchange.write import write_transformers
from collab.node.keys import create
from collab.node.proposals.conflicts import change_of
from collab.node.store import Store
from collab.protocol.commit import Commit
from collab.protocol.identity import Identity
from collab.protocol.proposal import open_merge

Run = Callable[..., Result]


def answer(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def commit_at(store: Store, branch: str) -> Commit:
    digest = store.refs.get(f"heads/{branch}")
    assert digest is not None
    return store.commit(digest)


def test_merged_and_proven(run: Run, sample: Sample, original: Proposing, tmp_path: Path) -> None:
    first, second = original.first, original.second
    merged = answer(run("merge", first[:8], second[:8], "--method", "ties", "--set", "density=0.5", "--json"))
    sides = {(each["ours"], each["theirs"]) for each in merged["conflicts"]}
    assert sides == {("rounds 4 to 5", second[:12]), tuple(sorted((first[:12], second[:12])))}
    assert [each["proposal"] for each in answer(run("review", "--json"))] == [original.third]
    assert len(answer(run("review", "--all", "--json"))) == 3
    assert run("merge", original.third, "--method", "average").exit_code == 0
    again = run("merge", original.third, second, "--method", "average")
    assert again.exit_code == 1
    assert "already" in again.stderr
    assert run("merge", second, "--method", "average", "--into", "other").exit_code == 0

    with sample.store(read_only=True) as store:
        newest = commit_at(store, "merged")
        commit = store.commit(newest.base)
        assert commit.digest.hex() == merged["commit"]
        assert (commit.parents, newest.round) == ((sample.commit(5).digest,), 7)
        assert commit.samples == sample.commit(5).samples + 40
        made = open_merge(commit)[1]
        assert (made.method, made.parameters, made.tried) == ("ties", {"density": 0.5}, ())
        assert store.head() == sample.commit(5).digest
        asyncio.run(export_weights(sample.event, store, commit, tmp_path / "merged"))
        expected = expected_merge(store, [first, second], load_file(original.base))
    weights = load_file(tmp_path / "merged")
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    proven = answer(run("verify", "merged", "--json"))
    assert (proven["wrong"], proven["commits"]) == (None, 8)
    assert "no errors" in run("fsck").stdout
    assert answer(run("gc", "--json"))["blobs"] == 0


def expected_merge(store: Store, ids: list[str], base: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    chosen = sorted((each for each in store.proposals.all() if each.digest.hex() in ids), key=lambda each: each.digest)
    updates = [Update(change_of(store, each, Layout.of(base)), each.proposal.samples, key=each.digest) for each in chosen]
    return merge_models(model_method("ties", density=0.5), base, updates)


def test_auto_keeps_the_lowest_loss_and_says_why(run: Run, sample: Sample, original: Proposing) -> None:
    done = run("merge", original.first, original.third, "--message", "both", "--into", "best")
    assert done.exit_code == 0, done.output
    assert "opposed" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    with sample.store(read_only=True) as store:
        made = open_merge(commit_at(store, "best"))[1]
    losses = {each.method: each.loss for each in made.tried if each.loss is not None}
    assert losses.pop("unmerged") > 0
    assert losses[made.method] == min(losses.values())
    assert set(losses) == {"average", "ties", "dare", "task_arithmetic", "slerp"}
    assert {each.method: each.reason for each in made.tried if each.loss is None}.keys() == {"fisher", "regmean"}
    assert f"* {made.method}" in done.stdout
    assert "no statistics of " in done.stdout
    assert made.message == "both"


def test_a_file_carries_a_proposal_to_another_store(
    run: Run, original: Proposing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLLAB_HOME", str(original.before))
    assert answer(run("review", "--json")) == []
    done = run("review", original.file)
    assert done.exit_code == 0, done.output
    assert "better matrices" in done.stdout
    assert "nothing changed between its base and HEAD" in done.stdout
    assert [each["proposal"] for each in answer(run("review", "--json"))] == [original.third]


def test_a_damaged_file_is_refused(run: Run, original: Proposing, tmp_path: Path) -> None:
    whole, file = original.file.read_bytes(), tmp_path / "change.proposal"
    spoilt = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (2, 20, 300, len(whole) - 1)]
    for data in (*spoilt, *(whole[:cut] for cut in (0, 3, 200, len(whole) - 1))):
        file.write_bytes(data)
        done = run("review", file)
        assert done.exit_code == 1
        assert done.stderr.startswith("error: ")


def test_what_cannot_be_is_said_in_one_line(run: Run, sample: Sample, original: Proposing, tmp_path: Path) -> None:
    first = original.first
    for arguments, problem in (
        (("merge", first, "--method", "vote"), "no merge method 'vote'"),
        (("merge", first, "--method", "ties", "--set", "drop=1"), "ties has no parameter 'drop'"),
        (("merge", first, "--method", "ties", "--set", "density"), "is not NAME=VALUE"),
        (("merge", first, "--method", "ties", "--set", "density=7"), "density must be between 0 and 1"),
        (("merge", first, "--method", "fisher"), f"fisher lacks statistics of {first[:12]}"),
        (("merge", first, "--into", "main"), "main moves with the swarm's rounds"),
        (("merge", "beef" * 8), "no proposal's id begins with 'beef"),
        (("propose", tmp_path / "none", "-m", "x"), "there is no checkpoint"),
        (("propose", original.checkpoint, "-m", "x" * 701), "the message has 701 characters"),
        (("propose", original.checkpoint, "-m", "x", "--base", "v9"), "there is no branch, tag or commit 'v9'"),
        (("propose", original.checkpoint, "-m", "x", "--out", original.file), "is already there"),
    ):
        done = run(*arguments)
        assert done.exit_code in (1, 2), arguments
        assert problem in done.stderr, done.output
        assert "Traceback" not in done.output
    with sample.store(read_only=True) as store:
        assert "heads/merged" not in store.refs.all()


def test_what_was_trained_with_transformers_is_the_same_proposal(
    run: Run, sample: Sample, original: Proposing, tmp_path: Path
) -> None:
    folder = tmp_path / "trained"
    folder.mkdir()
    write_transformers(sample.event, original.checkpoint, folder)
    made = answer(run("propose", folder, "-m", "x", "--samples", 30, "--json"))["proposal"]
    with sample.store(read_only=True) as store:
        payloads = {each.digest.hex(): each.proposal.payload for each in store.proposals.all()}
    assert payloads[made] == payloads[original.first]

    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor + 1 if name.endswith(".bias") else tensor for name, tensor in weights.items()},
              folder / "model.safetensors")  # fmt: skip
    done = run("propose", folder, "-m", "x")
    assert done.exit_code == 1
    assert "train it with the biases frozen" in done.stderr


def test_killed_while_it_writes_nothing_is_half_there(run: Run, sample: Sample, original: Proposing) -> None:
    killed_at(sample, "merge-commit", "merge", original.first, "--method", "average")
    killed_at(sample, "proposal-kept", "review", original.file)
    assert "no errors" in run("fsck").stdout
    with sample.store(read_only=True) as store:
        assert "heads/merged" not in store.refs.all()
        assert [each.merged for each in store.proposals.all()] == [None] * 3
    assert run("merge", original.first, "--method", "average").exit_code == 0
    assert "no errors" in run("fsck").stdout


def test_only_the_coordinator_merges(run: Run, sample: Sample, original: Proposing) -> None:
    sample.home.identity_path.unlink()
    create(sample.home.identity_path, Identity.generate())
    done = run("merge", original.first, "--method", "average")
    assert done.exit_code == 1
    assert "only the event's coordinator merges proposals" in done.stderr
