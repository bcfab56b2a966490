"""All gates of one worker: their data, prepared once, and the heads of the last versions."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from ....protocol.event import Data, EventManifest
from ....protocol.gates import EventGate, ExactGate, HeadGate, LossGate
from ....protocol.verdict import Measurement
from ..data import Batches, Corpus, prepare
from ..errors import WorkerError
from ..models import LanguageModel
from .exact import measure_exact
from .heads import Heads
from .labelled import Labelled
from .losses import measure_loss
from .version import Version, reading

_SOURCES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


class Gates:
    """Runs gates on pairs of versions of one event's model."""

    def __init__(self, event: EventManifest, model: LanguageModel, batches: Batches, data_dir: Path, cache_dir: Path) -> None:
        """`batches` is the event's own data; files that gates name are looked up in `data_dir`, tokens kept in `cache_dir`."""
        self._event = event
        self._model = model
        self._batches = batches
        self._data_dir = data_dir
        self._cache_dir = cache_dir
        self._texts: dict[tuple[str, str], Batches] = {}
        self._heads: dict[bytes, Heads] = {}

    def prepare(self, gates: Sequence[EventGate]) -> None:
        """Read what the gates need, so that a missing file is known at the start. Raises WorkerError."""
        for gate in gates:
            if isinstance(gate, HeadGate):
                self.heads_of(gate)
            elif isinstance(gate, LossGate):
                batches = self.batches_of(gate)
                if gate.shard[0] >= batches.held_out_samples:
                    raise WorkerError("no_data", f"gate {gate.name}: its data has too few blocks for shard {list(gate.shard)}")

    def run(
        self, gate: EventGate, base: Version, candidate: Version, seed: bytes, *, whole: bool = False
    ) -> tuple[Measurement, bytes]:
        """Return what the gate shows, and the hash of its data. The same arguments look at the same samples.

        `whole`: at all that the gate may look at, however clear the answer is before.

        Raises WorkerError: no_data, bad_data, missing_extra, bad_base.
        """
        order = gate.digest + seed
        with reading(self._model):
            match gate:
                case LossGate():
                    return measure_loss(gate, self.batches_of(gate), base, candidate, order, whole)
                case ExactGate():
                    batches = self._batches
                    return measure_exact(gate, batches.tokenizer, batches.objective, batches.block, base, candidate)
                case HeadGate():
                    return self.heads_of(gate).measure(base, candidate, order, whole)

    def hardware(self) -> str:
        """Return what the gates run on, in a few words."""
        device = next(self._model.parameters()).device
        if device.type == "cuda":
            return torch.cuda.get_device_name(device)[:120]
        return f"{platform.machine()} cpu, {torch.get_num_threads()} threads"

    def batches_of(self, gate: LossGate) -> Batches:
        """Return the blocks that a gate draws from, as held-out ones. Raises WorkerError."""
        if not gate.path:
            return self._batches
        key = gate.path, gate.field
        if key not in self._texts:
            self._texts[key] = self._read(gate)
        return self._texts[key]

    def _read(self, gate: LossGate) -> Batches:
        """Return a file's blocks as held-out ones: all of it is."""
        event = self._event.data
        source = _SOURCES.get(Path(gate.path).suffix, "text")
        fields = {"source": source, "path": gate.path, "field": gate.field, "tokenizer": event.tokenizer, "held_out": 0.0}
        corpus = prepare(Data.model_validate(fields | {"block": event.block}), self._data_dir, self._cache_dir)
        share = getattr(self._event.model, "mask_share", 0.0)
        whole = Corpus(train=corpus.train, held_out=corpus.train, tokenizer=corpus.tokenizer)
        return Batches(whole, event.block, self._model.objective, share)

    def heads_of(self, gate: HeadGate) -> Heads:
        """Return what trains heads on a gate's texts. Raises WorkerError."""
        if gate.digest not in self._heads:
            batches = self._batches
            data = Labelled.read(gate, self._data_dir, batches.tokenizer, batches.block)
            self._heads[gate.digest] = Heads(gate, data)
        return self._heads[gate.digest]
