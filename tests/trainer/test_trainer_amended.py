"""A worker that goes by another recipe of the same event."""

from __future__ import annotations

from pathlib import Path

import pytest
from rounds.worlds import identity
from trainer.conftest import MakeEvent, MakeService

from collab.node.trainer import messages
from collab.node.trainer.errors import WorkerError
from collab.protocol.amendments import Amendment, InForce, Recipe, SignedAmendment
from collab.protocol.event import Compression, EventManifest, Merge


def amended(created: EventManifest, recipe: Recipe) -> EventManifest:
    content = Amendment(event=created.digest, number=1, previous=None, time=1, body=recipe)
    return InForce.at_first(created).after(SignedAmendment.draft(content).signed_by(identity(0))).event(recipe.from_round)


@pytest.fixture
def event(make_event: MakeEvent) -> EventManifest:
    return make_event(coordinator=identity(0).peer_id)


def test_a_worker_follows_a_recipe_and_keeps_its_moments(bench: MakeService, event: EventManifest) -> None:
    inner = event.inner.model_copy(update={"batch": event.inner.batch * 2, "weight_decay": 0.0})
    later = amended(event, Recipe(from_round=2, inner=inner, compression=Compression(k=64), merge=Merge(method="fisher")))
    made = bench(event=event)
    assert made.train(steps=2).samples == 2 * event.inner.batch
    moments = made.service.session.optimiser.shapes()
    made.ask(messages.Amend(manifest=later.encode()))
    assert made.service.session.optimiser.shapes() == moments
    assert made.train(round=2, steps=2).samples == 2 * event.inner.batch + 2 * inner.batch
    payload = made.ask(messages.Compress())
    assert payload.fisher_path is not None
    found = made.ask(messages.Inspect(path=payload.path, fisher_path=payload.fisher_path))
    assert (found.ok, found.reason) == (True, "")
    made.ask(messages.Amend(manifest=event.encode()))
    found = made.ask(messages.Inspect(path=payload.path))
    assert (found.ok, found.reason) == (False, "payload_codec")


def test_a_worker_opened_on_the_amended_event_takes_up_the_old_checkpoint(bench: MakeService, event: EventManifest) -> None:
    first = bench(event=event)
    first.train(steps=2)
    first.ask(messages.Save(commit=b"c" * 32))
    again = bench(event=amended(event, Recipe(from_round=2, compression=Compression(k=64))))
    assert again.restored is not None
    assert (again.restored.commit, again.restored.samples) == (b"c" * 32, 2 * event.inner.batch)
    assert again.service.session.event.digest == event.digest


@pytest.mark.parametrize(("before", "after"), [("adamw", "muon"), ("muon", "adamw")])
def test_another_kind_of_optimiser_starts_without_moments(
    bench: MakeService, event: EventManifest, before: str, after: str
) -> None:
    event = event.model_copy(update={"inner": event.inner.model_copy(update={"kind": before})})
    later = amended(event, Recipe(from_round=2, inner=event.inner.model_copy(update={"kind": after})))
    first = bench(event=event)
    first.train(steps=2)
    moments = first.service.session.optimiser.shapes()
    first.ask(messages.Save())
    first.ask(messages.Amend(manifest=later.encode()))
    assert first.service.session.optimiser.shapes() != moments
    assert not any(bool(tensor.any()) for tensor in first.service.session.optimiser.tensors().values())
    first.train(round=2, steps=1)
    again = bench(event=later)
    assert again.restored is not None
    assert again.restored.samples == 2 * event.inner.batch
    assert not any(bool(tensor.any()) for tensor in again.service.session.optimiser.tensors().values())


def test_what_is_no_event_is_refused(bench: MakeService, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="the event cannot be read"):
        bench().ask(messages.Amend(manifest=b"\xc1"))
