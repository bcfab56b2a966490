"""`gc` deletes what nothing needs, nothing else, and may be killed at any instruction."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from history_integrity.samples import Sample, killed_at
from typer.testing import Result

from collab.node.errors import UserError
from collab.node.history import gc
from collab.node.store import Store, index
from collab.protocol.commit import Commit
from collab.protocol.messages import Blob, Contribution, Signed
from collab.protocol.record import sha256

Run = Callable[..., Result]


def side_commit(sample: Sample, time: int = 1) -> Commit:
    """A commit beside the chain's last one."""
    return Commit.from_fields({**sample.commit(5).model_dump(), "time": time})


def files(sample: Sample) -> set[Path]:
    return {path for path in sample.folder.store_path.rglob("*") if path.is_file() and "index.sqlite" not in path.name}


def clean(run: Run) -> bool:
    return not json.loads(run("fsck", "--json").stdout)["findings"]


def add_garbage(sample: Sample) -> None:
    """A commit that no ref reaches, a blob of nobody's, files that a killed process left."""
    with sample.store() as store:
        store.add_commit(side_commit(sample))
        store.blobs.put_bytes(b"nobody's")
        store.blobs.partial_path(bytes(32)).write_bytes(b"half")
    (sample.blob_path(sample.snapshot(4)).parent / ".cd.77.tmp").write_bytes(b"half")


def test_only_what_nothing_needs_is_deleted(run: Run, sample: Sample) -> None:
    before = files(sample)
    add_garbage(sample)
    with_garbage = files(sample)
    assert len(with_garbage) == len(before) + 4
    told = json.loads(run("gc", "--dry-run", "--json").stdout)
    assert (told["commits"], told["blobs"], told["files"]) == (1, 2, 2)
    assert files(sample) == with_garbage
    assert json.loads(run("gc", "--json").stdout) == told
    assert files(sample) == before
    assert clean(run)
    assert "deleted 0 commits" in run("gc").stdout
    assert run("verify").exit_code == 0


def test_what_a_branch_or_tag_reaches_stays(run: Run, sample: Sample) -> None:
    side = side_commit(sample)
    with sample.store() as store:
        store.add_commit(side)
        store.refs.update("heads/mine", side.digest, None)
        store.add_commit(side_commit(sample, 2))
    assert json.loads(run("gc", "--json").stdout)["commits"] == 1
    with sample.store() as store:
        assert store.commit(side.digest) == side
        store.refs.update("heads/mine", None, side.digest)
    assert json.loads(run("gc", "--json").stdout)["commits"] == 1
    assert clean(run)


def test_an_open_contribution_keeps_its_payload(run: Run, sample: Sample) -> None:
    payload, late = b"a payload", b"too late"
    with sample.store() as store:
        for base, data in ((sample.commit(5), payload), (sample.commit(1), late)):
            claim = sample.commit(5).contributions()[0][1]
            blob = Blob(sha256=store.blobs.put_bytes(data), size=len(data))
            changed: Contribution = claim.model_copy(update={"base": base.digest, "round": base.round, "payload": blob})
            store.add_contribution(Signed.seal(sample.identity, changed), changed)
    told = json.loads(run("gc", "--json").stdout)
    assert (told["contributions"], told["blobs"]) == (1, 1)
    with sample.store() as store:
        assert store.blobs.has(sha256(payload))
        assert not store.blobs.has(sha256(late))
    assert clean(run)


def test_a_snapshot_is_kept_for_every_version_that_is_reached(run: Run, sample: Sample) -> None:
    snapshots = [sample.snapshot(round) for round in (0, 2, 4)]
    run("gc")
    assert all(sample.blob_path(blob).exists() for blob in snapshots)


@pytest.mark.parametrize("failpoint", ["gc-transaction", "gc-rows", "gc-blob"])
def test_killed_at_any_point_nothing_is_lost(run: Run, sample: Sample, failpoint: str) -> None:
    before = files(sample)
    add_garbage(sample)
    killed_at(sample, failpoint, "gc")
    done = run("fsck", "--json")
    assert done.exit_code == 0, done.output
    assert run("gc").exit_code == 0
    assert files(sample) - {sample.path / "failpoint"} == before
    assert clean(run)


def test_a_damaged_history_is_left_alone(run: Run, sample: Sample) -> None:
    add_garbage(sample)
    sample.blob_path(sample.commit(3).digest).unlink()
    before = files(sample)
    done = run("gc")
    assert done.exit_code == 1
    assert "nothing was deleted" in done.stderr
    assert "hint: `collab-node fsck`" in done.stderr
    assert files(sample) == before


def test_not_while_a_node_runs(run: Run, sample: Sample) -> None:
    with sample.home.lock():
        done = run("gc")
        assert (done.exit_code, "runs a node" in done.stderr) == (1, True)
        assert run("gc", "--dry-run").exit_code == 0
        assert run("fsck").exit_code == 0


def test_nobody_adds_anything_while_files_go(run: Run, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    add_garbage(sample)
    tried: list[str] = []

    def write_beside(*_: object) -> list[Path]:
        with pytest.raises(UserError) as caught, Store.open_beside(sample.folder.store_path) as other:
            other.put_note("beside", b"gc")
        tried.append(caught.value.message)
        return []

    with monkeypatch.context() as patch:
        patch.setattr(index, "_BUSY_SECONDS", 0.01)
        patch.setattr(gc, "leftovers", write_beside)
        assert run("gc").exit_code == 0
    assert [line.endswith("is being written by another process") for line in tried] == [True]


def test_a_disk_that_refuses(run: Run, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    add_garbage(sample)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        done = run("gc")
        assert done.exit_code == 1
        assert "cannot write" in done.stderr
    assert run("gc").exit_code == 0
    assert clean(run)
