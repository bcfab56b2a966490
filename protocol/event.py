"""The event: what a swarm trains, on what, how it merges, and who may join. Signed by its coordinator, named by its hash.

An event names no code to run: model families, data sources and recipes are built in, or installed by the volunteer.

A validator's message starts with the key that it is about, so that the event file's checker can name its line.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .gates import EventGate, Gates, check_names
from .identity import PeerId
from .record import Count, Digest, Finite, Moment, Record, Word, later

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=1, lt=1 << 40)]
Layers = Annotated[int, Field(ge=1, le=1024)]
Path = Annotated[str, Field(max_length=1024)]
MergeMethod = Literal["average", "sparse-average", "fisher"]


class GptModel(Record):
    """A decoder-only language model (Radford et al. 2019) with rotary positions."""

    family: Literal["gpt"]
    layers: Layers = 4
    width: Size = 128
    heads: Size = 4
    vocabulary: Size = 256

    @model_validator(mode="after")
    def _heads_divide_width(self) -> GptModel:
        if self.width % (2 * self.heads):
            raise ValueError("width must be a multiple of 2 * heads")
        return self


class AlbertModel(Record):
    """A masked language model that shares its layers (Lan et al. 2020; sahajBERT: Diskin et al. 2021)."""

    family: Literal["albert"]
    layers: Layers = 12
    width: Size = 768
    heads: Size = 12
    feed_forward: Size = 3072
    embedding: Size = 128
    vocabulary: Size = 32000
    mask_share: Share = 0.15

    @model_validator(mode="after")
    def _heads_divide_width(self) -> AlbertModel:
        if self.width % self.heads:
            raise ValueError("width must be a multiple of heads")
        return self


class HuggingFaceModel(Record):
    """Any architecture that `transformers` has built in, by its configuration; needs the extra `transformers`."""

    family: Literal["huggingface"]
    task: Literal["causal-lm", "masked-lm"]
    architecture: Word
    config: dict[Annotated[str, Field(max_length=64)], bool | int | float | str] = Field(default_factory=dict)
    mask_share: Share = 0.15


class Data(Record):
    """Where the samples come from. Relative paths are looked up in the volunteer's data folder."""

    source: Literal["stdlib", "text", "jsonl", "parquet", "huggingface"]
    path: Path = ""
    name: Path = ""
    split: Path = "train"
    field: Path = "text"
    tokenizer: Path = "bytes"
    block: Size = 128
    held_out: Share = 0.02
    held_out_samples: Size = 512
    max_bytes: Annotated[int, Field(ge=0, lt=1 << 50)] = 0

    @model_validator(mode="after")
    def _source_needs_a_path(self) -> Data:
        if self.source != "stdlib" and not self.path:
            raise ValueError(f"source {self.source!r} needs a path")
        return self


class InnerOptimiser(Record):
    """What every trainer steps by; the rate follows the swarm's samples: warm-up, then a cosine.

    `adamw` (Loshchilov & Hutter 2019), or `muon` (Jordan et al. 2024) on hidden matrices and AdamW on the rest, at the same rate.
    """

    kind: Literal["adamw", "muon"] = later("adamw")
    batch: Size = 8
    steps: Size = 20
    rate: Positive = 2e-3
    final_rate_share: Share = 0.1
    warmup_samples: Count = 0
    total_samples: Size = 1 << 20
    weight_decay: Share = 0.1
    betas: tuple[Momentum, Momentum] = (0.9, 0.95)
    clip: Positive = 1.0
    bf16: bool = True

    @model_validator(mode="after")
    def _warmup_ends(self) -> InnerOptimiser:
        if self.warmup_samples >= self.total_samples:
            raise ValueError("warmup_samples must be below total_samples")
        return self


Kept = Annotated[int, Field(ge=16, le=512, multiple_of=16)]


class TensorDensity(Record):
    """How many of every 4096 values are kept of the tensors whose name matches a shell pattern; 0: all, in 8 bits."""

    pattern: Path
    k: Kept | Literal[0]


class Compression(Record):
    """How a pseudo-gradient becomes a payload; `decay` is the error feedback's.

    Of the `tensors` that match a name the first counts; then tensors of fewer than `dense_below` elements are dense, in 8 bits.
    """

    kind: Literal["sparse", "fp16"] = "sparse"
    k: Kept = 144
    value_bits: Annotated[int, Field(ge=1, le=8)] = 1
    decay: Share = 0.6
    dense_below: Count = 0
    tensors: Annotated[tuple[TensorDensity, ...], Field(max_length=64)] = ()


class OuterOptimiser(Record):
    """The step that a merge takes on the shared weights: `sgd`, or `nesterov` (DiLoCo, Douillard et al. 2023)."""

    kind: Literal["sgd", "nesterov"] = "sgd"
    rate: Positive = 2.0
    momentum: Momentum = 0.0

    @model_validator(mode="after")
    def _momentum_needs_nesterov(self) -> OuterOptimiser:
        if self.kind == "sgd" and self.momentum:
            raise ValueError("momentum goes with kind 'nesterov'")
        return self


