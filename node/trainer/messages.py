"""What the daemon can ask of the worker, and what it hears from it: the contract between the two processes.

Every request is one frozen class; `REQUESTS` lists them with what answers each. On the channel a request is its fields, its
`op` and an `id`; the answer has the fields of the answer's class, or `error` and `text` (a WorkerError's code and line). While it
trains, the worker also sends notices (`NOTICES`), each with its `event`. Paths are absolute; the daemon owns the files that it
was given the paths of, and takes payloads out of `work_dir` (by renaming or copying) before it asks for the next.

One round, seen from here: `Train` → notices `progress` … `trained` → `Compress` (payload file) → the network → `Merge` of all
contributions into a candidate → attest → `Adopt` the candidate. A node that catches up repeats `Merge` and `Adopt`.

Three sets of weights are told apart: the *base* (the shared state of a commit, on the CPU, bit-identical everywhere), the
*local* weights (on the device, in training) and *candidates* (merge results, at most two are kept).

Nothing is lost: the residual, the optimiser's moments, the base, the local weights and the position in the data are saved
before a payload is handed out, every `checkpoint_seconds` while training, and when the channel ends. `Opened.restored` says
what was found of an earlier life.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from ...protocol.event import MergeMethod

__all__ = [
    "NOTICES", "REQUESTS", "Adopt", "Amend", "Change", "Compress", "Compressed", "Done", "Evaluate", "Evaluated", "Failed",
    "GateRun", "Init", "Inspect", "Inspected", "Load", "MadeModule", "MakeModule", "Measure", "Measured", "Merge",
    "MergeChanges", "Merged", "Message", "ModuleRef", "Notice", "Open", "Opened", "Overlap", "Overlaps", "Part", "Progress",
    "Request", "Restored", "RunGate", "Save", "Settle", "Snapshot", "State", "Stop", "Train", "Trained", "Undo", "Unmerge",
    "VersionRef", "Written",
]  # fmt: skip


class Message(BaseModel):
    """A frozen map of plain values, as msgpack carries it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(Message):
    """Anything the daemon asks; `OP` is its name on the channel."""

    OP: ClassVar[str]


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


class Train(Request):
    """Take inner steps on the base until `max_steps` of the round are done (0: until told to stop). → Done

    `base_samples` is the swarm's count at the base; `peers` how many are expected to contribute: the learning rate is that of
    base_samples + own samples × peers. `position` is where in the round's sample sequence to begin; None goes on where this
    worker is in that round, 0 in a new one. Notices follow. Errors: no_base, no_data.
    """

    OP = "train"
    round: int
    base_samples: int
    peers: int = 1
    max_steps: int = 0
    position: int | None = None


class Stop(Request):
    """Stop after the step that is being taken. A `trained` notice precedes the answer if it was training. → Done"""

    OP = "stop"


class Done(Message):
    """It is done."""


class Compress(Request):
    """Stop training and make a payload of what was trained since the last one. → Compressed

    `full`: dense fp16, for a full merge; the residual goes with it. The payload is outstanding until it is settled. Errors:
    nothing_trained, non_finite (the local weights were thrown away and restart from the base), no_space.
    """

    OP = "compress"
    full: bool = False


class Compressed(Message):
    """A payload at `path`, and the claim that goes with it. `loss` is the mean training loss in nats a token."""

    path: str
    sha256: bytes
    size: int
    samples: int
    steps: int
    loss: float
    norm: float
    fisher_path: str | None = None
    fisher_sha256: bytes | None = None
    fisher_size: int = 0


class Settle(Request):
    """Say what became of an outstanding payload. Refused: what it held goes back into the residual. → Done

    `path` is where its bytes are; empty: where `Compress` wrote them. Errors: unknown_payload (not outstanding, or `path` holds
    other bytes), file.
    """

    OP = "settle"
    sha256: bytes
    accepted: bool
    path: str = ""


class Inspect(Request):
    """Check a contribution's payload before it is proposed. → Inspected"""

    OP = "inspect"
    path: str
    fisher_path: str | None = None
    full: bool = False


