"""`seed` and `join`: running a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .flags import (
    ConfigFlag,
    DataFlag,
    DetachFlag,
    DeviceFlag,
    DisplayFlag,
    EventFlag,
    GossipPortFlag,
    HomeFlag,
    HostFlag,
    LimitFlag,
    LogFileFlag,
    LogFormatFlag,
    LogLevelFlag,
    MaxRoundsFlag,
    MetricsPortFlag,
    MicroBatchFlag,
    NameFlag,
    PortFlag,
    ReachFlag,
    ShareMetricsFlag,
    ThreadsFlag,
    settings_of,
)

if TYPE_CHECKING:
    from ..options import Display, NodeOptions


def seed(
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
    train: Annotated[bool, typer.Option("--train/--no-train", help="Train as well, as volunteers do.")] = False,
    host: HostFlag = None, port: PortFlag = None, gossip_port: GossipPortFlag = None, reachability: ReachFlag = None,
    metrics_port: MetricsPortFlag = None, device: DeviceFlag = None, threads: ThreadsFlag = None,
    metrics_shared: ShareMetricsFlag = None,
    micro_batch: MicroBatchFlag = None, data_dir: DataFlag = None, max_rounds: MaxRoundsFlag = None,
    display: DisplayFlag = "auto", log_file: LogFileFlag = None, log_format: LogFormatFlag = None,
    log_level: LogLevelFlag = None, name: NameFlag = None, limit: LimitFlag = None,
    detach: DetachFlag = False,
) -> None:  # fmt: skip
    """Run the coordinator's node of an event that was created in this home: bootstrap, history, exports."""
    from ..home import Home
    from ..options import NodeOptions

    settings = settings_of(
        config, limit, home=home, host=host, port=port, gossip_port=gossip_port, reachability=reachability,
        metrics_port=metrics_port, device=device, threads=threads, micro_batch=micro_batch, data_dir=data_dir, log_file=log_file,
        log_format=log_format, log_level=log_level, name=name, metrics_shared=metrics_shared,
    )  # fmt: skip
    node_home = Home(settings.home)
    manifest = node_home.find_event(event).manifest().open()
    _run(NodeOptions(
        home=node_home, settings=settings, event=manifest.digest, trains=train, max_rounds=max_rounds,
        serves=max_rounds is None, display=_display(display),
    ), detach)  # fmt: skip


def join(
    invite: Annotated[str, typer.Argument(
        metavar="[INVITE]", help="The line that the coordinator's `event invite` printed; not needed the next time.",
    )] = "",
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train; or help without: check merges, run gates, serve, relay.")
    ] = True,
    host: HostFlag = None, port: PortFlag = None, gossip_port: GossipPortFlag = None, reachability: ReachFlag = None,
    metrics_port: MetricsPortFlag = None, device: DeviceFlag = None, threads: ThreadsFlag = None,
    metrics_shared: ShareMetricsFlag = None,
    micro_batch: MicroBatchFlag = None, data_dir: DataFlag = None, max_rounds: MaxRoundsFlag = None,
    display: DisplayFlag = "auto", log_file: LogFileFlag = None, log_format: LogFormatFlag = None,
    log_level: LogLevelFlag = None, name: NameFlag = None, limit: LimitFlag = None,
    detach: DetachFlag = False,
) -> None:  # fmt: skip
    """Join an event and train until told to stop: Ctrl-C once leaves in order, twice at once."""
    import time

    from ..event.joining import check_usable, read_invite, remembered_invite
    from ..home import Home
    from ..options import NodeOptions

    given = read_invite(invite) if invite else None
    settings = settings_of(
        config, limit, home=home, host=host, port=port, gossip_port=gossip_port, reachability=reachability,
        metrics_port=metrics_port, device=device, threads=threads, micro_batch=micro_batch, data_dir=data_dir, log_file=log_file,
        log_format=log_format, log_level=log_level, name=name, metrics_shared=metrics_shared,
    )  # fmt: skip
    node_home = Home(settings.home)
    parsed = given or remembered_invite(node_home, event)
    check_usable(node_home, parsed, time.time())
    _run(NodeOptions(
        home=node_home, settings=settings, event=parsed.event, invite=parsed, trains=train, max_rounds=max_rounds,
        display=_display(display),
    ), detach)  # fmt: skip


def _display(choice: str) -> Display:
    match choice:
        case "auto" | "live" | "plain":
            return choice
    raise UsageError(f"--display is auto, live or plain (not {choice!r})")


def _run(options: NodeOptions, detach: bool) -> None:
    from ..hosting.background import RESTART, go_on_in_background, start_again

    if detach:
        go_on_in_background(options.home, typer.echo)
        return
    # The daemon brings asyncio, hivemind and numpy along: nothing above needs them.
    from ..daemon import run_node

    code = run_node(options)
    if code == RESTART:
        start_again()
    raise typer.Exit(code)
