"""Content-addressed blobs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collab.node.store import BlobMismatch, Blobs, Store
from collab.protocol.record import sha256


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_what_goes_in_comes_out_under_its_hash(store: Store, data: bytes) -> None:
    digest = store.blobs.put_bytes(data)
    assert digest == sha256(data)
    assert store.blobs.read(digest) == data
    assert store.blobs.open(digest) == (store.blobs.path(digest), len(data))


def test_a_blob_that_is_not_here(store: Store) -> None:
    digest = sha256(b"not here")
    assert not store.blobs.has(digest)
    assert store.blobs.open(digest) is None
    assert store.blobs.size(digest) is None
    assert store.blobs.read(digest) is None
    assert store.blobs.delete(digest) == 0


def test_layout_and_listing(store: Store) -> None:
    digest = store.blobs.put_bytes(b"abc")
    assert store.blobs.path(digest).parts[-3:] == ("blobs", digest.hex()[:2], digest.hex()[2:])
    assert list(store.blobs.digests()) == [digest]
    assert store.blobs.delete(digest) == 3
    assert list(store.blobs.digests()) == []


async def test_a_file_moves_into_the_store_if_it_is_what_it_is_said_to_be(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"payload")
    with pytest.raises(BlobMismatch):
        store.blobs.put_file(file, sha256(b"other"))
    assert file.exists()
    path = await store.blobs.put_file_async(file, sha256(b"payload"))
    assert path.read_bytes() == b"payload"
    assert not file.exists()
    assert store.blobs.read(sha256(b"payload")) == b"payload"


def test_a_partial_download_survives_a_restart_and_a_wrong_one_is_dropped(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blobs.prepare()
    digest = sha256(b"whole")
    blobs.partial_path(digest).write_bytes(b"who")
    Blobs(tmp_path).prepare()
    partial = blobs.partial_path(digest)
    assert partial.read_bytes() == b"who"
    with pytest.raises(BlobMismatch):
        blobs.commit_partial(digest, partial)
    assert not partial.exists()
    partial.write_bytes(b"whole")
    assert blobs.commit(digest, partial) == blobs.path(digest)
    assert blobs.read(digest) == b"whole"


def test_downloads_that_nobody_goes_on_with_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever serves all of a blob but its end leaves a file behind, and claims the next one."""
    monkeypatch.setattr("collab.node.store.blobs._MOST_UNFINISHED_BYTES", 8 << 20)
    blobs = Blobs(tmp_path)
    blobs.prepare()
    old = [blobs.partial_path(sha256(bytes([number]))) for number in range(6)]
    for age, path in enumerate(old):
        for name in (path, path.with_name(path.name + ".map")):
            name.write_bytes(bytes(4096))
            os.utime(name, (time.time() - 7200 + age, time.time() - 7200 + age))
    fresh = [blobs.partial_path(sha256(bytes([number, 0]))) for number in range(6)]
    for path in fresh:
        path.write_bytes(bytes(4096))  # it may be growing: whoever fetches it must find it
    assert blobs.partial_path(sha256(b"one more")).parent == old[0].parent
    assert all(path.exists() for path in fresh)
    assert not any(path.exists() or path.with_name(path.name + ".map").exists() for path in old[:5])


def test_a_download_that_another_thread_ends_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = Blobs(tmp_path)
    blobs.prepare()
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / "ended"]))
    assert blobs.partial_path(sha256(b"next")).parent == tmp_path / "partial"


def test_a_few_unfinished_downloads_stay(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blobs.prepare()
    path = blobs.partial_path(sha256(b"x"))
    path.write_bytes(b"some")
    os.utime(path, (1, 1))
    blobs.partial_path(sha256(b"y"))
    assert path.read_bytes() == b"some"
