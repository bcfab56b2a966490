"""CPU time of a node that has nothing to do."""

from __future__ import annotations

import time

import psutil

from collab.node.local_swarm import LocalNode


class IdleMeter:
    """Measures from its making on. Others on the machine may work meanwhile: it is CPU time that counts."""

    def __init__(self, node: LocalNode) -> None:
        """`node` runs."""
        assert node.process is not None
        self._daemon = psutil.Process(node.process.pid)
        self._children = self._daemon.children(recursive=True)
        self._began = time.monotonic()
        self._own, self._all = self._cpu_seconds()

    @property
    def seconds(self) -> float:
        """How long it measures already."""
        return time.monotonic() - self._began

    def shares(self) -> tuple[float, float]:
        """Return the share of one core that the daemon took since, alone and with its children."""
        own, everything = self._cpu_seconds()
        return (own - self._own) / self.seconds, (everything - self._all) / self.seconds

    def _cpu_seconds(self) -> tuple[float, float]:
        own, *others = (sum(process.cpu_times()[:2]) for process in (self._daemon, *self._children))
        return own, own + sum(others)
