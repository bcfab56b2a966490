"""Who signs releases once the coordinators have changed: in homes that know of it, and from which commit on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from history.kit import BOB, CAROL, World, make_world
from store_samples import draft

from collab.node import keys
from collab.node.errors import UserError
from collab.node.event.interface import interface_of
from collab.node.releases import roles
from collab.node.releases.files import Files
from collab.node.releases.publish import Desk
from collab.protocol.amendments import Amendment, Body, Coordinators, SignedAmendment
from collab.protocol.commit import Commit
from collab.protocol.event import Maintainers
from collab.protocol.identity import Identity
from collab.protocol.release import Release

NOW = datetime.now(UTC).replace(microsecond=0)
Do = Callable[..., str]


def decided(world: World, body: Body) -> bytes:
    """Let the event's creator decide something first of all, and return its digest."""
    content = Amendment(event=world.event.digest, number=1, previous=None, time=7, body=body)
    world.store.amendments.add(SignedAmendment.draft(content).signed_by(creator(world)))
    return content.digest


def creator(world: World) -> Identity:
    return keys.load(world.home.identity_path)


def home_of(world: World, identity: Identity, path: Path) -> Path:
    """A home with all that is in the world's, and somebody else's key."""
    shutil.copytree(world.home.path, path)
    (path / "identity.key").write_text(identity.seed.hex())
    return path


def record(world: World, commit: Commit, signer: Identity) -> Release:
    return Release(
        event=world.event.digest, title="sample", version="1.0.0", commit=commit.digest, state=commit.state, round=commit.round,
        previous=None, interface=interface_of(world.event), evidence=None, verdicts=(), message="", changelog="", credits=(),
        licence="unknown", releaser=signer.peer_id, time=0,
    )  # fmt: skip


def signed(world: World, commit: Commit, signer: Identity, place: int) -> Files:
    """A first release by one who signs for the event, or did: the `place`-th who do in turn."""
    signers = Desk(world.home.find_event(), world.event, world.store).signers()[place]
    return roles.add_release(roles.appoint({}, signers, NOW), record(world, commit, signer), signer, NOW)


def test_the_new_coordinator_releases_and_the_creator_does_no_more(
    world: World, do: Do, refuse: Callable[..., str], tmp_path: Path
) -> None:
    do("release", "@1")
    decided(world, Coordinators(keys=(BOB.peer_id,), threshold=1))
    assert "does not sign for the event, since its coordinators changed" in refuse("release", "@2")
    assert "does not sign" in refuse("releases", "renew")
    assert do("releases", "list").split()[0] == "1.0.0"
    assert BOB.peer_id in do("releases", "maintainers")
    other = home_of(world, BOB, tmp_path / "other")
    assert "1.0.1" in do("release", "@2", home=other)
    do("releases", "push", tmp_path / "shared", home=other)
    assert do("releases", "pull", tmp_path / "shared") == "2 releases, the newest 1.0.1\n"
    assert "is no maintainer" in refuse("release", "@3")


def test_what_was_made_before_stays_the_creators_and_what_comes_after_is_not(world: World) -> None:
    before = world.head
    digest = decided(world, Coordinators(keys=(BOB.peer_id,), threshold=1))
    after = world.round(CAROL, amendment=digest)
    desk, old = Desk(world.home.find_event(), world.event, world.store), creator(world)
    with pytest.raises(UserError, match="did not coordinate the event any more at its commit"):
        desk.check(signed(world, after, old, 0))
    assert [made.commit for made in desk.keep(signed(world, before, old, 0), {})] == [before.digest]
    assert [made.commit for made in desk.check(signed(world, after, BOB, 1))] == [after.digest]
    with pytest.raises(UserError, match="not to be trusted"):
        desk.known()  # what the creator signed counts no more, since Bob has begun


def test_a_commit_that_is_not_here_tells_nothing_of_who_had_to_sign(world: World) -> None:
    decided(world, Coordinators(keys=(BOB.peer_id,), threshold=1))
    strange = world.head.model_copy(update={"time": 99})
    with pytest.raises(UserError, match="its commit is not here"):
        Desk(world.home.find_event(), world.event, world.store).check(signed(world, strange, creator(world), 0))


def test_several_coordinators_sign_together(world: World, do: Do, tmp_path: Path) -> None:
    do("release", "@1")
    decided(world, Coordinators(keys=(BOB.peer_id, CAROL.peer_id), threshold=2))
    bobs, carols = home_of(world, BOB, tmp_path / "bob"), home_of(world, CAROL, tmp_path / "carol")
    shared = tmp_path / "shared"
    assert "waits for 1 more signature" in do("release", "@2", home=bobs)
    assert [line.split()[0] for line in do("releases", "list", home=bobs).splitlines()] == ["1.0.0"]
    do("releases", "push", shared, home=bobs)
    do("releases", "pull", shared, home=carols)
    assert do("releases", "sign", home=carols) == "signed release 1.0.1, which is in effect now\n"
    do("releases", "push", shared, home=carols)
    assert do("releases", "pull", shared) == "2 releases, the newest 1.0.1\n"


def test_where_the_event_names_maintainers_they_sign_whoever_coordinates(
    do: Do, refuse: Callable[..., str], tmp_path: Path
) -> None:
    rule = Maintainers(keys=(BOB.peer_id, CAROL.peer_id), threshold=2)
    world = make_world(tmp_path / "ruled", draft().model_copy(update={"maintainers": rule}))
    world.round(CAROL)
    assert "does not sign for the event" in refuse("release", "@1", home=world.home.path)
    digest = decided(world, Coordinators(keys=(BOB.peer_id,), threshold=1))
    world.round(CAROL, amendment=digest)
    bobs, carols = home_of(world, BOB, tmp_path / "bob"), home_of(world, CAROL, tmp_path / "carol")
    assert "waits for 1 more signature" in do("release", home=bobs)
    do("releases", "push", tmp_path / "shared", home=bobs)
    assert "none" in do("releases", "pull", tmp_path / "shared", home=carols)
    assert "in effect now" in do("releases", "sign", home=carols)
    assert "2 of these" in do("releases", "maintainers", home=carols)
    assert do("releases", "list", home=carols).split()[0] == "1.0.0"
    world.store.close()
