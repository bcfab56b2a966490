"""From a checkpoint to a signed proposal and its payload."""

from __future__ import annotations

from pathlib import Path

from ...kernels.change import smallest
from ...protocol.commit import Commit
from ...protocol.identity import Identity
from ...protocol.messages import Blob, Signed
from ...protocol.proposal import ModelProposal
from ...protocol.record import sha256
from ..errors import UserError
from ..history.replay import Replay
from .weights import read_checkpoint, weights_of


async def make_proposal(
    replay: Replay, identity: Identity, base: Commit, checkpoint: Path, *, error: float, samples: int, message: str, time: int
) -> tuple[Signed, bytes]:
    """Return the signed proposal that turns `base` into the checkpoint, and its payload. Nothing is stored. Raises UserError.

    `error` is the largest relative error of the change, `samples` what it was trained on, `time` in Unix seconds.
    """
    weights = (await weights_of(replay, base))[base.digest]
    changed = read_checkpoint(checkpoint, weights)
    try:
        encoded = smallest({name: weights[name] - changed[name] for name in weights}, error)
    except ValueError as problem:
        hint = "allow more with --error" if "error" in str(problem) else "train it first, or name another --base"
        raise UserError(f"{checkpoint} cannot be proposed: {problem}", hint) from problem
    proposal = ModelProposal(
        event=base.event,
        base=base.digest,
        form=encoded.form,
        payload=Blob(sha256=sha256(encoded.payload), size=len(encoded.payload)),
        samples=samples,
        error=encoded.error,
        message=message,
        time=time,
    )
    return Signed.seal(identity, proposal), encoded.payload
