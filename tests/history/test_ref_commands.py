"""`branch` and `tag`, beside a node that has the store open for writing."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from history.kit import ALICE, BOB, World
from typer.testing import Result

from collab.node import keys
from collab.node.errors import UserError
from collab.node.history import naming
from collab.node.store import RefMoved, Store
from collab.protocol.refs import SignedTag, Tag

Run = Callable[..., Result]


@pytest.fixture
def do(run: Run, own: World) -> Callable[..., str]:
    """Run a command that must succeed, and return its output."""

    def invoke(*words: object) -> str:
        result = run(*words, home=own.home.path)
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


@pytest.fixture
def refuse(run: Run, own: World) -> Callable[..., str]:
    """Run a command that must fail and change nothing, and return its error."""

    def invoke(*words: object) -> str:
        before = own.store.refs.all()
        result = run(*words, home=own.home.path)
        assert result.exit_code != 0
        assert len(result.stderr.splitlines()) <= 2
        assert own.store.refs.all() == before
        return result.stderr

    return invoke


def test_branches_are_made_moved_listed_and_deleted(own: World, do: Callable[..., str], refuse: Callable[..., str]) -> None:
    one, two = own.store.at_round(1), own.store.at_round(2)
    assert one is not None
    assert two is not None
    do("branch", "mine", "main~1")
    assert own.store.refs.get("heads/mine") == one
    assert "already there" in refuse("branch", "mine")
    do("branch", "--force", "mine")
    assert own.store.refs.get("heads/mine") == two
    assert do("branch").splitlines() == [f"* main  {two.hex()[:12]}  round 2", f"  mine  {two.hex()[:12]}  round 2"]
    listed = [json.loads(line) for line in do("branch", "--json").splitlines()]
    assert listed[1] == {"name": "mine", "commit": two.hex(), "round": 2, "remote": False}
    do("branch", "-d", "mine")
    assert own.store.refs.all() == {"heads/main": two}


def test_a_branch_that_alone_reaches_commits_is_not_lost_by_mistake(
    own: World, do: Callable[..., str], refuse: Callable[..., str]
) -> None:
    side = own.round(BOB, on=own.head, main=False, seed=9)
    do("branch", "side", side.digest.hex())
    assert "nothing but branch side reaches 1 commit" in refuse("branch", "-d", "side")
    do("tag", "kept", "side")
    do("branch", "-d", "side")
    do("branch", "side", "kept")
    do("tag", "-d", "kept")
    do("branch", "-d", "--force", "side")
    assert own.store.refs.all("heads/side") == {}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("branch", "a..b"), "cannot be the name of a branch"),
        (("branch", "@12"), "that means a round"),
        (("branch", "main"), "main moves with the swarm's rounds"),
        (("branch", "-d", "main"), "main moves with the swarm's rounds"),
        (("branch", "-d", "none"), "there is no heads/none"),
        (("branch", "x", "nothing"), "no branch, tag or commit 'nothing'"),
        (("branch", "-d"), "a name is missing"),
        (("tag", "v 1"), "cannot be the name of a tag"),
        (("tag", "-d", "none"), "there is no tags/none"),
        (("tag", "-m", "what for?"), "a name is missing"),
        (("tag", "v1", "-m", "x" * 20_000), "has at most"),
    ],
)
def test_mistakes_change_nothing(refuse: Callable[..., str], words: tuple[str, ...], why: str) -> None:
    assert why in refuse(*words)


def test_an_annotated_tag_is_signed_by_the_node(own: World, do: Callable[..., str], refuse: Callable[..., str]) -> None:
    do("tag", "v1.0.0", "@1")
    do("tag", "v1.1.0", "-m", "Better nouns\n\nand verbs")
    node = keys.load(own.home.identity_path).peer_id
    record = own.store.refs.tag("tags/v1.1.0")
    assert record is not None
    assert (record.open().tagger, record.open().commit) == (node, own.head.digest)
    plain, annotated = (json.loads(line) for line in do("tag", "--json").splitlines())
    assert (plain["name"], plain["annotation"]) == ("v1.0.0", None)
    assert annotated["annotation"]["valid"] is True
    assert annotated["annotation"]["message"] == "Better nouns\n\nand verbs"
    assert do("tag").splitlines()[1].endswith("round 2  Better nouns")
    assert do("show", "v1.1.0").splitlines()[:3] == [do("show", "v1.1.0").splitlines()[0], "", "Better nouns"]
    assert f"signed by {node}" in do("show", "v1.1.0").splitlines()[0]
    assert "already there" in refuse("tag", "v1.1.0")
    do("tag", "-f", "v1.1.0", "@1")
    assert own.store.refs.tag("tags/v1.1.0") is None


def test_a_tag_record_of_another_commit_or_signer_is_shown_as_bad(own: World, do: Callable[..., str]) -> None:
    tag = Tag(
        event=own.event.digest, name="v1", commit=own.head.digest, message="mine", tagger=ALICE.peer_id, time=1
    )
    own.store.refs.update("tags/v1", own.head.base, None, SignedTag.seal(ALICE, tag))
    own.store.refs.update("tags/v2", own.head.digest, None, SignedTag.seal(BOB, tag))
    assert [line.rpartition("  ")[2] for line in do("tag").splitlines()] == ["(BAD SIGNATURE)"] * 2
    assert "BAD SIGNATURE" in do("show", "v2").splitlines()[0]


def test_a_fetched_tags_message_steers_no_terminal(own: World, do: Callable[..., str]) -> None:
    said = "\x1b[2Jmine\x9b31m\r\n\x1b]0;owned\x07"
    tag = Tag(event=own.event.digest, name="v1", commit=own.head.digest, message=said, tagger=ALICE.peer_id, time=1)
    own.store.refs.update("tags/v1", own.head.digest, None, SignedTag.seal(ALICE, tag))
    for words in (("tag",), ("show", "v1")):
        assert "mine" in do(*words)
        assert not any(letter in do(*words) for letter in "\x1b\x07\x9b\r")


def test_a_ref_that_moves_between_look_and_change_is_told(own: World, monkeypatch: pytest.MonkeyPatch) -> None:
    naming.make_branch(own.store, "mine", "@1")

    def moved(store: Store, name: str, force: bool) -> bytes | None:
        seen = store.refs.get(name)
        store.refs.update(name, own.head.digest, seen)
        return seen

    monkeypatch.setattr(naming, "_expected", moved)
    with pytest.raises(RefMoved, match="heads/mine moved meanwhile"):
        naming.make_branch(own.store, "mine", "@0", force=True)
    assert own.store.refs.get("heads/mine") == own.head.digest


def test_a_store_that_another_process_is_writing_is_told(own: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.node.store.index._BUSY_SECONDS", 0.0)
    with Store.open_beside(own.home.event(own.event.digest).store_path) as beside, own.store.transaction():
        own.store.put_note("busy", b"")
        with pytest.raises(UserError, match="is being written by another process"):
            beside.refs.update("heads/mine", own.head.digest, None)
