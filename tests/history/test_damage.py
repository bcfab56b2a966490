"""Lost, truncated and exchanged bytes: every reading command says so in a line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from history.kit import World
from typer.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def says(run: Run, own: World) -> Callable[..., str]:
    """Run a command that must fail with a line and a hint."""

    def invoke(*words: object) -> str:
        result = run(*words, home=own.home.path)
        assert result.exit_code == 1, result.output
        assert len(result.stderr.splitlines()) == 2
        return result.stderr.splitlines()[0]

    return invoke


COMMANDS = [("log", "--oneline"), ("show",), ("blame", "norm.weight"), ("diff", "@1", "@2"), ("checkout", "main", "/nowhere/x")]


@pytest.mark.parametrize("words", COMMANDS)
def test_a_lost_commit(own: World, says: Callable[..., str], words: tuple[str, ...]) -> None:
    own.store.blobs.delete(own.head.digest)
    assert f"lacks the bytes of commit {own.head.digest.hex()[:16]}" in says(*words)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_truncated_commit(own: World, says: Callable[..., str], words: tuple[str, ...]) -> None:
    path = own.store.blobs.path(own.head.digest)
    path.write_bytes(path.read_bytes()[:-7])
    assert f"the bytes of commit {own.head.digest.hex()[:16]} are damaged" in says(*words)


def test_a_commit_in_the_place_of_another(own: World, says: Callable[..., str]) -> None:
    parent = own.store.blobs.path(own.head.base)
    own.store.blobs.path(own.head.digest).write_bytes(parent.read_bytes())
    assert f"are those of {own.head.base.hex()[:16]}" in says("show")


def test_a_damaged_payload(own: World, says: Callable[..., str], run: Run) -> None:
    (claim,) = [claim for _, claim in own.head.contributions()]
    path = own.store.blobs.path(claim.payload.sha256)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "of round 2 is damaged in this store" in says("blame", "norm.weight")
    assert "is damaged in this store" in run("show", home=own.home.path).stdout


def test_a_damaged_annotation_is_a_bad_signature(own: World, run: Run) -> None:
    assert run("tag", "v1", "-m", "fine", home=own.home.path).exit_code == 0
    with own.store.transaction():
        own.store.refs._index.write("UPDATE tags SET record = ?", (b"\x80",))
    assert "BAD SIGNATURE" in run("tag", home=own.home.path).stdout
    assert "BAD SIGNATURE" in run("show", "v1", home=own.home.path).stdout
