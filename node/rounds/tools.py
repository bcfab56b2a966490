"""What a round works with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ...protocol.carried import Opened
from ...protocol.event import EventManifest
from ...protocol.history import History
from ...protocol.identity import Identity
from ...protocol.messages import Signed
from ..metrics.metrics import Metrics
from ..processes.worker_host import WorkerHost
from ..store.store import Store
from .catch_up import CatchUp
from .contributing import Contributor
from .fetching import Fetcher
from .weights import Weights


@dataclass
class RoundTools:
    """Built once by the node, for all of its rounds."""

    event: EventManifest
    identity: Identity
    history: History
    store: Store
    weights: Weights
    host: WorkerHost
    contributor: Contributor
    fetcher: Fetcher
    catch_up: CatchUp
    metrics: Metrics
    publish: Callable[[Signed], Awaitable[None]]
    require_amendment: Callable[[bytes | None, str], Awaitable[None]]
    on_fault: Callable[[str, str], None]
    payload_limit: Callable[[EventManifest], int]
    waiting_verdicts: Callable[[], Sequence[Opened]] = tuple
