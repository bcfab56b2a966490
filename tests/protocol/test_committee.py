"""Committees are the same everywhere, change with base and epoch, and two quorums share an honest member."""

from collections import Counter

import pytest

from collab.protocol.commit import Commit, Member, root_commit
from collab.protocol.committee import Committee, draw
from collab.protocol.event import EventManifest
from collab.protocol.identity import peer_id_of
from collab.protocol.roster import next_roster

PEERS = sorted(peer_id_of(bytes([number]) * 32) for number in range(30))


def base(event: EventManifest, peers: list[str], time: int = 1) -> Commit:
    roster = tuple(Member(peer=peer, joined=0, last=0) for peer in peers)
    return root_commit(event).model_copy(update={"roster": roster, "time": time})


def test_whoever_draws_gets_the_same_committee(event: EventManifest) -> None:
    commit = base(event, PEERS)
    again = Commit.decode(commit.encode())
    assert draw(event, commit, 3) == draw(EventManifest.decode(event.encode()), again, 3)


def test_a_committee_has_the_events_size_or_the_whole_roster(event: EventManifest) -> None:
    assert len(draw(event, base(event, PEERS), 0).members) == event.rounds.committee == 7
    small = draw(event, base(event, PEERS[:3]), 0)
    assert sorted(small.members) == PEERS[:3]
    assert PEERS[0] in small
    assert PEERS[3] not in small


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_swarm_too_small_to_tolerate_a_fault_follows_its_coordinator(event: EventManifest, size: int) -> None:
    commit = base(event, sorted([event.coordinator, *PEERS[: size - 1]]))
    others = tuple(PEERS[: size - 1]) or (event.coordinator,)
    assert [draw(event, commit, epoch).members for epoch in range(4)] == 2 * [(event.coordinator,), others]


def test_four_decide_together(event: EventManifest) -> None:
    commit = base(event, sorted([event.coordinator, *PEERS[:3]]))
    assert set(draw(event, commit, 0).members) == {event.coordinator, *PEERS[:3]}


def test_base_and_epoch_each_draw_anew(event: EventManifest) -> None:
    drawn = {draw(event, base(event, PEERS, time), epoch).members for time in (1, 2) for epoch in (0, 1)}
    assert len(drawn) == 4


def test_everybody_sits_as_often_as_the_others(event: EventManifest) -> None:
    commit = base(event, PEERS)
    seats = Counter(peer for epoch in range(400) for peer in draw(event, commit, epoch).members)
    # 400 committees of 7 of 30: 93.3 seats each, with a standard deviation of 8.5.
    assert set(seats) == set(PEERS)
    assert all(60 < count < 127 for count in seats.values())


def test_who_leaves_changes_no_other_seat(event: EventManifest) -> None:
    # Scores depend on the base, which names the roster: compare within one base by leaving out of the committee.
    members = draw(event, base(event, PEERS), 0).members
    larger = event.model_copy(update={"rounds": event.rounds.model_copy(update={"committee": 8})})
    assert draw(larger, base(event, PEERS), 0).members[:7] == members


def test_every_member_proposes_in_turn() -> None:
    committee = Committee(("a", "b", "c"))
    assert [committee.proposer(view) for view in range(5)] == ["a", "b", "c", "a", "b"]


@pytest.mark.parametrize("size", range(1, 65))
def test_a_quorum_is_the_fewest_that_are_more_than_two_thirds(size: int) -> None:
    quorum = Committee(tuple(map(str, range(size)))).quorum
    assert 3 * quorum > 2 * size
    assert 3 * (quorum - 1) <= 2 * size
    faulty = (size - 1) // 3
    assert 2 * quorum - size > faulty  # two quorums share an honest member
    assert size - faulty >= quorum  # and the honest alone are one


def roster(**last: int) -> list[Member]:
    return [Member(peer=PEERS["abcdef".index(name)], joined=0, last=round) for name, round in last.items()]


def after(members: list[Member], round: int, active: str = "", gone: str = "") -> str:
    named = {name: PEERS[at] for at, name in enumerate("abcdef")}
    kept = next_roster(members, round, active=[named[n] for n in active], gone=[named[n] for n in gone], silent_rounds=3)
    assert [member.peer for member in kept] == sorted(member.peer for member in kept)
    return "".join(name for name in named if named[name] in {member.peer for member in kept})


def test_who_took_part_stays_and_who_fell_silent_goes() -> None:
    members = roster(a=4, b=5, c=6)
    assert after(members, 7) == "bc"
    assert after(members, 7, active="a") == "abc"
    assert after(members, 8, active="d") == "cd"


def test_who_said_goodbye_goes_even_if_active() -> None:
    assert after(roster(a=6, b=6), 7, active="ab", gone="a") == "b"


def test_newcomers_join_in_the_round_that_they_contribute_to() -> None:
    kept = next_roster(roster(a=6), 7, active=PEERS[:2], gone=(), silent_rounds=3)
    assert [(member.joined, member.last) for member in kept] == [(0, 7), (7, 7)]


def test_a_roster_never_becomes_empty() -> None:
    assert after(roster(a=1, b=1), 90) == "ab"
    assert after(roster(a=6), 7, active="a", gone="a") == "a"
