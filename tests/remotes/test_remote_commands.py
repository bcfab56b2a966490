"""`remote add|list|remove|allow|forbid`, and `propose --push`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from remotes.conftest import Person
from safetensors.torch import load_file, save_file

from collab.protocol.identity import Identity
from collab.protocol.invite import Invite
from collab.protocol.refs import HEAD

PEER = Identity(bytes(31) + b"\7").peer_id
ADDRESS = f"/ip4/203.0.113.7/tcp/4001/p2p/{PEER}"


def test_remotes_are_remembered_until_they_are_removed(alice: Person, bob: Person) -> None:
    assert bob.ok("remote", "add", "origin", ADDRESS) == f"origin is {ADDRESS}\n"
    assert bob.ok("remote", "list") == f"alice            {alice.path}\norigin           {ADDRESS}\n"
    bob.ok("fetch", "alice")
    assert bob.ok("remote", "remove", "alice") == "forgot alice and 1 of its branches\n"
    assert [name for name in bob.refs() if name.startswith("remotes/")] == []
    assert json.loads(bob.ok("remote", "list", "--json"))["remotes"] == [{"name": "origin", "where": ADDRESS}]


def test_of_an_invite_only_the_addresses_are_kept(alice: Person) -> None:
    invite = Invite(event=alice.event.digest, bootstrap=(ADDRESS,), token=b"t" * 32)
    alice.ok("remote", "add", "origin", invite.text())
    with alice.store(read_only=True) as store:
        assert b"t" * 32 not in (store.note("remote/origin") or b"")
    other = invite.model_copy(update={"event": bytes(32)})
    refused = alice.run("remote", "add", "other", other.text())
    assert "that invite is to another event" in refused.output


@pytest.mark.parametrize(
    ("name", "address", "why"),
    [
        ("alice", ADDRESS, "there is a remote alice already"),
        ("a/b", ADDRESS, "cannot be a remote's name"),
        ("-x", ADDRESS, ""),
        ("new", "/ip4/203.0.113.7/tcp/4001", "is no node's address, no invite, and no home or bundle"),
        ("new", "nowhere", "is no node's address, no invite, and no home or bundle"),
        ("new", "collab1-x", "the invite"),
    ],
)
def test_what_cannot_be_a_remote(bob: Person, name: str, address: str, why: str) -> None:
    refused = bob.run("remote", "add", name, address)
    assert refused.exit_code != 0
    assert why in refused.output
    assert len(json.loads(bob.ok("remote", "list", "--json"))["remotes"]) == 1


def test_nobody_may_push_unless_allowed(bob: Person) -> None:
    assert json.loads(bob.ok("remote", "list", "--json"))["may_push"] == []
    bob.ok("remote", "allow", PEER)
    assert json.loads(bob.ok("remote", "list", "--json"))["may_push"] == [PEER]
    bob.ok("remote", "forbid", PEER)
    assert json.loads(bob.ok("remote", "list", "--json"))["may_push"] == []
    assert bob.run("remote", "forbid", PEER).exit_code == 1
    assert bob.run("remote", "allow", "somebody").exit_code == 1


def test_which_remote_is_meant(alice: Person, bob: Person) -> None:
    bob.ok("remote", "add", "second", alice.path)
    assert "say which remote" in bob.run("fetch").output
    assert "there is no remote third" in bob.run("push", "third", HEAD).output
    bob.ok("remote", "add", "origin", alice.path)
    assert "remotes/origin/main" in bob.ok("fetch")
    alice.ok("remote", "add", "self", alice.path)
    assert "that is this home itself" in alice.run("push", "self", "main:copy").output


def test_propose_and_push_in_one(alice: Person, bob: Person, tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.safetensors"
    bob.ok("export", checkpoint)
    draws = torch.Generator().manual_seed(1)
    tensors = load_file(checkpoint)
    save_file({name: each + 1e-3 * torch.randn(each.shape, generator=draws) for name, each in tensors.items()}, checkpoint)
    assert "there is no remote nobody" in bob.run("propose", checkpoint, "-m", "better", "--push", "nobody").output
    told = bob.ok("propose", checkpoint, "-m", "better", "--push", "alice")
    assert " * [new] proposals/" in told
    with alice.store(read_only=True) as store:
        (proposed,) = store.proposals.all()
    assert proposed.maker == bob.identity.peer_id
    alice.is_whole()