class Merge(Record):
    """How contributions become one update. Nobody's share of any coordinate exceeds max(cap, 1/n)."""

    method: MergeMethod = "sparse-average"
    cap: Annotated[float, Field(gt=0, le=1)] = 0.5
    damping: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.1
    max_norm: Positive = 10.0
    full_every: Count = 0
    full_method: MergeMethod = "average"
    full_rate: Positive = 1.0


class Rounds(Record):
    """When a round closes, who decides, and how long anyone is waited for."""

    target_samples: Count = 0
    deadline: Seconds = 600.0
    collect: Seconds = 15.0
    view: Seconds = 10.0
    min_contributors: Annotated[int, Field(ge=1, le=1024)] = 1
    committee: Annotated[int, Field(ge=1, le=64)] = 7
    views_per_epoch: Annotated[int, Field(ge=1, le=64)] = 4
    silent_rounds: Annotated[int, Field(ge=1, le=10_000)] = 5
    max_staleness: Annotated[int, Field(ge=0, le=64)] = 1
    stale_decay: Share = 0.5
    snapshot_every: Annotated[int, Field(ge=1, le=100_000)] = 20
    last_round: Count = 0


class Admission(Record):
    """Who may contribute. `invited`: whoever shows a signature by the admission key over the event and his own PeerId."""

    mode: Literal["open", "invited"] = "open"
    key: PeerId | None = None
    banned: tuple[PeerId, ...] = ()

    @model_validator(mode="after")
    def _invited_needs_a_key(self) -> Admission:
        if (self.mode == "invited") != (self.key is not None):
            raise ValueError("mode 'invited' needs a key, and a key needs mode 'invited'")
        return self


class Maintainers(Record):
    """Who decides on merges of proposals and on reverts: so many (`threshold`) of these (`keys`) have to sign."""

    keys: Annotated[tuple[PeerId, ...], Field(min_length=1, max_length=64)]
    threshold: Annotated[int, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _can_be_reached(self) -> Maintainers:
        if len(set(self.keys)) < len(self.keys):
            raise ValueError("keys names a maintainer twice")
        if self.threshold > len(self.keys):
            raise ValueError(f"threshold is more than the {len(self.keys)} maintainers that there are")
        return self


class Start(Record):
    """The first version: its state hash, and the seed that makes it (absent where it came from a checkpoint)."""

    state: Digest
    seed: Count | None = None


class EventDraft(Record):
    """What a coordinator writes down: an event without its coordinator, its day and its first weights."""

    name: Word
    description: Annotated[str, Field(max_length=2000)] = ""
    model: Annotated[GptModel | AlbertModel | HuggingFaceModel, Field(discriminator="family")]
    data: Data
    inner: InnerOptimiser
    compression: Compression
    outer: OuterOptimiser
    merge: Merge
    rounds: Rounds
    admission: Admission
    gate: Gates = later(())
    maintainers: Maintainers | None = later(None)

    @model_validator(mode="after")
    def _gates_have_names_of_their_own(self) -> EventDraft:
        check_names(self.gate)
        return self

    @model_validator(mode="after")
    def _vocabulary_holds_bytes(self) -> EventDraft:
        needed = 257 if self.model.family == "albert" else 256  # a masked language model has a token for the mask
        if self.data.tokenizer == "bytes" and self.model.family != "huggingface" and self.model.vocabulary < needed:
            raise ValueError(f"model.vocabulary must be at least {needed} with tokenizer 'bytes'")
        return self

    def manifest(self, coordinator: PeerId, created: int, start: Start) -> EventManifest:
        """Return the event; `created` is in Unix seconds. Raises ValueError if the draft bans its coordinator."""
        fields = {name: getattr(self, name) for name in EventDraft.model_fields}
        return EventManifest(coordinator=coordinator, created=created, start=start, **fields)


class EventManifest(EventDraft):
    """Everything a node must know to take part. Its digest is the event's id."""

    format: Literal[1] = 1
    coordinator: PeerId
    created: Moment
    start: Start

    @model_validator(mode="after")
    def _coordinator_may_take_part(self) -> EventManifest:
        if self.coordinator in self.admission.banned:
            raise ValueError("admission.banned names the coordinator")
        return self

    def deciders(self) -> Maintainers:
        """Return who decides on merges of proposals: the maintainers, or where there are none the coordinator alone."""
        return self.maintainers or Maintainers(keys=(self.coordinator,))

    def round_gates(self) -> tuple[EventGate, ...]:
        """Return the gates that the committee runs on every candidate."""
        return tuple(gate for gate in self.gate if gate.rounds)

    def is_full_merge(self, round: int) -> bool:
        """Say whether the commit of `round` is a dense full merge (every `merge.full_every` rounds)."""
        return self.merge.full_every > 0 and round % self.merge.full_every == 0


__all__ = [
    "Admission", "AlbertModel", "Compression", "Data", "EventDraft", "EventManifest", "Finite", "GptModel",
    "HuggingFaceModel", "InnerOptimiser", "Maintainers", "Merge", "OuterOptimiser", "Rounds", "Start",
]  # fmt: skip
