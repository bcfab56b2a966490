"""Two networks on this machine: what is sent over the cable arrives, unless it is pulled or the line behind it is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from collab.node.errors import UserError
from collab.node.local_networks import Network, joined, obstacle

_CONNECT = (
    "import socket, sys\ntry: socket.create_connection((sys.argv[1], 9), 1)\nexcept OSError as error: print(type(error).__name__)"
)


def connecting(one: Network, other: Network) -> str:
    """Return what becomes of a connection to a port where nobody listens: a refusal is an answer."""
    command = [*one.prefix, sys.executable, "-S", "-c", _CONNECT, other.address]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(bool(obstacle()), reason=obstacle())
def test_a_line_is_lost_and_found_and_a_cable_pulled_and_put_back() -> None:
    with joined("10.201.80.1", "10.201.80.2") as (here, there):
        assert connecting(here, there) == connecting(there, here) == "ConnectionRefusedError"
        there.lose(here)
        assert connecting(there, here) == "TimeoutError"
        there.find(here)
        assert connecting(there, here) == "ConnectionRefusedError"
        there.unplug()
        assert connecting(there, here) == "OSError"
        there.plug()
        assert connecting(there, here) == "ConnectionRefusedError"
    assert is_gone(there)


def is_gone(network: Network) -> bool:
    return subprocess.run([*network.prefix, "true"], capture_output=True, check=False).returncode != 0


def test_where_namespaces_are_forbidden_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forbidden = tmp_path / "ip"
    forbidden.write_text("#!/bin/sh\necho 'mount --make-shared /run/netns failed: Operation not permitted' >&2\nexit 1\n")
    forbidden.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with (
        pytest.raises(UserError, match=r"`ip netns add .*` failed: mount .* Operation not permitted") as caught,
        joined("a", "b"),
    ):
        pass
    assert "root may make network namespaces" in caught.value.hint
