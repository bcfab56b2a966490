"""A full disk, kill -9 at named points, a second process, damaged and foreign files."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from store_samples import Chain

from collab.node import files
from collab.node.errors import UserError
from collab.node.home import Home
from collab.node.store import Store, StoreFull
from collab.protocol.record import sha256

VICTIM = """
import os, signal, sys
from pathlib import Path
from collab.node import files
from collab.node.store import Store

def die(*_): os.kill(os.getpid(), signal.SIGKILL)

store = Store.open(Path(sys.argv[1]))
store.put_note("before", b"kept")
point = sys.argv[2]
if point == "after temp write":
    files.sync = die
elif point == "before rename":
    files.os.replace = die
elif point == "after rename":
    replace = os.replace
    files.os.replace = lambda *paths: (replace(*paths), die())
elif point == "in transaction":
    store._index._connection.set_trace_callback(lambda statement: statement == "COMMIT" and die())
with store.transaction():
    store.blobs.put_bytes(b"the blob")
    store.put_note("after", b"never")
"""


@pytest.mark.parametrize("point", ["after temp write", "before rename", "after rename", "in transaction"])
def test_a_store_opens_clean_after_kill_9(tmp_path: Path, point: str) -> None:
    killed = subprocess.run([sys.executable, "-c", VICTIM, str(tmp_path), point], check=False)
    assert killed.returncode == -signal.SIGKILL
    with Store.open(tmp_path, read_only=True) as reader:
        assert reader.note("before") == b"kept"
    with Store.open(tmp_path) as store:
        assert store.note("before") == b"kept"
        assert store.note("after") is None
        for digest in store.blobs.digests():
            assert store.blobs.read(digest) == b"the blob"
        assert not list(tmp_path.rglob("*.tmp"))
        assert store.blobs.put_bytes(b"the blob") == sha256(b"the blob")


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["sync", "move", "make_folder"])
def test_a_full_disk_is_one_clear_line_and_leaves_no_trace(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(files, step, full_disk)
        with pytest.raises(StoreFull, match="no space left"):
            store.blobs.put_bytes(b"too much")
    assert not list(tmp_path.rglob("*.tmp"))
    assert list(store.blobs.digests()) == []
    assert store.blobs.put_bytes(b"too much")


def test_an_index_that_cannot_grow_is_a_full_store(store: Store) -> None:
    (pages,) = store._index.rows("PRAGMA page_count")[0]
    store._index.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreFull, match="no space left"):
        store.put_note("large", bytes(1 << 20))
    store.put_note("small", b"fits")
    assert store.note("large") is None


def test_a_real_full_disk(tmp_path: Path) -> None:
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with Store.open(tmp_path) as store:
            kept = store.blobs.put_bytes(b"kept")
            with pytest.raises(StoreFull):
                store.blobs.put_bytes(bytes(1 << 20))
            assert list(store.blobs.digests()) == [kept]
            with pytest.raises(StoreFull):
                store.put_note("large", bytes(1 << 20))
            assert store.note("large") is None
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_readers_read_while_a_writer_writes(store: Store, chain: Chain, tmp_path: Path) -> None:
    store.add_commit(chain.root)
    store.set_head(chain.root.digest)
    with Store.open(tmp_path / "store", read_only=True) as reader:
        assert reader.head() == chain.root.digest
        store.add_commit(chain.grow())
        store.set_head(chain.head.digest)
        assert reader.head() == chain.head.digest
        with pytest.raises(UserError, match="cannot open"):
            reader.put_note("a", b"b")


def test_a_reader_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no history"):
        Store.open(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_files_that_are_no_index_of_ours(tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "index.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(UserError, match="damaged"):
        Store.open(tmp_path / "damaged")
    Store.open(tmp_path / "newer").close()
    with sqlite3.connect(tmp_path / "newer" / "index.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match="newer collab-node"):
        Store.open(tmp_path / "newer")


HOLDER = """
import sys
from pathlib import Path
from collab.node.home import Home
with Home(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_with_the_first_ones_id(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {holder.pid} runs a node"), Home(tmp_path).lock():
            pass
        holder.kill()
        holder.wait()
        with Home(tmp_path).lock():
            assert Home(tmp_path).lock_path.read_text().strip() == str(os.getpid())
