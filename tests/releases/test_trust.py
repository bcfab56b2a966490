"""Who may release, and what a node believes: the attacks that The Update Framework names, and its rotations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from history.kit import ALICE, BOB, CAROL
from tuf.api.metadata import Metadata, Root

from collab.node.errors import UserError
from collab.node.releases import roles
from collab.node.releases.files import PENDING_ROOT, PENDING_TARGETS, Files
from collab.node.releases.signing import IdentitySigner
from collab.node.releases.trust import believed, trusted_releases
from collab.protocol.amendments import Signers
from collab.protocol.identity import Identity
from collab.protocol.release import Release
from collab.protocol.versions import Evidence, Interface

EVENT = bytes(range(32))
NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=40)


def release(version: str, last: Release | None = None, changed: float = 0.01) -> Release:
    interface = Interface(tokenizer=bytes(32), inputs=("input_ids",), outputs=("logits",))
    return Release(
        event=EVENT, title="tiny", version=version, commit=bytes(32), state=bytes(32), round=1,
        previous=last.digest if last else None, interface=interface,
        evidence=Evidence(architecture="same", interface="same", changed=changed) if last else None,
        verdicts=(), message="", changelog="", credits=(), licence="unknown",
        releaser=ALICE.peer_id, time=0,
    )  # fmt: skip


def started(now: datetime = NOW, who: Identity = ALICE) -> Files:
    return roles.renew(roles.appoint({}, by(who), now), who, now)


def by(*who: Identity, threshold: int = 1, since: bytes | None = None) -> Signers:
    return Signers(tuple(sorted(peer.peer_id for peer in who)), threshold, since)


def versions(files: Mapping[str, bytes], memory: Path, *later: Signers) -> list[str]:
    """What a node trusts that knows of Alice, and of those who signed for the event after her."""
    found, _ = trusted_releases(files, EVENT, [by(ALICE), *later], memory)
    return [made.version for made in found]


def shared(*who: Identity, threshold: int) -> Files:
    """Alice's event after she has made these the maintainers, and those who must have signed."""
    files = roles.change_maintainers(started(), [peer.peer_id for peer in who], threshold, ALICE, NOW)
    for peer in who:
        if PENDING_TARGETS in files:
            files = roles.sign(files, peer, NOW)
    return files


def test_an_event_begins_with_no_releases(tmp_path: Path) -> None:
    assert versions(started(), tmp_path) == []


def test_one_maintainer_releases_alone_and_versions_are_sorted_as_numbers(tmp_path: Path) -> None:
    files = roles.add_release(started(), release("1.9.0"), ALICE, NOW)
    files = roles.add_release(files, release("1.10.0", release("1.9.0")), ALICE, NOW)
    assert versions(files, tmp_path) == ["1.10.0", "1.9.0"]


def test_a_version_that_its_own_evidence_does_not_allow_is_refused_though_signed(tmp_path: Path) -> None:
    files = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    low_ones = (release("1.0.1", release("1.0.0"), changed=0.9), release("1.0.1"), release("1.0.1", release("1.0.1")))
    for at, low in enumerate(low_ones):
        with pytest.raises(UserError, match=r"1.0.1 is (too low|not compared)"):
            versions(roles.add_release(files, low, ALICE, NOW), tmp_path / str(at))


def test_two_of_three_must_sign(tmp_path: Path) -> None:
    files = roles.add_release(shared(ALICE, BOB, CAROL, threshold=2), release("1.0.0"), BOB, NOW)
    assert roles.missing(files) == 1
    assert roles.pending_release(files) == "1.0.0"
    assert versions(files, tmp_path) == []
    assert roles.missing(roles.sign(files, BOB, NOW)) == 1
    with pytest.raises(UserError, match="is no maintainer"):
        roles.sign(files, Identity(bytes(32)), NOW)
    with pytest.raises(UserError, match=r"release 1.0.0 waits for 1 more"):
        roles.add_release(files, release("1.0.1"), CAROL, NOW)
    assert versions(roles.sign(files, CAROL, NOW), tmp_path) == ["1.0.0"]


def test_a_new_maintainer_needs_the_old_ones_and_a_revoked_one_counts_no_more(tmp_path: Path) -> None:
    files = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    files = roles.change_maintainers(files, [BOB.peer_id], 1, ALICE, NOW)
    assert roles.missing(files) == 1
    assert versions(files, tmp_path) == ["1.0.0"]
    files = roles.sign(files, BOB, NOW)
    assert roles.missing(files) == 0
    assert versions(files, tmp_path) == ["1.0.0"]
    with pytest.raises(UserError, match="is no maintainer"):
        roles.add_release(files, release("1.0.1"), ALICE, NOW)
    assert versions(roles.add_release(files, release("1.0.1", release("1.0.0")), BOB, NOW), tmp_path) == ["1.0.1", "1.0.0"]


