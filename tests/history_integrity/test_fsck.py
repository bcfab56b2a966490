"""`fsck` finds each kind of damage, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from gates.test_gates_verdict import verdict
from history_integrity.samples import Sample
from typer.testing import Result

from collab.node.store import prune
from collab.protocol.commit import Commit
from collab.protocol.refs import SignedTag, Tag
from collab.protocol.verdict import sign_verdict

Run = Callable[..., Result]


def findings(run: Run) -> list[dict[str, Any]]:
    done = run("fsck", "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == (1 if report["errors"] else 0)
    assert report["errors"] == sum(finding["severity"] == "error" for finding in report["findings"])
    assert all(finding["hint"] for finding in report["findings"])
    return list(report["findings"])


def the_error(run: Run) -> dict[str, Any]:
    """The one error that there is."""
    (error,) = [finding for finding in findings(run) if finding["severity"] == "error"]
    return error


def test_a_real_history_has_no_findings(run: Run) -> None:
    assert findings(run) == []
    done = run("fsck")
    assert (done.exit_code, done.stdout) == (0, "no errors\n")


@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
@pytest.mark.parametrize("what", ["commit", "payload", "snapshot"])
def test_a_blob_that_is_not_what_it_was(run: Run, sample: Sample, what: str, how: str) -> None:
    payload = sample.commit(3).contributions()[0][1].payload.sha256
    blob = {"commit": sample.commit(3).digest, "payload": payload, "snapshot": sample.snapshot(4)}[what]
    path = sample.blob_path(blob)
    if how == "flipped":
        sample.flip(blob, 40)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:50])
    else:
        path.unlink()
    if (what, how) == ("payload", "missing"):
        # A snapshot comes after it: it may have been pruned.
        assert [(finding["kind"], finding["severity"]) for finding in findings(run)] == [("pruned", "note")]
        sample.blob_path(sample.snapshot(4)).unlink()
        assert {finding["kind"] for finding in findings(run)} == {"payload", "snapshot"}
        return
    error = the_error(run)
    assert (error["kind"], error["blob"]) == (what, blob.hex())
    assert ("missing" if how == "missing" else "damaged") in error["message"]
    assert how == "missing" or str(path) in error["hint"]
    done = run("fsck")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {error['message']}\nhint: ")


def test_the_index_against_the_commits(run: Run, sample: Sample) -> None:
    with sample.store() as store:
        store._index.write("UPDATE commits SET round = 9 WHERE digest = ?", (store.at_round(5),))
    assert "wrong about the round" in the_error(run)["message"]


def test_a_chain_with_a_gap(run: Run, sample: Sample) -> None:
    with sample.store() as store:
        store._index.write("DELETE FROM chain WHERE round = 2")
    assert {finding["kind"] for finding in findings(run)} == {"chain"}


def test_certificates(run: Run, sample: Sample) -> None:
    last, before = sample.commit(5).digest, sample.commit(4).digest
    with sample.store() as store:
        store._index.write('DELETE FROM certificates WHERE "commit" = ?', (last,))
    assert (the_error(run)["kind"], the_error(run)["round"]) == ("certificate", 5)
    with sample.store() as store:
        other = store.certificate(before)
        assert other is not None
        for body in (other.encode(), b"nonsense"):
            store._index.write("INSERT OR REPLACE INTO certificates VALUES (?, ?)", (last, body))
            assert the_error(run)["kind"] == "certificate"


def test_an_index_that_is_none(run: Run, sample: Sample) -> None:
    for file in sample.folder.store_path.glob("index.sqlite-*"):
        file.unlink()
    (sample.folder.store_path / "index.sqlite").write_bytes(b"not a database" * 1000)
    error = the_error(run)
    assert (error["kind"], "damaged" in error["message"]) == ("index", True)


def test_what_is_of_no_use_is_a_note(run: Run, sample: Sample) -> None:
    store_path = sample.folder.store_path
    (store_path / "partial" / "ab").write_bytes(b"half")
    (store_path / "blobs" / "README").write_bytes(b"hello")
    folder = sample.blob_path(sample.snapshot(4)).parent
    (folder / ".cd.77.tmp").write_bytes(b"half")
    with sample.store(read_only=True) as store:
        store.blobs.put_bytes(b"nobody's")
    found = findings(run)
    assert sorted(finding["kind"] for finding in found) == ["leftover", "leftover", "stray", "unreachable"]
    assert {finding["severity"] for finding in found} == {"note"}


def test_a_pruned_store_is_in_order(run: Run, sample: Sample) -> None:
    with sample.store() as store:
        prune(store, keep=1)
    assert [finding["kind"] for finding in findings(run)] == ["pruned"]


def test_a_tag_that_nobody_signed(run: Run, sample: Sample) -> None:
    commit = sample.commit(3).digest
    said = Tag(event=sample.event.digest, name="v1", commit=commit, message="", tagger=sample.identity.peer_id, time=1)
    with sample.store() as store:
        store.refs.update("tags/v1", commit, None, SignedTag(tag=said.encode(), signature=bytes(64)))
    assert (the_error(run)["kind"], "collab-node tag -d v1" in the_error(run)["hint"]) == ("tag", True)


def test_a_commit_without_its_parent(run: Run, sample: Sample) -> None:
    orphan = Commit.from_fields({**sample.commit(5).model_dump(), "parents": (bytes(32),)})
    with sample.store() as store:
        store.add_commit(orphan)
    assert "has a parent that is not here" in the_error(run)["message"]


def test_verdicts(run: Run, sample: Sample) -> None:
    said = verdict(event=sample.event.digest, candidate=sample.commit(5).state, against=sample.commit(4).state)
    with sample.store() as store:
        store.verdicts.add([sign_verdict(sample.identity, said)])
    assert findings(run) == []
    for change in ("candidate = zeroblob(32)", "envelope = x'c1'"):
        with sample.store() as store:
            store._index.write(f"UPDATE verdicts SET {change}")
        assert the_error(run)["kind"] == "verdict"
    with sample.store() as store:
        store._index.write("DELETE FROM verdicts")
        store._index.write("INSERT INTO carried VALUES (zeroblob(32), zeroblob(32), ?)", (store.head(),))
    assert "carries verdict" in the_error(run)["message"]
    lie = sample.commit(5).model_copy(update={"verdicts": (b"nonsense",)})
    with sample.store() as store:
        store._index.write("DELETE FROM carried")
        row = (store.blobs.put_bytes(lie.encode()), lie.round, lie.base)
        store._index.write("INSERT INTO commits VALUES (?, ?, ?)", row)
    assert "carries a verdict that is none: malformed" in the_error(run)["message"]
