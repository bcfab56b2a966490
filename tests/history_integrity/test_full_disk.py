"""No room on the disk, at each step of each command that writes: one clear line, and nothing lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from history_integrity.samples import Sample
from typer.testing import Result
from worker_kit import workers_in_processes

from collab.node import files
from collab.node.history import bisect_state
from collab.node.store import Store

Run = Callable[..., Result]


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refused(done: Result) -> bool:
    return done.exit_code == 1 and done.stderr.startswith("error: no space left on the disk that holds ")


@pytest.mark.parametrize("step", ["sync", "move"])
def test_bundle(run: Run, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(files, step, full)
        assert refused(run("bundle", tmp_path / "out" / "bundle"))
    assert list((tmp_path / "out").iterdir()) == []
    assert run("bundle", tmp_path / "out" / "bundle").exit_code == 0


@pytest.mark.parametrize("step", ["the blob", "the index"])
def test_revert(run: Run, sample: Sample, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    with monkeypatch.context() as patch:
        if step == "the blob":
            patch.setattr(files, "move", full)
        else:
            add_commit = Store.add_commit

            def small(store: Store, *arguments: Any) -> bytes:
                (pages,) = store._index.rows("PRAGMA page_count")[0]
                store._index.rows(f"PRAGMA max_page_count = {pages}")
                digest = add_commit(store, *arguments)
                store.put_note("large", bytes(1 << 20))
                return digest

            patch.setattr(Store, "add_commit", small)
        assert refused(run("revert", "HEAD", "--into", "fixed"))
    with sample.store(read_only=True) as store:
        assert store.refs.get("heads/fixed") is None
    assert run("gc").exit_code == 0
    assert run("fsck").stdout == "no errors\n"


def test_bisect(run: Run, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    with workers_in_processes(), monkeypatch.context() as patch:
        patch.setattr(files, "sync", full)
        assert refused(run("bisect", "@1", "@3", "--run", "exit 1"))
    assert bisect_state.StateFile(sample.folder.path / "bisect.json").load() is None
    assert list(sample.folder.path.glob(".*.tmp")) == []
    assert run("bisect", "@1", "@3", "--run", "exit 1").exit_code == 0
