"""`seed`, `join` and `stop`: running a node, and ending one that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .flags import (
    ConfigFlag,
    DataFlag,
    DeviceFlag,
    DisplayFlag,
    EventFlag,
    GossipPortFlag,
    HomeFlag,
    HostFlag,
    LogFormatFlag,
    LogLevelFlag,
    MaxRoundsFlag,
    MetricsPortFlag,
    MicroBatchFlag,
    PortFlag,
    ReachFlag,
    ShareMetricsFlag,
    ThreadsFlag,
    home_of,
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
    display: DisplayFlag = "auto", log_format: LogFormatFlag = None, log_level: LogLevelFlag = None,
) -> None:  # fmt: skip
    """Run the coordinator's node of an event that was created in this home: bootstrap, history, exports."""
    from ..home import Home
    from ..options import NodeOptions

    settings = settings_of(
        config, home=home, host=host, port=port, gossip_port=gossip_port, reachability=reachability, metrics_port=metrics_port,
        device=device, threads=threads, micro_batch=micro_batch, data_dir=data_dir, log_format=log_format, log_level=log_level,
        metrics_shared=metrics_shared,
    )  # fmt: skip
    node_home = Home(settings.home)
    manifest = node_home.find_event(event).manifest().open()
    _run(NodeOptions(
        home=node_home, settings=settings, event=manifest.digest, trains=train, max_rounds=max_rounds,
        serves=max_rounds is None, display=_display(display),
    ))  # fmt: skip


def join(
    invite: Annotated[str, typer.Argument(metavar="INVITE", help="The line that the coordinator's `event invite` printed.")],
    home: HomeFlag = None, config: ConfigFlag = None,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Follow and check the merges without training.")] = True,
    host: HostFlag = None, port: PortFlag = None, gossip_port: GossipPortFlag = None, reachability: ReachFlag = None,
    metrics_port: MetricsPortFlag = None, device: DeviceFlag = None, threads: ThreadsFlag = None,
    metrics_shared: ShareMetricsFlag = None,
    micro_batch: MicroBatchFlag = None, data_dir: DataFlag = None, max_rounds: MaxRoundsFlag = None,
    display: DisplayFlag = "auto", log_format: LogFormatFlag = None, log_level: LogLevelFlag = None,
) -> None:  # fmt: skip
    """Join an event and train until told to stop: Ctrl-C once leaves in order, twice at once."""
    from ...protocol.invite import Invite, InviteError
    from ..errors import UserError
    from ..home import Home
    from ..options import NodeOptions

    try:
        parsed = Invite.parse(invite)
    except InviteError as error:
        raise UserError(str(error)) from error
    settings = settings_of(
        config, home=home, host=host, port=port, gossip_port=gossip_port, reachability=reachability, metrics_port=metrics_port,
        device=device, threads=threads, micro_batch=micro_batch, data_dir=data_dir, log_format=log_format, log_level=log_level,
        metrics_shared=metrics_shared,
    )  # fmt: skip
    _run(NodeOptions(
        home=Home(settings.home), settings=settings, event=parsed.event, invite=parsed, trains=train, max_rounds=max_rounds,
        display=_display(display),
    ))  # fmt: skip


def stop(home: HomeFlag = None, config: ConfigFlag = None) -> None:
    """Ask the node that runs in this home to leave in order, as Ctrl-C does."""
    from ..control import call

    call(home_of(home, config).path, "stop")


def _display(choice: str) -> Display:
    match choice:
        case "auto" | "live" | "plain":
            return choice
    raise UsageError(f"--display is auto, live or plain (not {choice!r})")


def _run(options: NodeOptions) -> None:
    # The daemon brings asyncio, hivemind and numpy along: nothing above needs them.
    from ..daemon import run_node

    raise typer.Exit(run_node(options))
