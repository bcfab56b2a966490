"""What the daemon does without: seconds of a processor at every start, and memory for as long as it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "scipy", "numpy", "transformers", "libp2p"}


def loaded(script: str) -> set[str]:
    """Return the modules that a new process has loaded after `script`."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys\n{script}\nprint(*sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_the_daemon_is_loaded_without_torch() -> None:
    modules = loaded("import collab.node.daemon")
    assert HEAVY.isdisjoint(modules)
    assert {"hivemind.p2p", "hivemind.dht.node"} <= modules


def test_the_sidecar_is_loaded_without_what_it_does_not_use() -> None:
    modules = loaded("import collab.node.sidecar.service")
    assert {"aioquic", "OpenSSL", "requests", "httpx", "zeroconf", "numpy"}.isdisjoint(modules)
    assert {"libp2p.network.swarm", "libp2p.pubsub.gossipsub"} <= modules


@pytest.mark.parametrize("first", ["import collab.node.net.hivemind_parts", "import hivemind"])
def test_hivemind_is_whole_for_whoever_wants_more_of_it(first: str) -> None:
    modules = loaded(f"{first}\nimport hivemind, collab.node.net.hivemind_parts\nhivemind.DHT, hivemind.utils.MPFuture")
    assert {"torch", "hivemind.dht.dht", "hivemind.averaging"} <= modules
