"""States and their differences: what a page makes of deltas is what the server has."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collab.node.dashboard.state import Delta, State, difference, to_json

plain = st.integers(-3, 3) | st.text(max_size=3) | st.booleans()
rows = st.dictionaries(st.sampled_from("abcd"), plain, min_size=1, max_size=3)
states = st.builds(
    State,
    st.dictionaries(st.sampled_from("xyz"), rows, max_size=3),
    st.dictionaries(st.sampled_from(["peers", "rounds"]), st.dictionaries(st.sampled_from("123"), rows, max_size=3), max_size=2),
)


def applied(state: State, delta: Delta) -> State:
    """What static/state.js does."""
    values = dict(state.values)
    tables = {name: dict(table) for name, table in state.tables.items()}
    for name, value in delta.get("values", {}).items():
        merge(values, name, value)
    for name, changes in delta.get("tables", {}).items():
        for key, row in changes.items():
            merge(tables.setdefault(name, {}), key, row)
    return State(values, tables)


def merge(into: dict[str, Any], name: str, value: object) -> None:
    if value is None:
        into.pop(name, None)
    else:
        into[name] = value


def filled(state: State) -> State:
    """A table without rows is no table."""
    return State(state.values, {name: table for name, table in state.tables.items() if table})


@given(states, states)
def test_a_state_and_the_difference_make_the_next_state(before: State, after: State) -> None:
    assert filled(applied(before, difference(before, after))) == filled(after)


@given(states)
def test_nothing_is_sent_when_nothing_changed(state: State) -> None:
    assert difference(state, State(dict(state.values), dict(state.tables))) == {}


def test_a_table_that_changed_sends_its_changed_rows_alone() -> None:
    before = State({}, {"peers": {"a": {"n": 1}, "b": {"n": 1}, "c": {"n": 1}}})
    after = State({}, {"peers": {"a": {"n": 1}, "b": {"n": 2}}})
    assert difference(before, after) == {"tables": {"peers": {"b": {"n": 2}, "c": None}}}


def test_json_holds_no_number_that_json_does_not_have_and_no_endless_text() -> None:
    value = json.loads(to_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": "x" * 9999}))
    assert value["a"] is None
    assert value["b"] == [None, 1.5]
    assert len(value["c"]) == 2000
