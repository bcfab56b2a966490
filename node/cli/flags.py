"""Options that several commands share, and the settings that come out of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..home import EventFolder, Home
    from ..settings import Settings

HomeFlag = Annotated[Path | None, typer.Option("--home", metavar="DIR", help="The node's folder: key, events, history.")]
ConfigFlag = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML; flags override them.")]
EventFlag = Annotated[str, typer.Option("--event", metavar="ID", help="Which event, by the first digits of its id.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HostFlag = Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="Listen here; 127.0.0.1 for this machine alone.")]
PortFlag = Annotated[int | None, typer.Option("--port", metavar="N", help="Port for peers; 0: any that is free.")]
GossipPortFlag = Annotated[int | None, typer.Option("--gossip-port", metavar="N", help="Port for gossip; 0: any that is free.")]
MetricsPortFlag = Annotated[int | None, typer.Option("--metrics-port", metavar="N", help="Port of /metrics; 0: any free one.")]
ShareMetricsFlag = Annotated[
    bool | None, typer.Option("--share-metrics/--keep-metrics", help="Let the event's monitoring scrape this node's metrics.")
]
DeviceFlag = Annotated[str | None, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")]
ThreadsFlag = Annotated[int | None, typer.Option("--threads", metavar="N", help="CPU threads for training; 0: torch's choice.")]
LimitFlag = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="KEY=VALUE", help="One of what `collab-node limits` lists, such as upload_rate=1MB."),
]
MicroBatchFlag = Annotated[
    int | None, typer.Option("--micro-batch", metavar="N", help="Samples that go through the model at once; 0: all of a batch.")
]
NameFlag = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Be shown by this name to everybody.")]
DataFlag = Annotated[Path | None, typer.Option("--data-dir", metavar="DIR", help="Where the event's data files are.")]
ReachFlag = Annotated[
    str | None, typer.Option("--reachability", metavar="HOW", help="auto, public, or outgoing (no incoming connections).")
]
LogFormatFlag = Annotated[str | None, typer.Option("--log-format", metavar="FORMAT", help="text or json.")]
LogLevelFlag = Annotated[str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")]
LogFileFlag = Annotated[Path | None, typer.Option("--log-file", metavar="FILE", help="Log there, in files of 5 MB at most.")]
DetachFlag = Annotated[bool, typer.Option("--detach", help="Go on in the background; `logs -f`, `status` and `leave` reach it.")]
DisplayFlag = Annotated[str, typer.Option("--display", metavar="KIND", help="live, plain, or auto: live on a terminal.")]
MaxRoundsFlag = Annotated[int | None, typer.Option("--max-rounds", metavar="N", min=1, help="Leave after N commits.")]


def settings_of(config: Path | None, limits: list[str] | None = None, **flags: Any) -> Settings:
    """Return the settings, `flags` and `limits` (KEY=VALUE) included. Raises UserError."""
    from ..manners.limits import parse_assignments
    from ..settings import load_settings

    given = {name: value for name, value in flags.items() if value is not None}
    return load_settings(config, {**parse_assignments(limits or []), **given})


def home_of(home: Path | None, config: Path | None = None) -> Home:
    """Return the home that is meant. Raises UserError."""
    from ..home import Home

    return Home(settings_of(config, home=home).home)


def event_of(home: Path | None, config: Path | None, event: str) -> tuple[Home, EventFolder]:
    """Return the home and the event in it that are meant: of several, by default the running node's. Raises UserError."""
    found = home_of(home, config)
    return found, found.find_event(event or (_running_event(found) if len(found.events()) > 1 else ""))


def _running_event(home: Home) -> str:
    """Return the id of the event that a node in this home is in; empty if none runs."""
    from ..control.socket import ControlError, call

    try:
        return str(call(home.path, "status").get("event_id", ""))
    except ControlError:
        return ""
