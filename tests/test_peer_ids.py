"""Whom a person means by what is typed."""

from __future__ import annotations

import pytest
from rounds.worlds import identity

from collab.node.errors import UserError
from collab.node.peer_ids import peer_meant

ONE, TWO = identity(1).peer_id, identity(2).peer_id


def test_an_id_its_end_or_a_name_that_only_one_has() -> None:
    stranger = identity(3).peer_id
    assert peer_meant(stranger, (), {}) == stranger
    assert peer_meant(f"…{TWO[-6:]}", (ONE, TWO), {}) == peer_meant("Ada", (ONE, TWO), {TWO: "Ada"}) == TWO


def test_whoever_takes_anothers_end_as_a_name_is_not_taken_for_it() -> None:
    with pytest.raises(UserError, match="of several") as refused:
        peer_meant(TWO[-6:], (ONE, TWO), {ONE: TWO[-6:]})
    assert ONE in refused.value.message


@pytest.mark.parametrize("text", ["", "…", "nobody", "12D3nobody"])
def test_what_means_nobody_is_said_so(text: str) -> None:
    with pytest.raises(UserError, match="is no peer id"):
        peer_meant(text, (ONE, TWO), {ONE: "Ada"})
