"""Networks on this machine, for the benches and the end-to-end tests of nodes that are far from one another.

A network is a Linux namespace with one address; two of them are joined by a cable. Making them needs root and iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .errors import UserError

_NOBODY = "02:00:00:00:00:01"


@dataclass(frozen=True)
class Network:
    """One of the two: its name, the device at its end of the cable, and the address of all who are in it."""

    name: str
    device: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """What stands before a command that is to run in here."""
        return ["ip", "netns", "exec", self.name]

    def unplug(self) -> None:
        """Pull the cable, as when the Wi-Fi is gone: the system knows, and connecting fails at once."""
        _ip("-n", self.name, "link", "set", self.device, "down")

    def plug(self) -> None:
        """Put the cable back."""
        _ip("-n", self.name, "link", "set", self.device, "up")

    def lose(self, other: Network) -> None:
        """Let what is sent to `other` vanish, as when a router has lost its line: nothing tells that it never arrives."""
        _ip("-n", self.name, "neighbour", "replace", *self._neighbour(other), "lladdr", _NOBODY, "nud", "permanent")

    def find(self, other: Network) -> None:
        """End what `lose` began."""
        _ip("-n", self.name, "neighbour", "del", *self._neighbour(other))

    def _neighbour(self, other: Network) -> list[str]:
        return [other.address, "dev", self.device]


def obstacle(*programs: str) -> str:
    """Return why no networks can be made here, in one line; empty if they can. `programs` are needed beside `ip`."""
    if os.geteuid() == 0 and all(shutil.which(program) for program in ("ip", *programs)):
        return ""
    return "networks of our own need root and iproute2: run this as root (Debian: apt-get install -y iproute2)"


@contextmanager
def joined(one: str, other: str) -> Iterator[tuple[Network, Network]]:
    """Make two networks with these addresses, of one /24; they go when the block ends. Raises UserError."""
    if why := obstacle():
        raise UserError(why)
    names = [f"collab-{os.getpid()}-{address}" for address in (one, other)]
    networks = (Network(names[0], "a0", one), Network(names[1], "b0", other))
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("link", "add", "a0", "netns", names[0], "type", "veth", "peer", "name", "b0", "netns", names[1])
        for network in networks:
            _ip("-n", network.name, "address", "add", f"{network.address}/24", "dev", network.device)
            network.plug()
        yield networks
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        problem = f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()}"
        raise UserError(problem, "it takes a machine on which root may make network namespaces")
