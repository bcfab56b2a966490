"""The log of a node in the background: rotated while it is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from collab.node.errors import UserError
from collab.node.hosting.log_file import follow, last_lines
from collab.node.logs import _RotatingFile


def test_the_last_lines_reach_back_into_older_files(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    (tmp_path / "node.log.2").write_text("a\n")
    (tmp_path / "node.log.1").write_text("b\nc\n")
    log.write_text("d\ne\n")
    assert [last_lines(log, count) for count in (0, 1, 3, 99)] == [[], ["e"], ["c", "d", "e"], ["a", "b", "c", "d", "e"]]


def test_no_log_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no log"):
        last_lines(tmp_path / "node.log", 5)


def test_a_log_is_followed_over_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    log.write_text("old\n")

    def events() -> Iterator[None]:
        with log.open("a") as file:
            file.write("one\nhal")
        yield
        with log.open("a") as file:
            file.write("f\n")
        yield
        log.rename(tmp_path / "node.log.1")
        log.write_text("new\n")
        yield

    happen = events()
    lines = follow(log, lambda: next(happen))
    assert [next(lines) for _ in range(3)] == ["one", "half", "new"]


def test_the_log_stays_small_and_a_full_disk_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.node.logs._FILE_BYTES", 100)
    handler = _RotatingFile(tmp_path / "node.log")
    record = logging.LogRecord("x", logging.INFO, "", 0, "y" * 60, None, None)
    for _ in range(20):
        handler.emit(record)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5 * 100

    def full(text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(handler.stream, "write", full)
    handler.emit(record)
    handler.close()
