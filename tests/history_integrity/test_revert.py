"""A revert takes out what was merged, replays bit for bit, and says who else moved the same coordinates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from history_integrity.samples import Sample, killed_at, make_sample
from safetensors.torch import load_file
from typer.testing import Result

from collab.node.history.unbundle import unbundle
from collab.node.home import Home
from collab.node.store import Store
from collab.protocol.commit import Commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import Merge, OuterOptimiser
from collab.protocol.identity import Identity
from collab.protocol.messages import Signed
from collab.protocol.revert import Revert, lasting_effect, open_revert, revert_commit, verify_revert_commit

Run = Callable[..., Result]
Weights = dict[str, torch.Tensor]


def weights(run: Run, tmp_path: Path, revision: str) -> Weights:
    """The weights of a version, by the command that a person would use."""
    out = tmp_path / f"{revision.replace('/', '-')}.safetensors"
    done = run("export", out, "--rev", revision, "--force")
    assert done.exit_code == 0, done.output
    return load_file(out)


def reverted(run: Run, *arguments: object) -> dict[str, Any]:
    done = run("revert", *arguments, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def signers(commit: Commit) -> set[str]:
    return {signed.signer for signed, _ in commit.contributions()}


def close(one: Weights, other: Weights, tolerance: float = 1e-6) -> bool:
    return all(torch.allclose(one[name], other[name], rtol=0, atol=tolerance) for name in one)


def test_the_newest_commit_is_taken_back(run: Run, sample: Sample, tmp_path: Path) -> None:
    with sample.home.lock():  # a node may be running
        made = reverted(run, "HEAD", "--into", "fixed")
    assert (made["contributions"], made["rounds"], made["later_commits"], made["round"]) == (3, [5], 0, 6)
    assert all(row["moved_later"] == 0 for row in made["tensors"])
    before, after = weights(run, tmp_path, "HEAD~1"), weights(run, tmp_path, "fixed")
    assert close(before, after)
    assert not close(weights(run, tmp_path, "HEAD"), after)
    assert run("verify", "fixed").exit_code == 0
    assert run("fsck").stdout == "no errors\n"
    assert "no later commit moved" in run("revert", "HEAD", "--into", "plain").stdout


def test_show_tells_what_was_taken_out(run: Run, sample: Sample) -> None:
    made = reverted(run, "HEAD", "--into", "fixed")
    shown = json.loads(run("show", "fixed", "--json").stdout)
    assert shown["revert"]["commits"] == [sample.commit(5).digest.hex()]
    assert (shown["revert"]["signer"], shown["revert"]["peers"]) == (sample.identity.peer_id, [])
    assert shown["tensors"]
    assert (shown["certificate"], shown["round"]) == (None, made["round"])
    text = run("show", "fixed").stdout
    assert f"revert contributions in {sample.commit(5).digest.hex()[:12]}" in text
    assert f"signed by {sample.identity.peer_id}" in text
    assert "no certificate is here" not in text
    assert json.loads(run("show", "HEAD", "--json").stdout)["revert"] is None
    graph = run("log", "--graph", "--all", "-n", "1").stdout
    assert "(fixed) round 6, loss -, revert" in graph


def test_show_and_blame_tell_what_it_moved(run: Run, sample: Sample, tmp_path: Path) -> None:
    reverted(run, "HEAD~1", "--into", "fixed")
    before, after = weights(run, tmp_path, "HEAD"), weights(run, tmp_path, "fixed")
    moved = {each["tensor"]: each["norm"] for each in json.loads(run("show", "fixed", "--json").stdout)["tensors"]}
    for name, tensor in before.items():
        assert moved.get(name, 0.0) == pytest.approx(float((after[name] - tensor).norm()), rel=1e-3, abs=1e-6)
    blamed = json.loads(run("blame", "embedding.weight", "HEAD..fixed", "--json").stdout)
    assert [each["peer"] for each in blamed["contributors"]] == [sample.identity.peer_id]


def test_an_old_commit_is_taken_out_of_what_came_after(run: Run, sample: Sample, tmp_path: Path) -> None:
    made = reverted(run, "@2", "--into", "fixed")
    two, one, head = (weights(run, tmp_path, revision) for revision in ("@2", "@1", "HEAD"))
    expected = {name: head[name] - (two[name] - one[name]) for name in head}
    assert close(expected, weights(run, tmp_path, "fixed"))
    assert made["later_commits"] == 3
    assert all(0 <= row["moved_later"] <= row["taken"] for row in made["tensors"])
    assert any(row["moved_later"] for row in made["tensors"])
    told = run("revert", "@2", "--into", "table", "--dry-run")
    assert "would take out 3 contributions of round 2" in told.stdout
    assert "3 later commits moved some of the same coordinates" in told.stdout
    assert run("verify", "table").exit_code == 1


def test_a_contributor_is_taken_out_everywhere(run: Run, sample: Sample, tmp_path: Path) -> None:
    peer = sample.commit(5).contributions()[0][0].signer
    touched = [
        commit.round for commit in (sample.commit(round) for round in range(5, 0, -1))
        if peer in signers(commit)
    ]  # fmt: skip
    made = reverted(run, "--contributor", peer[-10:], "--into", "fixed", "--message", "a bad machine")
    assert (made["rounds"], made["contributions"]) == (touched, len(touched))
    with sample.store(read_only=True) as store:
        commit = store.commit(bytes.fromhex(made["commit"]))
        signer, said = open_revert(commit)
        assert (signer, said.peers, said.message) == (sample.identity.peer_id, (peer,), "a bad machine")
    assert run("verify", "fixed").exit_code == 0
    again = run("revert", "--contributor", peer, "--into", "fixed")
    assert (again.exit_code, "was taken out already" in again.stderr) == (1, True)
    partly = run("revert", "@5", "--into", "fixed")
    assert (partly.exit_code, "was taken out already" in partly.stderr) == (1, True)
    others = reverted(run, "@5", "--contributor", sample.commit(5).contributions()[1][0].signer, "--into", "fixed")
    assert (others["contributions"], others["round"]) == (1, 7)
    assert run("verify", "fixed").exit_code == 0


@pytest.mark.parametrize("outer", [OuterOptimiser(rate=0.7), OuterOptimiser(kind="nesterov", rate=0.7, momentum=0.9)])
def test_taking_everyone_out_everywhere_leads_to_the_first_weights(
    run_in: Callable[[Sample], Run], outer: OuterOptimiser, tmp_path: Path
) -> None:
    run = run_in(make_sample(tmp_path / "four", 4, outer=outer, merge=Merge(method="average", full_every=3, full_rate=0.5)))
    reverted(run, "@1", "@2", "@3", "@4", "--into", "empty")
    assert close(weights(run, tmp_path, "empty"), weights(run, tmp_path, "@0"), 1e-5)
    assert run("verify", "empty").exit_code == 0
    assert run("fsck").exit_code == 0


def test_what_cannot_be_reverted(run: Run, sample: Sample) -> None:
    def line(*arguments: object) -> str:
        done = run("revert", *arguments)
        assert done.exit_code != 0
        return done.stderr.splitlines()[0]

    assert "say what to revert" in line()
    assert "no round made" in line("@0")
    assert "nobody whose peer id ends with" in line("--contributor", "nobody")
    assert "main moves with the swarm's rounds" in line("HEAD", "--into", "main")
    (absent,) = signers(sample.commit(5)) - signers(sample.commit(3))
    assert "merged nothing of theirs" in line("@3", "--contributor", absent)
    reverted(run, "@5", "--into", "fixed")
    assert "no round made" in line("fixed", "--into", "fixed")
    assert "was taken out already" in line("@5", "--into", "fixed")


def test_it_travels_in_a_bundle(run: Run, sample: Sample, tmp_path: Path) -> None:
    made = reverted(run, "@4", "--into", "fixed")
    assert run("bundle", tmp_path / "bundle").exit_code == 0
    elsewhere = Home(tmp_path / "elsewhere")
    assert unbundle(elsewhere, tmp_path / "bundle").round == 5
    assert run("verify", "fixed", "--home", elsewhere.path).exit_code == 0
    with Store.open(elsewhere.find_event().store_path, read_only=True) as store:
        assert store.refs.get("heads/fixed") == bytes.fromhex(made["commit"])
    assert run("gc", "--json").exit_code == 0
    assert run("verify", "fixed").exit_code == 0


@pytest.mark.parametrize("failpoint", ["revert-commit", "revert-transaction"])
def test_killed_at_any_point(run: Run, sample: Sample, failpoint: str) -> None:
    killed_at(sample, failpoint, "revert", "HEAD", "--into", "fixed")
    assert json.loads(run("fsck", "--json").stdout)["errors"] == 0
    with sample.store(read_only=True) as store:
        assert store.refs.get("heads/fixed") is None
    reverted(run, "HEAD", "--into", "fixed")
    assert run("gc").exit_code == 0
    assert run("fsck").stdout == "no errors\n"


def test_the_rules(sample: Sample) -> None:
    parent, event = sample.commit(5), sample.event
    with sample.store(read_only=True) as store:
        honest = Revert(
            event=event.digest, base=parent.digest, state=bytes(32), commits=(sample.commit(4).digest, sample.commit(2).digest),
            peers=(), message="", time=1,
        )  # fmt: skip

        def problem(commit: Commit) -> str:
            with pytest.raises(RemoteProtocolError) as caught:
                verify_revert_commit(lambda _: event, parent, commit, store.commit)
            return caught.value.reason

        made = revert_commit(sample.identity, parent, honest)
        verify_revert_commit(lambda _: event, parent, made, store.commit)
        assert Commit.decode(made.encode()) == made
        somebody = Identity(bytes(range(32))).peer_id
        for changes, reason in (
            ({"commits": (sample.commit(2).digest, sample.commit(4).digest)}, "wrong_revert"),
            ({"commits": (sample.commit(0).digest,)}, "wrong_revert"),
            ({"commits": (bytes(32),)}, "wrong_revert"),
            ({"peers": (somebody,)}, "wrong_revert"),
            ({"base": sample.commit(4).digest}, "wrong_base"),
            ({"event": bytes(32)}, "wrong_event"),
        ):
            assert problem(revert_commit(sample.identity, parent, honest.model_copy(update=changes))) == reason
        assert made.statement is not None
        signed = Signed.decode(made.statement)
        forged = signed.model_copy(update={"signature": bytes(64)}).encode()
        assert problem(made.model_copy(update={"statement": forged})) == "bad_signature"
        assert problem(made.model_copy(update={"proposer": somebody})) == "wrong_revert"
        assert problem(made.model_copy(update={"state": bytes(31) + b"\1"})) == "wrong_revert"
        for bad in ({"commits": (bytes(32),) * 2}, {"commits": ()}, {"peers": (somebody,) * 2}):
            with pytest.raises(ValueError):
                honest.model_copy(update=bad)


def test_how_long_an_update_acts(sample: Sample) -> None:
    event = sample.event
    assert lasting_effect(lambda _: event, sample.commit(1), [sample.commit(2)]) == (event.outer.rate, 0.0)
    nesterov = event.model_copy(update={"outer": OuterOptimiser(kind="nesterov", rate=0.5, momentum=0.8)})
    commits = [sample.commit(round) for round in range(1, 5)]
    weight, momentum, moved, left = 0.0, 0.0, *lasting_effect(lambda _: nesterov, commits[0], commits[1:])
    for step in range(4):  # DiLoCo's outer step on one number, with an update of 1 at first and 0 after
        update = float(step == 0)
        momentum = 0.8 * momentum + update
        weight += 0.5 * (update + 0.8 * momentum)
    assert moved == pytest.approx(weight)
    assert left == pytest.approx(momentum)

