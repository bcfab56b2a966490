"""A real run in one process: contributors that train and compress, and one store that takes their merges, without a network.

Every commit is what a swarm would have made: signed claims over real payloads, shares, a certificate by the committee, the state
hash of the merge. So whatever reads a store cannot tell the difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from collab import kernels
from collab.node.event.create import create_event
from collab.node.home import EventFolder, Home
from collab.node.keys import load
from collab.node.store import Store
from collab.node.trainer import messages
from collab.node.trainer.client import part
from collab.node.trainer.service import Service
from collab.protocol.certificates import certify
from collab.protocol.commit import Certificate, Commit
from collab.protocol.committee import draw
from collab.protocol.event import EventDraft, EventManifest
from collab.protocol.history import History
from collab.protocol.identity import Identity
from collab.protocol.merging import clip_of, make_draft, parts
from collab.protocol.messages import Attestation, Blob, Contribution, Signed
from collab.protocol.record import sha256

Spoil = Callable[[kernels.Layout], bytes]


class LocalRun:
    """Contributors, the first of whom is the coordinator, and the store in the coordinator's home."""

    def __init__(self, home: Home, draft: EventDraft, contributors: int, data_dir: Path, *, threads: int = 1) -> None:
        """Create the event in `home`. `data_dir` has the event's data files."""
        self.event = create_event(home, draft)
        self.folder: EventFolder = home.event(self.event.digest)
        self.store = Store.open(self.folder.store_path)
        self.history = History(self.event)
        self.peers = [load(home.identity_path), *(contributor(number) for number in range(1, contributors))]
        self.state = self.event.start.state
        self._services = [Service(lambda notice: None) for _ in self.peers]
        for number, (peer, service) in enumerate(zip(self.peers, self._services, strict=True)):
            work = home.path / "simulated" / str(number)
            work.mkdir(parents=True)
            _ask(service, messages.Open(
                manifest=self.event.encode(), peer_id=peer.peer_id, work_dir=str(work), data_dir=str(data_dir),
                cache_dir=str(home.path / "simulated"), device="cpu", threads=threads, checkpoint_seconds=1e9,
            ))  # fmt: skip
            assert self.event.start.seed is not None
            _ask(service, messages.Init(seed=self.event.start.seed))

    @property
    def parameters(self) -> int:
        """How many parameters the model has."""
        return self._services[0].session.layout.numel()

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def reopened(self) -> Store:
        """Return the closed run's store, for reading."""
        return Store.open(self.folder.store_path, read_only=True)

    def round(self, *, silent: int | None = None, spoilt: tuple[int, Spoil] | None = None) -> Commit:
        """Let everyone train on the head and merge what they made; `silent` sits out, one sends what is `spoilt` instead."""
        base = self.history.head
        claims = []
        for number, service in enumerate(self._services):
            if number != silent:
                self._train(service, base)
                claims.append(self._contribute(number, service, base, spoilt[1] if spoilt and spoilt[0] == number else None))
        commit, certificate = self._merge(base, claims)
        self._take(commit, certificate)
        return commit

    def _train(self, service: Service, base: Commit) -> None:
        steps = self.event.inner.steps
        _ask(service, messages.Train(round=base.round, base_samples=base.samples, peers=len(self.peers), max_steps=steps))
        while service.training:
            service.step()

    def _contribute(
        self, number: int, service: Service, base: Commit, spoil: Spoil | None
    ) -> tuple[Signed, Contribution, float]:
        made: Any = _ask(service, messages.Compress(full=self.event.is_full_merge(base.round + 1)))
        data = spoil(service.session.layout) if spoil is not None else Path(made.path).read_bytes()
        _ask(service, messages.Settle(sha256=made.sha256, accepted=True))
        claim = Contribution(
            event=self.event.digest, base=base.digest, round=base.round, payload=self._keep(data),
            fisher=self._keep(Path(made.fisher_path).read_bytes()) if made.fisher_path else None,
            samples=made.samples, steps=made.steps, loss=made.loss, admission=None,
        )  # fmt: skip
        clip = clip_of(self.event, kernels.inspect(data, service.session.layout).norm)
        return Signed.seal(self.peers[number], claim), claim, clip

    def _keep(self, data: bytes) -> Blob:
        return Blob(sha256=self.store.blobs.put_bytes(data), size=len(data))

    def _merge(self, base: Commit, claims: list[tuple[Signed, Contribution, float]]) -> tuple[Commit, Certificate]:
        ancestry = self.history.ancestry(base.digest)
        draft = make_draft(
            self.event, ancestry, accepted=claims, rejected=[], departed=[],
            certificate=self.history.certificate(base.digest), proposer=self.peers[0].peer_id,
        )  # fmt: skip
        method = draft.commit.method
        assert method != "root"
        request = messages.Merge(
            key=draft.key.hex(), base=self.state, method=method, full=draft.commit.full,
            parts=tuple(
                part(self._path(each.contribution.payload), each.share,
                     fisher_path=self._path(each.contribution.fisher) if each.contribution.fisher else None)
                for each in parts(draft.commit)
            ),
        )  # fmt: skip
        first = self._services[0]
        merged: Any = _ask(first, request)
        self.state = merged.state
        commit = draft.complete(self.state, int(time.time()))
        _ask(first, messages.Adopt(key=request.key, commit=commit.digest))
        for service in self._services[1:]:  # a state never changes, so they may share it
            service.session.restart_from(first.session.require_base(), self.state, commit.digest, carry=False)
        return commit, certified(self.event, base, commit, self.peers)

    def _path(self, blob: Blob) -> str:
        return str(self.store.blobs.path(blob.sha256))

    def _take(self, commit: Commit, certificate: Certificate) -> None:
        self.history.add(commit, certificate)
        with self.store.transaction():
            self.store.add_commit(commit, certificate)
            self.store.set_head(commit.digest)
        if commit.round % self.event.rounds.snapshot_every == 0:
            path = self.store.blobs.partial_path(commit.digest)
            written: Any = _ask(self._services[0], messages.Snapshot(path=str(path)))
            self.store.blobs.put_file(path, written.sha256)
            self.store.record_snapshot(commit.digest, written.sha256)

    def write_weights(self, path: Path) -> None:
        """Write the head's whole state as safetensors, as somebody without patches would keep it."""
        _ask(self._services[0], messages.Snapshot(path=str(path)))


def noise(layout: kernels.Layout) -> bytes:
    """Return a payload that moves every tensor at random, as far as the clip lets it."""
    draw = torch.Generator().manual_seed(0)
    delta = {name: 4 * torch.randn(shape, generator=draw) for name, shape in layout.tensors}
    return kernels.compress(delta, None, kernels.Codec(kind="sparse"))[0]


def certified(event: EventManifest, base: Commit, commit: Commit, peers: Sequence[Identity]) -> Certificate:
    """Return the certificate that makes `commit` final, by those of `peers` who are in the committee."""
    said = Attestation(event=event.digest, base=base.digest, epoch=0, view=0, stage="precommit", commit=commit.digest)
    members = draw(event, base, 0).members
    return certify(said, [Signed.seal(peer, said) for peer in peers if peer.peer_id in members])


def contributor(number: int) -> Identity:
    """Return the identity of a contributor who is not the coordinator."""
    return Identity(sha256(b"simulated contributor" + number.to_bytes(4, "big")))


def _ask(service: Service, request: messages.Request) -> messages.Message:
    return service.handle(request.OP, request.model_dump())
