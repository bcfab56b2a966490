"""How verdicts travel between nodes: real histories and stores, a dictionary for the internet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from daemon.kit import Internet, Peer, line
from gates.test_gates_verdict import measurement, verdict
from rounds.worlds import event, identity

from collab.node.gates import sharing
from collab.node.gates.sharing import Sharing
from collab.node.net.rpc import Rpc
from collab.node.sidecar.gate import Gate, Parcel
from collab.node.sidecar.limits import GossipLimits
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.gates import LossGate
from collab.protocol.messages import Goodbye, Signed, VerdictNotice
from collab.protocol.verdict import open_verdict, sign_verdict

EVENT = event(gate=tuple(LossGate(name=name, kind="loss") for name in ("poetry", "prose")))
CHAIN = line(3, EVENT)
STATES = [EVENT.start.state, *(commit.state for commit, _ in CHAIN)]


def said(signer: int = 1, candidate: int = 3, against: int = 0, gate: str = "poetry", **changes: Any) -> Signed:
    """A verdict on the versions of these rounds."""
    fields = {
        "event": EVENT.digest, "candidate": STATES[candidate], "against": STATES[against], "measurement": measurement(gate=gate)
    }  # fmt: skip
    return sign_verdict(identity(signer), verdict(**(fields | changes)))


def notice(*verdicts: Signed, teller: int = 5, of: bytes = EVENT.digest) -> Signed:
    return Signed.seal(identity(teller), VerdictNotice(event=of, verdicts=tuple(each.encode() for each in verdicts)))


class Node:
    """A peer that shares verdicts; `sent` is what it gossiped, `news` how often it was told that something came in."""

    def __init__(self, net: Internet, name: str, folder: Path, number: int) -> None:
        self.peer = Peer(net, name, folder, EVENT)
        self.peer.take(CHAIN)
        self.sent: list[Signed] = []
        self.news = 0
        self.rpc = cast(Rpc, self.peer.rpc)
        self.sharing = Sharing(identity(number), self.peer.history, self.peer.store, self._publish, self._note)
        self.sharing.register(self.rpc)

    async def _publish(self, signed: Signed) -> None:
        self.sent.append(signed)

    def _note(self) -> None:
        self.news += 1

    def has(self, *verdicts: Signed) -> bool:
        """Whether just these wait here."""
        return {signed.digest for signed, _ in self.sharing.waiting()} == {each.digest for each in verdicts}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    net = Internet()
    made = Node(net, "one", tmp_path, 0), Node(net, "two", tmp_path, 1)
    yield made
    for node in made:
        node.peer.store.close()


async def test_what_comes_into_a_store_is_told_once_and_heard(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    mine, anothers, own_gate = said(0), said(2), said(0, gate="mine")
    one.peer.store.verdicts.add([mine, anothers, own_gate])
    await one.sharing.tell()
    await one.sharing.tell()
    assert (len(one.sent), one.news) == (1, 1)
    assert two.sharing.hear(one.sent[0]) == []
    assert two.has(mine, anothers)
    assert two.news == 1
    assert two.sharing.hear(one.sent[0]) == []
    await two.sharing.tell()  # whoever heard it does not say it again
    assert (two.sent, two.news) == ([], 1)


async def test_many_go_in_several_notices(nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MAX_NOTICED", 2)
    one, two = nodes
    several = [said(number) for number in range(1, 6)]
    one.peer.store.verdicts.add(several)
    await one.sharing.tell()
    assert [len(cast(VerdictNotice, each.open()).verdicts) for each in one.sent] == [2, 2, 1]
    for each in one.sent:
        two.sharing.hear(each)
    assert two.has(*several)


async def test_who_was_not_there_asks(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    given, heard = said(0), said(3, gate="prose")
    one.peer.store.verdicts.add([given, said(0, gate="mine")])
    one.sharing.hear(notice(heard))
    await two.sharing.ask(two.rpc, "one")
    assert two.has(given, heard)
    await two.sharing.ask(two.rpc, "one")
    assert two.news == 1
    with pytest.raises(RemoteProtocolError, match="malformed"):
        await one.peer.rpc._handlers[sharing.VERDICTS]("x", b"\xc1")


async def test_a_reply_is_bounded_and_the_next_one_goes_on(nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = nodes
    several = [said(number) for number in range(1, 6)]
    one.peer.store.verdicts.add(several)
    monkeypatch.setattr(sharing, "_PAGE_BYTES", 3 * len(several[0].encode()) + 10)
    await two.sharing.ask(two.rpc, "one")
    assert len(two.sharing.waiting()) == 3
    await two.sharing.ask(two.rpc, "one")
    assert two.has(*several)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (said(candidate=3, event=bytes(32)), "wrong_event"),
        (said(gate="mine"), "unknown_gate"),
        (sign_verdict(identity(1), verdict(event=EVENT.digest)), "unknown_version"),
    ],
)
def test_what_is_not_to_wait_is_refused_with_its_reason(nodes: tuple[Node, Node], wrong: Signed, reason: str) -> None:
    one, _ = nodes
    assert one.sharing.hear(notice(wrong, said(2))) == [reason]
    assert said(2).digest in {signed.digest for signed, _ in one.sharing.waiting()}


@pytest.mark.parametrize("spoilt", [{"signer": identity(2).peer_id}, {"kind": "goodbye"}, {"body": b"\xc1"}])
def test_what_is_no_verdict_is_the_tellers_fault_and_goes_no_further(nodes: tuple[Node, Node], spoilt: dict[str, Any]) -> None:
    one, _ = nodes
    forged = notice(said(2), said().model_copy(update=spoilt))
    with pytest.raises(RemoteProtocolError) as caught:
        one.sharing.hear(forged)
    assert one.has()
    parcel = Parcel(forged.signer, ("t",), forged.encode(), bytes(8), lambda: True)
    with pytest.raises(RemoteProtocolError) as stopped:
        Gate(["t"], GossipLimits()).check("forwarder", parcel, 0.0)
    assert stopped.value.reason == caught.value.reason
    whole = notice(said())
    Gate(["t"], GossipLimits()).check("f", Parcel(whole.signer, ("t",), whole.encode(), bytes(8), lambda: True), 0.0)


def test_another_message_and_another_event_are_refused(nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    with pytest.raises(RemoteProtocolError, match="wrong_event"):
        one.sharing.hear(notice(said(), of=bytes(32)))
    with pytest.raises(RemoteProtocolError, match="unexpected_kind"):
        one.sharing.hear(Signed.seal(identity(1), Goodbye(event=EVENT.digest, base=bytes(32), round=1)))


def test_nobody_fills_the_store(nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = nodes
    for name, value in (("_OF_A_PEER", 2), ("_OF_STRANGERS", 3), ("_IN_ALL", 6)):
        monkeypatch.setattr(sharing, name, value)

    def hear(number: int, count: int) -> int:
        return len(one.sharing.hear(notice(*(said(number, hardware=f"{at}") for at in range(count)))))

    assert hear(1, 3) == 1  # a member: two at most
    assert hear(8, 2) == 0
    assert hear(9, 2) == 1  # strangers share three
    assert (hear(2, 1), hear(3, 1)) == (0, 1)  # six in all
    one.peer.store.verdicts.add([said(3)])  # the owner's are not counted
    assert len(one.peer.store.verdicts.heard()) == 6


async def test_what_the_owner_dropped_is_not_heard_again_until_he_adds_it(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    store = two.peer.store
    one.peer.store.verdicts.add([said()])
    await one.sharing.tell()
    two.sharing.hear(one.sent[0])
    store.verdicts.drop(said().digest)
    two.sharing.hear(one.sent[0])
    await two.sharing.ask(two.rpc, "one")
    assert two.has()
    assert store.verdicts.about(STATES[3]) == []
    assert store.verdicts.add([said()]) == 1
    assert two.has(said())


async def test_a_carried_verdict_waits_no_longer_and_still_counts(nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    store = one.peer.store
    kept, other = said(2), said(2, gate="prose")
    one.sharing.hear(notice(kept, other))
    commit, certificate = line(1, EVENT, b"next", CHAIN)[0]
    carrier = commit.model_copy(update={"verdicts": (kept.encode(),)})
    store.add_commit(carrier, certificate)
    assert one.has(other)
    assert {each.digest for each in store.verdicts.about(STATES[3])} == {kept.digest, other.digest}
    assert store.verdicts.heard() == {other.digest: identity(2).peer_id}
    assert one.sharing.hear(notice(kept)) == []
    assert store.verdicts.add([kept]) == 0
    assert one.has(other)
    store.verdicts.drop(kept.digest)
    assert store.verdicts.about(STATES[3]) == [other]


async def test_the_routine_of_old_rounds_goes_and_what_a_release_needs_stays(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = nodes
    routine, release, own = said(2, 2, 1), said(2, 2, 0), said(0, 2, 1)
    one.sharing.hear(notice(routine, release))
    one.peer.store.verdicts.add([own])
    assert open_verdict(one.sharing.waiting()[0][0]).against == STATES[0]  # goes into a commit first
    monkeypatch.setattr(sharing, "_ROUNDS", 0)
    await one.sharing.tell()
    assert one.has(release)
    assert {signed.digest for signed, _ in one.peer.store.verdicts.waiting()} == {release.digest, own.digest}
    assert one.sharing.hear(notice(routine)) == ["stale"]


async def test_a_version_on_a_branch_is_known_too(nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    commit, _ = line(1, EVENT, b"branch", CHAIN[:1])[0]
    branch = sign_verdict(identity(2), open_verdict(said()).model_copy(update={"candidate": commit.state}))
    assert one.sharing.hear(notice(branch)) == ["unknown_version"]
    one.peer.store.refs.update("heads/side", one.peer.store.add_commit(commit), None)
    assert one.sharing.hear(notice(branch)) == []
    assert one.has(branch)
