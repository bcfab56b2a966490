"""The commands of `event` that decide something: in a home without a node, and with several coordinators."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from daemon.kit import EVENT, line, make_home
from rounds.worlds import identity
from typer.testing import CliRunner, Result

from collab.node.amendments.making import standing
from collab.node.cli.app import app
from collab.node.home import Home
from collab.node.store import Store

Run = Callable[..., Result]
CHAIN = line(3, EVENT)
PEER = [identity(number).peer_id for number in range(10)]


@pytest.fixture
def homes(tmp_path: Path) -> list[Home]:
    return [make_home(tmp_path / f"home-{number}", number, *CHAIN) for number in range(3)]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, homes: list[Home]) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)

    def invoke(*words: object, home: int = 0) -> Result:
        where = ["--home", str(homes[home].path)]
        return CliRunner().invoke(app, ["event", *map(str, words), *where], prog_name="collab-node")

    return invoke


def said(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def fails(result: Result) -> list[str]:
    """The lines of an error that a person caused."""
    assert result.exit_code != 0
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output.splitlines()


def test_what_is_decided_without_a_node_is_kept_for_its_start(run: Run, homes: list[Home]) -> None:
    assert "nothing was decided" in said(run("amendments"))
    lines = said(run("ban", PEER[3][-8:], "--reason", "sent noise")).splitlines()
    assert lines[0] == f"amendment 1: peer {PEER[3]} is banned: sent noise"
    assert "the swarm hears of it when one starts" in lines[1]
    assert lines[2] == f"to take back what it contributed: collab-node revert --contributor {PEER[3]}"
    said(run("announce", "thank you, all"))
    assert standing(homes[0].events()[0]).in_force.banned == {PEER[3]: "sent noise"}
    listed = json.loads(said(run("amendments", "--json")))
    assert [(each["number"], each["body"]["kind"]) for each in listed] == [(1, "ban"), (2, "announce")]
    assert listed[0]["signers"] == [PEER[0]]
    assert "announced: thank you, all" in said(run("amendments"))


def test_every_decision_takes_effect(run: Run, homes: list[Home]) -> None:
    said(run("pause", "--reason", "lunch"))
    said(run("open"))
    said(run("ban", PEER[3]))
    said(run("admit", PEER[3]))
    said(run("extend", "--last-round", 90, "--total-samples", 5000))
    said(run("close", "--after", 30))
    assert "the event is over after round 4" in said(run("close"))
    said(run("bootstrap", f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER[1]}"))
    said(run("coordinators", "--key", PEER[1]))
    state = standing(homes[0].events()[0]).in_force
    assert (state.number, state.paused, state.banned, state.last_round) == (9, False, {}, 4)
    assert (state.coordinators, state.bootstrap) == ((PEER[1],), (f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER[1]}",))
    assert fails(run("open"))[0].startswith("error: this node's key is not a coordinator's")


def test_several_coordinators_sign_a_draft_one_after_the_other(run: Run, homes: list[Home], tmp_path: Path) -> None:
    said(run("coordinators", "--key", PEER[0], "--key", PEER[1], "--key", PEER[2], "--threshold", 3))
    draft = tmp_path / "pause.txt"
    assert f"2 more signatures are needed: the next coordinator runs `collab-node event sign {draft}`" in said(
        run("pause", "--out", draft)
    )
    assert standing(homes[0].events()[0]).in_force.number == 1
    assert "# the event is paused" in draft.read_text()
    for home in homes[1:]:  # they heard of the first amendment
        with Store.open(home.events()[0].store_path) as store:
            store.amendments.add(standing(homes[0].events()[0]).chain[0])
    assert "signed it already" in fails(run("sign", draft))[0]
    assert "1 more signature is needed" in said(run("sign", draft, home=1))
    named = ", ".join(f"…{peer[-6:]}" for peer in PEER[:3])
    assert f"{named} are the coordinators, 3 of whom sign" in said(run("amendments"))
    assert "amendment 2: the event is paused" in said(run("sign", draft, home=2))
    assert standing(homes[2].events()[0]).in_force.paused
    assert fails(run("sign", draft, home=2))[0] == "error: this is decided already: no signature is missing"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("ban", PEER[0]), "error: this cannot be decided: a coordinator cannot be banned"),
        (("ban", "nobody"), "error: 'nobody' is no peer id, nor the end or the name of one that takes part"),
        (("ban", PEER[3], "--reason", "x" * 201), "error: reason: is longer than 200 characters"),
        (("announce", ""), "error: text: must not be empty"),
        (("open",), "error: this cannot be decided: the event is not paused"),
        (("admit", PEER[3]), "error: this cannot be decided: this peer may take part already"),
        (("extend",), "error: say how far: --last-round N, or --total-samples N"),
        (("extend", "--last-round", "2"), "error: round 3 is merged already, so 2 is past"),
        (("close", "--after", "2"), "error: round 3 is merged already, so 2 is past"),
        (("announce", "two\nlines"), "error: text: is one printable line"),
        (("coordinators", "--key", "me"), "error: keys: 'me' is not the peer id of an Ed25519 key"),
        (("coordinators", "--key", PEER[1], "--threshold", "2"), "error: threshold is more than there are keys"),
        (("bootstrap", "here"), "error: 'here' is not a peer's address"),
        (("sign", "missing.txt"), "error: missing.txt cannot be read: No such file or directory"),
        (("amend", "missing.toml", "--from-round", "9"), "error: missing.toml cannot be read: No such file or directory"),
    ],
)
def test_mistakes_end_in_one_line(run: Run, homes: list[Home], words: tuple[str, ...], error: str) -> None:
    lines = fails(run(*words))
    assert lines[0].startswith(error)
    assert len(lines) <= 2
    assert standing(homes[0].events()[0]).in_force.number == 0


def test_a_close_never_makes_an_event_longer(run: Run, homes: list[Home]) -> None:
    more = "hint: more rounds: `collab-node event extend --last-round N`"
    said(run("extend", "--last-round", 9))
    assert fails(run("close", "--after", 10)) == ["error: the event ends after round 9 already", more]
    said(run("close"))
    assert fails(run("close")) == ["error: the event ends after round 4 already", more]
    said(run("extend", "--last-round", 3))
    assert fails(run("close")) == ["error: the event is over since round 3 already", more]
    assert standing(homes[0].events()[0]).in_force.last_round == 3


def test_samples_that_are_merged_already_are_no_end(run: Run) -> None:
    merged = CHAIN[-1][0].samples
    lines = fails(run("extend", "--total-samples", merged))
    assert lines == [f"error: {merged:,} samples are merged already, so {merged:,} is past", "hint: give more than that"]


def test_a_draft_that_is_no_draft(run: Run, tmp_path: Path) -> None:
    (tmp_path / "draft.txt").write_text("# amendment 1\nnot base64 at all\n")
    assert fails(run("sign", "draft.txt"))[0] == "error: draft.txt is no draft of an amendment"


def test_a_recipe_changes_from_a_round_that_lies_ahead(run: Run, homes: list[Home], tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('[outer]\nrate = 1.0\n[rounds]\ndeadline = "2m"\n')
    error = fails(run("amend", file, "--from-round", 4))
    assert error == ["error: round 4 is over or under way", "hint: the first round that a recipe can begin with is 5"]
    said(run("extend", "--last-round", 9))
    none = "error: the event ends after round 9, so no round would have this recipe"
    assert fails(run("amend", file, "--from-round", 90))[0] == none
    said(run("extend", "--last-round", 0))
    assert "a new recipe from round 9 on (outer, rounds)" in said(run("amend", file, "--from-round", 9))
    state = standing(homes[0].events()[0]).in_force
    assert state.event(8).outer == EVENT.outer
    assert state.event(9).outer == EVENT.outer.model_copy(update={"rate": 1.0})
    assert state.event(9).rounds == EVENT.rounds.model_copy(update={"deadline": 120.0})


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("[model]\nlayers = 9\n", ["1: model: cannot change once an event has started"]),
        ("[inner]\nbatch = 0\nstep = 4\n", ["2: inner.batch: must be greater than or equal to 1", "3: inner.step: unknown key"]),
        ("\n[outre]\nrate = 1.0\n", ["2: outre: unknown section"]),
        ("[outer]\n\nkind = 'nesterov'\n", ["3: outer.kind: cannot change"]),
        ("[rounds]\nmax_staleness = 4\n", ["2: rounds.max_staleness: cannot change"]),
        ("[rounds]\ndeadline = 'soon'\n", ["2: rounds.deadline: "]),
        ("[outer\n", ["1: not TOML"]),
        ("", ["1: says nothing that changes"]),
    ],
)
def test_each_mistake_in_a_recipe_has_its_line(run: Run, tmp_path: Path, text: str, problems: list[str]) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    errors = [said for said in fails(run("amend", "recipe.toml", "--from-round", 9)) if said.startswith("error")]
    assert len(errors) == len(problems)
    for error, problem in zip(errors, problems, strict=True):
        assert error.startswith(f"error: recipe.toml:{problem}")


def test_a_volunteer_decides_nothing(run: Run) -> None:
    lines = fails(run("pause", home=1))
    assert lines[0] == "error: this node's key is not a coordinator's, so nobody would take its word"
    assert PEER[0] in lines[1]


def test_damaged_amendments_are_told_in_one_line(run: Run, homes: list[Home]) -> None:
    said(run("announce", "hello"))
    index = homes[0].events()[0].store_path / "index.sqlite"
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("UPDATE amendments SET body = x'c1'")
    lines = fails(run("amendments"))
    assert "are damaged" in lines[0]
    assert lines[1:] == ["hint: move the event's folder away and join again"]
