"""The picture of a node: what the swarm does, what this machine gives, what it is worth, and what happens next, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..units import bytes_text, counted, loss_text, seconds_text, short
from .view import NodeView

LEAST_WIDTH, MOST_WIDTH = 60, 100
_TALL = 30
_BLOCKS = "▁▂▃▄▅▆▇█"
_LOSSES = 24
_NUMBERED = ("training", "collecting", "voting")
_IN_ROUND = (*_NUMBERED, "final")

_DOING = {
    "starting": "Starting",
    "connecting": "Looking for the swarm",
    "fetching the event": "Fetching the event",
    "preparing the model and the data": "Preparing the model and the data",
    "round": "Catching up with the swarm",
    "catching_up": "Catching up with the swarm",
    "training": "Training",
    "collecting": "Collecting contributions",
    "voting": "Voting",
    "final": "The round is done",
    "paused": "Paused",
    "serving": "The event is over",
    "leaving": "The work here is done",
    "stopping": "Saying goodbye",
    "stopped": "Not running",
}
# In 80 columns each fits one line, so that the picture keeps its height from phase to phase.
_NEXT = {
    "starting": "The node connects to the swarm.",
    "connecting": "The first peers are asked for the event.",
    "fetching the event": "The model and the data are prepared.",
    "preparing the model and the data": "What the swarm learned so far is fetched and checked.",
    "round": "What the swarm decided meanwhile is fetched and checked.",
    "catching_up": "What the swarm decided meanwhile is fetched and checked.",
    "training": "What this machine learned is sent, and merged with the others'.",
    "collecting": "The committee checks every contribution, merges them and votes.",
    "voting": "What more than two thirds agree on becomes the next version.",
    "final": "The next round begins from the new version.",
    "serving": "This node stays for those who still fetch what it has.",
    "leaving": "This node stays some seconds for those who fetch what it made.",
    "stopping": "The checkpoint is saved, so that nothing is lost.",
}


def render(view: NodeView, width: int = 80, height: int = 24) -> RenderableType:
    """Return the panel of a node, fit for a terminal of so many columns and lines."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for label, value in _rows(view, tall=height >= _TALL):
        rows.add_row(label, value)
    size = max(LEAST_WIDTH, min(MOST_WIDTH, width))
    style = "yellow" if view.paused else ""
    return Panel(
        Group(_headline(view, size), Text(), rows), title=_title(view), title_align="left", box=box.ROUNDED, width=size,
        border_style=style or "dim", padding=(0, 1),
    )  # fmt: skip


def _title(view: NodeView) -> Text:
    peer = f"…{view.peer[-6:]}" if view.peer else ""
    who = f"{view.name} ({peer})" if view.name else peer
    return Text.assemble((view.event, "bold"), *([" · ", who] if who else []))


