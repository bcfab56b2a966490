"""Two real nodes: what one publishes the other fetches and pushes, with its own daemon stopped and with it running."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e.kit import metric, peer_id, swarm_of
from remotes import kit
from remotes.conftest import Person

from collab.node.local_swarm import LocalNode, SwarmError, run


def person(node: LocalNode) -> Person:
    return Person(node.home, node.home)


def whats(text: str) -> dict[str, str]:
    return {each["to"]: each["what"] for each in json.loads(text)["refs"]}


def test_two_nodes_fetch_and_push(tmp_path: Path) -> None:
    with swarm_of(tmp_path, 1) as swarm:
        here, (there, _) = swarm.nodes[1], swarm.nodes
        swarm.wait_for_round(2, 120)
        at_home, away = ["--home", str(here.home)], ["--home", str(there.home)]
        run("branch", "theirs", "@1", *away)
        run("tag", "v0.1", "@1", "--message", "signed", *away)
        run("remote", "add", "origin", swarm.invite(), *at_home)
        key = peer_id(here)

        # Through the daemon that runs in this home.
        came = whats(run("fetch", "--json", *at_home))
        assert came == {"remotes/origin/main": "new", "remotes/origin/theirs": "new", "tags/v0.1": "new"}
        run("branch", "mine", "@1", *at_home)
        with pytest.raises(SwarmError, match="origin does not take pushes from this node's key"):
            run("push", "origin", "mine", *at_home)
        assert metric(there, "collab_network_refused_total", channel="rpc", reason="not_allowed") == 1
        run("remote", "allow", key, *away)
        assert whats(run("push", "origin", "mine", "--json", *at_home)) == {"heads/mine": "new"}

        # And without one, over a network of the command's own.
        here.interrupt()
        here.wait()
        proposal = kit.propose(person(here), b"from here" * 100_000).digest.hex()
        assert whats(run("push", "origin", "proposals", "--json", *at_home)) == {f"proposals/{proposal}": "new"}
        assert proposal[:12] in run("review", *away)
        run("branch", "later", "@2", *away)
        assert whats(run("fetch", "origin", "later", "--json", *at_home)) == {"remotes/origin/later": "new"}
        assert "remotes/origin/mine" in person(here).refs()
        assert run("fsck", *at_home).endswith("no errors\n")
        there.interrupt()
        there.wait()
        assert run("fsck", *away).endswith("no errors\n")
