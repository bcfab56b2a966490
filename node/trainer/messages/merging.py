"""Candidates: merges of rounds and of proposals, reverts, and taking one over."""

from __future__ import annotations

from ....protocol.event import MergeMethod
from .base import Message, Request


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
