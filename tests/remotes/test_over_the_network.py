"""`fetch` and `push` over real streams on loopback: one side listens, as a daemon does, the other only dials."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from remotes import kit
from remotes.conftest import Person
from remotes.listening import Listening, listening

from collab.node.errors import UserError
from collab.node.history.reading import blobs_of_commit
from collab.node.remotes import run
from collab.node.remotes.config import Remote, allow
from collab.node.remotes.outcome import Report
from collab.node.remotes.peer import STATE, PeerSource
from collab.node.remotes.place import open_place
from collab.protocol.errors import RemoteProtocolError


def meet(alice: Person, bob: Person, work: Callable[[Listening, run.Ends], Awaitable[None]]) -> None:
    """Do `work` while alice listens, with bob's ends."""

    async def both() -> None:
        async with listening(alice) as node:
            with open_place(bob.home, bob.folder) as place:
                await work(node, run.Ends(place, node.remote, bob.identity))

    asyncio.run(both())


def whats(report: Report) -> dict[str, str]:
    return {outcome.to: outcome.what for outcome in report.outcomes}


def test_all_kinds_come_over_the_network(alice: Person, bob: Person) -> None:
    tip = kit.merge(alice, "tune", b"x" * 3_000_000)
    alice.ok("tag", "v9", "tune", "--message", "signed")
    proposal = kit.propose(alice, b"proposed").digest.hex()
    kit.release(alice)
    kit.package(alice, alice.path / "package")

    async def work(node: Listening, ends: run.Ends) -> None:
        report = await run.fetch(ends)
        assert {name: what for name, what in whats(report).items() if not name.startswith("proposals/")} == {
            "remotes/alice/main": "new", "remotes/alice/tune": "new", "tags/v9": "new", "tags/v1.0.0": "same",
            "releases": "new", "modules/facts/1.0.0": "new",
        }  # fmt: skip
        assert whats(report)[f"proposals/{proposal}"] == "new"
        assert report.brought.commits == 1
        assert set(whats(await run.fetch(ends)).values()) == {"same"}

    meet(alice, bob, work)
    assert bob.refs()["remotes/alice/tune"] == tip
    assert "1.0.0" in bob.ok("releases", "list")
    bob.is_whole()


def test_pushes_are_taken_from_allowed_keys_alone_and_refusals_are_counted(alice: Person, bob: Person) -> None:
    proposal = kit.propose(bob, b"from bob" * 1000)

    async def work(node: Listening, ends: run.Ends) -> None:
        with pytest.raises(UserError) as refused:
            await run.push(ends, ["proposals"])
        assert refused.value.message == "alice does not take pushes from this node's key"
        assert refused.value.hint == f"its owner runs `collab-node remote allow {bob.identity.peer_id}`"
        assert node.traffic.refused == {"rpc_not_allowed": 1}
        assert proposal.digest not in node.place.store.proposals.envelopes()
        allow(node.place.store, bob.identity.peer_id)
        assert whats(await run.push(ends, ["proposals"])) == {f"proposals/{proposal.digest.hex()}": "new"}
        assert whats(await run.push(ends, ["HEAD~1:mine"])) == {"heads/mine": "new"}
        node.place.store.refs.update("heads/mine", alice.commit(5).digest, alice.commit(4).digest)
        assert whats(await run.push(ends, ["HEAD~1:mine"])) == {"heads/mine": "refused"}

    meet(alice, bob, work)
    assert alice.refs()["heads/mine"] == alice.commit(5).digest
    alice.is_whole()
    bob.is_whole()


def test_what_the_other_side_lost_is_said_and_comes_once_it_is_there_again(alice: Person, bob: Person) -> None:
    tip = kit.merge(alice, "tune", b"first" * 100)
    with alice.store(read_only=True) as store:
        lost = alice.blob_path(blobs_of_commit(store.commit(tip))[0].sha256)
    lost.rename(alice.path / "lost")

    async def work(node: Listening, ends: run.Ends) -> None:
        report = await run.fetch(ends, ["tune"])
        assert whats(report) == {"remotes/alice/tune": "refused"}
        assert "it did not give blob" in report.outcomes[0].why
        (alice.path / "lost").rename(lost)
        assert whats(await run.fetch(ends, ["tune"])) == {"remotes/alice/tune": "new"}

    meet(alice, bob, work)
    bob.is_whole()


def test_a_pusher_who_leaves_in_the_middle(alice: Person, bob: Person) -> None:
    kit.propose(bob, b"from bob")

    async def interrupted() -> None:
        begun = asyncio.Event()
        async with listening(alice, slow=begun) as node:
            allow(node.place.store, bob.identity.peer_id)
            with open_place(bob.home, bob.folder) as place:
                pushing = asyncio.create_task(run.push(run.Ends(place, node.remote, bob.identity), ["proposals", "HEAD~1:mine"]))
                await begun.wait()
                pushing.cancel()
                await asyncio.gather(pushing, return_exceptions=True)

    asyncio.run(interrupted())
    assert "heads/mine" not in alice.refs()
    alice.is_whole()

    async def again(node: Listening, ends: run.Ends) -> None:
        assert set(whats(await run.push(ends, ["proposals", "HEAD~1:mine"])).values()) == {"new"}

    meet(alice, bob, again)
    alice.is_whole()


def test_a_node_that_does_not_answer(alice: Person, bob: Person) -> None:
    async def work() -> None:
        with open_place(bob.home, bob.folder) as place:
            nobody = Remote("nobody", (f"/ip4/127.0.0.1/tcp/9/p2p/{alice.identity.peer_id}",))
            with pytest.raises(UserError, match="nobody does not answer"):
                await run.fetch(run.Ends(place, nobody, bob.identity))

    asyncio.run(work())


async def test_a_node_of_an_older_version_tells_of_no_state(alice: Person) -> None:
    class Older:
        async def call(self, peer_id: str, name: str, body: bytes, *, timeout: float = 10.0, limit: int = 64 * 1024) -> bytes:
            raise RemoteProtocolError("refused", "unknown_call" if name == STATE else "busy")

    async def nothing(digest: bytes, size: int, peers: Sequence[str], *, limit: int) -> Path:
        raise AssertionError("no blob was asked for")

    with alice.store(read_only=True) as store:
        source = PeerSource(Older(), nothing, alice.identity.peer_id, alice.event.digest, store)
        assert await source.state(alice.commit(5).digest) is None
        with pytest.raises(RemoteProtocolError, match="busy"):
            await source.refs()
