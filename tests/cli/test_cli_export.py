"""Exporting replays real merges from the store."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from store_samples import draft

from collab import kernels
from collab.kernels.merge import Contribution as MergeContribution
from collab.kernels.merge import merge
from collab.kernels.outer import sgd
from collab.node.errors import UserError
from collab.node.event.create import create_event
from collab.node.export import export_weights
from collab.node.home import Home
from collab.node.keys import load
from collab.node.store import Store
from collab.node.trainer.start import first_state
from collab.node.trainer.state import SharedState
from collab.protocol.commit import Accepted, Commit
from collab.protocol.event import EventManifest
from collab.protocol.messages import Blob, Contribution, Signed


def one_round(home: Home, event: EventManifest, store: Store) -> tuple[Commit, SharedState]:
    """Add a commit that merges one real payload; return it and the state that it leads to."""
    identity, root = load(home.identity_path), store.head_commit()
    base = first_state(event, seed=5)
    generator = torch.Generator().manual_seed(0)
    delta = {name: 1e-3 * torch.randn(weight.shape, generator=generator) for name, weight in base.weights.items()}
    payload, _ = kernels.compress(delta, None, kernels.Codec(kind="sparse"))
    layout = kernels.Layout.of(base.weights)
    update = merge("average", layout, [MergeContribution(payload, 1.0)], cap=event.merge.cap, damping=event.merge.damping)
    after = SharedState(sgd(base.weights, update, rate=event.outer.rate))
    claim = Contribution(
        event=event.digest, base=root.digest, round=1, payload=Blob(sha256=store.blobs.put_bytes(payload), size=len(payload)),
        fisher=None, samples=8, steps=1, loss=5.0, admission=None,
    )  # fmt: skip
    envelope = Signed.seal(identity, claim).encode()
    commit = Commit(
        event=event.digest, parents=(root.digest,), round=1, state=after.hash(), method="average", full=False,
        accepted=(Accepted(envelope=envelope, numerator=b"\1", denominator=b"\1", clip=1.0),), rejected=(), departed=(),
        roster=root.roster, samples=8, loss=5.0, proposer=identity.peer_id, time=root.time, parent_certificate=None,
    )  # fmt: skip
    store.set_head(store.add_commit(commit))
    return commit, after


async def test_an_export_is_the_replayed_state_or_an_error(tmp_path: Path) -> None:
    home, out = Home(tmp_path / "home"), tmp_path / "weights.safetensors"
    event = create_event(home, draft(), seed=5)
    with Store.open(home.event(event.digest).store_path) as store:
        commit, after = one_round(home, event, store)
        await export_weights(event, store, commit, out)
        exported = load_file(out)
        assert exported.keys() == after.weights.keys()
        assert all(torch.equal(exported[name], weight) for name, weight in after.weights.items())

        out.unlink()
        lie = Commit.from_fields({**commit.model_dump(), "state": bytes(32)})
        store.add_commit(lie)
        with pytest.raises(UserError, match="the store is damaged: round 1"):
            await export_weights(event, store, lie, out)
        assert not out.exists()
