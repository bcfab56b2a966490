"""`verify` proves a real history, and names the first thing that is wrong in a damaged one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from history_integrity.samples import ROUNDS, Sample
from typer.testing import Result

from collab.node.history.difference import first_difference, tensor_at
from collab.node.store import Store, prune
from collab.protocol.commit import Certificate, Commit
from collab.protocol.messages import Signed

Run = Callable[..., Result]


def wrong(run: Run, *arguments: object) -> dict[str, object]:
    """What `verify` finds."""
    done = run("verify", "--json", *arguments)
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)["wrong"]
    assert isinstance(found, dict)
    return found


def test_a_real_history_is_whole(run: Run, sample: Sample) -> None:
    done = run("verify", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["commits"], report["payloads"], report["replayed"]) == (ROUNDS + 1, 3 * ROUNDS - 1, ROUNDS)
    assert (report["snapshots"], report["start"], report["wrong"]) == (3, 0, None)
    older = run("verify", "HEAD~2")
    assert older.exit_code == 0
    assert "round 3" in older.stdout


def test_a_byte_of_a_snapshot(run: Run, sample: Sample) -> None:
    blob = sample.snapshot(4)
    size = sample.blob_path(blob).stat().st_size
    tensor = tensor_at(sample.blob_path(blob), size - 100)
    sample.flip(blob, size - 100)
    found = wrong(run)
    assert (found["kind"], found["round"], found["blob"], found["offset"]) == ("snapshot", 4, blob.hex(), size - 100)
    assert tensor is not None
    assert found["tensor"] == tensor
    plain = run("verify")
    assert plain.exit_code == 1
    assert f"byte {size - 100} on, in tensor" in plain.stderr
    assert "hint: move the file" in plain.stderr


def test_a_byte_of_a_payload_or_commit(run: Run, sample: Sample) -> None:
    payload = sample.commit(2).contributions()[0][1].payload
    sample.flip(payload.sha256, 70)
    found = wrong(run, "--no-replay")
    assert (found["kind"], found["round"], found["blob"]) == ("payload", 2, payload.sha256.hex())
    sample.flip(sample.commit(1).digest, 30)
    found = wrong(run)
    assert (found["kind"], found["commit"]) == ("commit", sample_digest(sample, 1))


def test_a_truncated_and_a_missing_payload(run: Run, sample: Sample) -> None:
    payload = sample.commit(5).contributions()[1][1].payload
    path = sample.blob_path(payload.sha256)
    path.write_bytes(path.read_bytes()[:100])
    assert (wrong(run)["offset"], wrong(run)["round"]) == (100, 5)
    path.unlink()
    assert "is missing" in str(wrong(run)["message"])


def test_a_missing_commit_and_a_wrong_certificate(run: Run, sample: Sample) -> None:
    with sample.store() as store:
        last = sample.commit(5).digest
        certificate = store.certificate(last)
        assert certificate is not None
        replace_certificate(store, last, forged(certificate))
    found = wrong(run)
    assert (found["kind"], found["round"]) == ("certificate", 5)
    assert "bad_signature" in str(found["message"])
    with sample.store() as store:
        store._index.write('DELETE FROM certificates WHERE "commit" = ?', (last,))
    assert "its certificate is missing" in str(wrong(run)["message"])
    sample.blob_path(sample.commit(3).digest).unlink()
    assert (wrong(run)["kind"], "is missing" in str(wrong(run)["message"])) == ("commit", True)


def test_a_commit_that_lies_about_its_state(run: Run, sample: Sample) -> None:
    honest = sample.commit(5)
    lie = Commit.from_fields({**honest.model_dump(), "state": bytes(32)})
    with sample.store() as store:
        store.add_commit(lie)
        store.set_head(lie.digest)
    assert wrong(run, lie.digest.hex())["kind"] == "certificate"


def test_a_pruned_store_is_verified_from_its_snapshot(run: Run, sample: Sample) -> None:
    with sample.store() as store:
        assert prune(store, keep=1)
    report = json.loads(run("verify", "--json").stdout)
    assert (report["start"], report["replayed"], report["wrong"]) == (4, 1, None)
    with sample.store() as store:
        store.blobs.delete(sample.snapshot(4))
    assert "no snapshot comes after it" in str(wrong(run)["message"])


def test_an_unknown_revision_is_a_line(run: Run) -> None:
    done = run("verify", "nowhere")
    assert (done.exit_code, done.stderr.splitlines()[0]) == (1, "error: there is no branch, tag or commit 'nowhere'")


def test_files_part_at_their_first_difference(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(bytes(3 << 20))
    for other_bytes, offset in ((bytes(3 << 20), None), (bytes(1 << 20), 1 << 20), (bytes((2 << 20) + 5) + b"\1", (2 << 20) + 5)):
        other.write_bytes(other_bytes)
        assert first_difference(one, other) == first_difference(other, one) == offset


def sample_digest(sample: Sample, round: int) -> str:
    with sample.store(read_only=True) as store:
        digest = store.at_round(round)
        assert digest is not None
        return digest.hex()


def forged(certificate: Certificate) -> Certificate:
    """The certificate with a signature of somebody else's choice."""
    first = Signed.decode(certificate.precommits[0])
    bad = first.model_copy(update={"signature": bytes(64)}).encode()
    return certificate.model_copy(update={"precommits": (bad, *certificate.precommits[1:])})


def replace_certificate(store: Store, commit: bytes, certificate: Certificate) -> None:
    store._index.write("INSERT OR REPLACE INTO certificates VALUES (?, ?)", (commit, certificate.encode()))
