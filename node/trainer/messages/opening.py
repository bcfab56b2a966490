"""Opening an event, its weights as files, and going by what amendments say."""

from __future__ import annotations

from typing import Literal

from .base import Message, Request


class Open(Request):
    """Build the model, prepare the data, take up an earlier life. First, and once. → Opened

    Errors: bad_manifest, bad_model, missing_extra, no_data, bad_data, bad_device, no_space, out_of_memory, bad_checkpoint.
    """

    OP = "open"
    manifest: bytes
    """Canonical bytes of the EventManifest, or of the AmendedEvent."""
    peer_id: str
    work_dir: str
    """The worker's own folder: checkpoint and payloads. One worker at a time."""
    data_dir: str
    """The volunteer's data folder, which the event's relative paths are looked up in."""
    cache_dir: str
    """Prepared tokens; may be shared by all nodes of a machine."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 0
    """CPU threads of torch; 0 leaves the choice to torch."""
    gpu_memory: int = 0
    """MiB that the worker may take on the GPU; 0: all that is free."""
    micro_batch: int = 0
    """Samples that go through the model at once; 0: the recipe's whole batch. Halved by itself when memory runs out."""
    data: bool = True
    """False for a node that neither trains nor evaluates: no data is prepared."""
    checkpoint_seconds: float = 30.0


class Restored(Message):
    """What an earlier life left: the base, how far the round was, and which payloads have not been settled.

    An outstanding payload that the daemon knows nothing of was made, but the answer got lost: to be settled as refused.
    """

    commit: bytes | None
    state: bytes
    round: int
    position: int
    samples: int
    """Trained on and not yet sent."""
    outstanding: tuple[bytes, ...]


class Opened(Message):
    """`layout` is names and shapes, sorted. `samples` and `held_out_samples` are blocks (0 without data)."""

    layout: tuple[tuple[str, tuple[int, ...]], ...]
    parameters: int
    device: str
    bf16: bool
    samples: int
    held_out_samples: int
    tokens_per_sample: int
    restored: Restored | None


class Amend(Request):
    """Go by the recipe of this event from now on: the same event after amendments. → Done

    Errors: bad_manifest.
    """

    OP = "amend"
    manifest: bytes
    """Canonical bytes of the AmendedEvent, or of the EventManifest."""


class Init(Request):
    """Make the event's first state from a seed; it becomes base and local weights. → State"""

    OP = "init"
    seed: int
    commit: bytes | None = None


class Load(Request):
    """Take a safetensors snapshot as the base; checked: exact names, shapes, float32, finite. → State

    If it is the base that was restored, the local weights and the round go on from where they were. Otherwise what was trained
    and not sent is added to the residual if `carry`, and forgotten if not. `weights_only`: a checkpoint of a model alone, to
    start an event from; the outer optimiser starts anew. Errors: bad_tensors, file.
    """

    OP = "load"
    path: str
    commit: bytes | None = None
    carry: bool = True
    weights_only: bool = False


class State(Message):
    """The base's state hash."""

    state: bytes


class Snapshot(Request):
    """Write the base as safetensors, atomically and with the same bytes everywhere. `weights_only`: for users. → Written"""

    OP = "snapshot"
    path: str
    weights_only: bool = False


class Written(Message):
    """A file that was written, and what is in it."""

    sha256: bytes
    size: int
    state: bytes


class Save(Request):
    """Save the checkpoint now; `commit` names the base, if it had no name yet. → Done"""

    OP = "save"
    commit: bytes | None = None
