"""Two real nodes: what one publishes the other fetches and pushes, with its own daemon running and with it stopped."""

from __future__ import annotations

import json

import pytest
from e2e.kit import commits, is_ready, metric, peer_id, resting, settle_in
from remotes import kit
from remotes.conftest import Person

from collab.node.local_swarm import LocalNode, LocalSwarm

pytestmark = pytest.mark.e2e


def person(node: LocalNode) -> Person:
    return Person(node.home, node.home)


def whats(text: str) -> dict[str, str]:
    return {each["to"]: each["what"] for each in json.loads(text)["refs"]}


def refused_pushes(node: LocalNode) -> float:
    return metric(node, "collab_network_refused_total", channel="rpc", reason="not_allowed")


def test_two_nodes_fetch_and_push(swarm: LocalSwarm) -> None:
    there, here = swarm.nodes[0], swarm.nodes[2]
    home, away = person(here), person(there)
    with resting(swarm.nodes):
        newest = f"@{min(commits(node)[-1].round for node in (there, here))}"
        away.ok("branch", "theirs", newest)
        away.ok("tag", "v0.1", newest, "--message", "signed")
        invite = swarm.invite()
        home.ok("remote", "add", "origin", invite)

        # Through the daemon that runs in this home.
        came = whats(home.ok("fetch", "--json"))
        assert came == {"remotes/origin/main": "new", "remotes/origin/theirs": "new", "tags/v0.1": "new"}
        home.ok("branch", "mine", newest)
        before = refused_pushes(there)
        refused = home.run("push", "origin", "mine")
        assert refused.exit_code == 1
        assert "origin does not take pushes from this node's key" in refused.output
        assert refused_pushes(there) == before + 1
        away.ok("remote", "allow", peer_id(here))
        assert whats(home.ok("push", "origin", "mine", "--json")) == {"heads/mine": "new"}

    # And without one, over a network of the command's own.
    here.interrupt()
    here.wait()
    try:
        with resting(swarm.nodes):
            go_on_without_a_daemon(swarm, there, here, newest, invite)
    finally:
        here.start()
    settle_in(swarm, here)


def go_on_without_a_daemon(swarm: LocalSwarm, there: LocalNode, here: LocalNode, newest: str, invite: str) -> None:
    home, away = person(here), person(there)
    proposal = kit.propose(home, b"from here" * 100_000).digest.hex()
    assert whats(home.ok("push", "origin", "proposals", "--json")) == {f"proposals/{proposal}": "new"}
    assert proposal[:12] in away.ok("review")
    away.ok("branch", "later", newest)
    assert whats(home.ok("fetch", "origin", "later", "--json")) == {"remotes/origin/later": "new"}
    assert "remotes/origin/mine" in home.refs()

    # A home that knows nothing takes all of it over, and its node goes on from there.
    copy = swarm.add()
    swarm.nodes.remove(copy)
    cloned = json.loads(person(copy).ok("clone", invite, "--json"))
    assert person(copy).refs()["heads/main"] == away.refs()["heads/main"]
    assert (cloned["round"], person(copy).ok("fsck")) == (there.ask("status")["round"], "no errors\n")
    copy.start(["join", "--host", "127.0.0.1"])
    swarm.wait(lambda: is_ready(copy), 120, "the clone's node to be ready", watch=[copy])
    copy.interrupt()
    copy.wait()
    for each in (home, away):
        assert each.ok("fsck").endswith("no errors\n")