class Inspected(Message):
    """`reason` is empty when `ok`, else payload_size, payload_malformed, payload_codec, payload_empty or fisher_….

    `clip` is the factor that brings a patch of this `norm` to the event's largest.
    """

    ok: bool
    reason: str = ""
    norm: float = 0.0
    clip: float = 1.0


class Part(Message):
    """A contribution in a merge: its files and its share, an exact fraction of big-endian integers (as in a commit)."""

    path: str
    numerator: bytes
    denominator: bytes
    fisher_path: str | None = None
    clip: float | None = None
    """None: computed from the payload's norm."""


class Merge(Request):
    """Merge contributions, in this order, into a candidate named `key`; the base stays what it is. → Merged

    A key stands for its inputs: asked again while its candidate is kept, the answer is the same and nothing is merged. Without
    any contribution the candidate is the base: what becomes of a round whose contributions all failed a gate. `base` must be
    the base's state hash. Errors: wrong_base, bad_payload (names the contribution), bad_merge.
    """

    OP = "merge"
    key: str
    base: bytes
    parts: tuple[Part, ...]
    method: MergeMethod
    full: bool = False


class Change(Message):
    """A proposal in a merge: its payload's file, its form and its weight. `key` names it where a method draws at random.

    `fisher_path` and `grams_path` are files of the statistics that the method needs.
    """

    path: str
    form: str
    weight: float
    key: bytes
    fisher_path: str | None = None
    grams_path: str | None = None


class MergeChanges(Request):
    """As `Merge`, of proposals, by a method of `kernels.merge.MODEL_METHODS`; the outer optimiser takes no part. → Merged

    Errors: wrong_base, bad_payload (names the proposal), bad_merge.
    """

    OP = "merge_changes"
    key: str
    base: bytes
    changes: tuple[Change, ...]
    method: str
    parameters: dict[str, float]


class Measure(Request):
    """Measure a model's Fisher diagonal and the Gram matrices of its linear layers on samples to train on. → Measured

    `weights` is a safetensors file of the weights alone, `path` the payload of its change, in `form`, on whose coordinates the
    diagonal is written. The samples are the first of `peer_id` in `round`. Errors: no_data, bad_tensors, bad_payload, non_finite.
    """

    OP = "measure"
    weights: str
    form: str
    path: str
    peer_id: str
    round: int
    samples: int
    fisher_path: str
    grams_path: str


class Measured(Message):
    """The files are written. `without` are the weights of linear layers that have too many inputs for a matrix."""

    without: tuple[str, ...]


class Unmerge(Message):
    """A round's merge some parts of which are taken out (those not `kept`), and what it still does (`protocol.revert.Undone`)."""

    parts: tuple[Part, ...]
    kept: tuple[bool, ...]
    method: MergeMethod
    weight: float = 0.0
    momentum: float = 0.0
    cap: float = 1.0
    """As the merge's policy was in that round, and `damping` too."""
    damping: float = 0.0


class Undo(Request):
    """As `Merge`, of a revert: one merge after another is taken back, in this order. → Merged

    Errors: wrong_base, bad_payload, bad_merge.
    """

    OP = "undo"
    key: str
    base: bytes
    undone: tuple[Unmerge, ...]


class Overlap(Request):
    """Count, by tensor, the coordinates of the parts that are not kept, and which of them a later round's kept part moved.

    `rounds` are newest first, those included of which everything is kept. → Overlaps. Errors: bad_payload.
    """

    OP = "overlap"
    rounds: tuple[Unmerge, ...]


class Overlaps(Message):
    """By tensor: its name, how many coordinates are taken back, and how many of them were moved since."""

    tensors: tuple[tuple[str, int, int], ...]


class Merged(Message):
    """The candidate's state hash, the norm of the merged update, and the clips that were used, by part."""

    state: bytes
    norm: float
    clips: tuple[float, ...]


class Adopt(Request):
    """Make the candidate the base of `commit`; the local weights restart from it. → State

    What was trained and not sent is forgotten, or goes into the residual if `carry`. The inner optimiser's moments stay unless
    `reset_optimiser`. Errors: unknown_candidate.
    """

    OP = "adopt"
    key: str
    commit: bytes
    reset_optimiser: bool = False
    carry: bool = False


