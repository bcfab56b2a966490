"""`clone`: an event that was not here, taken over from an invite, a home or a bundle, reads like the original."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from history_integrity.samples import killed_at
from remotes import kit
from remotes.conftest import Person
from remotes.listening import listening
from safetensors.numpy import load_file, save_file

from collab.node.errors import UserError
from collab.node.event.joining import remembered_invite
from collab.node.history.unbundle import unbundle
from collab.node.home import Home
from collab.node.remotes import fetching
from collab.node.remotes.cloning import clone, origin_of
from collab.node.remotes.home import HomeSource
from collab.node.remotes.place import open_place
from collab.node.store import prune
from collab.protocol.exchange import SnapshotOffer
from collab.protocol.invite import Invite
from collab.protocol.messages import Blob
from collab.protocol.refs import MAIN

FAILPOINTS = ("clone-event", "remote-state", "remote-landing", "clone-filled")


@pytest.fixture
def carol(tmp_path: Path, alice: Person) -> Person:
    """Has no event yet."""
    Home(tmp_path / "carol").prepare()
    return Person(tmp_path / "carol", alice.data)


def pruned(person: Person) -> Person:
    """The same, without payloads and snapshots before that of round 4."""
    with person.store() as store:
        assert prune(store, keep=1) > 0
    return person


def invite(person: Person, *addresses: str) -> str:
    return Invite(event=person.event.digest, bootstrap=addresses).text()


def lacks(person: Person) -> list[str]:
    """The findings of `fsck` that are no mere notes, after `gc`."""
    person.ok("gc")
    return [each["text"] for each in json.loads(person.run("fsck", "--json").stdout)["findings"] if each["severity"] != "note"]


@pytest.mark.usefixtures("worker_in_thread")
def test_a_clone_reads_like_the_original(alice: Person, carol: Person, tmp_path: Path) -> None:
    alice.ok("branch", "old", "@3")
    alice.ok("tag", "v0.9", "@2", "--message", "signed")
    proposal = kit.propose(alice, b"proposed").digest.hex()
    kit.release(alice)
    kit.package(alice, tmp_path / "package")
    told = carol.ok("clone", alice.path)
    assert told.endswith(f"tiny ({alice.folder.path.name}) is here, with main at round 5\n")
    theirs = alice.refs()
    mine = {"remotes/origin/main": theirs[MAIN], "remotes/origin/old": theirs["heads/old"]}
    assert carol.refs() == mine | {name: theirs[name] for name in (MAIN, "tags/v0.9", "tags/v1.0.0")}
    assert proposal[:12] in carol.ok("review")
    assert "1.0.0" in carol.ok("releases", "list")
    assert f"origin           {alice.path}" in carol.ok("remote", "list")
    carol.is_whole()
    for command in (("log", "--graph", "--all"), ("show", "v0.9"), ("diff", "v0.9", "main"), ("verify",)):
        assert carol.run(*command).exit_code == 0, command
    for revision in ("main", "origin/old", "v0.9"):
        carol.ok("checkout", revision, tmp_path / "hers", "--force")
        alice.ok("checkout", revision.removeprefix("origin/"), tmp_path / "theirs", "--force")
        assert (tmp_path / "hers" / "model.safetensors").read_bytes() == (tmp_path / "theirs" / "model.safetensors").read_bytes()
    assert carol.ok("fetch") == f"origin ({alice.path}): everything up to date\n"


def test_what_is_here_already_is_fetched(alice: Person, bob: Person, carol: Person) -> None:
    again = bob.run("clone", alice.path)
    assert again.exit_code == 1
    assert again.output == (
        "error: tiny is in this home already\nhint: `collab-node fetch` brings what is new; `remote add` says from where\n"
    )
    with carol.home.lock():
        assert "runs a node in" in carol.run("clone", alice.path).output
    carol.ok("clone", alice.path)
    assert carol.run("clone", alice.path).exit_code == 1


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("nowhere", "is no invite, and no home or bundle"),
        ("/ip4/203.0.113.7/tcp/4001", "is no invite, and no home or bundle"),
        ("collab1-x", "the invite"),
        (__file__, "is no bundle"),
    ],
)
def test_what_nothing_can_be_cloned_from(carol: Person, source: str, why: str) -> None:
    refused = carol.run("clone", source)
    assert (refused.exit_code, refused.output.count("error:")) == (1, 1)
    assert why in refused.output
    assert not list((carol.path / "events").iterdir())


def test_a_bundle_is_cloned_if_it_is_whole(alice: Person, carol: Person, tmp_path: Path) -> None:
    alice.ok("branch", "old", "@3")
    alice.ok("bundle", tmp_path / "late", "@2..main")
    refused = carol.run("clone", tmp_path / "late")
    assert "holds only a part of a history" in refused.output
    alice.ok("bundle", tmp_path / "whole")
    made = json.loads(carol.ok("clone", tmp_path / "whole", "--json"))
    assert (made["event"], made["round"], made["commits"]) == (alice.event.digest.hex(), 5, 5)
    assert carol.refs()[MAIN] == carol.refs()["remotes/origin/main"] == alice.refs()[MAIN]
    assert "remotes/origin/old" in carol.refs()
    with alice.store(read_only=True) as theirs, carol.store(read_only=True) as mine:
        assert mine.snapshots(1) == theirs.snapshots(1)
    carol.is_whole()


def test_a_damaged_bundle_leaves_nothing_that_can_be_seen(alice: Person, carol: Person, tmp_path: Path) -> None:
    alice.ok("bundle", tmp_path / "bundle")
    data = bytearray((tmp_path / "bundle").read_bytes())
    data[-40] ^= 1
    (tmp_path / "bundle").write_bytes(data)
    assert "its checksum is another" in carol.run("clone", tmp_path / "bundle").output
    assert carol.home.events() == []


@pytest.mark.usefixtures("worker_in_thread")
def test_what_was_pruned_there_is_not_needed(alice: Person, bob: Person, carol: Person, tmp_path: Path) -> None:
    """The newest state comes, and the payloads after it; what cannot be made even so is refused, and the rest is there."""
    alice.ok("checkout", "main", tmp_path / "theirs")
    pruned(alice).ok("tag", "ancient", "@2")
    done = carol.run("clone", alice.path)
    assert done.exit_code == 1
    assert " ! [refused] tags/ancient (blob " in done.output
    assert "1 of 2 names refused by origin" in done.output
    assert carol.refs() == {MAIN: alice.refs()[MAIN], "remotes/origin/main": alice.refs()[MAIN]}
    with carol.store(read_only=True) as store:
        assert [each.round for each in store.snapshots()] == [4]
    assert lacks(carol) == []
    carol.ok("checkout", "main", tmp_path / "hers")
    assert (tmp_path / "hers" / "model.safetensors").read_bytes() == (tmp_path / "theirs" / "model.safetensors").read_bytes()
    carol.ok("verify")
    bob.ok("remote", "add", "carol", carol.path)
    bob.ok("push", "carol", "@1:old")  # which needs what is before the oldest state here
    carol.ok("checkout", "old", tmp_path / "old")


def test_a_clone_by_invite_comes_over_the_network(alice: Person, carol: Person) -> None:
    async def work() -> str:
        async with listening(pruned(alice)) as node:
            text = invite(alice, *node.remote.addresses)
            cloned = await clone(carol.home, origin_of(text))
            assert (cloned.round, cloned.report.refused) == (5, False)
            return text

    text = asyncio.run(work())
    assert carol.refs() == {MAIN: alice.refs()[MAIN], "remotes/origin/main": alice.refs()[MAIN]}
    assert remembered_invite(carol.home, "").text() == text  # `join` alone takes it up
    assert lacks(carol) == []


def test_nobody_there(alice: Person, carol: Person) -> None:
    nobody = invite(alice, f"/ip4/127.0.0.1/tcp/9/p2p/{alice.identity.peer_id}")
    with pytest.raises(UserError, match="origin does not answer"):
        asyncio.run(clone(carol.home, origin_of(nobody)))
    assert not list((carol.path / "events").iterdir())


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_kill_9_in_a_clone(alice: Person, carol: Person, failpoint: str) -> None:
    killed_at(carol, failpoint, "clone", alice.path)
    assert carol.home.events() == []
    carol.ok("clone", alice.path)
    assert carol.refs()[MAIN] == alice.refs()[MAIN]
    carol.ok("gc")
    carol.is_whole()
    assert [each.name for each in (carol.path / "events").iterdir()] == [alice.folder.path.name]


def test_an_event_that_came_in_another_way_meanwhile(alice: Person, carol: Person, tmp_path: Path) -> None:
    killed_at(carol, "clone-filled", "clone", alice.path)
    alice.ok("bundle", tmp_path / "bundle")
    unbundle(carol.home, tmp_path / "bundle")
    assert "is in this home already" in carol.run("clone", alice.path).output
    assert [each.name for each in (carol.path / "events").iterdir()] == [alice.folder.path.name]


class Liar(HomeSource):
    """Says that `offered` is the newest state."""

    offered: SnapshotOffer

    async def state(self, tip: bytes) -> SnapshotOffer | None:
        return self.offered


def of_another_round(person: Person) -> Blob:
    digest = person.snapshot(2)
    return Blob(sha256=digest, size=person.blob_path(digest).stat().st_size)


def junk(person: Person) -> Blob:
    with person.store() as store:
        return Blob(sha256=store.blobs.put_bytes(b"junk"), size=4)


def of_another_type(person: Person) -> Blob:
    """The right bytes, said to be integers."""
    right = load_file(person.blob_path(person.snapshot(4)))
    save_file({name: tensor.view("i4") for name, tensor in right.items()}, person.path / "integers")
    data = (person.path / "integers").read_bytes()
    with person.store() as store:
        return Blob(sha256=store.blobs.put_bytes(data), size=len(data))


@pytest.mark.parametrize("lie", [of_another_round, junk, of_another_type])
def test_a_state_that_is_not_the_commits(alice: Person, bob: Person, lie: Callable[[Person], Blob]) -> None:
    offered = SnapshotOffer(commit=alice.commit(4).digest, blob=lie(alice))
    with bob.store() as store:
        for digest in store.states():
            store._index.write('DELETE FROM snapshots WHERE "commit" = ?', (digest,))
    bob.ok("gc")
    with alice.store(read_only=True) as store, open_place(bob.home, bob.folder) as place:
        source = Liar(store, place.packages, place.store.blobs)
        source.offered = offered
        (outcome,) = asyncio.run(fetching.fetch(place, source, "alice", "there", ["main"])).outcomes
        assert "has another hash" in outcome.why
        assert place.store.states() == {}
        assert not place.store.blobs.has(offered.blob.sha256)
        source.offered = SnapshotOffer(commit=bytes(32), blob=offered.blob)  # of nothing that we asked about
        (outcome,) = asyncio.run(fetching.fetch(place, source, "alice", "there", ["main"])).outcomes
        assert outcome.what == "new"
    bob.is_whole()


def test_a_state_comes_only_where_none_is_near(alice: Person, bob: Person, carol: Person) -> None:
    carol.ok("clone", alice.path)
    with carol.store(read_only=True) as store:
        assert [each.round for each in store.snapshots()] == [4]
    kit.merge(alice, "tune", b"first")
    made = json.loads(bob.ok("fetch", "alice", "tune", "--json"))
    assert (made["commits"], made["blobs"], made["bytes"]) == (1, 1, 5)


def test_main_follows_what_is_proven_where_no_node_runs(alice: Person, carol: Person) -> None:
    carol.ok("clone", alice.path)
    kit.amended_round(alice)
    told = carol.ok("fetch")
    assert carol.refs()[MAIN] == carol.refs()["remotes/origin/main"] == alice.refs()[MAIN]
    assert f"..{alice.refs()[MAIN].hex()[:12]} heads/main\n" in told
    carol.is_whole()
    proven, merged = alice.refs()[MAIN], kit.merge(alice, "tune", b"first")
    with alice.store() as store:
        store.set_head(merged)
    carol.ok("fetch", "origin", "main")
    assert (carol.refs()["remotes/origin/main"], carol.refs()[MAIN]) == (merged, proven)
