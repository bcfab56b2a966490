"""How amendments travel between nodes and are kept: real histories and stores, a dictionary for the internet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from amendments.samples import EVENT, amendment, chain
from amendments.test_amended_rounds import grown, history_with
from daemon.kit import Internet, Peer
from rounds.worlds import event, identity

from collab.node.amendments.learning import Learning
from collab.node.net.rpc import Rpc
from collab.node.rounds.catch_up import CatchUp, restore_history
from collab.node.store import Store
from collab.protocol.amendments import Announce, Ban, InForce, Pause, SignedAmendment
from collab.protocol.bundle import BundleHeader
from collab.protocol.canonical import decode
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.messages import AmendmentNotice, Signed

MANY = chain(*(Announce(text=f"number {number}") for number in range(1, 6)))
FIRST = InForce.at_first(EVENT)


class Node:
    """A peer with what it learns of amendments; `heard` counts how often it was told that something is new."""

    def __init__(self, net: Internet, name: str, folder: Path) -> None:
        self.peer = Peer(net, name, folder, EVENT)
        self.heard = 0
        rpc = cast(Rpc, self.peer.rpc)
        self.learning = Learning(self.peer.history, self.peer.store, rpc, self.note)
        self.learning.register()
        self.peer.catch_up = CatchUp(self.peer.history, self.peer.store, rpc, self.peer.fetcher, self.learning)

    def note(self) -> None:
        self.heard += 1

    @property
    def number(self) -> int:
        return self.peer.history.in_force.number


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    net = Internet()
    made = Node(net, "one", tmp_path), Node(net, "two", tmp_path)
    yield made
    for node in made:
        node.peer.store.close()


def notice(signed: SignedAmendment, teller: int = 5, of: bytes = EVENT.digest) -> Signed:
    return Signed.seal(identity(teller), AmendmentNotice(event=of, amendment=signed.encode()))


async def test_a_node_that_missed_some_asks_for_them(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    for signed in MANY:
        assert one.learning.take(signed)
    assert one.heard == 5
    with pytest.raises(RemoteProtocolError, match="unknown_previous"):
        two.learning.hear(notice(MANY[4]))
    assert await two.learning.ask("one")
    assert (two.number, two.heard) == (5, 1)
    assert not await two.learning.ask("one")
    assert not two.learning.hear(notice(MANY[4]))


async def test_pages(nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.node.amendments.asking.AMENDMENTS_A_REPLY", 2)
    one, two = nodes
    for signed in MANY:
        one.learning.take(signed)
    assert await two.learning.ask("one")
    assert two.number == 5
    assert two.peer.rpc.calls == 3


async def test_what_is_taken_is_there_after_a_restart(nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    for signed in MANY:
        one.learning.take(signed)
    assert restore_history(EVENT, one.peer.store).in_force == one.peer.history.in_force
    assert one.peer.store.amendments.of(EVENT).after(0) == MANY


async def test_two_sides_of_a_fork_find_each_other(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    left, right = amendment(FIRST, Announce(text="left")), amendment(FIRST, Announce(text="right"))
    one.learning.take(left)
    two.learning.take(right)
    one.learning.take(amendment(FIRST.after(left), Pause()))
    assert await two.learning.ask("one")
    assert await one.learning.ask("two", all=True)
    assert one.peer.history.in_force == two.peer.history.in_force


@pytest.mark.parametrize(
    ("signed", "reason"),
    [
        (amendment(FIRST, Pause(), 3), "not_a_coordinator"),
        (amendment(InForce.at_first(event(name="another")), Pause()), "wrong_event"),
        (SignedAmendment(amendment=MANY[0].amendment), "too_few_signatures"),
    ],
)
def test_nothing_is_taken_that_no_coordinator_signed(nodes: tuple[Node, Node], signed: SignedAmendment, reason: str) -> None:
    one, _ = nodes
    with pytest.raises(RemoteProtocolError, match=reason):
        one.learning.hear(notice(signed))
    assert (one.number, one.heard, one.peer.store.amendments.of(EVENT).after(0)) == (0, 0, [])


def test_a_notice_of_another_event_is_refused(nodes: tuple[Node, Node]) -> None:
    with pytest.raises(RemoteProtocolError, match="wrong_event"):
        nodes[0].learning.hear(notice(MANY[0], of=bytes(32)))


async def test_catching_up_fetches_the_amendments_that_commits_name(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    history = history_with(Ban(peer=identity(7).peer_id), Announce(text="hello"))
    names = [signed.name for signed in history.amendments.after(0)]
    steps = []
    for name in (None, names[0], names[1], names[1]):
        commit = grown(history, name)
        certificate = history.certificate(commit.digest)
        assert certificate is not None
        steps.append((commit, certificate))
    for signed in history.amendments.after(0):
        one.learning.take(signed)
    one.peer.take(steps)
    assert await two.peer.catch_up.ask("one")
    assert two.peer.history.head == history.head
    assert two.number == 2
    with Store.open(two.peer.store._index.path.parent, read_only=True) as store:
        assert restore_history_read_only(store) == history.head.digest


def restore_history_read_only(store: Store) -> bytes:
    """The head of a history that is rebuilt from what a store holds."""
    return restore_history(EVENT, store).head.digest


def test_a_bundle_s_header_carries_them_and_mentions_none_where_there_are_none() -> None:
    fields = {"manifest": b"m", "needs": (), "refs": (), "commits": 1, "blobs": 0}
    assert "amendments" not in cast(dict[str, object], decode(BundleHeader.from_fields(fields).encode()))
    header = BundleHeader.from_fields({**fields, "amendments": tuple(signed.encode() for signed in MANY)})
    assert [SignedAmendment.read(data) for data in BundleHeader.decode(header.encode()).amendments] == MANY


async def test_who_was_a_coordinator_cannot_use_up_the_room_for_what_counts(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old keys still sign what follows an old amendment: it is void, and could come before all that the new ones decide."""
    for module in ("collab.protocol.amendments.chain", "collab.node.amendments.learning"):
        monkeypatch.setattr(f"{module}.MAX_AMENDMENTS", 20)
    one, _ = nodes
    history = history_with(Announce(text="the event is handed over"))
    (named,) = history.amendments.after(0)
    commits = [grown(history, None), grown(history, named.name)]
    one.learning.take(named)
    one.peer.take([(commit, proof) for commit in commits if (proof := history.certificate(commit.digest)) is not None])
    assert one.peer.history.head.amendment == named.name
    for number in range(30):
        one.learning.take(amendment(FIRST, Announce(text=f"void {number}")))
    state = FIRST.after(named)
    for number in range(5):
        counts = amendment(state, Announce(text=f"decided {number}"))
        assert one.learning.take(counts)
        state = state.after(counts)
