"""What commits that no round made have in common: one signed message says all of them, but for what their parent says."""

from __future__ import annotations

from typing import Literal, TypeVar

from .commit import Certificate, Commit
from .cosigning import signatures_missing, signers_of
from .errors import RemoteProtocolError
from .event import EventManifest
from .identity import PeerId
from .messages import Message, Signed

M = TypeVar("M", bound=Message)


def open_stated(envelope: bytes, kind: type[M]) -> tuple[PeerId, M]:
    """Return who says what in an envelope. Raises RemoteProtocolError.

    Messages of these kinds are not said in rounds, so `Signed.open` does not know them.
    """
    signed = Signed.decode(envelope)
    if signed.kind != kind.KIND:
        raise RemoteProtocolError("unexpected_kind", f"{signed.kind} where {kind.KIND} belongs")
    signed.check_signature()
    return signed.signer, kind.decode(signed.body)


def verify_signers(event: EventManifest, commit: Commit) -> None:
    """Raise RemoteProtocolError unless as many maintainers signed a commit with a statement as the event asks for.

    An event without maintainers leaves merges to its coordinator, and reverts to whoever makes one.
    """
    assert commit.statement is not None
    signers = signers_of(Signed.decode(commit.statement), commit.cosigners)
    if event.maintainers is None and commit.method == "revert" and len(signers) == 1:
        return
    if missing := signatures_missing(event, signers):
        raise RemoteProtocolError("too_few_signatures", f"{missing} more must sign")


def stated_commit(
    statement: Signed,
    parent: Commit,
    method: Literal["proposals", "revert"],
    *,
    state: bytes,
    time: int,
    samples: int = 0,
    certificate: Certificate | None = None,
) -> Commit:
    """Return the commit after `parent` that its signer states; `certificate` is what made the parent final, if a round did."""
    return Commit(
        event=parent.event,
        parents=(parent.digest,),
        round=parent.round + 1,
        state=state,
        method=method,
        full=False,
        accepted=(),
        rejected=(),
        departed=(),
        roster=parent.roster,
        samples=parent.samples + samples,
        loss=None,
        proposer=statement.signer,
        time=time,
        parent_certificate=certificate,
        statement=statement.encode(),
        amendment=parent.amendment,
    )
