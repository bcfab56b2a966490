"""Whatever is wrong over there, or interrupts us: nothing is lost here, no name moves, and one line says what it is."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Collection
from typing import Any

import pytest
from history_integrity.samples import killed_at
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from remotes import kit
from remotes.conftest import Person

from collab.node.history.reading import blobs_of_commit
from collab.node.remotes.fetching import fetch
from collab.node.remotes.home import HomeSource
from collab.node.remotes.landing import Arrived, land
from collab.node.remotes.outcome import Report
from collab.node.remotes.place import Place, open_place
from collab.node.store import RefMoved
from collab.protocol.commit import Certificate, Commit
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.messages import Blob, Signed
from collab.protocol.proposal import open_merge
from collab.protocol.record import sha256
from collab.protocol.remote import (
    FileList,
    PathReply,
    PathRequest,
    PushReply,
    PushRequest,
    RecordRequest,
    RefsReply,
    RefsRequest,
    StateReply,
    StateRequest,
    Target,
    Update,
    check_published,
)

Step = tuple[Commit, Certificate | None]


def only_blob(person: Person, commit: bytes) -> bytes:
    """The payload of a merge of one proposal."""
    with person.store(read_only=True) as store:
        return blobs_of_commit(store.commit(commit))[0].sha256


def refused(person: Person, why: str) -> None:
    """A fetch says why in its line, and leaves a store without errors in which no ref of it is."""
    done = person.run("fetch", "alice", "tune")
    assert done.exit_code == 1
    assert why in done.output, done.output
    assert not [name for name in person.refs() if name.startswith("remotes/")]
    assert "error" not in person.run("fsck").stdout.replace("no errors", "")


def test_a_missing_object(alice: Person, bob: Person) -> None:
    alice.blob_path(only_blob(alice, kit.merge(alice, "tune", b"first" * 100))).unlink()
    refused(bob, "is missing")


def test_a_missing_commit(alice: Person, bob: Person) -> None:
    alice.blob_path(kit.merge(alice, "tune", b"first")).unlink()
    refused(bob, "is missing")
    kit.merge(alice, "other", b"other")
    assert bob.run("fetch").exit_code == 1
    assert "remotes/alice/other" in bob.refs()


def test_a_truncated_blob(alice: Person, bob: Person) -> None:
    path = alice.blob_path(only_blob(alice, kit.merge(alice, "tune", b"first" * 100)))
    path.write_bytes(path.read_bytes()[:-1])
    refused(bob, "has 499 bytes where 500 are signed for")


def test_a_damaged_blob(alice: Person, bob: Person) -> None:
    alice.flip(only_blob(alice, kit.merge(alice, "tune", b"first" * 100)), 7)
    refused(bob, "is damaged")


def test_a_cycle_in_the_other_index(alice: Person, bob: Person) -> None:
    first, second = kit.merge(alice, "tune", b"first"), kit.merge(alice, "tune", b"second")
    with sqlite3.connect(alice.folder.store_path / "index.sqlite") as index:
        index.execute("UPDATE commits SET parent = ? WHERE digest = ?", (second, first))
    refused(bob, "the index there is wrong")


class Liar(HomeSource):
    """Says of commits what `lie` makes of the truth."""

    lie: Callable[[list[Step]], list[Step]]

    async def commits(self, tip: bytes, have: Collection[bytes]) -> AsyncGenerator[Step]:
        for step in self.lie([step async for step in super().commits(tip, have)]):
            yield step


def lied_to(alice: Person, bob: Person, lie: Callable[[list[Step]], list[Step]]) -> Report:
    async def work(place: Place) -> Report:
        with alice.store(read_only=True) as store:
            source = Liar(store, place.packages, place.store.blobs)
            source.lie = lie
            return await fetch(place, source, "alice", "there", ["tune"])

    with open_place(bob.home, bob.folder) as place:
        return asyncio.run(work(place))


def changed(step: Step, **fields: Any) -> Step:
    return step[0].model_copy(update=fields), step[1]


def forged(step: Step) -> Step:
    """The merge, signed by somebody else in the coordinator's name."""
    merge = open_merge(step[0])[1]
    signed = Signed.decode(step[0].statement or b"")
    other = signed.model_copy(update={"body": merge.model_copy(update={"time": 9}).encode()})
    return changed(step, statement=other.encode(), time=9)


def bogus(step: Step) -> Step:
    """The merge, with a certificate beside it that nobody signed: the statement does not cover it."""
    proof = step[0].parent_certificate
    assert proof is not None
    return changed(step, parent_certificate=proof.model_copy(update={"precommits": ()}))


@pytest.mark.parametrize(
    ("lie", "why", "kept"),
    [
        (lambda steps: [forged(steps[0]), *steps[1:]], "bad_signature", 0),
        (lambda steps: [bogus(steps[0]), *steps[1:]], "bad_certificate", 0),
        (lambda steps: [changed(steps[0], state=bytes(32)), *steps[1:]], "wrong_merge", 0),
        (lambda steps: steps[1:], "unknown_parent", 0),
        (lambda steps: steps[::-1], "unknown_parent", 0),
        (lambda steps: [*steps, steps[0]], "unknown_parent", 0),
        (lambda steps: steps[:1], "did not come", 1),
        (lambda steps: [], "did not come", 0),
    ],
)
def test_a_lie_about_commits(alice: Person, bob: Person, lie: Callable[[list[Step]], list[Step]], why: str, kept: int) -> None:
    """No ref moves, what was known of certificates stays, and only what is true of itself is kept."""
    kit.merge(alice, "tune", b"first")
    kit.merge(alice, "tune", b"second")
    newest = bob.commit(5).digest
    with bob.store(read_only=True) as store:
        before, known = store.certificate(newest), len(store.links())
    (outcome,) = lied_to(alice, bob, lie).outcomes
    assert outcome.what == "refused"
    assert why in outcome.why, outcome.why
    assert "remotes/alice/tune" not in bob.refs()
    with bob.store(read_only=True) as store:
        assert store.certificate(newest) == before
        assert len(store.links()) == known + kept
    bob.ok("fsck")


