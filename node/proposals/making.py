"""From a checkpoint to a signed proposal and its blobs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...kernels.change import Encoded, smallest
from ...protocol.commit import Commit
from ...protocol.identity import Identity
from ...protocol.messages import Blob, Signed
from ...protocol.proposal import ModelProposal
from ...protocol.record import sha256
from ..errors import UserError
from ..history.replay import Replay
from ..trainer import messages
from .weights import read_checkpoint, weights_of

SAMPLES = 128
"""Samples of the event's training data that statistics are measured on."""


@dataclass(frozen=True)
class Made:
    """A signed proposal, its blobs in the order of `ModelProposal.blobs`, and the layers too large for a Gram matrix."""

    signed: Signed
    blobs: tuple[bytes, ...]
    without: tuple[str, ...] = ()


async def make_proposal(
    replay: Replay, identity: Identity, base: Commit, checkpoint: Path,
    *, error: float, samples: int, message: str, time: int, statistics: bool = False,
) -> Made:  # fmt: skip
    """Return the signed proposal that turns `base` into the checkpoint. Nothing is stored. Raises UserError, RemoteFailure.

    `checkpoint` is an absolute path, `error` the largest relative error of the change, `samples` what it was trained on, `time`
    in Unix seconds. `statistics`: measure them on the event's data, which the replay needs then.
    """
    weights = (await weights_of(replay, base))[base.digest]
    changed = read_checkpoint(checkpoint, weights)
    try:
        encoded = smallest({name: weights[name] - changed[name] for name in weights}, error)
    except ValueError as problem:
        hint = "allow more with --error" if "error" in str(problem) else "train it first, or name another --base"
        raise UserError(f"{checkpoint} cannot be proposed: {problem}", hint) from problem
    measured: dict[str, bytes] = {}
    without: tuple[str, ...] = ()
    if statistics:
        measured, without = await _measured(replay, identity, base, checkpoint, encoded)
    proposal = ModelProposal(
        event=base.event,
        base=base.digest,
        form=encoded.form,
        payload=_blob(encoded.payload),
        samples=samples,
        error=encoded.error,
        message=message,
        time=time,
        **{name: _blob(data) for name, data in measured.items()},
    )
    return Made(Signed.seal(identity, proposal), (encoded.payload, *measured.values()), without)


async def _measured(
    replay: Replay, identity: Identity, base: Commit, checkpoint: Path, encoded: Encoded
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return the checkpoint's statistics by the fields of a proposal, and the layers that have no Gram matrix."""
    with tempfile.TemporaryDirectory(prefix="collab-statistics-") as folder:
        payload, fisher, grams = (Path(folder) / name for name in ("payload", "fisher", "grams"))
        payload.write_bytes(encoded.payload)
        request = messages.Measure(
            weights=str(checkpoint), form=encoded.form, path=str(payload), peer_id=identity.peer_id,
            round=base.round, samples=SAMPLES, fisher_path=str(fisher), grams_path=str(grams),
        )  # fmt: skip
        answer = await replay.measure(request)
        return {"fisher": fisher.read_bytes(), "grams": grams.read_bytes()}, answer.without


def _blob(data: bytes) -> Blob:
    return Blob(sha256=sha256(data), size=len(data))
