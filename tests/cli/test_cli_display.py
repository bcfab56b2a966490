"""Views, the panel, the lines without a terminal, and the table of rounds."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType
from store_samples import Chain

from collab.node.display.display import LiveDisplay, PlainDisplay, changes, make_display, run_display
from collab.node.display.rounds_table import RoundRow, rounds_table
from collab.node.display.view import NodeView
from collab.node.processes.frames import FrameDecoder, encode_frame
from collab.node.units import bytes_text, loss_text, seconds_text, short

VIEW = NodeView(
    event="bengali-bert", event_id="ab" * 32, peer="12D3KooWDhJnKw8BVXY6Z3wsqtuEgZ8LXxx9wTxML3M2co9igCYi", round=12,
    commit="3fa9c1d2" * 8, contributors=4, share=0.25, phase="catching_up", phase_seconds_left=125.0,
    message="collecting contributions: 3 of 4", step=14, steps=20, samples=112_000, loss=3.21456, tokens_per_second=1234.5,
    peers=3, gossip_peers=3, bytes_sent=1_234_567, bytes_received=999, restarts=1, device="cpu",
    addresses=("/ip4/1.2.3.4/tcp/1",),
)  # fmt: skip


def shown(what: RenderableType, width: int = 80) -> str:
    console = Console(record=True, width=width, file=io.StringIO(), color_system=None)
    console.print(what)
    return console.export_text()


def test_a_view_survives_the_control_socket() -> None:
    (decoded,) = FrameDecoder().feed(encode_frame(VIEW.to_dict()))
    assert NodeView.from_dict(decoded) == VIEW
    assert NodeView.from_dict({**decoded, "from_the_future": 1}) == VIEW


def test_numbers_that_json_lacks_are_left_out() -> None:
    assert replace(VIEW, loss=float("nan"), held_out_loss=float("inf")).to_dict()["loss"] is None


def test_a_line_of_log_for_each_thing_that_happens() -> None:
    def events(before: NodeView | None, after: NodeView) -> list[str]:
        return [event for event, _ in changes(before, after)]

    assert events(None, VIEW) == ["node", "commit", "catching_up"]
    assert events(VIEW, replace(VIEW, step=15, loss=3.0)) == []
    assert events(VIEW, replace(VIEW, commit="ff" * 32, round=13)) == ["commit"]
    waits = replace(VIEW, waits="a merge needs 2 contributions")
    assert (events(VIEW, waits), events(waits, waits)) == (["waiting"], [])
    assert events(VIEW, replace(VIEW, phase="voting", peers=4, restarts=2)) == ["voting", "peers", "restarted"]


def test_which_display_fits() -> None:
    def console(terminal: bool) -> Console:
        return Console(file=io.StringIO(), force_terminal=terminal)

    assert isinstance(make_display("auto", "text", console(True)), LiveDisplay)
    assert isinstance(make_display("auto", "json", console(True)), PlainDisplay)
    assert isinstance(make_display("auto", "text", console(False)), PlainDisplay)
    assert isinstance(make_display("live", "text", console(False)), LiveDisplay)
    assert isinstance(make_display("plain", "text", console(True)), PlainDisplay)
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(make_display("auto", "text", dumb), PlainDisplay)


async def test_a_display_is_drawn_until_its_end() -> None:
    class Enough(Exception):
        pass

    views = iter([VIEW])

    def read() -> NodeView:
        try:
            return next(views)
        except StopIteration as error:
            raise Enough from error

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with pytest.raises(Enough), make_display("live", "text", console) as display:
        await run_display(display, read)
    assert "bengali-bert" in out.getvalue()


def test_a_terminal_of_another_size_is_cleared_and_what_it_writes_itself_pushes_nothing_away() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, color_system=None)
    with LiveDisplay(console) as display:
        display.show(VIEW)
        assert out.getvalue().endswith("╯\n")  # the cursor waits in a line of its own
        assert "\x1b[2J" not in out.getvalue()
        console.width = 70
        display.show(VIEW)
        assert "\x1b[2J\x1b[H" in out.getvalue()
        length = len(out.getvalue())
        display.show(VIEW)
        assert "\x1b[2J" not in out.getvalue()[length:]
    assert out.getvalue().replace("\x1b[?25h", "").endswith("╯\n")


def test_plain_lines_are_only_for_what_changed() -> None:
    with make_display("plain", "text") as display:
        display.show(VIEW)
        display.show(VIEW)


def test_the_table_of_rounds(chain: Chain) -> None:
    rows = [RoundRow.of(commit) for commit in (chain.root, chain.grow(b"x" * 2048), chain.grow())]
    assert rows[1] == RoundRow(1, 3.25, 160, 2048, 1, rows[1].commit)
    text = shown(rounds_table(rows))
    assert "2.0 kB" in text
    assert rows[2].commit[:12] in text
    assert max(map(len, text.splitlines())) <= 80


def test_numbers_for_people() -> None:
    sizes = [bytes_text(count) for count in (0, 999, 1000, 1.5e6, 2e9, 3e15)]
    assert sizes == ["0 B", "999 B", "1.0 kB", "1.5 MB", "2.0 GB", "3,000.0 TB"]
    assert [seconds_text(seconds) for seconds in (-1, 8.4, 125, 3725)] == ["0 s", "8 s", "2 min 05 s", "1 h 02 min"]
    assert (loss_text(None), loss_text(3.14159)) == ("-", "3.1416")
    assert short(b"\xab" * 32) == short("ab" * 32) == "ab" * 6
