"""Revisions and ranges mean what they mean to git: to git itself, and to a model by definition."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest
from history.graphs import DictGraph, graphs
from hypothesis import given
from hypothesis import strategies as st

from collab.protocol.refs import Range, RefError, Revision, ancestors, history, merge_bases, parse, resolve, select
from collab.protocol.refs.revision import Step

LINE = DictGraph([(), (0,), (1,), (2,)], {})
#  0 ─ 1 ─ 2 ─── 4 ─ 5     two lines that part and meet, and a root of its own
#       ╰─ 3 ───╯    6
MERGED = DictGraph([(), (0,), (1,), (1,), (2, 3), (4,), ()])


def numbers(graph: DictGraph, commits: list[bytes]) -> list[int]:
    return [graph.numbers[commit] for commit in commits]


def test_parsing_takes_steps_apart() -> None:
    assert parse("main") == Revision("main", "main")
    assert parse("v1~3^2^^{}~") == Revision("v1~3^2^^{}~", "v1", (Step(1, 3), Step(2, 1), Step(1, 1), Step(1, 1)))
    assert parse("a..b~") == Range(Revision("a", "a"), Revision("b~", "b", (Step(1, 1),)))
    assert parse("...b") == Range(Revision("HEAD", "HEAD"), Revision("b", "b"), symmetric=True)
    assert parse("v1.2.0..") == Range(Revision("v1.2.0", "v1.2.0"), Revision("HEAD", "HEAD"))


@pytest.mark.parametrize("text", ["", "..", "...", "^main", "~", "main^{tree}", "main~-1", "main^x", "a..^b"])
def test_what_is_no_revision_is_one_line(text: str) -> None:
    with pytest.raises(RefError) as error:
        parse(text)
    assert "\n" not in str(error.value)


@given(st.text(alphabet="main~^.@{}0159af/", max_size=12))
def test_any_text_is_a_revision_of_the_graph_or_a_ref_error(text: str) -> None:
    with contextlib.suppress(RefError):
        assert set(select(MERGED, text)) <= set(MERGED.ids)


def test_steps_lead_to_parents() -> None:
    graph = DictGraph(MERGED.links, {"heads/main": MERGED.ids[5]})
    for text, number in {
        "main": 5, "HEAD": 5, "@": 5, "@~": 4, "main^^": 2, "main~^2": 3, "main~^2~": 1, "main~4": 0, "main^0": 5, "main^{}": 5,
        "main^{commit}~1": 4, "@3": 4, "@0": 0,
    }.items():  # fmt: skip
        assert resolve(graph, text) == graph.ids[number], text
    for text, why in {"main~5": "is the root", "main^2": "has 1 parent", "main~^3": "has 2 parents", "@9": "round 9"}.items():
        with pytest.raises(RefError, match=why):
            resolve(graph, text)
    with pytest.raises(RefError, match="one commit is meant"):
        resolve(graph, "main~..main")


def test_names_come_before_prefixes_and_tags_before_branches() -> None:
    ids = [bytes.fromhex("abcd" + "0" * 60), bytes.fromhex("abcd" + "1" * 60), bytes.fromhex("fe" * 32)]
    graph = DictGraph([(), (0,), (1,)], {"tags/v1": ids[0], "heads/v1": ids[1], "heads/fefe": ids[0]}, ids)
    for text, number in {
        "v1": 0, "tags/v1": 0, "heads/v1": 1, "refs/heads/v1": 1, "fefe": 0, "fefef": 2, "FEFEFE": 2, "abcd1": 1, "fe" * 32: 2,
    }.items():  # fmt: skip
        assert resolve(graph, text) == ids[number], text
    for text, why in {
        "abcd": r"'abcd' is the beginning of 2 ids: abcd0{12} \(round 0\), abcd1{12} \(round 1\)",
        "abc": "at least 4 digits", "0123": "no commit whose id begins so", "ab" * 32: "there is no commit abababababab… here",
        "nothing": "no branch, tag or commit 'nothing'", "f" * 65: "no branch, tag or commit",
    }.items():  # fmt: skip
        with pytest.raises(RefError, match=why):
            resolve(graph, text)


def test_a_parent_that_was_never_fetched_ends_a_walk() -> None:
    class Shallow(DictGraph):
        def parents(self, commit: bytes) -> tuple[bytes, ...]:
            if self.numbers[commit] == 0:
                raise KeyError(commit.hex())
            return super().parents(commit)

    graph = Shallow(LINE.links)
    assert numbers(graph, select(graph, "main")) == [3, 2, 1]
    with pytest.raises(RefError, match="never fetched"):
        resolve(graph, "main~3")


def test_a_shown_history_is_newest_first() -> None:
    assert numbers(MERGED, history(MERGED, [MERGED.ids[5]]))[:2] == [5, 4]
    assert numbers(MERGED, select(DictGraph(MERGED.links, {"heads/a": MERGED.ids[2], "heads/b": MERGED.ids[3]}), "a..b")) == [3]


@given(graphs(), st.data())
def test_sets_of_commits_are_those_of_the_definition(graph: DictGraph, data: st.DataObject) -> None:
    number = st.integers(0, len(graph.ids) - 1)
    a, b = data.draw(number), data.draw(number)
    graph.refs |= {"heads/a": graph.ids[a], "heads/b": graph.ids[b]}
    reach = graph.reach()

    assert set(numbers(graph, list(ancestors(graph, [graph.ids[a]])))) == reach[a]
    common = reach[a] & reach[b]
    best = {x for x in common if not any(x != y and x in reach[y] for y in common)}
    assert set(numbers(graph, merge_bases(graph, graph.ids[a], graph.ids[b]))) == best
    for text, expected in {"b": reach[b], "a..b": reach[b] - reach[a], "a...b": reach[a] ^ reach[b]}.items():
        listed = numbers(graph, select(graph, text))
        assert sorted(listed) == sorted(expected), text
        for at, commit in enumerate(listed):  # children before parents
            assert not any(commit != later and later not in reach[commit] and commit in reach[later] for later in listed[at:])


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_agrees(tmp_path: Path) -> None:
    links: list[tuple[int, ...]] = [(), (0,), (1,), (1,), (2, 3), (3,), (4, 5), (5, 4), (7, 6), (6,), (), (10, 9)]
    stream = "".join(
        f"commit refs/heads/c{number}\nmark :{number + 1}\ncommitter t <t@t> {number} +0000\ndata 0\n"
        + (f"from :{parents[0] + 1}\n" if parents else "")
        + "".join(f"merge :{parent + 1}\n" for parent in parents[1:])
        + "\n"
        for number, parents in enumerate(links)
    )

    def git(*words: str, stdin: str = "") -> list[str]:
        return subprocess.run(
            ["git", "-C", str(tmp_path), *words], input=stdin, text=True, check=True, capture_output=True
        ).stdout.splitlines()

    git("init", "-q")
    git("fast-import", "--quiet", stdin=stream)
    count = len(links)
    names = [f"c{number}" for number in range(count)]
    ids = git("rev-parse", *names)
    graph = DictGraph(links, {f"heads/{name}": bytes.fromhex(commit) for name, commit in zip(names, ids, strict=True)})
    graph = DictGraph(links, dict(graph.refs), [bytes.fromhex(commit) for commit in ids])

    steps = ["", "^", "~", "^2", "~2", "^^2", "^2^", "~3^2", "^0", "^{}", "~0", "^3", "~9", "^2~2"]
    texts = [name + step for name in names for step in steps]
    for text, line in zip(texts, git("cat-file", "--batch-check", stdin="\n".join(texts)), strict=True):
        try:
            ours = resolve(graph, text).hex()
        except RefError:
            ours = text  # "… missing"
        assert line.split()[0] == ours, text
    for text in ("c8", "c6..c8", "c8..c6", "c6...c7", "c2...c5", "c10..c11", "c11...c9"):
        assert sorted(git("rev-list", text)) == sorted(commit.hex() for commit in select(graph, text)), text
    for a, b in (("c6", "c7"), ("c2", "c3"), ("c8", "c9"), ("c0", "c10")):
        theirs = subprocess.run(
            ["git", "-C", str(tmp_path), "merge-base", "--all", a, b], text=True, check=False, capture_output=True
        ).stdout.split()
        assert sorted(theirs) == [commit.hex() for commit in merge_bases(graph, resolve(graph, a), resolve(graph, b))]
