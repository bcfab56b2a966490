"""What a node asks of another to catch up: the event, and the commits it lacks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .amendments.amendment import LIMITS, MAX_NUMBER
from .commit import Certificate
from .messages import Blob, Envelope
from .record import Digest, Record

COMMITS_A_REPLY = 256
AMENDMENTS_A_REPLY = 256
VERDICTS_A_REPLY = 256
VERDICTS_KNOWN = 1024


class ManifestRequest(Record):
    """Give me the signed manifest of this event."""

    event: Digest


class HistoryRequest(Record):
    """Give me the commits after the newest of these that you have; `locator` goes from my head back to the root, ever sparser."""

    event: Digest
    locator: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=64)]


class SnapshotOffer(Record):
    """The whole state after `commit`, as a safetensors blob. Its truth is the commit's state hash."""

    commit: Digest
    blob: Blob


class HistoryReply(Record):
    """Commits oldest first, as blobs to fetch; the certificate proves the last, each inner one is proven by its child."""

    commits: Annotated[tuple[Blob, ...], Field(max_length=COMMITS_A_REPLY)]
    certificate: Certificate | None
    more: bool
    snapshots: Annotated[tuple[SnapshotOffer, ...], Field(max_length=16)]


class AmendmentsRequest(Record):
    """Give me the amendments of this event whose number is above `after`."""

    event: Digest
    after: Annotated[int, Field(ge=0, le=MAX_NUMBER)]


class AmendmentsReply(Record):
    """SignedAmendments by number, forks included; `more` of them follow."""

    amendments: Annotated[tuple[Annotated[bytes, Field(max_length=LIMITS.size)], ...], Field(max_length=AMENDMENTS_A_REPLY)]
    more: bool


class VerdictsRequest(Record):
    """Give me what peers said of versions of this event and no commit carries yet, but for these verdicts, which I have."""

    event: Digest
    known: Annotated[tuple[Digest, ...], Field(max_length=VERDICTS_KNOWN)]


class VerdictsReply(Record):
    """Verdicts, each in its signed envelope; there may be more."""

    verdicts: Annotated[tuple[Envelope, ...], Field(max_length=VERDICTS_A_REPLY)]
