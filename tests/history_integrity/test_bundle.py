"""A bundle carries a history bit for bit, and nothing that is wrong with one gets in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from history_integrity.samples import Sample, draft, killed_at
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import Result

from collab.node.errors import UserError
from collab.node.event.create import create_event
from collab.node.history.bundle import write_bundle
from collab.node.history.unbundle import unbundle
from collab.node.home import Home
from collab.node.keys import load
from collab.node.store import Store
from collab.protocol.bundle import LENGTH_BYTES, MAGIC, MAX_REFS, BundledBlob, BundledRef, BundleHeader
from collab.protocol.manifest import SignedManifest
from collab.protocol.record import sha256
from collab.protocol.refs import SignedTag, Tag

Run = Callable[..., Result]


def make(sample: Sample, out: Path, chosen: list[int] | None = None, **options: Any) -> Path:
    """Bundle the sample, or these rounds of it."""
    with sample.store(read_only=True) as store:
        digests = None if chosen is None else [store.at_round(round) or b"" for round in sorted(chosen, reverse=True)]
        write_bundle(sample.folder.manifest(), store, out, digests, **options)
    return out


def facts(home: Home) -> dict[str, Any]:
    """Everything that a store says of its history."""
    with Store.open(home.find_event().store_path, read_only=True) as store:
        return {
            "chain": store.digests(),
            "certificates": [store.certificate(digest) for digest in store.digests()],
            "snapshots": store.snapshots(),
            "blobs": {digest: store.blobs.read(digest) for digest in store.blobs.digests()},
            "refs": store.refs.all(),
            "tags": {name: store.refs.tag(name) for name in store.refs.all("tags/")},
        }


@pytest.fixture
def tagged(sample: Sample) -> Sample:
    """The sample with a branch, a plain and an annotated tag."""
    commit = sample.commit(3).digest
    said = Tag(
        event=sample.event.digest, name="v1.0.0", commit=commit, message="hello", tagger=sample.identity.peer_id, time=1
    )
    with sample.store() as store:
        store.refs.update("heads/mine", commit, None)
        store.refs.update("tags/plain", commit, None)
        store.refs.update("tags/v1.0.0", commit, None, SignedTag.seal(sample.identity, said))
    return sample


def test_there_and_back(run: Run, tagged: Sample, tmp_path: Path) -> None:
    before, file = facts(tagged.home), tmp_path / "history.bundle"
    assert "5 commits, 14 payloads, 3 snapshots" in run("bundle", file).stdout
    elsewhere = Home(tmp_path / "elsewhere")
    done = run("unbundle", file, "--home", elsewhere.path)
    assert done.exit_code == 0, done.output
    assert "new are 5 commits, 14 payloads, 3 snapshots, 3 refs; the newest commit is now that of round 5" in done.stdout
    assert facts(elsewhere) == before
    assert run("verify", "--home", elsewhere.path).exit_code == 0
    assert run("fsck", "--home", elsewhere.path).stdout == "no errors\n"
    again = json.loads(run("unbundle", file, "--home", elsewhere.path, "--json").stdout)
    assert (again["commits"], again["payloads"], again["moved"], again["refs"]) == (0, 0, False, 0)
    assert facts(elsewhere) == before
    assert run("bundle", file).exit_code == 1
    first = file.read_bytes()
    assert run("bundle", file, "--force").exit_code == 0
    assert file.read_bytes() == first


def test_a_thin_bundle_needs_its_base(run: Run, sample: Sample, tmp_path: Path) -> None:
    early, late = make(sample, tmp_path / "early", [0, 1, 2]), tmp_path / "late"
    assert "for whoever has" in run("bundle", late, "@2..main").stdout
    elsewhere = Home(tmp_path / "elsewhere")
    refused = run("unbundle", late, "--home", elsewhere.path)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 2)
    assert f"builds on commit {sample.commit(2).digest.hex()[:12]}, which is not here" in refused.stderr
    assert elsewhere.events() == []
    assert unbundle(elsewhere, early).round == 2
    assert unbundle(elsewhere, late).round == 5
    assert facts(elsewhere)["chain"] == facts(sample.home)["chain"]


def test_without_snapshots(run: Run, sample: Sample, tmp_path: Path) -> None:
    elsewhere = Home(tmp_path / "elsewhere")
    taken = unbundle(elsewhere, make(sample, tmp_path / "bundle", snapshots=False))
    assert (taken.snapshots, taken.payloads) == (0, 14)
    assert run("verify", "--home", elsewhere.path).exit_code == 0


def test_refs_that_are_here_stay(tagged: Sample, tmp_path: Path) -> None:
    file, elsewhere = make(tagged, tmp_path / "bundle"), Home(tmp_path / "elsewhere")
    unbundle(elsewhere, file)
    with Store.open(elsewhere.find_event().store_path) as store:
        store.refs.update("heads/mine", store.head(), tagged.commit(3).digest)
    assert unbundle(elsewhere, file).kept == ["heads/mine"]


def test_it_mends_what_fsck_says_it_mends(run: Run, sample: Sample, tmp_path: Path) -> None:
    file, before = make(sample, tmp_path / "bundle"), facts(sample.home)
    payload = sample.commit(2).contributions()[0][1].payload.sha256
    sample.flip(payload, 70)
    sample.blob_path(sample.snapshot(4)).unlink()
    sample.flip(sample.commit(3).digest, 50)
    with sample.store() as store:
        store._index.write('DELETE FROM certificates WHERE "commit" = ?', (store.at_round(5),))
    assert run("fsck").exit_code == 1
    assert run("unbundle", file).exit_code == 0
    assert run("fsck").stdout == "no errors\n"
    assert facts(sample.home) == before


@pytest.fixture(scope="session")
def whole(original: Sample, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make(original, tmp_path_factory.mktemp("bundles") / "whole").read_bytes()


def refused(folder: Path, data: bytes) -> str:
    """The line that a bundle with these bytes is refused with; it leaves nothing behind."""
    folder.mkdir(exist_ok=True)
    (folder / "bundle").write_bytes(data)
    home = Home(folder / "home")
    with pytest.raises(UserError) as caught:
        unbundle(home, folder / "bundle")
    assert home.events() == []
    assert not list(home.path.rglob(".new-*"))
    (line,) = caught.value.message.splitlines()
    return line


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_bundle(whole: bytes, tmp_path: Path, share: float) -> None:
    line = refused(tmp_path / "cut", whole[: int(share * len(whole))])
    assert "is cut off" in line or "is no bundle" in line or "is damaged" in line


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit(whole: bytes, tmp_path: Path, share: float, bit: int) -> None:
    data = bytearray(whole)
    data[int(share * len(data))] ^= 1 << bit
    assert refused(tmp_path / "flipped", bytes(data))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=300), after=st.integers(0, 600))
def test_junk_with_a_right_checksum(whole: bytes, tmp_path: Path, junk: bytes, after: int) -> None:
    assert refused(tmp_path / "junk", sealed(whole[:after] + junk))


def sealed(body: bytes) -> bytes:
    """The file whose checksum is right."""
    return body + sha256(body)


def file_of(header: BundleHeader, commits: list[tuple[bytes, bytes]], blobs: list[tuple[BundledBlob, bytes]]) -> bytes:
    """A bundle that is well-formed, whatever it says."""
    header = header.model_copy(update={"commits": len(commits), "blobs": len(blobs)})
    records = [header.encode(), *(part for pair in commits for part in pair)]
    body = MAGIC + b"".join(framed(record) for record in records)
    return sealed(body + b"".join(framed(blob.encode()) + data for blob, data in blobs))


def framed(record: bytes) -> bytes:
    return len(record).to_bytes(LENGTH_BYTES, "big") + record


class Forger:
    """Bundles of the sample in which something is not true."""

    def __init__(self, sample: Sample) -> None:
        self.header = BundleHeader(manifest=sample.folder.manifest().encode(), needs=(), refs=(), commits=0, blobs=0)
        self.blobs: list[tuple[BundledBlob, bytes]] = []
        with sample.store(read_only=True) as store:
            self.commits = [store.commit(digest) for digest in store.digests()[::-1][1:]]
            self.proofs = [certificate.encode() for each in self.commits if (certificate := store.certificate(each.digest))]

    def write(self) -> bytes:
        pairs = [(commit.encode(), proof) for commit, proof in zip(self.commits, self.proofs, strict=True)]
        return file_of(self.header, pairs, self.blobs)


def another_event(forger: Forger, tmp_path: Path) -> None:
    home = Home(tmp_path / "other")
    event = create_event(home, draft(name="other"))
    forger.header = forger.header.model_copy(update={"manifest": home.event(event.digest).manifest().encode()})


def forged_manifest(forger: Forger, tmp_path: Path) -> None:
    signed = SignedManifest.decode_file(forger.header.manifest)
    forger.header = forger.header.model_copy(
        update={"manifest": signed.model_copy(update={"signature": bytes(64)}).encode()}
    )


def changed_state(forger: Forger, tmp_path: Path) -> None:
    forger.commits[-1] = forger.commits[-1].model_copy(update={"state": bytes(32)})


def changed_share(forger: Forger, tmp_path: Path) -> None:
    last = forger.commits[-1]
    first = last.accepted[0].model_copy(update={"numerator": b"\1", "denominator": b"\2"})
    forger.commits[-1] = last.model_copy(update={"accepted": (first, *last.accepted[1:])})


def no_certificate(forger: Forger, tmp_path: Path) -> None:
    forger.proofs[-1] = b""


def the_wrong_certificate(forger: Forger, tmp_path: Path) -> None:
    forger.proofs[-1] = forger.proofs[-2]


def a_gap(forger: Forger, tmp_path: Path) -> None:
    del forger.commits[2], forger.proofs[2]


def a_blob_of_nobodys(forger: Forger, tmp_path: Path) -> None:
    forger.blobs.append((BundledBlob(sha256=sha256(b"junk"), size=4, state_of=None), b"junk"))


def a_blob_with_other_bytes(forger: Forger, tmp_path: Path) -> None:
    payload = forger.commits[-1].contributions()[0][1].payload
    forger.blobs.append((BundledBlob(sha256=payload.sha256, size=payload.size, state_of=None), bytes(payload.size)))


def the_state_of_nothing(forger: Forger, tmp_path: Path) -> None:
    forger.blobs.append((BundledBlob(sha256=sha256(b"junk"), size=4, state_of=bytes(32)), b"junk"))


def a_ref_to_nothing(forger: Forger, tmp_path: Path) -> None:
    forger.header = forger.header.model_copy(update={"refs": (BundledRef(name="heads/x", commit=bytes(32), tag=None),)})


def a_ref_with_a_bad_name(forger: Forger, tmp_path: Path) -> None:
    ref = BundledRef(name="heads/../x", commit=forger.commits[0].digest, tag=None)
    forger.header = forger.header.model_copy(update={"refs": (ref,)})


def somebody_elses_tag(forger: Forger, tmp_path: Path) -> None:
    commit = forger.commits[0]
    said = Tag(event=commit.event, name="v1", commit=commit.digest, message="", tagger=commit.proposer, time=1)
    forged = SignedTag(tag=said.encode(), signature=bytes(64)).encode()
    forger.header = forger.header.model_copy(update={"refs": (BundledRef(name="tags/v1", commit=commit.digest, tag=forged),)})


LIES = [
    another_event, forged_manifest, changed_state, changed_share, no_certificate, the_wrong_certificate, a_gap,
    a_blob_of_nobodys, a_blob_with_other_bytes, the_state_of_nothing, a_ref_to_nothing, a_ref_with_a_bad_name,
    somebody_elses_tag,
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_in_a_well_formed_bundle(sample: Sample, tmp_path: Path, lie: Callable[[Forger, Path], None]) -> None:
    forger = Forger(sample)
    lie(forger, tmp_path)
    assert "holds what cannot be" in refused(tmp_path / "lie", forger.write())


@pytest.mark.parametrize("lie", [changed_state, the_wrong_certificate, a_blob_with_other_bytes, a_ref_to_nothing])
def test_a_lie_moves_nothing_in_a_history_that_is_here(
    sample: Sample, tmp_path: Path, lie: Callable[[Forger, Path], None]
) -> None:
    unbundle(Home(tmp_path / "elsewhere"), make(sample, tmp_path / "early", [0, 1, 2]))
    before = facts(Home(tmp_path / "elsewhere"))
    forger = Forger(sample)
    lie(forger, tmp_path)
    (tmp_path / "lie").write_bytes(forger.write())
    with pytest.raises(UserError, match="holds what cannot be"):
        unbundle(Home(tmp_path / "elsewhere"), tmp_path / "lie")
    after = facts(Home(tmp_path / "elsewhere"))
    assert after.pop("blobs").items() >= before.pop("blobs").items()
    assert after == before


def test_the_honest_forger_is_believed(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(Forger(sample).write())
    assert unbundle(Home(tmp_path / "home"), tmp_path / "bundle").round == 5


@pytest.mark.parametrize("failpoint", ["unbundle-commits", "unbundle-blob", "unbundle-transaction"])
def test_unbundle_killed_at_any_point(run: Run, sample: Sample, tmp_path: Path, failpoint: str) -> None:
    early, late = make(sample, tmp_path / "early", [0, 1, 2]), make(sample, tmp_path / "late", [3, 4, 5])
    home = Home(tmp_path / "elsewhere")
    victim = Sample(home.path, sample.data)
    home.prepare()
    killed_at(victim, failpoint, "unbundle", early)
    assert home.events() == []
    unbundle(home, early)
    before = facts(home)
    killed_at(victim, failpoint, "unbundle", late)
    assert facts(home)["chain"] == before["chain"]
    assert json.loads(run("fsck", "--home", home.path, "--json").stdout)["errors"] == 0
    unbundle(home, late)
    assert run("gc", "--home", home.path).exit_code == 0
    assert json.loads(run("fsck", "--home", home.path, "--json").stdout)["findings"] == []
    assert facts(home)["chain"] == facts(sample.home)["chain"]


@pytest.mark.parametrize("failpoint", ["bundle-commits", "bundle-written"])
def test_bundle_killed_at_any_point(sample: Sample, tmp_path: Path, failpoint: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "history").write_bytes(b"what was there")
    killed_at(sample, failpoint, "bundle", out / "history", "--force")
    assert (out / "history").read_bytes() == b"what was there"
    make(sample, out / "history")
    assert unbundle(Home(tmp_path / "home"), out / "history").round == 5


def test_a_full_disk(run: Run, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collab.node.history import bundle_file

    file = make(sample, tmp_path / "bundle")
    home = Home(tmp_path / "elsewhere")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bundle_file.BundleFile, "save", full)
        done = run("unbundle", file, "--home", home.path)
        assert done.exit_code == 1
        assert "no space left on the disk" in done.stderr
    assert home.events() == []
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
        assert "are needed on the disk" in run("unbundle", file, "--home", home.path).stderr
    assert unbundle(home, file).round == 5


def test_no_bundle_of_damage_and_none_that_is_not_there(run: Run, sample: Sample, tmp_path: Path) -> None:
    sample.flip(sample.snapshot(4), 200)
    done = run("bundle", tmp_path / "out")
    assert (done.exit_code, "is damaged" in done.stderr) == (1, True)
    assert not (tmp_path / "out").exists()
    assert "cannot read" in run("unbundle", tmp_path / "nothing").stderr
    (tmp_path / "text").write_text("hello")
    assert "is no bundle" in run("unbundle", tmp_path / "text").stderr


def test_too_many_tags_for_one_bundle(sample: Sample, tmp_path: Path) -> None:
    commit = sample.commit(5).digest
    with sample.store() as store, store.transaction():
        for number in range(MAX_REFS + 1):
            store.refs.update(f"tags/t{number}", commit, None)
    with pytest.raises(UserError, match="too many branches and tags"):
        make(sample, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    make(sample, tmp_path / "bundle", [0, 1, 2])


def test_not_while_a_node_runs(run: Run, sample: Sample, tmp_path: Path) -> None:
    file = make(sample, tmp_path / "bundle")
    with sample.home.lock():
        assert "runs a node" in run("unbundle", file).stderr
        assert run("bundle", tmp_path / "other").exit_code == 0


def test_a_home_without_a_key_gets_one_of_its_own(sample: Sample, tmp_path: Path) -> None:
    home = Home(tmp_path / "elsewhere")
    unbundle(home, make(sample, tmp_path / "bundle"))
    assert load(home.identity_path).peer_id != sample.identity.peer_id
