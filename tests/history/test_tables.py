"""Tables fit a terminal of 80 columns, whatever stands in them."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType
from rich.table import Table

from collab.node.history import tables
from collab.node.history.blame import Credit
from collab.node.history.diff import TensorDiff
from collab.node.history.log import Work, spans
from collab.node.history.moves import Move

PEER = "12D3KooWDhJnKw8BVXY6Z3wsqtuEgZ8LXxx9wTxML3M2co9igCYi"
TENSOR = "albert.encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm.weight"


def printed(renderable: RenderableType) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(renderable)
    return out.getvalue().splitlines()


def fits(table: Table, *words: str) -> None:
    """All of it is on lines of 80 columns, the words whole."""
    lines = printed(table)
    assert max(map(len, lines)) <= 80
    for word in words:
        assert any(word in line for line in lines), word


def test_long_names_wrap_and_numbers_stay_whole() -> None:
    large = TensorDiff(TENSOR, 10**9, 123_456_789, -1.2345e-5, 1e6, 1e6, -9e5, 2.5e-9)
    fits(tables.diff_table([large]), "123,456,789", "-1.234e-05", "-0.900000", "12.3%")
    move = Move(TENSOR, 10**9, 123_456_789, 1.2345e-5, -1.2345e-5)
    fits(tables.moves_table([move], 10**10), "123,456,789", "-1.234e-05", "1.2%")


def test_many_rounds_wrap() -> None:
    work = Work(PEER, set(range(0, 2000, 2)), 1000, 10**9, 10**6, 10**12, 1000.0, 17)
    fits(tables.work_table([work]), "1,000,000,000", "1,000,000", "1.0 TB")
    fits(tables.blame_table([Credit(PEER)], 10**9), "12D3KooW…igCYi"[:9])


def test_stat_lines_name_the_farthest_and_count_the_rest() -> None:
    moves = [Move(f"layer.{at}", 100, 10 * at, float(at), 0.5) for at in range(12, 0, -1)]
    lines = tables.stat_lines(moves)
    assert len(lines) == 9
    assert lines[0] == " layer.12 |         120        12 ++++++++++"
    assert lines[-1].startswith(" … and 4 more; in all 12 tensors, 780 coordinates")
    assert tables.stat_lines([]) == [" nothing moved"]
    assert max(map(len, tables.stat_lines([Move(TENSOR, 10**9, 10**9, 1e-9, 0.5)]))) <= 78


def test_rounds_are_told_in_spans() -> None:
    assert spans([]) == ""
    assert spans([7, 1, 2, 3, 9]) == "1-3, 7, 9"
    assert spans({4, 5}) == "4-5"
