"""`event ban`, `admit`, `pause` … : what coordinators decide after an event has started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .flags import ConfigFlag, EventFlag, HomeFlag, JsonFlag, event_of

if TYPE_CHECKING:
    from ...protocol.amendments import Body
    from ..amendments.making import Made

PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="A peer id, or the end of one that took part.")]
ReasonFlag = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, in a few words that everybody sees.")]
OutFlag = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Where the draft goes if other coordinators have to sign.")
]


def ban(
    peer: PeerArgument, reason: ReasonFlag = "", out: OutFlag = None,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Shut a peer out: it is neither heard nor served, and what it sends is refused."""
    from ...protocol.amendments import Ban

    found = _peer(peer, home, config, event)
    if _decide(lambda: Ban(peer=found, reason=reason), out, home, config, event):
        typer.echo(f"to take back what it contributed: collab-node revert --contributor {found}")


def admit(
    peer: PeerArgument, reason: ReasonFlag = "", out: OutFlag = None,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Lift a ban, or let a peer into an event by invitation without an invite."""
    from ...protocol.amendments import Admit

    found = _peer(peer, home, config, event)
    _decide(lambda: Admit(peer=found, reason=reason), out, home, config, event)


def revoke(
    invite: Annotated[str, typer.Argument(metavar="ID", help="An invite's id or its first digits: `event invites` lists them.")],
    reason: ReasonFlag = "", out: OutFlag = None,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Let nobody in any more by an invite; who is in already stays."""
    from ...protocol.amendments import Revoke
    from ..event.inviting import token_meant

    token = token_meant(event_of(home, config, event)[1], invite)
    _decide(lambda: Revoke(token=token, reason=reason), out, home, config, event)


def pause(
    reason: ReasonFlag = "", out: OutFlag = None, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = ""
) -> None:
    """Let the swarm rest: no rounds, no training, until `event open`."""
    from ...protocol.amendments import Pause

    _decide(lambda: Pause(reason=reason), out, home, config, event)


def open_(out: OutFlag = None, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "") -> None:
    """Let a paused event go on."""
    from ...protocol.amendments import Open

    _decide(Open, out, home, config, event)


def extend(
    last_round: Annotated[int | None, typer.Option("--last-round", metavar="N", min=0, help="0: until it is closed.")] = None,
    total_samples: Annotated[
        int | None, typer.Option("--total-samples", metavar="N", min=1, help="Where the learning rate's cosine ends.")
    ] = None,
    out: OutFlag = None, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Give the event another last round, or another number of samples."""
    from ...protocol.amendments import Extend
    from ..errors import UsageError

    if last_round is None and total_samples is None:
        raise UsageError("say how far: --last-round N, or --total-samples N")
    if last_round:
        _check_ahead(last_round, home, config, event)
    if total_samples:
        _check_samples(total_samples, home, config, event)
    _decide(lambda: Extend(last_round=last_round, total_samples=total_samples), out, home, config, event)


def close(
    after: Annotated[int, typer.Option("--after", metavar="N", min=0, help="The last round; 0: the one under way.")] = 0,
    out: OutFlag = None, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """End the event after a round."""
    from ...protocol.amendments import Close
    from ..amendments.making import standing
    from ..errors import UserError

    now = standing(event_of(home, config, event)[1])
    last, ends = after or now.round + 1, now.in_force.last_round
    _check_ahead(last, home, config, event)
    if 0 < ends <= last:
        verb = "is over since" if now.in_force.is_over(now.round) else "ends after"
        raise UserError(f"the event {verb} round {ends} already", "more rounds: `collab-node event extend --last-round N`")
    _decide(lambda: Close(after=last), out, home, config, event)


def _check_ahead(last: int, home: Path | None, config: Path | None, event: str) -> None:
    """Raise UserError for a last round that is past: what is merged stays."""
    from ..amendments.making import standing
    from ..errors import UserError

    merged = standing(event_of(home, config, event)[1]).round
    if last < merged:
        raise UserError(f"round {merged} is merged already, so {last} is past", "`collab-node event close` ends it now")


def _check_samples(total: int, home: Path | None, config: Path | None, event: str) -> None:
    """Raise UserError for an end of the cosine that is past: the rate would fall to its end at once."""
    from ..amendments.making import standing
    from ..errors import UserError

    merged = standing(event_of(home, config, event)[1]).samples
    if total <= merged:
        raise UserError(f"{merged:,} samples are merged already, so {total:,} is past", "give more than that")


def amend(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML with the keys that change, in the event file's sections.")],
    from_round: Annotated[int, typer.Option("--from-round", metavar="N", min=1, help="The first round of the new recipe.")],
    out: OutFlag = None, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Change the recipe from a round that lies ahead: inner, compression, outer, merge, rounds."""
    from ..amendments.making import standing
    from ..amendments.recipe_file import read_recipe

    _, folder = event_of(home, config, event)
    recipe = read_recipe(file, standing(folder).in_force, from_round)
    _decide(lambda: recipe, out, home, config, event)


def coordinators(
    key: Annotated[list[str], typer.Option("--key", metavar="PEER", help="A coordinator's peer id; the first leads.")],
    threshold: Annotated[int, typer.Option("--threshold", metavar="K", min=1, help="So many of them sign a decision.")] = 1,
    out: OutFlag = None, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Name the coordinators from now on: to share the event, or to hand it over."""
    from ...protocol.amendments import Coordinators

    _decide(lambda: Coordinators(keys=tuple(key), threshold=threshold), out, home, config, event)


def bootstrap(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS…", help="Where peers are found from now on.")],
    out: OutFlag = None, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Say where the event's peers are found from now on."""
    from ...protocol.amendments import Bootstrap
    from ..errors import UserError
    from ..net.addresses import is_address

    wrong = [address for address in addresses if not is_address(address)]
    if wrong:
        raise UserError(f"{wrong[0]!r} is not a peer's address", "it looks like /ip4/203.0.113.7/tcp/4001/p2p/12D3Koo…")
    _decide(lambda: Bootstrap(addresses=tuple(addresses)), out, home, config, event)


def announce(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="One sentence.")],
    out: OutFlag = None, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Tell all volunteers something."""
    from ...protocol.amendments import Announce

    _decide(lambda: Announce(text=text), out, home, config, event)


def sign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The draft that another coordinator's command wrote.")],
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "",
) -> None:  # fmt: skip
    """Sign a draft; the last signature that it needs publishes it."""
    from ..amendments.making import sign as sign_draft

    node_home, folder = event_of(home, config, event)
    _report(sign_draft(node_home, folder, file))


def amendments(
    as_json: JsonFlag = False, home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = ""
) -> None:
    """List what the coordinators decided."""
    import json

    from ..amendments.listing import fields_of, line_of
    from ..amendments.making import standing

    _, folder = event_of(home, config, event)
    now = standing(folder)
    if as_json:
        typer.echo(json.dumps([fields_of(signed) for signed in now.chain]))
        return
    for signed in now.chain:
        typer.echo(line_of(signed))
    if not now.chain:
        typer.echo("nothing was decided since the event was created")


def add_to(app: typer.Typer) -> None:
    """Add the commands to those of `event`."""
    commands: list[Callable[..., None]] = [
        ban, admit, revoke, pause, open_, extend, close, amend, coordinators, bootstrap, announce, sign, amendments,
    ]  # fmt: skip
    for command in commands:
        app.command(command.__name__.rstrip("_"))(command)


def _peer(text: str, home: Path | None, config: Path | None, event: str) -> str:
    from ..amendments.making import peer_meant

    return peer_meant(event_of(home, config, event)[1], text)


def _decide(make: Callable[[], Body], out: Path | None, home: Path | None, config: Path | None, event: str) -> bool:
    """Make an amendment and say what became of it; True if it is in force."""
    from ..amendments.making import decide, made_body

    node_home, folder = event_of(home, config, event)
    made = decide(node_home, folder, made_body(make), out)
    _report(made)
    return made.draft is None


def _report(made: Made) -> None:
    from ..amendments.words import body_words

    content = made.signed.content
    typer.echo(f"amendment {content.number}: {body_words(content.body)}")
    if made.draft is not None:
        more = "signature is" if made.missing == 1 else "signatures are"
        typer.echo(f"{made.missing} more {more} needed: the next coordinator runs `collab-node event sign {made.draft}`")
    elif not made.told:
        typer.echo("no node runs in this home: the swarm hears of it when one starts")
