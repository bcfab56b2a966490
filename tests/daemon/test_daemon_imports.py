"""What the daemon does without: seconds of a processor at every start, and memory for as long as it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "scipy", "numpy", "transformers", "libp2p"}
COMPLETION = {"_COLLAB_NODE_COMPLETE": "complete_bash", "COMP_WORDS": "collab-node un", "COMP_CWORD": "1"}


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


@pytest.mark.parametrize(
    ("how", "said"), [("sys.argv[1:] = ['join', '--help']", "--micro-batch"), (f"os.environ.update({COMPLETION!r})", "unbundle")]
)
def test_help_and_completion_come_at_once(how: str, said: str) -> None:
    """Whoever presses Tab waits for nothing that only a node needs."""
    run = "import contextlib, io, os\nfrom collab.node.cli import main\nout = io.StringIO()\n"
    run += f"{how}\nwith contextlib.suppress(SystemExit), contextlib.redirect_stdout(out):\n    main()\n"
    modules = loaded(f"{run}assert {said!r} in out.getvalue(), out.getvalue()")
    assert (HEAVY | {"hivemind", "cryptography"}).isdisjoint(modules)
