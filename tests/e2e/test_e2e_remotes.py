"""Two real nodes: what one publishes the other fetches and pushes, with its own daemon running and with it stopped."""

from __future__ import annotations

import json
from pathlib import Path

from e2e.kit import metric, peer_id, resting, settle_in, swarm_of
from remotes import kit
from remotes.conftest import Person

from collab.node.local_swarm import LocalNode


def person(node: LocalNode) -> Person:
    return Person(node.home, node.home)


def whats(text: str) -> dict[str, str]:
    return {each["to"]: each["what"] for each in json.loads(text)["refs"]}


def test_two_nodes_fetch_and_push(tmp_path: Path) -> None:
    with swarm_of(tmp_path, 1) as swarm:
        there, here = swarm.nodes
        swarm.wait_for_round(2, 120)
        settle_in(swarm, here)  # it has the payloads too, not only the commits
        home, away = person(here), person(there)
        with resting(swarm.nodes):
            away.ok("branch", "theirs", "@1")
            away.ok("tag", "v0.1", "@1", "--message", "signed")
            invite = swarm.invite()
            home.ok("remote", "add", "origin", invite)

            # Through the daemon that runs in this home.
            came = whats(home.ok("fetch", "--json"))
            assert came == {"remotes/origin/main": "new", "remotes/origin/theirs": "new", "tags/v0.1": "new"}
            home.ok("branch", "mine", "@1")
            refused = home.run("push", "origin", "mine")
            assert refused.exit_code == 1
            assert "origin does not take pushes from this node's key" in refused.output
            assert metric(there, "collab_network_refused_total", channel="rpc", reason="not_allowed") == 1
            away.ok("remote", "allow", peer_id(here))
            assert whats(home.ok("push", "origin", "mine", "--json")) == {"heads/mine": "new"}

        # And without one, over a network of the command's own.
        here.interrupt()
        here.wait()
        with resting([there]):
            proposal = kit.propose(home, b"from here" * 100_000).digest.hex()
            assert whats(home.ok("push", "origin", "proposals", "--json")) == {f"proposals/{proposal}": "new"}
            assert proposal[:12] in away.ok("review")
            away.ok("branch", "later", "@2")
            assert whats(home.ok("fetch", "origin", "later", "--json")) == {"remotes/origin/later": "new"}
            assert "remotes/origin/mine" in home.refs()

            # A home that knows nothing takes all of it over, and its node goes on from there.
            copy = swarm.add()
            cloned = json.loads(person(copy).ok("clone", invite, "--json"))
            assert person(copy).refs()["heads/main"] == away.refs()["heads/main"]
            assert (cloned["round"], person(copy).ok("fsck")) == (there.ask("status")["round"], "no errors\n")
            copy.start(["join", "--host", "127.0.0.1"])
            swarm.wait(lambda: bool((copy.status() or {}).get("device")), 90, "the clone's node to be ready", watch=[copy])
            copy.interrupt()
            copy.wait()
        there.interrupt()
        there.wait()
        for each in (home, away):
            assert each.ok("fsck").endswith("no errors\n")
