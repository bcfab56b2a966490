"""Lines of keys: hand-written cases for each construct of the grammar, and a property over generated documents."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collab.node.event.toml_lines import KeyPath, key_lines


def test_tables_dotted_keys_and_comments() -> None:
    text = 'a = 1  # b = 2\n\n# c = 3\n[d]\ne.f = "g = 1"\n[h . "i.j"] # k\nl = 2\n'
    assert key_lines(text) == {
        ("a",): 1,
        ("d",): 4,
        ("d", "e"): 5,
        ("d", "e", "f"): 5,
        ("h",): 6,
        ("h", "i.j"): 6,
        ("h", "i.j", "l"): 7,
    }


def test_strings_that_look_like_keys() -> None:
    text = "a = '''\nx = 1\n[y]''''\nb = \"\"\"\\\"\"\"\"\"\nc = \"\\\"#\"\n'd' = 'e = \"'\nf = 1\n"
    tomllib.loads(text)
    assert key_lines(text) == {("a",): 1, ("b",): 4, ("c",): 5, ("d",): 6, ("f",): 7}


def test_arrays_and_inline_tables_have_lines_inside() -> None:
    text = 'a = [\n  1.5, # one\n  { b = "}", c = [2] },\n]\nd = { e.f = 1, g = {} }\n'
    lines = key_lines(text)
    assert lines[("a", 0)] == 2
    assert lines[("a", 1)] == lines[("a", 1, "b")] == lines[("a", 1, "c", 0)] == 3
    assert lines[("d", "e", "f")] == lines[("d", "g")] == 5


def test_arrays_of_tables_number_their_items() -> None:
    lines = key_lines("[[a]]\nb = 1\n[[a]]\nb = 2\n")
    assert (lines[("a", 0, "b")], lines[("a", 1, "b")]) == (2, 4)


def test_windows_line_ends() -> None:
    assert key_lines("a = 1\r\n[b]\r\nc = 2\r\n")[("b", "c")] == 3


_KEYS = st.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True) | st.sampled_from(['"a b"', "'c.d'", '"é#"', '"\\""'])
_SCALARS = st.sampled_from(
    ["1", "-1.5e3", "true", "0x1f", "'#'", '"[x]"', '"""\na = 1\n"""', "'''\n}\n'''", "1979-05-27T07:32:00Z", "inf", '""', "''"]
)
_VALUES = st.recursive(
    _SCALARS,
    lambda values: st.lists(values, max_size=3).map(lambda items: "[\n" + ", # c\n".join(items) + "\n]")
    | st.lists(st.tuples(_KEYS, _SCALARS.filter(lambda text: "\n" not in text)), max_size=3, unique_by=lambda pair: pair[0]).map(
        lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"
    ),
    max_leaves=6,
)
_PAIRS = st.lists(st.tuples(_KEYS, _VALUES), max_size=6)


@given(_PAIRS, st.lists(st.tuples(_KEYS, _PAIRS), max_size=3))
def test_every_value_of_a_document_has_the_line_it_is_on(top: list[tuple[str, str]], tables: list[Any]) -> None:
    statements = [f"{key} = {value}" for key, value in top]
    for name, pairs in tables:
        statements += [f"[{name}]", *(f"{key} = {value}" for key, value in pairs)]
    text = "\n".join(statements) + "\n"
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # a key twice
    lines = key_lines(text)
    assert set(lines) == set(_paths(document, ()))
    starts = [1 + sum(statement.count("\n") + 1 for statement in statements[:at]) for at in range(len(statements))]
    assert {line for path, line in lines.items() if len(path) == 1} <= set(starts)


def _paths(value: Any, path: KeyPath) -> list[KeyPath]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*path, key), *_paths(item, (*path, key)))]