def test_a_round_without_its_certificate(original: Person, alice: Person, bob: Person) -> None:
    forget(bob, 5)
    with alice.store() as store:
        store.refs.update("heads/tune", alice.commit(5).digest, None)
    (outcome,) = lied_to(alice, bob, lambda steps: [(commit, None) for commit, _ in steps]).outcomes
    assert "bad_certificate" in outcome.why
    assert lied_to(alice, bob, lambda steps: steps).outcomes[0].what == "new"
    bob.is_whole()


def forget(person: Person, round: int) -> None:
    """Take a home back to before a round."""
    head, before = person.commit(round).digest, person.commit(round - 1).digest
    with person.store() as store:
        store.set_head(before)
    person.ok("gc")
    with person.store(read_only=True) as store:
        assert not store.has_commit(head)


def test_a_ref_that_moves_while_it_is_pushed(alice: Person, bob: Person) -> None:
    """The other side's compare-and-set is the last word, whatever was seen before."""
    tip = kit.merge(alice, "tune", b"first")
    with open_place(alice.home, alice.folder) as place:
        place.store.refs.update("heads/x", alice.commit(3).digest, None)
        with pytest.raises(RefMoved, match="heads/x moved meanwhile"):
            land(place, "heads/x", Arrived(tip, commit=tip), alice.commit(2).digest)
        assert place.store.refs.get("heads/x") == alice.commit(3).digest


FAILPOINTS = ("remote-commits", "remote-partial", "remote-blob", "remote-landing")


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_kill_9_in_a_fetch(alice: Person, bob: Person, failpoint: str) -> None:
    tip = kit.merge(alice, "tune", b"first")
    before = bob.refs()
    killed_at(bob, failpoint, "fetch", "alice", "tune")
    assert bob.refs() == before
    bob.ok("fsck")
    bob.ok("fetch", "alice", "tune")
    assert bob.refs()["remotes/alice/tune"] == tip
    bob.ok("gc")
    bob.is_whole()
    alice.is_whole()


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_kill_9_in_a_push(alice: Person, bob: Person, failpoint: str) -> None:
    tip = kit.merge(alice, "tune", b"first")
    alice.ok("remote", "add", "bob", bob.path)
    killed_at(alice, failpoint, "push", "bob", "tune")
    assert "heads/tune" not in bob.refs()
    for person in (alice, bob):
        person.ok("fsck")
    alice.ok("push", "bob", "tune")
    assert bob.refs()["heads/tune"] == tip
    bob.ok("gc")
    bob.is_whole()


def test_ctrl_c_in_a_fetch(alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.merge(alice, "tune", b"first")

    async def interrupted(self: HomeSource, blob: Blob) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HomeSource, "blob", interrupted)
        assert bob.run("fetch").exit_code != 0
    assert not [name for name in bob.refs() if name.startswith("remotes/alice/tune")]
    bob.ok("fsck")
    bob.ok("fetch")
    bob.is_whole()


def test_a_full_disk(alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    kit.merge(alice, "tune", b"first")
    usage = shutil.disk_usage(bob.path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2))
        refused(bob, "MiB are needed on the disk of")


def test_a_push_that_is_too_much(alice: Person, bob: Person) -> None:
    from collab.node.remotes.receive import Receiver

    kit.merge(alice, "tune", b"first")

    async def work(place: Place) -> None:
        with alice.store(read_only=True) as store:
            receiver = Receiver(place, HomeSource(store, place.packages, place.store.blobs), limit=4)
            with pytest.raises(RemoteProtocolError, match="5 bytes where 4 are allowed"):
                await receiver.commit(alice.refs()["heads/tune"])

    with open_place(bob.home, bob.folder) as place:
        asyncio.run(work(place))


def test_another_event(alice: Person, bob: Person, tmp_path: Any) -> None:
    (bob.path / "events").rename(tmp_path / "gone")
    done = alice.run("remote", "add", "bob", bob.path)
    assert done.exit_code == 1
    (bob.path / "events").mkdir()
    alice.ok("remote", "add", "bob", bob.path)
    done = alice.run("fetch", "bob")
    assert done.exit_code == 1
    assert "has no event that starts with" in done.output


WRONG = ("heads/a..b", "heads/", "remotes/a/b", "proposals/12", "modules/a/b", "releases/x", "", "notes/x", "modules/../1.0.0")


@pytest.mark.parametrize("name", WRONG)
def test_names_that_nothing_is_published_under(name: str) -> None:
    with pytest.raises(ValueError):
        check_published(name)
    with pytest.raises(ValidationError):
        Update(name=name, new=None, expected=None, force=False)


def test_main_is_no_name_to_push() -> None:
    target = Target(blob=Blob(sha256=sha256(b"x"), size=1), record=False)
    with pytest.raises(ValidationError, match="main moves with the swarm's rounds"):
        Update(name="heads/main", new=target, expected=None, force=True)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_remote_error(data: bytes) -> None:
    kinds = (
        RefsRequest, RefsReply, PathRequest, PathReply, StateRequest, StateReply, RecordRequest, PushRequest, PushReply, FileList,
    )  # fmt: skip
    for kind in kinds:
        try:
            assert kind.decode(data).encode() == data
        except RemoteProtocolError:
            continue