def test_a_root_that_the_old_maintainers_did_not_sign_is_refused(tmp_path: Path) -> None:
    files = started()
    root = Metadata[Root].from_bytes(roles.change_maintainers(files, [BOB.peer_id], 1, ALICE, NOW)[PENDING_ROOT])
    root.signatures.clear()
    root.sign(IdentitySigner(BOB))
    with pytest.raises(UserError, match="not to be trusted"):
        versions({**files, "2.root.json": root.to_bytes()}, tmp_path)


def test_the_first_root_is_the_coordinators(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not by the event's coordinator"):
        versions(started(who=BOB), tmp_path)
    with pytest.raises(UserError, match="not to be trusted"):
        versions({"1.root.json": b"{"}, tmp_path)


def test_what_was_seen_once_never_rolls_back(tmp_path: Path) -> None:
    old = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    new = roles.add_release(old, release("1.0.1", release("1.0.0")), ALICE, NOW)
    assert versions(new, tmp_path) == ["1.0.1", "1.0.0"]
    with pytest.raises(UserError, match="not to be trusted"):
        versions(old, tmp_path)
    assert versions(new, tmp_path) == ["1.0.1", "1.0.0"]


def test_an_old_word_is_stale_until_it_is_renewed(tmp_path: Path) -> None:
    files = roles.add_release(started(LONG_AGO), release("1.0.0"), ALICE, LONG_AGO)
    with pytest.raises(UserError, match="stale"):
        versions(files, tmp_path)
    assert versions(roles.renew(files, ALICE, NOW), tmp_path) == ["1.0.0"]


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json", "releases/"])
def test_a_changed_file_is_refused(name: str, tmp_path: Path) -> None:
    files = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    (which,) = [each for each in files if each.startswith(name)]
    changed = files[which].replace(b'"version":', b'"version":1').replace(b"tiny", b"tony")
    assert changed != files[which]
    for bad in ({**files, which: changed}, {each: data for each, data in files.items() if each != which}):
        with pytest.raises(UserError, match="not to be trusted"):
            versions(bad, tmp_path / "fresh")


def test_a_release_of_another_event_is_refused(tmp_path: Path) -> None:
    files = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    with pytest.raises(UserError, match="the record of another release"):
        trusted_releases(files, bytes(32), [by(ALICE)], tmp_path)


def test_roots_that_nothing_leads_to_are_not_kept(tmp_path: Path) -> None:
    files = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    bogus = {**files, "9.root.json": started(who=BOB)["1.root.json"], "8.targets.json": b"{}"}
    assert versions(bogus, tmp_path) == ["1.0.0"]
    assert believed(bogus, tmp_path).keys() == files.keys() - {"1.targets.json", "1.snapshot.json"}
    with pytest.raises(UserError, match="their root is not the one"):
        believed({**files, "1.root.json": started(who=BOB)["1.root.json"]}, tmp_path)


def test_nobody_signs_what_changes_earlier_releases(tmp_path: Path) -> None:
    two = shared(ALICE, BOB, threshold=2)
    honest = roles.sign(roles.add_release(two, release("1.0.0"), ALICE, NOW), BOB, NOW)
    pending = roles.add_release(two, release("2.0.0"), ALICE, NOW)
    swapped = {**honest, **{name: pending[name] for name in pending.keys() - honest.keys()}}
    with pytest.raises(UserError, match="changes earlier releases"):
        roles.sign(swapped, BOB, NOW)


# After the coordinators have changed

HANDOVER = by(BOB, since=b"x" * 32)
TOGETHER = by(BOB, CAROL, threshold=2, since=b"y" * 32)


def handed_over(files: Files, signers: Signers, *who: Identity) -> Files:
    """The files after these have taken over, without a word of those before."""
    files = roles.renew(roles.appoint(files, signers, NOW), who[0], NOW)
    for peer in who[1:]:
        files = roles.sign(files, peer, NOW)
    return files


def test_an_amendment_stands_in_for_the_old_maintainers_signatures(tmp_path: Path) -> None:
    old = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    new = roles.add_release(handed_over(old, HANDOVER, BOB), release("1.0.1", release("1.0.0")), BOB, NOW)
    assert versions(new, tmp_path / "knows", HANDOVER) == ["1.0.1", "1.0.0"]
    with pytest.raises(UserError, match="not to be trusted") as refused:
        versions(new, tmp_path / "does not know")
    assert "catch up" in refused.value.hint
    with pytest.raises(UserError, match="is no maintainer"):
        roles.add_release(new, release("1.0.2", release("1.0.1")), ALICE, NOW)


def test_until_the_new_ones_begin_the_old_ones_are_told_apart(tmp_path: Path) -> None:
    files = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    for later, who in (((), by(ALICE)), ((HANDOVER,), by(ALICE)), ((HANDOVER, TOGETHER), by(ALICE))):
        assert trusted_releases(files, EVENT, [by(ALICE), *later], tmp_path)[1] == who
    taken = handed_over(files, HANDOVER, BOB)
    assert trusted_releases(taken, EVENT, [by(ALICE), HANDOVER, TOGETHER], tmp_path)[1] == HANDOVER


def test_what_the_old_ones_sign_is_refused_once_the_new_ones_were_seen(tmp_path: Path) -> None:
    old = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    assert versions(handed_over(old, HANDOVER, BOB), tmp_path, HANDOVER) == ["1.0.0"]
    late = roles.add_release(old, release("1.0.1", release("1.0.0")), ALICE, NOW)
    rotated = roles.sign(roles.change_maintainers(late, [CAROL.peer_id], 1, ALICE, NOW), CAROL, NOW)
    for files in (old, late, rotated):
        with pytest.raises(UserError, match="not to be trusted"):
            versions(files, tmp_path, HANDOVER)


def test_as_many_of_the_new_ones_must_sign_as_an_amendment_needs(tmp_path: Path) -> None:
    old = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    files = roles.add_release(roles.appoint(old, TOGETHER, NOW), release("1.0.1", release("1.0.0")), BOB, NOW)
    assert (roles.missing(files), roles.pending_release(files)) == (1, "1.0.1")
    assert versions(files, tmp_path, TOGETHER) == ["1.0.0"]
    assert roles.missing(roles.sign(files, ALICE, NOW)) == 1
    files = roles.sign(files, CAROL, NOW)
    assert versions(files, tmp_path, TOGETHER) == ["1.0.1", "1.0.0"]
    assert believed(files, tmp_path).keys() >= {"2.root.json", "timestamp.json"}
    with pytest.raises(UserError, match="begin the releases first: 2"):
        roles.change_maintainers(roles.appoint(old, TOGETHER, NOW), [BOB.peer_id], 1, BOB, NOW)


@pytest.mark.parametrize("wrong", [by(CAROL, since=b"x" * 32), by(BOB, CAROL, since=b"x" * 32), by(BOB, since=b"z" * 32)])
def test_nobody_takes_over_whom_the_amendment_does_not_appoint(wrong: Signers, tmp_path: Path) -> None:
    old = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    files = handed_over(old, wrong, CAROL if CAROL.peer_id in wrong.keys else BOB)
    with pytest.raises(UserError, match="not to be trusted"):
        versions(files, tmp_path, HANDOVER)


def test_a_root_that_too_few_of_the_new_ones_signed_counts_for_nobody(tmp_path: Path) -> None:
    files = roles.renew(roles.appoint(started(), TOGETHER, NOW), BOB, NOW)
    forged = {**started(), "2.root.json": files[PENDING_ROOT]}
    with pytest.raises(UserError, match="not to be trusted"):
        versions(forged, tmp_path, TOGETHER)


def test_the_new_ones_appoint_others_and_hand_back(tmp_path: Path) -> None:
    old = roles.add_release(started(), release("1.0.0"), ALICE, NOW)
    files = handed_over(old, HANDOVER, BOB)
    files = roles.sign(roles.change_maintainers(files, [CAROL.peer_id], 1, BOB, NOW), CAROL, NOW)
    files = roles.add_release(files, release("1.0.1", release("1.0.0")), CAROL, NOW)
    assert roles.maintainers(files, HANDOVER) == ([CAROL.peer_id], 1)
    assert versions(files, tmp_path / "first", HANDOVER) == ["1.0.1", "1.0.0"]
    back = by(ALICE, since=b"w" * 32)
    assert roles.maintainers(files, back) == ([ALICE.peer_id], 1)
    again = handed_over(files, back, ALICE)
    assert versions(again, tmp_path / "first", HANDOVER, back) == versions(again, tmp_path / "second", HANDOVER, back)
    for rolled_back in (old, files):
        with pytest.raises(UserError, match="not to be trusted"):
            versions(rolled_back, tmp_path / "first", HANDOVER, back)


def test_a_node_that_trusted_something_is_not_told_that_there_is_nothing(tmp_path: Path) -> None:
    pending = roles.add_release(roles.appoint({}, TOGETHER, NOW), release("1.0.0"), BOB, NOW)
    assert versions(pending, tmp_path / "new", TOGETHER) == []
    assert believed(pending, tmp_path / "new") == pending
    assert versions(started(), tmp_path / "old") == []
    with pytest.raises(UserError, match="not to be trusted"):
        versions(pending, tmp_path / "old")