class Evaluate(Request):
    """Compute the held-out loss of the base, the local weights, or the candidate `key`. → Evaluated

    `samples` 0: as many as the event says. The set and its order are always the same. Errors: no_base, no_data,
    unknown_candidate.
    """

    OP = "evaluate"
    of: Literal["base", "local", "candidate"] = "base"
    key: str = ""
    samples: int = 0


class Evaluated(Message):
    """Mean loss in nats a token, over so many tokens."""

    loss: float
    tokens: int
    samples: int


class ModuleRef(Message):
    """A module that is put into a version: the folder of its package, and of what kind it is."""

    kind: Literal["adapter", "expert", "head", "datastore"]
    folder: str


class VersionRef(Message):
    """Weights to be compared: the base, the candidate `key`, or a safetensors file of the weights alone at `path`.

    With `module`, they are read with that in them.
    """

    of: Literal["base", "candidate", "file"] = "base"
    key: str = ""
    path: str = ""
    module: ModuleRef | None = None


class RunGate(Request):
    """Compare a candidate with the version before it by one gate, batch by batch until the answer is clear. → GateRun

    `gate` is its canonical bytes; `seed` decides, with the gate, which samples are looked at; `whole`: at all of them, however
    clear the answer is before. Errors: no_base, no_data, bad_data, missing_extra, bad_base, bad_tensors, unknown_candidate, unfit
    (a module is not for these weights).
    """

    OP = "gate"
    gate: bytes
    candidate: VersionRef
    base: VersionRef = VersionRef()
    seed: bytes = b""
    whole: bool = False


class GateRun(Message):
    """A protocol.verdict.Measurement in canonical bytes, the hash of the data, and what it ran on."""

    measurement: bytes
    data: bytes
    hardware: str


class MakeModule(Request):
    """Make a module of what a version reads in the data of a gate, and write it to `folder`. → MadeModule

    A gate on labels makes a head, trained on the half of its texts that gates train on. One on a loss makes a datastore of the
    blocks of its shard, with `entries` at most; `settings` is its configuration. Errors: as of `gate`, and non_finite.
    """

    OP = "make_module"
    gate: bytes
    version: VersionRef
    folder: str
    entries: int = 0
    settings: str = ""


class MadeModule(Message):
    """How many labels the head has, or entries the datastore."""

    size: int


class Save(Request):
    """Save the checkpoint now; `commit` names the base, if it had no name yet. → Done"""

    OP = "save"
    commit: bytes | None = None


class Notice(Message):
    """What the worker says unasked; `EVENT` is its name on the channel."""

    EVENT: ClassVar[str]


class Progress(Notice):
    """How far the round is. At most two a second. `rate` is the learning rate, `loss` the mean since the last payload."""

    EVENT: ClassVar[str] = "progress"
    round: int
    steps: int
    samples: int
    position: int
    loss: float
    rate: float
    tokens_per_second: float
    skipped: int = 0
    """Steps whose gradient was not finite, and that changed nothing."""


class Trained(Progress):
    """Training ended: all steps are done, or it was told to stop."""

    EVENT: ClassVar[str] = "trained"


class Failed(Notice):
    """Training ended because it cannot go on; out_of_memory, diverged or another WorkerError's code."""

    EVENT: ClassVar[str] = "failed"
    code: str
    text: str


REQUESTS: dict[str, tuple[type[Request], type[Message]]] = {
    request.OP: (request, answer)
    for request, answer in (
        (Open, Opened), (Init, State), (Load, State), (Snapshot, Written), (Train, Done), (Stop, Done),
        (Compress, Compressed), (Settle, Done), (Inspect, Inspected), (Merge, Merged), (Adopt, State),
        (Evaluate, Evaluated), (RunGate, GateRun), (Save, Done), (MergeChanges, Merged), (Undo, Merged), (Overlap, Overlaps),
        (Measure, Measured), (Amend, Done), (MakeModule, MadeModule),
    )
}  # fmt: skip

NOTICES: dict[str, type[Notice]] = {notice.EVENT: notice for notice in (Progress, Trained, Failed)}
