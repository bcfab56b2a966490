"""What a running node does about amendments: whom it hears, when it rests, and what it tells its owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from amendments.samples import chain
from rounds.worlds import event, identity
from structlog.testing import capture_logs

from collab.node.amendments import effects as module
from collab.node.amendments.effects import Effects
from collab.node.amendments.learning import Learning
from collab.node.errors import UserError
from collab.node.hosting.pausing import Pausing
from collab.node.net.rpc import Rpc
from collab.node.node import Node
from collab.node.rounds.catch_up import restore_history
from collab.node.store import Store
from collab.protocol.amendments import Admit, Announce, Ban, Body, Bootstrap, Close, Extend, Open, Pause, SignedAmendment
from collab.protocol.event import Rounds
from collab.protocol.messages import AmendmentNotice, Signed

EVENT = event(Rounds(last_round=10))
PEER = [identity(number).peer_id for number in range(10)]
ADDRESSES = [f"/ip4/10.0.0.1/tcp/4001/p2p/{peer}" for peer in PEER]


class Desk:
    """A node of small parts; `done` lists what was done to the outside, in order."""

    def __init__(self, folder: Path, number: int = 1) -> None:
        self.done: list[str] = []
        self.published: list[Signed] = []
        self.store = Store.open(folder)
        self.history = restore_history(EVENT, self.store)
        self.pausing = Pausing(folder / "paused", lambda: cast(Any, self), self._on_rest)
        node = SimpleNamespace(
            history=self.history, identity=identity(number), pausing=self.pausing, likely_peers=list, publish=self._publish,
            network=SimpleNamespace(
                ban=self._ban, unban=self._unban, gossip=SimpleNamespace(follow=self._follow), bootstrap=(ADDRESSES[0],),
                find_at=self._find_at,
            ),
            store=self.store,
            driver=SimpleNamespace(
                amended=lambda: self.done.append("round amended"), interrupt=lambda: self.done.append("round interrupted")
            ),
        )  # fmt: skip
        self.effects = Effects(cast(Node, node))
        self.learning = Learning(self.history, self.store, cast(Rpc, None), self.effects.changed)

    async def take(self, *signed: SignedAmendment) -> list[str]:
        """Take amendments, act on them, and return what was done."""
        self.done.clear()
        for each in signed:
            self.learning.take(each)
        await self.effects.apply()
        return list(self.done)

    async def rest(self) -> None:
        self.done.append("rest")

    def wake(self) -> None:
        self.done.append("wake")

    async def _on_rest(self) -> None:
        self.done.append("goodbye")

    async def _ban(self, peer: str) -> None:
        self.done.append(f"ban {PEER.index(peer)}")

    async def _unban(self, peer: str) -> None:
        self.done.append(f"unban {PEER.index(peer)}")

    def _find_at(self, bootstrap: Sequence[str]) -> None:
        self.done.append(f"move to {' '.join(str(ADDRESSES.index(each)) for each in bootstrap)}")

    async def _follow(self, coordinators: Any) -> None:
        await asyncio.sleep(0)

    async def _publish(self, signed: Signed) -> None:
        self.published.append(signed)


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(module, "_LAST_WORDS_SECONDS", 0.0)
    made = Desk(tmp_path)
    await made.effects.begin()
    await made.effects.apply()
    yield made
    made.store.close()


def of(*bodies: Body) -> list[SignedAmendment]:
    return chain(*bodies, manifest=EVENT)


async def test_a_banned_peer_is_not_heard_until_it_is_admitted_again(desk: Desk) -> None:
    ban, admit = of(Ban(peer=PEER[5]), Admit(peer=PEER[5]))
    assert await desk.take(ban) == ["round amended", "ban 5"]
    assert await desk.take(admit) == ["round amended", "unban 5"]


async def test_a_paused_event_lets_the_node_rest(desk: Desk) -> None:
    pause, open_ = of(Pause(reason="lunch"), Open())
    assert await desk.take(pause) == ["round amended", "goodbye", "rest"]
    assert desk.pausing.reason == "the coordinators paused the event: lunch"
    assert await desk.take(open_) == ["round amended", "wake"]
    assert not desk.pausing.reason


async def test_opening_the_event_does_not_wake_a_node_that_its_owner_paused(desk: Desk) -> None:
    await desk.pausing.pause("owner", "mine")
    pause, open_ = of(Pause(), Open())
    await desk.take(pause)
    assert desk.pausing.reason == "mine"
    assert "wake" not in await desk.take(open_)
    assert desk.pausing.reason == "mine"
    assert desk.pausing.resume("owner") == ""


async def test_a_new_last_round_ends_the_round_that_runs(desk: Desk) -> None:
    close, extend = of(Close(after=4), Extend(last_round=50))
    assert await desk.take(close) == ["round amended", "round interrupted"]
    assert await desk.take(extend) == ["round amended", "round interrupted"]


async def test_new_bootstrap_addresses_count_at_once_and_once(desk: Desk) -> None:
    first, sentence = Bootstrap(addresses=tuple(ADDRESSES[1:3])), Announce(text="hello")
    chained = of(first, sentence, Bootstrap(addresses=("nonsense", ADDRESSES[4])))
    assert await desk.take(chained[0]) == ["round amended", "move to 1 2"]
    assert await desk.take(chained[1]) == ["round amended"]
    assert await desk.take(chained[2]) == ["round amended", "move to 4"]


async def test_addresses_that_came_while_the_node_joined_count_too_unless_it_began_with_them(tmp_path: Path) -> None:
    for number, moved in ((0, []), (1, ["move to 1"])):
        desk = Desk(tmp_path / str(number))
        desk.learning.take(*of(Bootstrap(addresses=(ADDRESSES[number],))))
        desk.done.clear()
        await desk.effects.apply()
        assert desk.done == moved
        desk.store.close()


async def test_who_is_banned_is_told_why_and_ends(desk: Desk) -> None:
    with pytest.raises(UserError, match="the coordinators banned this node's key: noise"):
        await desk.take(*of(Ban(peer=PEER[1], reason="noise")))


async def test_a_sentence_is_logged_once(desk: Desk) -> None:
    first, second = of(Announce(text="hello"), Announce(text="and thanks"))
    with capture_logs() as logs:
        await desk.take(first)
        await desk.take(second)
        await desk.effects.apply()
    assert [each["text"] for each in logs if each["event"] == "announcement"] == ["hello", "and thanks"]


async def test_only_a_coordinator_s_node_tells_again_what_no_commit_names(tmp_path: Path) -> None:
    for number, told in ((0, 2), (1, 0)):
        desk = Desk(tmp_path / str(number), number)
        for signed in of(Announce(text="one"), Announce(text="two")):
            desk.learning.take(signed)
        await desk.effects.publish_pending()
        notices = [signed.open_as(AmendmentNotice) for signed in desk.published]
        assert [SignedAmendment.read(notice.amendment).content.number for notice in notices] == [1, 2][:told]
        desk.store.close()
