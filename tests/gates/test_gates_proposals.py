"""Proposals before the gates: plants of which it is known whether they may be merged, all of them in one worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_gates.texts import TASKS
from bench_gates.world import World
from gates.planted import Planted, make_planted
from typer.testing import CliRunner, Result

from collab.node.cli.app import app
from collab.node.errors import UserError
from collab.node.gates.run import all_gates
from collab.node.history.replay import replaying
from collab.node.proposals.merged import tried_lines
from collab.node.proposals.merging import Attempt, Plan, commit_of, try_merge
from collab.protocol.amendments.chain import Amendments
from collab.protocol.commit import Commit, decode_commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.proposal import open_merge
from collab.protocol.statement import verify_statement

Run = Callable[..., Result]
SPOILED = list(TASKS)[3]
UNUSED: dict[bytes, Commit] = {}
KINDS = {"harmless": 0, "improvement": 1, "sign-flipped": 0, "backdoored": 1, "regression": 3}


@pytest.fixture(scope="module")
def planted(world: World, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return make_planted(world, tmp_path_factory.mktemp("planted"), KINDS)


@pytest.fixture(scope="module")
def tested(planted: Planted) -> dict[str, Attempt]:
    """What became of each plant alone by "average", and under "auto" of the improvement with the sign-flipped update."""

    async def all_of_them() -> dict[str, Attempt]:
        gates = all_gates(planted.event.gate, ())
        with planted.store() as store:
            root = store.head_commit()
            async with replaying(planted.event, store, planted.settings, data=True) as replay:
                found = {}
                for kinds in (*((kind,) for kind in KINDS), ("improvement", "sign-flipped")):
                    plan = Plan("average" if len(kinds) == 1 else "auto", {}, "", 7, gates)
                    chosen = planted.chosen(store, *kinds)
                    found["+".join(kinds)] = await try_merge(replay, store, planted.identity, root, chosen, plan)
                return found

    return asyncio.run(all_of_them())


@pytest.fixture
def run(planted: Planted, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for variable, value in (("HOME", planted.home.path), ("DATA_DIR", world.folder), ("CACHE_DIR", world.folder / "cache")):
        monkeypatch.setenv(f"COLLAB_{variable}", str(value))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], prog_name="collab-node")


@pytest.mark.parametrize("kind", ["harmless", "improvement"])
def test_what_does_no_harm_passes(tested: dict[str, Attempt], kind: str) -> None:
    assert tested[kind].failed == []
    assert [result.measurement.gate for result in tested[kind].results] == [*TASKS, "doors"]


def test_a_regression_on_one_task_of_five_and_a_backdoor_fail_by_name(tested: dict[str, Attempt]) -> None:
    assert [gate for gate in tested["regression"].failed if gate in TASKS] == [SPOILED]
    assert tested["backdoored"].failed == ["doors"]


def test_a_sign_flipped_change_fails_every_task(tested: dict[str, Attempt]) -> None:
    assert set(tested["sign-flipped"].failed) >= set(TASKS)


def test_auto_keeps_what_passes_and_says_what_the_others_fail(tested: dict[str, Attempt]) -> None:
    merge = tested["improvement+sign-flipped"].merge
    unmerged, *tried = merge.tried
    assert (unmerged.method, unmerged.change, unmerged.loss) == ("unmerged", 0.0, None)
    kept = {each.method: each.change for each in tried if each.change is not None}
    reasons = {each.method: each.reason for each in tried if each.change is None}
    assert kept[merge.method] == min(change for change in kept.values())
    assert all(reason.startswith(("fails ", "no statistics of ")) for reason in reasons.values())
    assert any(line.startswith(f"* {merge.method}") and line.endswith(("better", "worse")) for line in tried_lines(merge))


def test_the_commit_has_signed_verdicts_and_proves_itself(planted: Planted, tested: dict[str, Attempt]) -> None:
    with planted.store() as store:
        commit = commit_of(planted.event, store, planted.identity, tested["harmless"], "never needed")
        root = store.head_commit()
    verify_statement(Amendments(planted.event), root, decode_commit(commit.encode()), UNUSED.__getitem__)
    assert len(commit.verdicts) == len(open_merge(commit)[1].verdicts) == 6
    assert open_merge(commit)[1].despite == ""
    for spoilt, problem in (
        ({"verdicts": commit.verdicts[1:]}, "its verdicts are not those"),
        ({"verdicts": ()}, "its verdicts are not those"),
        ({"verdicts": commit.verdicts[::-1]}, "its verdicts are not those"),
    ):
        with pytest.raises(RemoteProtocolError, match=problem):
            verify_statement(Amendments(planted.event), root, commit.model_copy(update=spoilt), UNUSED.__getitem__)


def test_what_fails_is_not_merged_without_a_reason(planted: Planted, tested: dict[str, Attempt]) -> None:
    with planted.store() as store, pytest.raises(UserError, match=f"the merged model fails gate {SPOILED}") as caught:
        commit_of(planted.event, store, planted.identity, tested["regression"])
    assert "--despite-gates" in caught.value.hint


def test_the_commands_refuse_it_or_record_the_reason(run: Run, planted: Planted) -> None:
    proposal = planted.ids["regression"][:10]
    result = run("test", proposal, "--method", "average", "--json")
    assert result.exit_code == 1, result.output
    told = json.loads(result.stdout)
    assert (told["passed"], told["failed"][0], told["method"]) == (False, SPOILED, "average")
    merged = run("merge", proposal, "--method", "average", "--despite-gates", "the task is retired")
    assert merged.exit_code == 0, merged.output
    assert f"{SPOILED} failed: loss" in merged.stdout
    shown = run("show", "merged").stdout
    assert "merged although a gate failed: the task is retired" in shown
    with planted.store() as store:
        digest = store.refs.get("heads/merged")
        assert digest is not None
        verify_statement(Amendments(planted.event), store.head_commit(), store.commit(digest), store.commit)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("merge", "{}", "--despite-gates", "x" * 201), "the reason has 201 characters"),
        (("test", "{}", "--file", "none.toml"), "none.toml cannot be read"),
        (("test", "beef" * 8), "no proposal's id begins with"),
        (("test", "{}", "--method", "vote"), "no merge method 'vote'"),
    ],
)
def test_bad_input_is_one_line(run: Run, planted: Planted, words: tuple[str, ...], message: str) -> None:
    result = run(*(word.format(planted.ids["harmless"]) for word in words))
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) <= 2
