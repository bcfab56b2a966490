"""The picture of a node: in words, in 80 × 24 and in more, in colour and without."""

from __future__ import annotations

import io
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from collab.node.display.panel import MOST_WIDTH, render, sparkline
from collab.node.display.view import NodeView
from collab.node.processes.frames import FrameDecoder, encode_frame

VIEW = NodeView(
    event="bengali-bert", event_id="ab" * 32, peer="12D3KooWDhJnKw8BVXY6Z3wsqtuEgZ8LXxx9wTxML3M2co9igCYi", round=12,
    commit="3fa9c1d2" * 8, contributors=4, share=0.25, swarm_samples=400_000, phase="training", phase_seconds_left=125.0,
    step=14, steps=20, samples=12_000, loss=3.2, tokens_per_second=1234.5, peers=3, gossip_peers=3, bytes_sent=1_234_567,
    bytes_received=999, device="cuda:0", name="Ada", rank=2, ranked=5, credit_samples=100_000, credit_contributions=11,
    losses=(4.0, 3.5, 3.0), board=(("Bo", 200_000), ("Ada", 100_000)),
)  # fmt: skip


def shown(view: NodeView, width: int = 80, height: int = 24, *, colour: bool = False) -> str:
    console = Console(
        width=width, file=io.StringIO(), force_terminal=colour, color_system="truecolor" if colour else None, record=True
    )
    console.print(render(view, width, height))
    return console.export_text(styles=colour)


def test_everything_is_said_in_80_columns_and_24_lines() -> None:
    text = shown(VIEW)
    for words in (
        "bengali-bert · Ada (…9igCYi)", "Round 13: training", "at most 2 min 05 s more", "14 of 20 steps", "4 nodes",
        "400,000 samples learned so far", "round 12 merged 4 contributions · commit 3fa9c1d23fa9",
        "loss 3.0000  █▅▁  lower is better",
        "cuda:0 · 1,234 tokens/s · 12,000 samples since the start", "1.2 MB sent · 999 B received",
        "100,000 samples in 11 contributions · 25.0% of all", "place 2 of 5 · 25% of round 12", "merged with the others'",
    ):  # fmt: skip
        assert words in text
    lines = text.splitlines()
    assert len(lines) <= 20
    assert {len(line) for line in lines} == {80}


def test_a_tall_terminal_shows_who_gave_most() -> None:
    assert "most given" not in shown(VIEW)
    tall = shown(VIEW, 120, 40)
    assert "most given" in tall
    assert "Bo" in tall
    assert max(map(len, tall.splitlines())) == MOST_WIDTH


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (replace(VIEW, paused="on battery", pauser="manners", phase="paused"), ("Paused: on battery", "goes on by itself")),
        (replace(VIEW, paused="a film", pauser="owner"), ("Paused: a film", "`collab-node resume`", "its memory is yours")),
        (replace(VIEW, trains=False, credit_served=12_345_678, credit_gates=48, credit_samples=0, credit_contributions=0), (
            "helps without training:", "checks merges, runs gates, serves and relays", "48 gates run · 12.3 MB served",
            "place 2 of 5", "the merge is checked here too",
        )),
        (replace(VIEW, credit_checked=7), ("100,000 samples in 11 contributions", "7 merges checked")),
        (replace(VIEW, trains=False, rank=None), ("none yet: it comes when others say what they got",)),
        (replace(VIEW, rank=None), ("none yet: it comes with the first contribution",)),
        (replace(VIEW, commit="", round=0, losses=(), loss=None, phase="connecting"), ("Looking for the swarm", "first peers")),
        (replace(VIEW, round=0), ("is the event's first weights",)),
        (replace(VIEW, contributors=1), ("merged 1 contribution ·",)),
        (replace(VIEW, held_out_loss=2.5), ("loss on text it never saw 2.5000",)),
        (replace(VIEW, peers=0), ("no other node yet",)),
        (replace(VIEW, restarts=2), ("2 restarts",)),
        (replace(VIEW, restarts=1, credit_contributions=1, credit_gates=1), ("1 restart", "in 1 contribution ·", "1 gate run")),
        (replace(VIEW, waits="a merge needs 2 contributions and 1 is here"), ("waits", "A merge needs 2", "and 1 is here.")),
        (replace(VIEW, contributors=0, refused="2 refused: the gate"), ("merged 0 contributions ·", "2 refused: the gate")),
        (replace(VIEW, running=False, phase="stopped", message="stopped; the newest is of today"), ("Not running", "of today")),
        (replace(VIEW, warning="this clock is wrong"), ("to mend", "this clock is wrong")),
        (replace(VIEW, phase="voting"), ("Round 13: voting", "two thirds")),
        (replace(VIEW, phase="final"), ("The round is done", "begins from the new version")),
        (replace(VIEW, leaves=True), ("Round 13: training", "the node says goodbye and stops")),
        (replace(VIEW, phase="leaving"), ("The work here is done",)),
        (replace(VIEW, phase="serving"), ("The event is over",)),
        (replace(VIEW, rank=None, ranked=0, phase="round"), ("counted once the newest version is here",)),
        (replace(VIEW, restarts=1), (" 1 restart ",)),
        (replace(VIEW, phase="something_new", message="a line"), ("Something new", "a line")),
    ],
)  # fmt: skip
def test_other_nodes(view: NodeView, words: tuple[str, ...]) -> None:
    text = shown(view)
    for word in words:
        assert word in text


