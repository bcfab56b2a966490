"""Refs: compare-and-set, annotations, older stores, a second process, kill -9."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from store_samples import COORDINATOR, Chain

from collab.node.errors import UserError
from collab.node.store import RefMoved, Store
from collab.node.store.schema import SCHEMA, VERSION
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.identity import Identity
from collab.protocol.refs import MAIN, SignedTag, Tag


@pytest.fixture
def commits(store: Store, chain: Chain) -> list[bytes]:
    """Three commits of the main chain."""
    made = [store.add_commit(chain.root), store.add_commit(chain.grow()), store.add_commit(chain.grow())]
    store.set_head(made[-1])
    return made


def signed(chain: Chain, commit: bytes, name: str = "v1") -> SignedTag:
    tag = Tag(event=chain.event.digest, name=name, commit=commit, message="the first", tagger=COORDINATOR.peer_id, time=1)
    return SignedTag.seal(COORDINATOR, tag)


def test_main_is_the_head_of_the_chain(store: Store, commits: list[bytes]) -> None:
    assert store.refs.get(MAIN) == commits[2] == store.head()
    assert store.refs.all() == {MAIN: commits[2]}
    with pytest.raises(UserError, match="main moves with the swarm's rounds"):
        store.refs.update(MAIN, commits[0], commits[2])


def test_refs_change_only_from_what_was_expected(store: Store, commits: list[bytes]) -> None:
    refs = store.refs
    refs.update("heads/mine", commits[0], None)
    with pytest.raises(RefMoved, match="heads/mine is already there"):
        refs.update("heads/mine", commits[1], None)
    with pytest.raises(RefMoved, match="heads/mine moved meanwhile"):
        refs.update("heads/mine", commits[2], commits[1])
    refs.update("heads/mine", commits[1], commits[0])
    refs.update("tags/v1", commits[0], None)
    assert refs.all() == {"heads/main": commits[2], "heads/mine": commits[1], "tags/v1": commits[0]}
    assert refs.all("tags/") == {"tags/v1": commits[0]}
    refs.update("heads/mine", None, commits[1])
    with pytest.raises(RefMoved, match="heads/mine is gone meanwhile"):
        refs.update("heads/mine", None, commits[1])
    assert refs.get("heads/mine") is None


def test_bad_names_and_unknown_commits_change_nothing(store: Store, commits: list[bytes]) -> None:
    for name, why in {"mine": "no ref", "heads/a b": "' '", "head": "no ref"}.items():
        with pytest.raises(UserError, match=why):
            store.refs.update(name, commits[0], None)
    with pytest.raises(UserError, match=f"commit {'07' * 8} is not here"):
        store.refs.update("heads/mine", b"\7" * 32, None)
    assert store.refs.all() == {MAIN: commits[2]}


def test_a_tags_annotation_comes_and_goes_with_it(store: Store, chain: Chain, commits: list[bytes]) -> None:
    store.refs.update("tags/v1", commits[1], None, signed(chain, commits[1]))
    found = store.refs.tag("tags/v1")
    assert found is not None
    assert (found.open().commit, found.open().message) == (commits[1], "the first")
    store.refs.update("tags/v1", commits[2], commits[1])
    assert store.refs.tag("tags/v1") is None


def test_a_tag_that_was_tampered_with_does_not_open(chain: Chain) -> None:
    good = signed(chain, chain.root.digest)
    other = signed(chain, chain.root.digest, "v2")
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        SignedTag(tag=other.tag, signature=good.signature).open()
    stranger = Identity(bytes(31) + b"\2")
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        SignedTag.seal(stranger, good.open()).open()
    with pytest.raises(ValueError, match="cannot be the name of a tag"):
        signed(chain, chain.root.digest, "a..b")


def old_store(path: Path) -> sqlite3.Connection:
    """A store as version 1 made it, with a head."""
    path.mkdir()
    connection = sqlite3.connect(path / "index.sqlite", isolation_level=None)
    connection.executescript(f"PRAGMA journal_mode = WAL; {SCHEMA}; PRAGMA user_version = 1; ")
    connection.execute("INSERT INTO commits VALUES (?, 0, NULL)", (b"\1" * 32,))
    connection.execute("INSERT INTO refs VALUES ('head', ?)", (b"\1" * 32,))
    return connection


def test_an_older_store_is_read_as_it_is_and_migrated_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "old"
    old_store(path).close()
    with Store.open(path, read_only=True) as reader:
        assert reader.refs.all() == {MAIN: b"\1" * 32}
        assert reader.refs.tag("tags/v1") is None
        assert reader.links() == {b"\1" * 32: (0, ())}
    with sqlite3.connect(path / "index.sqlite") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    with Store.open_beside(path) as store:
        store.refs.update("tags/v1", b"\1" * 32, None)
    with Store.open(path, read_only=True) as reader:
        assert reader.refs.all("tags/") == {"tags/v1": b"\1" * 32}
    with sqlite3.connect(path / "index.sqlite") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_refs_are_set_beside_a_node_that_writes(store: Store, commits: list[bytes], chain: Chain, tmp_path: Path) -> None:
    with Store.open_beside(tmp_path / "store") as beside:
        beside.refs.update("heads/mine", commits[0], None)
        newest = store.add_commit(chain.grow())
        store.set_head(newest)
        assert beside.refs.all() == {MAIN: newest, "heads/mine": commits[0]} == store.refs.all()
    with pytest.raises(UserError, match="holds no history yet"):
        Store.open_beside(tmp_path / "none")


def test_second_parents_are_links_too(store: Store, chain: Chain, commits: list[bytes]) -> None:
    merge = chain.child(chain.head).model_copy(update={"parents": (commits[2], commits[1])})
    digest = store.add_commit(merge)
    assert store.links() == {
        commits[0]: (0, ()), commits[1]: (1, (commits[0],)), commits[2]: (2, (commits[1],)),
        digest: (3, (commits[2], commits[1])),
    }  # fmt: skip


def test_commits_are_found_by_the_first_digits_of_their_ids(store: Store, commits: list[bytes]) -> None:
    for length in (0, 1, 2, 3, 8, 63, 64):
        for commit in commits:
            prefix = commit.hex()[:length]
            assert store.with_prefix(prefix) == sorted(other for other in commits if other.hex().startswith(prefix))


VICTIM = """
import os, signal, sys
from pathlib import Path
from collab.node.store import Store
store = Store.open_beside(Path(sys.argv[1]))
connection = store._index._connection
at = sys.argv[2]
connection.set_trace_callback(lambda statement: statement.startswith(at) and os.kill(os.getpid(), signal.SIGKILL))
old, new = (bytes.fromhex(word) for word in sys.argv[3:])
store.refs.update("heads/mine", new, old)
"""


@pytest.mark.parametrize("at", ["BEGIN", "DELETE", "INSERT", "COMMIT"])
def test_a_kill_leaves_the_ref_where_it_was(store: Store, commits: list[bytes], tmp_path: Path, at: str) -> None:
    store.refs.update("heads/mine", commits[0], None)
    words = [sys.executable, "-c", VICTIM, str(tmp_path / "store"), at, commits[0].hex(), commits[1].hex()]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert store.refs.get("heads/mine") == commits[0]
    store.refs.update("heads/mine", commits[1], commits[0])