def _headline(view: NodeView, width: int) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_row(_doing(view), _time_left(view))
    if view.phase in _IN_ROUND and view.trains and view.steps:
        done = min(view.step, view.steps)
        row = Table.grid(padding=(0, 2))
        row.add_row(ProgressBar(total=view.steps, completed=done, width=width // 2), f"{done:,} of {view.steps:,} steps")
        return Group(grid, row)
    return grid


def _doing(view: NodeView) -> Text:
    if view.paused:
        return Text(f"Paused: {view.paused}", style="bold yellow")
    doing = _DOING.get(view.phase, view.phase.replace("_", " ").capitalize())
    numbered = view.phase in _NUMBERED  # when the round is done, `round` may be it already, or not yet
    return Text(f"Round {view.round + 1}: {doing[0].lower()}{doing[1:]}" if numbered else doing, style="bold")


def _time_left(view: NodeView) -> Text:
    if view.phase_seconds_left is None or view.paused:
        return Text()
    return Text(f"at most {seconds_text(view.phase_seconds_left)} more", style="dim")


def _rows(view: NodeView, *, tall: bool) -> Iterator[tuple[str, RenderableType]]:
    if view.warning:
        yield "to mend", Text(view.warning, style="yellow")
    yield "the swarm", Group(*_swarm(view))
    if view.running:
        yield "my machine", Group(*_machine(view))
    if view.commit:
        yield "my credit", _credit(view)
    for text in view.announcements:
        yield "announced", Text(text, style="bold")
    if view.decided:
        yield "decided", Text(view.decided)
    following = _following(view)
    if view.waits:
        yield "waits", Text(f"{view.waits[0].upper()}{view.waits[1:]}.", style="yellow")
    elif following:
        yield "next", Text(following)
    if tall and view.board:
        yield "", Text()
        yield "most given", _board(view)


def _swarm(view: NodeView) -> Iterator[Text]:
    if view.running:
        nodes = f"{view.peers + 1:,} nodes" if view.peers else "no other node yet"
        yield Text(nodes + (f" · {view.swarm_samples:,} samples learned so far" if view.swarm_samples else ""))
    else:
        yield Text(f"{view.swarm_samples:,} samples learned up to round {view.round}")
    if not view.commit:
        return
    made = f"merged {counted(view.contributors, 'contribution')}" if view.round else "is the event's first weights"
    yield Text(f"round {view.round} {made} · commit {short(view.commit)}")
    if view.refused:
        yield Text(view.refused)
    if view.losses or view.loss is not None:
        newest = view.losses[-1] if view.losses else view.loss
        line = sparkline(view.losses)
        yield Text.assemble(f"loss {loss_text(newest)}  ", (line, "cyan"), ("  lower is better" if line else "", "dim"))
    if view.held_out_loss is not None:
        yield Text(f"loss on text it never saw {loss_text(view.held_out_loss)}")


def _machine(view: NodeView) -> Iterator[Text]:
    device = view.device or "not in use yet"
    done = f" · {view.samples:,} samples since the start" if view.samples else ""
    if not view.trains:
        yield Text(f"{device} · helps without training:")
        yield Text("checks merges, runs gates, serves and relays")
    elif view.paused:
        yield Text(f"{device} · its memory is yours{done}")
    else:
        speed = f" · {view.tokens_per_second:,.0f} tokens/s" if view.tokens_per_second else ""
        yield Text(f"{device}{speed}{done}")
    restarts = f" · {counted(view.restarts, 'restart')}" if view.restarts else ""
    yield Text(f"{bytes_text(view.bytes_sent)} sent · {bytes_text(view.bytes_received)} received{restarts}")


def _credit(view: NodeView) -> RenderableType:
    if view.rank is None and view.running and view.round and not view.ranked:
        return Text("counted once the newest version is here")
    if view.rank is None:
        waits = "it comes with the first contribution that is merged" if view.trains else "it comes when others say what they got"
        return Text(f"none yet: {waits}" if view.running else "none yet")
    part = f" · {view.credit_samples / view.swarm_samples:.1%} of all" if view.swarm_samples else ""
    lines = [Text(text) for text in (_given(view, part), _helped(view)) if text]
    share = f" · {view.share:.0%} of round {view.round}" if view.share else ""
    lines.append(Text.assemble((f"place {view.rank} of {view.ranked}", "bold"), share))
    return Group(*lines)


def _given(view: NodeView, part: str) -> str:
    if not view.credit_contributions:
        return ""
    return f"{view.credit_samples:,} samples in {counted(view.credit_contributions, 'contribution')}{part}"


def _helped(view: NodeView) -> str:
    """Say what a node gave beside samples."""
    checked = f"{counted(view.credit_checked, 'merge')} checked" if view.credit_checked else ""
    gates = f"{counted(view.credit_gates, 'gate')} run" if view.credit_gates else ""
    served = f"{bytes_text(view.credit_served)} served" if view.credit_served else ""
    return " · ".join(text for text in (checked, gates, served) if text)


def _following(view: NodeView) -> str:
    if view.paused:
        if view.pauser == "coordinators":
            return "It goes on by itself when they open the event again."
        by_itself = view.pauser == "manners"
        return "It goes on by itself when this is over." if by_itself else "`collab-node resume` goes on, with nothing lost."
    if view.leaves and view.phase in _IN_ROUND:
        return "When this round is decided, the node says goodbye and stops."
    if view.phase == "training" and not view.trains:
        return "When the others are done, the merge is checked here too."
    return _NEXT.get(view.phase, view.message if view.message != view.phase else "")


def _board(view: NodeView) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=34)
    table.add_column(justify="right")
    for place, (who, samples) in enumerate(view.board, 1):
        table.add_row(str(place), Text(who), f"{samples:,}")
    return table


def sparkline(values: Sequence[float]) -> str:
    """Return the last values as blocks of eight heights: the lowest of them the lowest."""
    shown = values[-_LOSSES:]
    if len(shown) < 2:
        return ""
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[min(7, int(8 * (value - low) / span))] for value in shown)
