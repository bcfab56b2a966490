"""Commits, proposals, releases and packages made at once, without a worker: their states are invented, all else is real."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from remotes.conftest import Person

from collab.node.event.interface import interface_of
from collab.node.modules.index import Held, Index
from collab.node.modules.pack import pack
from collab.node.proposals.board import keep
from collab.node.releases import roles
from collab.node.releases.publish import Desk
from collab.node.rounds.catch_up import restore_history
from collab.protocol.amendments import Amendment, Announce, SignedAmendment
from collab.protocol.merging import make_draft
from collab.protocol.messages import Blob, Contribution, Signed
from collab.protocol.proposal import ModelProposal, ProposalMerge, merge_commit
from collab.protocol.record import sha256
from collab.protocol.release import Release


def propose(person: Person, payload: bytes, base: bytes | None = None) -> Signed:
    """Make and keep a proposal of `person`, by default on the newest commit."""
    with person.store() as store:
        commit = base or store.head()
        assert commit is not None
        said = ModelProposal(
            event=person.event.digest, base=commit, form="sparse", payload=Blob(sha256=sha256(payload), size=len(payload)),
            samples=10, error=0.01, message="better", time=1,
        )  # fmt: skip
        signed = Signed.seal(person.identity, said)
        keep(store, signed, payload)
    return signed


def merge(coordinator: Person, branch: str, payload: bytes, onto: bytes | None = None) -> bytes:
    """Merge a new proposal into the branch, which begins at the commit `onto` or the newest, and return the commit's digest."""
    assert coordinator.identity.peer_id == coordinator.event.coordinator
    with coordinator.store() as store:
        name, head = f"heads/{branch}", store.head()
        parent = store.commit(store.refs.get(name) or onto or head or b"")
    signed = propose(coordinator, payload, parent.digest)
    said = ProposalMerge(
        event=parent.event, base=parent.digest, state=sha256(payload), proposals=(signed.encode(),), method="average",
        parameters={}, tried=(), message="merged", time=2,
    )  # fmt: skip
    with coordinator.store() as store:
        commit = merge_commit(coordinator.identity, parent, store.certificate(parent.digest), said)
        with store.transaction():
            digest = store.add_commit(commit)
            store.refs.update(name, digest, store.refs.get(name))
    return digest


def release(person: Person, version: str = "1.0.0") -> Release:
    """Release the newest commit, as the only maintainer."""
    now = datetime.now(UTC)
    with person.store() as store:
        desk = Desk(person.folder, person.event, store)
        head, before = store.head_commit(), desk.files()
        made = Release(
            event=person.event.digest, title="tiny", version=version, commit=head.digest, state=head.state, round=head.round,
            previous=None, interface=interface_of(person.event), evidence=None, verdicts=(), message="first", changelog="",
            credits=(), licence="unknown", releaser=person.identity.peer_id, time=int(now.timestamp()),
        )  # fmt: skip
        files = roles.add_release(desk.started(person.identity, now), made, person.identity, now)
        desk.keep(files, before)
    return made


def renew(person: Person) -> None:
    """Sign the releases anew."""
    with person.store() as store:
        desk = Desk(person.folder, person.event, store)
        before = desk.files()
        desk.keep(roles.renew(before, person.identity, datetime.now(UTC)), before)


def package(person: Person, folder: Path, version: str = "1.0.0", content: bytes = b"table") -> Held:
    """Publish a package with one file among the event's blobs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "module.toml").write_text(f'name = "facts"\nversion = "{version}"\nkind = "base"\n')
    (folder / "table.txt").write_bytes(content)
    return pack(folder, Index(person.folder.store_path), person.identity)


def amended_round(coordinator: Person) -> SignedAmendment:
    """Announce something, and make a final commit that names the announcement: one contribution, its state invented."""
    local_run = import_module("bench_history.local_run")
    peers = [coordinator.identity, *(local_run.contributor(number) for number in (1, 2))]
    with coordinator.store() as store:
        event, history = coordinator.event, restore_history(coordinator.event, store)
        body = Announce(text="hello")
        said = Amendment(event=event.digest, number=1, previous=None, time=1, body=body)
        signed = SignedAmendment.draft(said).signed_by(coordinator.identity)
        history.amendments.add(signed)
        store.amendments.add(signed)
        base, payload = history.head, Blob(sha256=store.blobs.put_bytes(b"patch"), size=5)
        claim = Contribution(
            event=event.digest, base=base.digest, round=base.round, payload=payload, fisher=None, samples=12, steps=3, loss=1.0,
            admission=None,
        )  # fmt: skip
        draft = make_draft(
            history.amendments.event(base, signed.name), history.ancestry(base.digest),
            accepted=[(Signed.seal(coordinator.identity, claim), claim, 1.0)], rejected=[], departed=[],
            certificate=history.certificate(base.digest), proposer=coordinator.identity.peer_id, amendment=signed.name,
        )  # fmt: skip
        commit = draft.complete(sha256(b"state"), base.time + 1)
        certificate = local_run.certified(event, base, commit, peers)
        history.add(commit, certificate)
        with store.transaction():
            store.add_commit(commit, certificate)
            store.set_head(commit.digest)
    return signed
