"""The commands and their names. What they need is imported when they run: help comes at once."""

from __future__ import annotations

from typing import Annotated

import typer

from . import (
    amend,
    credit,
    dashboard,
    doctor,
    event,
    gate,
    history,
    inspect,
    integrity,
    key,
    manners,
    mending,
    merging,
    module,
    proposals,
    refs,
    release,
    remote,
    run,
    service,
    verdict,
    volunteer,
    weights,
    workshop,
)
from .commands import Commands

app = typer.Typer(
    name="collab-node",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Train, merge and version one model together: a node of a peer-to-peer swarm.",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"collab-node {version('collab-node')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Take the options that stand before a command."""


_NODE = "Your node"
_EVENT = "The event"
_HISTORY = "History"
_PROPOSALS = "Changes made outside the swarm"
_RELEASES = "Releases and modules"
_REMOTES = "Between nodes"
_INTEGRITY = "Keeping and mending a history"

app.command("join", rich_help_panel=_NODE)(run.join)
app.command("status", rich_help_panel=_NODE)(inspect.status)
app.command("logs", rich_help_panel=_NODE)(volunteer.logs)
app.command("pause", rich_help_panel=_NODE)(volunteer.pause)
app.command("resume", rich_help_panel=_NODE)(volunteer.resume)
app.command("limits", rich_help_panel=_NODE)(manners.limits)
app.command("set", rich_help_panel=_NODE)(manners.set_limit)
app.command("leave", rich_help_panel=_NODE)(volunteer.leave)
app.command("restart", rich_help_panel=_NODE)(volunteer.restart)
app.command("doctor", rich_help_panel=_NODE)(doctor.doctor)
app.add_typer(service.app, name="service", rich_help_panel=_NODE)
app.add_typer(key.app, name="key", rich_help_panel=_NODE)

amend.add_to(event.app)
app.add_typer(event.app, name="event", rich_help_panel=_EVENT)
app.command("seed", rich_help_panel=_EVENT)(run.seed)
app.command("dashboard", rich_help_panel=_EVENT)(dashboard.dashboard)
app.command("report", rich_help_panel=_EVENT)(dashboard.report)
app.command("credits", rich_help_panel=_EVENT)(credit.credits)
app.add_typer(credit.certificate_app, name="certificate", rich_help_panel=_EVENT)
app.add_typer(gate.app, name="gate", rich_help_panel=_EVENT)
app.add_typer(verdict.app, name="verdict", rich_help_panel=_EVENT)
app.command("verdicts", rich_help_panel=_EVENT)(verdict.verdicts)

app.command("log", rich_help_panel=_HISTORY)(history.log)
app.command("show", rich_help_panel=_HISTORY)(history.show)
app.command("diff", rich_help_panel=_HISTORY)(history.diff)
app.command("blame", rich_help_panel=_HISTORY)(history.blame)
app.command("branch", rich_help_panel=_HISTORY)(refs.branch)
app.command("tag", rich_help_panel=_HISTORY)(refs.tag)
app.command("checkout", rich_help_panel=_HISTORY)(weights.checkout)
app.command("export", rich_help_panel=_HISTORY)(weights.export)
app.command("import", rich_help_panel=_HISTORY)(weights.import_)

app.command("propose", rich_help_panel=_PROPOSALS)(proposals.propose)
app.command("review", rich_help_panel=_PROPOSALS)(proposals.review)
app.command("test", rich_help_panel=_PROPOSALS)(merging.trial)
app.command("merge", rich_help_panel=_PROPOSALS)(merging.merge)
app.command("sign", rich_help_panel=_PROPOSALS)(merging.sign)

app.command("release", rich_help_panel=_RELEASES)(release.release)
app.add_typer(release.app, name="releases", rich_help_panel=_RELEASES)
app.command("add", rich_help_panel=_RELEASES)(module.add)
app.command("install", rich_help_panel=_RELEASES)(module.install)
app.command("test-dependents", rich_help_panel=_RELEASES)(module.retest_dependents)
workshop.add_to(module.app)
app.add_typer(module.app, name="module", rich_help_panel=_RELEASES)

app.command("clone", rich_help_panel=_REMOTES)(remote.clone)
app.command("fetch", rich_help_panel=_REMOTES)(remote.fetch)
app.command("push", rich_help_panel=_REMOTES)(remote.push)
app.add_typer(remote.app, name="remote", rich_help_panel=_REMOTES)

app.command("verify", rich_help_panel=_INTEGRITY)(integrity.verify)
app.command("fsck", rich_help_panel=_INTEGRITY)(integrity.fsck)
app.command("gc", rich_help_panel=_INTEGRITY)(integrity.gc)
app.command("bundle", rich_help_panel=_INTEGRITY)(integrity.bundle)
app.command("unbundle", rich_help_panel=_INTEGRITY)(integrity.unbundle)
app.command("bisect", rich_help_panel=_INTEGRITY)(mending.bisect)
app.command("revert", rich_help_panel=_INTEGRITY)(mending.revert)
