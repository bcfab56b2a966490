"""The composition root: one run of a node, from the home's lock to the last goodbye. It owns every task."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import stat
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import psutil
import structlog
import uvloop

from .control.requests import requests
from .control.socket import ControlServer
from .display.display import LiveDisplay, make_display, run_display
from .display.observe import observe
from .errors import UserError
from .hosting.background import RESTART
from .hosting.disk import watch_disk
from .keys import load_or_create
from .logs import configure_logs, quiet_logs, route_library_logs
from .metrics.discovery import check_sharing, scrape_targets
from .metrics.metrics import Metrics
from .metrics.reading import measure_disk, measure_health
from .metrics.server import MetricsServer
from .net.addresses import is_loopback
from .node import Node
from .options import NodeOptions
from .rounds.company import keep_company
from .rounds.evaluating import evaluate_commits
from .store.store import Store
from .version import VERSION

log = structlog.get_logger()

_FAREWELL_SECONDS = 5.0
_HEALTH_SECONDS = 2.0
_DISK_SECONDS = 30.0
_INTERRUPTED = 130


def run_node(options: NodeOptions) -> int:
    """Run a node until it is told to stop or has done what it was asked to, and return the exit code. Raises UserError.

    RESTART instead of an exit code: it was asked to be started again, by whoever started it.
    """
    configure_logs(options.settings.log_format, options.settings.log_level, options.settings.log_file)
    route_library_logs()
    with options.home.lock():
        identity = load_or_create(options.home.identity_path)
        try:
            with Store.open(options.folder.store_path) as store:
                return uvloop.run(_run(Node(options, identity, store, Metrics())))
        finally:
            options.folder.remove_unless_joined()


async def _run(node: Node) -> int:
    stop = node.stop
    _stop_on_signals(stop)
    settings = node.options.settings
    check_sharing(settings)
    server = None
    if settings.metrics:
        server = MetricsServer.start(
            node.metrics.registry,
            settings.metrics_host,
            settings.metrics_port,
            lambda: scrape_targets(node.network.peers.values(), loopback=is_loopback(settings.host)),
        )
        node.metrics_port = server.port
    node.metrics.build({"version": VERSION, "python": platform.python_version()})
    node.metrics.read_traffic(node.network.traffic)
    node.metrics.read_age_from(lambda: time.time() - node.accounting.head_at)
    started = time.monotonic()
    try:
        async with ControlServer(node.options.home.control_path, requests(node, stop)):
            with make_display(node.options.display, settings.log_format) as display:
                if isinstance(display, LiveDisplay) and settings.log_file is None and settings.log_level == "info":
                    quiet_logs()  # the picture says it
                showing = asyncio.create_task(run_display(display, lambda: observe(node)))
                try:
                    await _live(node, stop)
                finally:
                    showing.cancel()
                    node.phase = "stopped"
                    display.show(observe(node))
    finally:
        if server is not None:
            server.close()
    log.info("goodbye", seconds=round(time.monotonic() - started), accepted_samples=node.accounting.taken)
    return RESTART if node.restarts else 0


async def _live(node: Node, stop: asyncio.Event) -> None:
    """Run the node's phases and background loops until it is done, told to stop, or broken."""
    try:
        await _until(stop, _begin(node))
        if not stop.is_set():
            await _until(stop, node.loop.run(), *_background(node))
    finally:
        node.phase = "stopping"
        await _farewell(node)


async def _begin(node: Node) -> None:
    await node.connect()
    event = await node.learn()
    node.metrics.event(event.digest, event.name)
    log.info("event", name=event.name, id=event.digest.hex()[:16], peer=node.identity.peer_id)
    await node.prepare()
    opened = node.host.opened
    log.info("ready", device=opened.device, parameters=opened.parameters, samples=opened.samples, round=node.history.head.round)


def _background(node: Node) -> list[Coroutine[Any, Any, None]]:
    return [
        node.host.run(),
        node.network.failed(),
        node.clock_skew.run(),
        node.keeper.run(),
        node.effects.run(),
        node.sharing.run(node.network.rpc, node.likely_peers),
        keep_company(node),
        watch_disk(node.options.home),
        measure_health(node, _HEALTH_SECONDS),
        measure_disk(node, _DISK_SECONDS),
        evaluate_commits(node, _HEALTH_SECONDS),
    ]


async def _until(stop: asyncio.Event, main: Coroutine[Any, Any, None], *others: Coroutine[Any, Any, None]) -> None:
    """Run all at once until `main` returns, one fails, or `stop` is set; then end the rest. A failure comes through."""
    tasks = [asyncio.create_task(work) for work in (main, *others)]
    stopping = asyncio.create_task(stop.wait())
    try:
        waiting = {*tasks, stopping}
        while not tasks[0].done() and not stopping.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)


async def _farewell(node: Node) -> None:
    try:
        async with asyncio.timeout(_FAREWELL_SECONDS):
            await node.farewell()
    except TimeoutError:
        log.warning("the goodbye could not be sent in time")
    await node.close()


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Ctrl-C or SIGTERM once: stop in order. Twice: at once, with all children: a p2pd that just starts would not notice.

    The end of the terminal is no Ctrl-C: it may be told of twice, and is to be left in order all the same.
    """

    def on_signal() -> None:
        if stop.is_set():
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            os._exit(_INTERRUPTED)
        log.info("stopping; press Ctrl-C again to stop at once")
        stop.set()

    def on_hangup() -> None:
        _let_go_of_terminal()
        log.info("stopping: the terminal was closed")
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        loop.add_signal_handler(signal.SIGHUP, on_hangup)


def _let_go_of_terminal() -> None:
    """Show and log nowhere what a terminal that is gone cannot take any more; a file goes on being written."""
    with open(os.devnull, "r+b") as nowhere:
        for descriptor in range(3):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere.fileno(), descriptor)


__all__ = ["UserError", "run_node"]