@given(
    st.text(st.characters(exclude_categories=("C", "Z")), max_size=80), st.integers(40, 200), st.integers(10, 60), st.booleans(),
    st.lists(st.floats(0, 20), max_size=40),
)  # fmt: skip
def test_nothing_breaks_the_frame(text: str, width: int, height: int, paused: bool, losses: list[float]) -> None:
    view = replace(
        VIEW, event=text, name=text[:32], message=text, phase=text or "x", paused=text if paused else "", losses=tuple(losses),
        board=((text, 1),), held_out_loss=1.0,
    )  # fmt: skip
    wide = max(width, 60)
    console = Console(width=wide, file=io.StringIO(), record=True)
    lines = console.render_lines(render(view, wide, height), pad=False)
    assert len(lines) <= 30
    sizes = {sum(segment.cell_length for segment in line) for line in lines}
    assert sizes == {min(wide, MOST_WIDTH)}


def test_without_colour_nothing_is_lost() -> None:
    assert "\x1b" not in shown(VIEW)
    coloured = shown(VIEW, colour=True)
    assert "\x1b[" in coloured


def test_a_view_survives_the_control_socket() -> None:
    (decoded,) = FrameDecoder().feed(encode_frame(VIEW.to_dict()))
    assert NodeView.from_dict(decoded) == VIEW
    assert {field.name for field in fields(NodeView)} == set(VIEW.to_dict())


def test_losses_as_blocks() -> None:
    assert (sparkline([]), sparkline([1.0]), sparkline([1.0, 1.0]), sparkline([1.0, 8.0])) == ("", "", "▁▁", "▁█")
    assert len(sparkline([float(number) for number in range(100)])) == 24


@pytest.mark.parametrize("phase", ["training", "collecting", "voting", "final"])
@pytest.mark.parametrize("trains", [True, False])
def test_the_picture_keeps_its_height_from_phase_to_phase(phase: str, trains: bool) -> None:
    first, view = replace(VIEW, trains=trains), replace(VIEW, trains=trains, phase=phase)
    assert len(shown(view).splitlines()) == len(shown(first).splitlines())


def test_of_credit_nothing_is_said_before_the_history_is_here() -> None:
    assert "my credit" not in shown(replace(VIEW, commit="", rank=None, phase="connecting"))


def test_what_is_to_mend_stands_first_so_that_no_small_terminal_hides_it() -> None:
    lines = shown(replace(VIEW, warning="the clock is wrong")).splitlines()
    assert "to mend" in lines[4]
