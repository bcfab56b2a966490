"""`dashboard` and `report`: the event as a web page, live or as files, and what it came to at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .flags import ConfigFlag, EventFlag, HomeFlag, event_of

ServeFlag = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Serve here; for anything but loopback, the printed address has a token.")
]
PagePortFlag = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port of the page; 0: any free one.")]
TokenFlag = Annotated[
    str,
    typer.Option("--token", metavar="TEXT", envvar="COLLAB_DASHBOARD_TOKEN", help="Who shows it may look; default: a new one."),
]
NamesFlag = Annotated[
    list[str] | None, typer.Option("--allow-host", metavar="NAME", help="A name under which browsers reach the page.")
]
EvaluateFlag = Annotated[
    bool | None,
    typer.Option("--evaluate/--no-evaluate", help="Measure commits on held-out data; default: if the node does not train."),
]
EveryFlag = Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.02, max=3600, help="How often the page gets news.")]
ExportFlag = Annotated[Path | None, typer.Option("--export", metavar="DIR", help="Write the page as it is now into DIR; end.")]


def dashboard(
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", host: ServeFlag = "127.0.0.1",
    port: PagePortFlag = 8421, token: TokenFlag = "", allow_host: NamesFlag = None, evaluate: EvaluateFlag = None,
    every: EveryFlag = 2.0, export: ExportFlag = None,
) -> None:  # fmt: skip
    """Show the event as a web page, which follows what happens until Ctrl-C."""
    from ..dashboard.reader import Reader
    from ..dashboard.serve import Serving, is_loopback, serve

    node_home, folder = event_of(home, config, event)
    reader = Reader(node_home, folder)
    if export is not None:
        from ..dashboard.export import export_page

        export_page(reader, export)
        typer.echo(f"wrote {export / 'index.html'}")
        return
    if allow_host and is_loopback(host) and not token:
        raise UsageError("--allow-host without a token would let any page of that name in", "add --token")
    serving = Serving(host, port, token, frozenset(allow_host or ()), evaluate, every)
    serve(reader, serving, lambda address: typer.echo(f"dashboard: {address}  (Ctrl-C ends it)"))


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Write what an event came to into DIR: a page, the same in Markdown, plots, credits, and figures for a paper."""
    from ..report.write import write_report

    _, event_folder = event_of(home, config, event)
    write_report(event_folder, folder)
    typer.echo(f"wrote {folder / 'report.html'} and {folder / 'report.md'}")
