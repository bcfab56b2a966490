"""The held-out loss of the newest commits, for those who watch an event: every so many rounds, on a node that was told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from ..processes.ipc import ChannelClosed, RemoteFailure
from ..trainer.messages import Evaluate
from . import held_out

if TYPE_CHECKING:
    from ..node import Node

log = structlog.get_logger()


async def evaluate(node: Node, samples: int = 0) -> float:
    """Return the held-out loss of the newest weights, in nats a token."""
    base = node.weights.base
    found = await node.host.use(lambda worker: worker.evaluate(Evaluate(samples=samples)))
    node.held_out_loss = found.loss
    node.metrics.held_out_loss.set(found.loss)
    if samples == 0 and base is not None and base == node.weights.base:  # else it may have been measured on either
        held_out.keep(node.store, node.store.commit(base).round, found.loss)
    return found.loss


async def evaluate_commits(node: Node, seconds: float) -> None:
    """Look every so many seconds whether there is a commit to evaluate, for ever; the setting `evaluate_every` says which."""
    every, evaluated = node.options.settings.evaluate_every, -1
    while True:
        due = node.history.head.round // every if every else evaluated
        if due != evaluated and await _evaluated(node):
            evaluated = due
        await asyncio.sleep(seconds)


async def _evaluated(node: Node) -> bool:
    """Evaluate what the worker has; False if that has to be tried again."""
    try:
        await evaluate(node)
    except RemoteFailure as failure:
        log.warning("the newest commit cannot be evaluated", why=failure.text)
    except ChannelClosed:
        return False
    return True
