"""A small event whose data is a text file that the test writes, and services on it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from event_kit import draft_fields

from collab.node.trainer import messages
from collab.node.trainer.service import Service
from collab.protocol.event import Compression, Data, EventManifest, InnerOptimiser, OuterOptimiser, Start
from collab.protocol.identity import Identity

PEER = Identity(bytes(range(32))).peer_id
INNER = InnerOptimiser(batch=4, steps=3, rate=1e-2, total_samples=1000)

MakeEvent = Callable[..., EventManifest]
MakeService = Callable[..., "Bench"]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder with `text.txt`: 400 paragraphs of words from a small vocabulary, the same every time."""
    draw = random.Random(7)
    words = ["merge", "round", "patch", "commit", "swarm", "peer", "weight", "replay"]
    paragraphs = [" ".join(draw.choices(words, k=20)) for _ in range(400)]
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "text.txt").write_text("\n\n".join(paragraphs))
    return folder


@pytest.fixture
def make_event() -> MakeEvent:
    """Build the event; arguments replace its parts."""

    def make(**parts: Any) -> EventManifest:
        fields = draft_fields(
            coordinator=PEER, created=0, data=Data(source="text", path="text.txt", block=16, held_out=0.1, held_out_samples=32),
            inner=INNER, compression=Compression(k=128), outer=OuterOptimiser(rate=1.0), start=Start(state=bytes(32), seed=1),
        )  # fmt: skip
        return EventManifest(**(fields | parts))

    return make


class Bench:
    """A service without a process: requests by method call, notices in a list."""

    def __init__(self, event: EventManifest, folder: Path, data_dir: Path, **options: Any) -> None:
        self.notices: list[messages.Notice] = []
        self.event = event
        self.service = Service(self.notices.append)
        self.request = messages.Open(
            manifest=event.encode(),
            peer_id=options.pop("peer_id", PEER),
            work_dir=str(folder),
            data_dir=str(data_dir),
            cache_dir=str(data_dir.parent / "cache"),
            device="cpu",
            threads=1,
            **options,
        )

    def open(self) -> messages.Opened:
        opened = self.ask(self.request)
        assert isinstance(opened, messages.Opened)
        self.restored = opened.restored
        return opened

    def ask(self, request: messages.Request) -> Any:
        return self.service.handle(request.OP, request.model_dump())

    def train(self, round: int = 1, steps: int = 3, **options: Any) -> messages.Trained:
        """Take inner steps until the round has `steps`."""
        self.ask(messages.Train(round=round, base_samples=0, max_steps=steps, **options))
        while self.service.training:
            self.service.step()
        trained = self.notices[-1]
        assert isinstance(trained, messages.Trained)
        return trained

    def local(self) -> dict[str, torch.Tensor]:
        return self.service.session.local()


@pytest.fixture
def bench(tmp_path: Path, data_dir: Path, make_event: MakeEvent) -> MakeService:
    """Open a service in the folder `name`, on the event or another one, its state made from seed 1."""

    def make(name: str = "node", event: EventManifest | None = None, init: bool = True, **options: Any) -> Bench:
        made = Bench(event or make_event(), tmp_path / name, data_dir, **options)
        restored = made.open().restored
        if init and restored is None:
            made.ask(messages.Init(seed=1, commit=b"r" * 32))
        return made

    return make
