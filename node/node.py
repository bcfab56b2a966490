"""A node of one event: every part built and connected to the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import structlog

from ..kernels import Layout
from ..protocol.errors import RemoteProtocolError
from ..protocol.event import EventManifest
from ..protocol.identity import Identity
from ..protocol.manifest import SignedManifest
from ..protocol.messages import Signed
from ..protocol.tokens import Terms, TokenProof
from . import remembered
from .amendments.effects import Effects
from .amendments.learning import Learning
from .clock_skew import ClockSkew
from .clock_warning import clock_warning
from .credit.leaderboard import Leaderboard
from .credit.receipts import OpenReceipts
from .errors import UserError
from .event.admitting import admission_of, check_admission
from .files import atomic_write
from .finding import network_options
from .gates.sharing import Sharing
from .gates.witness import Witness
from .hearing import Hearing
from .hosting.pausing import Pausing
from .keys import load
from .manners.keeper import Keeper, Kept
from .manners.senses import Senses
from .metrics.metrics import Metrics
from .net.errors import NetworkError
from .net.network import Network, NetworkCallbacks, Standing
from .options import NodeOptions
from .peers import Peers
from .processes.worker_host import WorkerHost, open_request
from .recipe import payload_limit
from .remotes.client import Line
from .remotes.place import Place
from .remotes.server import RemoteServer
from .rounds.accounting import Accounting
from .rounds.catch_up import CatchUp, HistoryServer, fetch_manifest, restore_history
from .rounds.company import Company
from .rounds.contributing import Contributor
from .rounds.driver import RoundDriver
from .rounds.fetching import Fetcher, Unavailable
from .rounds.loop import RoundLoop
from .rounds.own_training import OwnTraining
from .rounds.tools import RoundTools
from .rounds.weights import Weights
from .store import behind
from .store.store import Store
from .trainer.client import Worker
from .trainer.messages import Notice, Opened, Progress
from .version import VERSION

log = structlog.get_logger()

_CATCH_UP_PEERS = 4
# Checkpoint, its successor while it is written, a snapshot, and payloads of some rounds.
_BYTES_A_PARAMETER = 64


class Node:
    """Built by `run_node` in this order: `connect`, `learn`, `prepare`, `loop.run` until it is stopped; `close` at the end."""

    def __init__(self, options: NodeOptions, identity: Identity, store: Store, metrics: Metrics) -> None:
        self.options = options
        self.identity = identity
        self.store = store
        self.metrics = metrics
        self.phase = "starting"
        self.stop = asyncio.Event()
        self.held_out_loss: float | None = None
        self.deaths = 0
        self.metrics_port = 0
        self.addresses: tuple[str, ...] = ()
        self._admission: bytes | TokenProof | None = None
        self.hearing = Hearing(self)
        self.loop = RoundLoop(self)
        self.network = Network(
            identity,
            network_options(options, store),
            options.event,
            store.blobs,
            store.blobs,
            NetworkCallbacks(
                on_message=self.hearing.hear,
                on_refused=self._on_gossip_refused,
                on_line=lambda line: log.debug("network", line=line),
                on_death=self._on_death,
                on_fault=lambda peer, reason: self.peers.fault(peer, reason),
                standing=self._standing,
            ),
        )
        self.network.fetcher.on_fetched = self._on_fetched
        self.peers = Peers(self.network)
        self.fetcher = Fetcher(store.blobs, self.peers.download, self.likely_peers)
        self.host = WorkerHost(on_notice=self._on_notice, on_ready=self._on_worker_ready, on_death=self._on_death)
        self.clock_skew = ClockSkew(self.network.rpc, lambda: self.peers.likely(0), self._on_clock_skew)
        self.company = Company(time.monotonic)
        self._clock_warning = ""
        self.driver: RoundDriver | None = None
        self.witness: Witness | None = None
        self.remotes: RemoteServer | None = None
        self.accounting = Accounting(store, metrics)
        self.own_training = OwnTraining(metrics)
        self.receipts = OpenReceipts(store)
        self.pausing = Pausing(options.home.pause_path, lambda: self.host, self.loop.on_rest)
        self.keeper = Keeper(self._kept(), options.settings.limits)
        self.restarts = False
        self.effects = Effects(self)

    def _kept(self) -> Kept:
        return Kept(
            home=self.options.home, pausing=self.pausing, traffic=self.network.traffic, upload=self.network.blobs.pacer,
            download=self.network.fetcher.pacer, senses=Senses(self._gpu_worker), reopen=self._reopen, trains=self.options.trains,
        )  # fmt: skip

    def _gpu_worker(self) -> int | None:
        worker = self.host.supervisor.current
        return worker.pid if worker is not None and self.host.opened.device.startswith("cuda") else None

    async def _reopen(self, changes: Mapping[str, int]) -> None:
        """Start the worker again with other limits; it goes on where it was."""
        self.host.reopen_with(**changes)
        await self.host.rest()
        if not self.pausing.reason:
            self.host.wake()

    # Getting ready

    async def connect(self) -> None:
        """Join the network. Raises UserError."""
        self.phase = "connecting"
        await self.host.warm_up()
        try:
            await self.network.start()
        except NetworkError as error:
            hint = "check the connection, or ask the coordinator for a new invite" if self.options.invite else ""
            raise UserError(str(error), hint) from error
        self.addresses = tuple(await self.network.host.dial_strings())
        remembered.save_ports(self.store, p2p=self.network.host.port, gossip=self.network.gossip.port)

    async def learn(self) -> EventManifest:
        """Return the event, from this home or from the peers of the invite, and take up its history. Raises UserError."""
        self.phase = "fetching the event"
        folder = self.options.folder
        if folder.exists():
            manifest = folder.manifest()
        else:
            try:
                manifest = await fetch_manifest(self.network.rpc, self.options.event, self.peers.bootstrap())
            except Unavailable as error:
                raise UserError(str(error), "ask the coordinator whether a bootstrap node is running") from error
        event = self._take_event(manifest)
        await self._learn_amendments()
        self._admission = admission_of(event, self._in_force(), self.identity.peer_id, *self._token())
        if not folder.exists():
            folder.save_manifest(manifest)
        await self.effects.begin()
        self.learning.on_new = self.effects.changed
        return event

    def _take_event(self, manifest: SignedManifest) -> EventManifest:
        self.event = event = manifest.open(self.options.event)
        if self.store.head() is None:
            behind.has_nothing(self.store)
        self.history = restore_history(event, self.store)
        self.leaderboard = Leaderboard(event, self.store, self.receipts.needed_by)
        HistoryServer(manifest, self.history, self.store).register(self.network.rpc)
        self.learning = Learning(self.history, self.store, self.network.rpc)
        self.learning.register()
        self.sharing = Sharing(self.identity, self.history, self.store, self.publish, self._on_verdicts)
        self.sharing.register(self.network.rpc)
        self.catch_up = CatchUp(self.history, self.store, self.network.rpc, self.fetcher, self.learning)
        network, self.place = self.network, Place(self.options.home, self.options.folder, event, self.store)
        self.line = Line(network.host, network.rpc, network.fetcher.fetch)
        self.remotes = RemoteServer(self.place, network.rpc, network.fetcher.fetch, network.traffic)
        self.remotes.register()
        return event

    def _in_force(self) -> EventManifest:
        """Return the event as it is for the next commit."""
        return self.history.amendments.event(self.history.head, self.history.in_force.digest)

    def _token(self) -> tuple[bytes | None, Terms | None]:
        """Return our token's seed and its terms: those of the invite, or the admission key on the coordinator's own node."""
        invite, path = self.options.invite, self.options.folder.admission_key_path
        if invite is not None:
            return invite.token, invite.terms
        return (load(path).seed if path.is_file() else None), None

    async def _learn_amendments(self) -> None:
        """Ask the peers that we were given, so that we know who may take part; who reaches nobody hears of it later."""
        asked = [self.learning.ask(peer) for peer in self.peers.bootstrap()[:_CATCH_UP_PEERS] if peer != self.identity.peer_id]
        for found in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(found, BaseException) and not isinstance(found, NetworkError | RemoteProtocolError):
                raise found

    def check_admission(self) -> None:
        """Raise NothingToDo if nobody would take what we train."""
        if self.options.trains:
            check_admission(self._in_force(), self.identity.peer_id, self._admission, self.history.admitted, time.time())

    async def prepare(self) -> None:
        """Start the worker, learn what the swarm decided so far, and bring the weights there. Raises UserError."""
        self.phase = "preparing the model and the data"
        settings = self.options.settings
        request = open_request(
            self.event, self.identity.peer_id, self.options.folder.worker_path, settings, self.keeper.limits, data=True
        )
        self.weights = Weights(
            self.event, self.host, self.store, self.fetcher, self.catch_up.offers, self.metrics,
            amendments=self.history.amendments,
        )  # fmt: skip
        self.contributor = Contributor(
            self.event, self.identity.peer_id, self._admission, self.store, self.host, self.history.amendments, self.receipts
        )
        await asyncio.gather(self.host.start(request), self._learn_history())
        self.options.home.ensure_space(_BYTES_A_PARAMETER * self.host.opened.parameters)
        self.driver = RoundDriver(self._tools())
        self.witness = Witness(self.event, self.identity, self.history, self.store, self.driver.work.gatekeeper)
        self._remember_invite()
        self.hearing.hand_over(self.driver)
        await self.effects.publish_pending()

    async def _learn_history(self) -> None:
        """Ask around, and end before the model is ready if there is nothing for us to do. Raises UserError."""
        await self.ask_around(least=3)
        self.check_admission()
        if (ahead := await self.clock_skew.measure()) is not None:
            self._on_clock_skew(ahead)

    def _remember_invite(self) -> None:
        """Keep the invite that worked, so that `join` alone takes the event up again."""
        if self.options.invite is not None:
            atomic_write(self.options.folder.invite_path, self.options.invite.text().encode(), 0o600)

    def _tools(self) -> RoundTools:
        return RoundTools(
            event=self.event,
            identity=self.identity,
            history=self.history,
            store=self.store,
            weights=self.weights,
            host=self.host,
            contributor=self.contributor,
            fetcher=self.fetcher,
            catch_up=self.catch_up,
            metrics=self.metrics,
            publish=self.publish,
            require_amendment=self.learning.require,
            on_fault=self.peers.fault,
            payload_limit=self._payload_limit,
            waiting_verdicts=self.sharing.waiting,
        )

    def _payload_limit(self, event: EventManifest) -> int:
        return payload_limit(event, Layout(self.host.opened.layout))

    @property
    def is_over(self) -> bool:
        """Whether the head is the event's last commit."""
        return self.history.in_force.is_over(self.history.head.round)

    async def ask_around(self, least: int = 1) -> None:
        """Ask a few peers for their history, until so many answered; none being there is no error: rounds tell us when there is
        something newer. What a newcomer is offered to begin with, several should say."""
        for peer in self.likely_peers()[:_CATCH_UP_PEERS]:
            try:
                await self.catch_up.ask(peer)
                least -= 1
                if least <= 0:
                    return
            except (NetworkError, Unavailable) as error:
                log.debug("no history", peer=peer[-8:], why=str(error))
            except RemoteProtocolError as error:
                self.peers.fault(peer, error.reason)

    async def _on_worker_ready(self, worker: Worker, opened: Opened) -> None:
        await self.weights.recover(worker, opened)
        if opened.restored is not None:
            log.debug("restored", round=opened.restored.round, position=opened.restored.position)
            await self.contributor.reclaim(worker, opened.restored)
        if self.driver is not None:
            self.driver.resume()

    @property
    def parts(self) -> dict[str, bool]:
        """Which processes work; a worker that rests does what it should."""
        return {**self.network.alive, "worker": self.host.supervisor.alive or bool(self.pausing.reason)}

    @property
    def warning(self) -> str:
        """What the owner should mend; empty if nothing."""
        return "; ".join(text for text in (self.company.words, self._clock_warning) if text)

    # What the parts tell us

    def _on_verdicts(self) -> None:
        if self.driver is not None:
            self.driver.know_verdicts()

    def _on_gossip_refused(self, reason: str, peer: str, count: int) -> None:
        self.metrics.refused(reason, count)
        self.peers.fault(peer, reason)

    def _on_notice(self, notice: Notice) -> None:
        if isinstance(notice, Progress):
            self.own_training.count(notice, self.host.opened.tokens_per_sample)
        if self.driver is not None:
            self.driver.notice(notice)

    def _on_death(self, name: str, reason: str) -> None:
        if self.stop.is_set():
            return  # a terminal's Ctrl-C goes to p2pd too
        log.warning("a part died and is started again", part=name, why=reason)
        self.deaths += 1
        self.metrics.health.restarted(name)

    def _on_clock_skew(self, ahead: float) -> None:
        self.metrics.health.clock_skew.set(ahead)
        before, self._clock_warning = self._clock_warning, clock_warning(ahead)
        if self._clock_warning and not before:
            log.warning(self._clock_warning)

    def _on_fetched(self, digest: bytes, size: int, donors: Mapping[str, int]) -> None:
        self.receipts.fetched(digest, donors)
        log.debug("fetched", blob=digest.hex()[:16], size=size, donors=sorted(peer[-8:] for peer in donors))

    # What the parts ask of us

    async def publish(self, signed: Signed) -> None:
        self.network.traffic.messages[f"sent_{signed.kind}"] += 1
        with suppress(NetworkError):
            await self.network.publish(signed.encode())

    def likely_peers(self) -> list[str]:
        return self.peers.likely(self.history.head.round)

    def _standing(self) -> Standing:
        settings = self.options.settings
        shared = self.metrics_port if settings.metrics_shared else 0
        trains = self.options.trains and not self.pausing.reason
        standing = Standing(trains=trains, version=VERSION, metrics_port=shared, name=settings.name)
        head = self.history.head if self.driver is not None else None
        return standing if head is None else replace(standing, head=head.digest, round=head.round)

    async def farewell(self) -> None:
        """Tell the swarm that we leave, so that nobody waits for us."""
        if self.driver is not None:
            await self.driver.goodbye()

    async def close(self) -> None:
        """Take everything down that was started; the worker saves what it has."""
        self.receipts.save()
        if self.remotes is not None:
            await self.remotes.close()
        await self.fetcher.close()
        await self.host.stop()
        await self.network.stop()
