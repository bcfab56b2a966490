"""`log`, `show`, `diff`, `blame` on real commits, against the states that they lead to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from history.kit import ALICE, BOB, CAROL, World

from collab.kernels.merge.portions import PORTIONS
from collab.node.history.payloads import Payloads
from collab.protocol.commit import Commit

Lines = Callable[..., list[str]]
Objects = Callable[..., list[dict[str, Any]]]
Failure = Callable[..., str]
HEAVY = {"torch", "hivemind", "numpy"}


def main_line(world: World) -> list[Commit]:
    """The commits of main by round."""
    return world.store.chain()[::-1]


def test_log_takes_revisions_and_ranges(world: World, lines: Lines, objects: Objects) -> None:
    ids = [commit.digest.hex() for commit in main_line(world)]
    for words, expected in {
        (): ids[::-1], ("main~1",): ids[3::-1], ("v1.0.0..",): ids[:2:-1], ("@2..@3",): [ids[3]], ("v1.0.0", "-n", "1"): [ids[2]],
        (ids[1][:8],): [ids[1], ids[0]], ("main..main",): [],
    }.items():  # fmt: skip
        assert [each["commit"] for each in objects("log", *words)] == expected, words
        assert [line.split()[0] for line in lines("log", "--oneline", *words)] == [commit[:12] for commit in expected]
    assert objects("log", "@2")[0]["refs"] == ["tag: v1.0.0"]
    assert "(HEAD -> main)" in lines("log", "--oneline")[0]


def test_log_draws_all_branches(world: World, lines: Lines) -> None:
    short = [commit.digest.hex()[:12] for commit in main_line(world)]
    side = world.store.refs.get("heads/side")
    assert side is not None
    # Of one round, the smaller id comes first.
    tip, fork = f"{side.hex()[:12]} (side)", short[3]
    middle = [f"| * {tip}", f"* | {fork}"] if side < main_line(world)[3].digest else [f"* {fork}", f"| * {tip}"]
    assert [line.split(" round")[0] for line in lines("log", "--graph", "--all")] == [
        f"* {short[4]} (HEAD -> main)", *middle, "|/", f"* {short[2]} (tag: v1.0.0)", f"* {short[1]}", f"* {short[0]}",
    ]  # fmt: skip


def test_log_by_contributor_adds_up(world: World, objects: Objects, lines: Lines) -> None:
    works = {work["peer"]: work for work in objects("log", "--by", "contributor")}
    assert list(works) == sorted(works, key=lambda peer: (-works[peer]["samples"], peer))
    assert works[ALICE.peer_id]["rounds"] == [1, 2, 3, 4]
    assert works[ALICE.peer_id]["share"] == pytest.approx(1 / 3 + 1 / 2 + 1 / 2 + 1)
    assert (works[CAROL.peer_id]["rounds"], works[CAROL.peer_id]["rejected"]) == ([1, 3], 1)
    assert [work["peer"] for work in objects("log", "@3..@4", "--by", "contributor")] == [ALICE.peer_id]
    assert any(line.rstrip().endswith("1, 3") for line in lines("log", "--by", "contributor"))


def test_log_of_a_tensor_and_the_stat_say_what_moved(world: World, objects: Objects, lines: Lines) -> None:
    rows = objects("log", "--tensor", "norm.weight")
    assert [row["round"] for row in rows] == [4, 3, 2, 1]
    newest, before = world.states[main_line(world)[4].digest], world.states[main_line(world)[3].digest]
    change = newest.weights["norm.weight"] - before.weights["norm.weight"]
    assert rows[0]["norm"] == pytest.approx(float(change.norm()), rel=1e-4)
    assert [row["round"] for row in objects("log", "--tensor", "layers.0.*", "v1.0.0..")] == [3]
    stat = lines("log", "--stat", "-n", "1")
    assert stat[1].startswith(" norm.weight | ")
    assert "1 tensor, " in stat[2]
    assert lines("log", "@4", "-n", "1", "--tensor", "embedding.weight") == ["none of these commits moved embedding.weight"]


def test_a_commits_change_is_the_difference_of_the_states(world: World) -> None:
    payloads = Payloads(world.event, world.store)
    commits = main_line(world)
    for older, newer in pairwise(commits):
        change = payloads.change(newer)
        before, after = world.states[older.digest].weights, world.states[newer.digest].weights
        for name, moved in change.items():
            assert torch.equal(before[name] + moved, after[name])
    assert all(not tensor.any() for tensor in payloads.change(commits[0]).values())


def test_show_has_everything(world: World, objects: Objects, lines: Lines) -> None:
    (shown,) = objects("show", "v1.0.0")
    assert shown["commit"] == main_line(world)[2].digest.hex()
    assert {each["peer"] for each in shown["contributions"]} == {ALICE.peer_id, BOB.peer_id}
    assert shown["rejected"] == [{"peer": CAROL.peer_id, "reason": "payload_size"}]
    assert (shown["certificate"], shown["refs"]) == (None, ["tag: v1.0.0"])
    assert shown["tensors"][0]["tensor"] == "embedding.weight"
    text = "\n".join(lines("show", "v1.0.0"))
    for word in (shown["commit"], shown["state"], "payload_size", "50.0%", "embedding.weight", "total", "no certificate"):
        assert word in text
    root = objects("show", "@0")[0]
    assert (root["method"], root["tensors"], root["parents"]) == ("root", [], [])


def test_diff_compares_any_two_versions(world: World, objects: Objects, lines: Lines) -> None:
    commits = main_line(world)
    (found,) = objects("diff", "side", "main")
    side = world.store.refs.get("heads/side")
    assert side is not None
    assert (found["older"], found["newer"]) == (side.hex(), commits[4].digest.hex())
    old, new = world.states[side].weights, world.states[commits[4].digest].weights
    for row in found["tensors"]:
        before, after = old[row["tensor"]].double().flatten(), new[row["tensor"]].double().flatten()
        assert row["changed"] == int((before != after).sum())
        assert row["norm"] == pytest.approx(float((after - before).norm()))
        assert row["cosine"] == pytest.approx(float(before @ after / before.norm() / after.norm()))
    norms = [row["norm"] for row in found["tensors"]]
    assert norms == sorted(norms, reverse=True)
    assert found["total"]["changed"] == sum(row["changed"] for row in found["tensors"])
    assert lines("diff", "@4..@4") == ["the weights are the same, bit for bit"]


def test_blame_divides_a_tensor_among_those_who_moved_it(world: World, objects: Objects, lines: Lines) -> None:
    (found,) = objects("blame", "norm.weight")
    rounds = {each["peer"]: [commit["round"] for commit in each["commits"]] for each in found["contributors"]}
    assert rounds == {ALICE.peer_id: [4, 3, 2, 1], BOB.peer_id: [2, 1], CAROL.peer_id: [3, 1]}
    assert sum(each["share"] for each in found["contributors"]) == pytest.approx(1)
    assert found["contributors"][0]["peer"] == ALICE.peer_id
    for each in found["contributors"]:
        assert each["norm"] ** 2 == pytest.approx(sum(commit["norm"] ** 2 for commit in each["commits"]))
        assert 0 < each["coordinates"] <= sum(commit["coordinates"] for commit in each["commits"])
    (alone,) = objects("blame", "norm.weight", "@3..@4")
    assert [(each["peer"], each["share"]) for each in alone["contributors"]] == [(ALICE.peer_id, 1.0)]
    assert lines("blame", "embedding.weight", "@3..")[0].startswith("nobody moved embedding.weight")
    assert lines("blame", "layers.0.*")[0].startswith("6 tensors: ")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("log", "nothing"), "no branch, tag or commit 'nothing'"),
        (("log", "main~9"), "is the root"),
        (("log", "--json", "--graph"), "choose one"),
        (("log", "--by", "moon"), "--by is contributor"),
        (("log", "--tensor", "nope"), "the model has no tensor 'nope'"),
        (("show", "main..side"), "is a range"),
        (("diff", "main", "x..y"), "is a range"),
        (("blame", "nope"), "the model has no tensor 'nope'"),
        (("blame", "norm.weight", "zz..main"), "'zz'"),
    ],
)
def test_mistakes_are_one_line(failure: Failure, words: tuple[str, ...], why: str) -> None:
    assert why in failure(*words)


def test_a_pruned_payload_is_named(world: World, objects: Objects, lines: Lines, failure: Failure) -> None:
    (accepted,) = [claim for _, claim in world.head.contributions()]
    path = world.store.blobs.path(accepted.payload.sha256)
    kept = path.read_bytes()
    path.unlink()
    try:
        assert objects("show")[0]["tensors"] is None
        assert "what it moved cannot be told: this store lacks payload" in "\n".join(lines("show"))
        assert "lacks payload" in failure("blame", "norm.weight")
        assert "lacks what the weights of round 4" in failure("diff", "@3", "@4")
    finally:
        path.write_bytes(kept)


def test_commits_that_payloads_do_not_explain_are_told_apart(
    world: World, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(PORTIONS, "sparse-average")
    for words in (("blame", "norm.weight"), ("log", "--tensor", "norm.weight")):
        done = run(*words, home=world.home.path)
        assert done.exit_code == 0
        assert "not counted: round 1-4, no merge of contributions" in done.stderr
    assert "no merge of contributions" in run("log", "--stat", "-n", "1", home=world.home.path).stdout.splitlines()[1]
    assert "(sparse-average) is no merge of contributions" in run("show", home=world.home.path).stdout


def test_reading_the_log_needs_no_torch(world: World) -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from collab.node.cli.app import app\n"
        f"result = CliRunner().invoke(app, ['log', '--graph', '--all', '--home', {str(world.home.path)!r}])\n"
        "assert result.exit_code == 0, result.output\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())
