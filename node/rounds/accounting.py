"""What the newest commits mean for this node: what they took of its work, and what its metrics say of them."""

from __future__ import annotations

import time

import structlog

from ...protocol.commit import Commit
from ...protocol.history import History
from ..display.rounds_table import RoundRow
from ..metrics.metrics import Metrics
from ..processes.ipc import ChannelClosed
from ..store.store import Store
from .contributing import Contributor

log = structlog.get_logger()


class Accounting:
    """Accounts for every commit once. `taken` samples of ours were accepted; `head_at` is when the newest came (Unix seconds)."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self.taken = 0
        self.head_at = time.time()
        self._store = store
        self._metrics = metrics

    def begin(self, history: History, contributor: Contributor) -> None:
        """Account from where something of ours may be open: while we were away, commits may have taken it."""
        self._history = history
        self._contributor = contributor
        round = contributor.unsettled_since()
        found = history.at_round(round) if round is not None else None
        self._accounted = history.head.digest if found is None else found

    async def account(self) -> bool:
        """Account for every commit since the last time; False if the worker died, and the rest is left for later."""
        head, start = self._history.head, self._accounted
        while not self._history.is_main(start):  # it was on a branch that lost
            start = self._store.commit(start).base
        for commit in self._history.chain(start, head.digest):
            try:
                taken = await self._contributor.settle(commit)
            except ChannelClosed as error:
                log.warning("the newest commits are accounted for later", why=str(error))
                return False
            self._count(commit, taken)
            self._accounted = commit.digest
        self.head_at = time.time()
        self._show(head)
        return True

    def _count(self, commit: Commit, taken: int) -> None:
        self.taken += taken
        self._store.count("accepted_samples", taken)
        self._metrics.accepted_samples.inc(taken)
        self._metrics.accepted.inc(len(commit.accepted))
        for _, claim in commit.contributions():
            self._metrics.staleness.observe(commit.round - 1 - claim.round)

    def _show(self, head: Commit) -> None:
        metrics = self._metrics
        metrics.head_round.set(head.round)
        metrics.head_samples.set(head.samples)
        metrics.head_timestamp.set(self.head_at)
        metrics.contributors.set(len(head.accepted))
        metrics.payload_bytes.set(RoundRow.of(head).bytes_sent)
        metrics.roster.set(len(head.roster))
        if head.loss is not None:
            metrics.head_loss.set(head.loss)
