"""`fetch` and `push` between homes on one machine, as a git user expects them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from remotes import kit
from remotes.conftest import Person

from collab.protocol.proposal import open_proposal
from collab.protocol.refs import SignedTag, Tag


def outcomes(text: str) -> dict[str, str]:
    """What became of each name, from a report in JSON."""
    return {each["name"]: each["what"] for each in json.loads(text)["refs"]}


def test_a_branch_comes_with_its_commits_and_payloads_once(alice: Person, bob: Person) -> None:
    tips = [kit.merge(alice, "tune", b"first" * 100), kit.merge(alice, "tune", b"second" * 100)]
    made = json.loads(bob.ok("fetch", "--json"))
    assert (made["commits"], made["blobs"], made["bytes"]) == (2, 2, 1100)
    assert bob.refs()["remotes/alice/tune"] == tips[-1]
    assert bob.refs()["remotes/alice/main"] == alice.refs()["heads/main"]
    bob.is_whole()
    assert "merged by average" in bob.ok("show", "alice/tune")
    assert bob.ok("fetch") == f"alice ({alice.path}): everything up to date\n"
    assert "everything up to date" in bob.ok("fetch", "alice", "tune")
    newer = kit.merge(alice, "tune", b"third")
    again = json.loads(bob.ok("fetch", "--json"))
    assert (again["commits"], again["blobs"], again["bytes"]) == (1, 1, 5)
    assert bob.refs()["remotes/alice/tune"] == newer


def test_a_rewound_branch_is_followed_and_that_is_said(alice: Person, bob: Person) -> None:
    kit.merge(alice, "tune", b"first")
    bob.ok("fetch")
    alice.ok("branch", "--force", "tune", "HEAD~1")
    assert outcomes(bob.ok("fetch", "--json"))["heads/tune"] == "forced"
    assert bob.refs()["remotes/alice/tune"] == alice.refs()["heads/tune"]


def test_tags_come_with_their_signature_and_never_move_ours(alice: Person, bob: Person) -> None:
    alice.ok("tag", "plain", "HEAD~1")
    alice.ok("tag", "v9", "HEAD~2", "--message", "signed")
    bob.ok("tag", "plain", "HEAD~2")
    assert outcomes(bob.ok("fetch", "alice", "--json")) == {"heads/main": "new", "tags/plain": "kept", "tags/v9": "new"}
    with bob.store(read_only=True) as store:
        kept = store.refs.tag("tags/v9")
    assert kept is not None
    assert kept.open().tagger == alice.identity.peer_id
    assert bob.refs()["tags/plain"] == bob.commit(3).digest


def test_only_what_was_asked_for_comes(alice: Person, bob: Person) -> None:
    kit.merge(alice, "one", b"one")
    kit.merge(alice, "two", b"two")
    bob.ok("fetch", "alice", "two")
    assert [name for name in bob.refs() if name.startswith("remotes/")] == ["remotes/alice/two"]
    bob.ok("fetch", "alice", "heads/one")
    assert "remotes/alice/one" in bob.refs()
    wrong = bob.run("fetch", "alice", "three")
    assert wrong.exit_code == 1
    assert "'three' is not published there" in wrong.output


def test_a_push_goes_forwards_only(alice: Person, bob: Person) -> None:
    first = kit.merge(alice, "tune", b"first")
    alice.ok("remote", "add", "bob", bob.path)
    assert " * [new] heads/tune\n" in alice.ok("push", "bob", "tune")
    assert bob.refs()["heads/tune"] == alice.refs()["remotes/bob/tune"] == first
    bob.is_whole()
    second = kit.merge(alice, "tune", b"second")
    assert f"{first.hex()[:12]}..{second.hex()[:12]}" in alice.ok("push", "bob", "tune")
    alice.ok("branch", "--force", "tune", "HEAD~1")
    refused = alice.run("push", "bob", "tune")
    assert refused.exit_code == 1
    assert f"it does not descend from {second.hex()[:12]}, which is there" in refused.output
    assert bob.refs()["heads/tune"] == second
    assert outcomes(alice.ok("push", "bob", "+tune", "--json")) == {"heads/tune": "forced"}
    assert bob.refs()["heads/tune"] == alice.refs()["heads/tune"]


def test_what_moved_over_there_is_to_be_fetched_first(alice: Person, bob: Person) -> None:
    alice.ok("remote", "add", "bob", bob.path)
    kit.merge(alice, "tune", b"first")
    alice.ok("push", "bob", "tune")
    shutil.copytree(alice.path, bob.path.parent / "elsewhere")
    elsewhere = Person(bob.path.parent / "elsewhere", bob.data)
    theirs = kit.merge(elsewhere, "tune", b"theirs")
    elsewhere.ok("push", "bob", "tune")
    kit.merge(alice, "tune", b"ours")
    refused = alice.run("push", "bob", "tune")
    assert refused.exit_code == 1
    assert f"bob has commit {theirs.hex()[:12]}, which is not here; `collab-node fetch bob` first" in refused.output
    assert bob.refs()["heads/tune"] == theirs


def test_refspecs(alice: Person, bob: Person) -> None:
    alice.ok("remote", "add", "bob", bob.path)
    alice.ok("push", "bob", "HEAD~2:old", "main:copy")
    assert bob.refs()["heads/old"] == alice.commit(3).digest
    assert bob.refs()["heads/copy"] == alice.commit(5).digest
    assert outcomes(alice.ok("push", "bob", ":old", "--json")) == {"heads/old": "deleted"}
    assert "heads/old" not in bob.refs()
    for spec, why in {
        "main": "main cannot be pushed: it moves with the swarm's rounds",
        "HEAD~1:main": "main cannot be pushed",
        "nothing": "there is no branch, tag or proposal 'nothing' to push",
        "main:": "does not say where to",
        "main:a..b": "cannot be the name of a branch",
    }.items():
        wrong = alice.run("push", "bob", spec)
        assert wrong.exit_code == 1, spec
        assert why in wrong.output


def test_tags_do_not_move_over_there(alice: Person, bob: Person) -> None:
    alice.ok("remote", "add", "bob", bob.path)
    alice.ok("tag", "v9", "HEAD~1", "--message", "signed")
    alice.ok("push", "bob", "v9")
    alice.ok("tag", "v9", "HEAD~2", "--message", "again", "--force")
    refused = alice.run("push", "bob", "v9")
    assert refused.exit_code == 1
    assert "bob has another tag of that name; --force moves it" in refused.output
    alice.ok("push", "bob", "v9", "--force")
    with bob.store(read_only=True) as store:
        moved = store.refs.tag("tags/v9")
    assert moved is not None
    assert moved.open().message == "again"
    elsewhere = alice.run("push", "bob", "v9:v10")
    assert "signed under that name" in elsewhere.output


def test_a_tag_that_says_something_else_does_not_come(alice: Person, bob: Person) -> None:
    tag = Tag(event=alice.event.digest, name="v1", commit=alice.commit(1).digest, message="", tagger=bob.identity.peer_id, time=1)
    forged = SignedTag.seal(alice.identity, tag)  # in bob's name, by alice
    with alice.store() as store:
        store.refs.update("tags/v1", tag.commit, None, forged)
    refused = bob.run("fetch")
    assert refused.exit_code == 1
    assert "not valid: bad_signature" in refused.output
    assert "tags/v1" not in bob.refs()
    assert "remotes/alice/main" in bob.refs()


def test_proposals_come_and_go(alice: Person, bob: Person) -> None:
    theirs = kit.propose(alice, b"from alice", kit.merge(alice, "tune", b"base"))
    bob.ok("fetch", "alice", "proposals")
    with bob.store(read_only=True) as store:
        known = {each.digest: each for each in store.proposals.all()}
        assert store.blobs.read(open_proposal(theirs.encode())[1].payload.sha256) == b"from alice"
    assert known[theirs.digest].maker == alice.identity.peer_id
    assert [each.merged for each in known.values() if each.digest != theirs.digest] == [alice.refs()["heads/tune"]]
    bob.is_whole()
    ours = kit.propose(bob, b"from bob")
    assert outcomes(bob.ok("push", "alice", ours.digest.hex()[:8], "--json")) == {f"proposals/{ours.digest.hex()}": "new"}
    with alice.store(read_only=True) as store:
        assert ours.digest in store.proposals.envelopes()
    assert outcomes(bob.ok("push", "alice", "proposals", "--json")).keys() >= {f"proposals/{ours.digest.hex()}"}
    alice.is_whole()


def test_releases_come_and_never_roll_back(alice: Person, bob: Person) -> None:
    made = kit.release(alice)
    assert outcomes(bob.ok("fetch", "alice", "releases", "--json")) == {"releases": "new"}
    assert "1.0.0" in bob.ok("releases", "list")
    assert bob.refs()["tags/v1.0.0"] == made.commit
    bob.is_whole()
    shutil.copytree(alice.path, alice.path.parent / "older")
    kit.renew(alice)
    assert outcomes(bob.ok("fetch", "alice", "releases", "--json")) == {"releases": "moved"}
    bob.ok("remote", "add", "older", alice.path.parent / "older")
    assert outcomes(bob.ok("fetch", "older", "releases", "--json")) == {"releases": "kept"}
    refused = Person(alice.path.parent / "older", bob.data)
    refused.ok("remote", "add", "bob", bob.path)
    done = refused.run("push", "bob", "releases")
    assert done.exit_code == 1
    assert "the releases there are newer than these" in done.output


def test_packages_come_with_their_files(alice: Person, bob: Person, tmp_path: Path) -> None:
    held = kit.package(alice, tmp_path / "package")
    bob.ok("fetch", "alice", "modules")
    index = bob.folder.store_path
    assert held.digest.hex()[:12] in bob.ok_without_home("module", "list", "--index", index)
    bob.ok("gc")
    bob.is_whole()
    bob.ok_without_home("add", "facts", "--index", index, "--dir", tmp_path)
    bob.ok_without_home("install", "--index", index, "--dir", tmp_path)
    assert (tmp_path / "modules" / "facts" / "table.txt").read_bytes() == b"table"
    kit.package(bob, tmp_path / "other", version="2.0.0", content=b"more")
    bob.ok("push", "alice", "modules/facts/2.0.0")
    alice.is_whole()
    kit.package(alice, tmp_path / "third", version="3.0.0", content=b"one")
    kit.package(bob, tmp_path / "fourth", version="3.0.0", content=b"another")
    refused = bob.run("push", "alice", "modules/facts/3.0.0")
    assert refused.exit_code == 1
    assert "facts 3.0.0 is already published, and is another one" in refused.output


def test_a_bundle_is_a_remote_to_fetch_from(alice: Person, bob: Person, tmp_path: Path) -> None:
    tip = kit.merge(alice, "tune", b"first")
    alice.ok("tag", "v9", "tune", "--message", "signed")
    file = tmp_path / "history.bundle"
    alice.ok("bundle", file)
    bob.ok("remote", "add", "file", file)
    assert outcomes(bob.ok("fetch", "file", "--json")) == {"heads/main": "new", "heads/tune": "new", "tags/v9": "new"}
    assert bob.refs()["remotes/file/tune"] == tip
    bob.is_whole()
    refused = bob.run("push", "file", "v9")
    assert refused.exit_code == 1
    assert "is a bundle, which is not pushed to" in refused.output


def test_what_coordinators_decided_comes_with_the_commits_that_name_it(alice: Person, bob: Person) -> None:
    announced = kit.amended_round(alice)
    bob.ok("fetch", "alice", "main")
    assert bob.refs()["remotes/alice/main"] == alice.refs()["heads/main"]
    with bob.store(read_only=True) as store:
        assert [signed.name for signed in store.amendments.all()] == [announced.name]
    bob.is_whole()


@pytest.mark.parametrize("order", [("tune", "proposals"), ("proposals", "tune")])
def test_a_proposal_that_was_merged_is_not_open(alice: Person, bob: Person, order: tuple[str, str]) -> None:
    """Whichever comes first, the proposal or the commit that merged it."""
    kit.merge(alice, "tune", b"first")
    bob.ok("fetch", "alice", order[0])
    assert ("no open proposals" in bob.ok("review")) == (order[0] == "tune")
    bob.ok("fetch", "alice", order[1])
    assert bob.ok("review") == "no open proposals\n"
    assert "(merged) better" in bob.ok("review", "--all")


@pytest.mark.parametrize("first", ["proposals", "bundle"])
def test_a_proposal_that_a_bundle_says_was_merged_is_not_open(alice: Person, bob: Person, tmp_path: Path, first: str) -> None:
    kit.merge(alice, "tune", b"first")
    alice.ok("bundle", tmp_path / "bundle")
    steps = {"proposals": ("fetch", "alice", "proposals"), "bundle": ("unbundle", tmp_path / "bundle")}
    for name in sorted(steps, key=lambda name: name != first):
        bob.ok(*steps[name])
    assert bob.ok("review") == "no open proposals\n"


def test_releases_bring_the_amendment_that_says_who_signs_though_no_commit_names_it(
    alice: Person, bob: Person, settle: Callable[[str], Person]
) -> None:
    carol = settle("carol")
    alice.ok("event", "coordinators", "--key", carol.identity.peer_id, "--threshold", "1")
    with alice.store(read_only=True) as theirs, carol.store() as ours:
        for signed in theirs.amendments.all():
            ours.amendments.add(signed)
    kit.release(carol)
    bob.ok("remote", "add", "carol", carol.path)
    assert outcomes(bob.ok("fetch", "carol", "releases", "--json")) == {"releases": "new"}
    assert bob.ok("releases", "maintainers").split()[-1] == carol.identity.peer_id
    assert "does not sign for the event" in alice.run("release").stderr
