"""A commit on its way from one maintainer to the next, in a file, until enough of them signed it.

The file is the length of the record (4 bytes, big-endian), the record, and the blobs of the proposals that the commit merges,
in their order: so that whoever is asked to sign can replay it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ...protocol.canonical import DOCUMENT_LIMITS
from ...protocol.commit import Commit, decode_commit
from ...protocol.cosigning import cosign, signatures_missing, signers_of
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.identity import Identity, PeerId
from ...protocol.messages import Signed
from ...protocol.proposal import ModelProposal, open_merge
from ...protocol.record import Record, sha256
from ...protocol.statement import verify_unsigned
from ..errors import UserError
from ..failpoints import failpoint
from ..files import atomic_write
from ..store import Store
from ..units import short

_LENGTH = struct.Struct(">I")


class _Drafted(Record):
    branch: Annotated[str, Field(max_length=256)]
    commit: Annotated[bytes, Field(max_length=DOCUMENT_LIMITS.size)]


@dataclass(frozen=True)
class Draft:
    """A commit that fewer maintainers signed than have to, or as many; `branch` is to take it."""

    branch: str
    commit: Commit

    @property
    def _statement(self) -> Signed:
        assert self.commit.statement is not None
        return Signed.decode(self.commit.statement)

    def signers(self) -> list[PeerId]:
        """Return who signed. Raises RemoteProtocolError."""
        return signers_of(self._statement, self.commit.cosigners)

    def missing(self, event: EventManifest) -> int:
        """Return how many signatures it lacks. Raises RemoteProtocolError if somebody signed who must not."""
        return signatures_missing(event, self.signers())

    def signed_by(self, identity: Identity) -> Draft:
        """Return it with one signature more."""
        added = (*self.commit.cosigners, cosign(identity, self._statement))
        cosigners = tuple(sorted(added, key=lambda each: each.peer))
        return Draft(self.branch, self.commit.model_copy(update={"cosigners": cosigners}))

    def proposals(self) -> list[tuple[Signed, ModelProposal]]:
        """Return what it merges; none for a revert. Raises RemoteProtocolError."""
        return open_merge(self.commit)[1].opened() if self.commit.method == "proposals" else []

    def check(self, event: EventManifest, store: Store) -> None:
        """Raise UserError unless it is a valid commit after one that is here, but for signatures that it lacks."""
        if self.commit.event != event.digest:
            raise UserError("the draft belongs to another event", "choose it with --event")
        if not self.commit.parents or self.commit.statement is None:
            raise UserError("the draft is no commit that maintainers sign")
        if not store.has_commit(self.commit.base):
            what = f"the draft follows commit {short(self.commit.base)}, which is not here"
            raise UserError(what, "let the node catch up first")
        try:
            amendments, base = store.amendments.of(event), store.commit(self.commit.base)
            verify_unsigned(amendments, base, self.commit, store.commit)
            self.missing(amendments.event_on(base))
        except RemoteProtocolError as error:
            raise UserError(f"the draft is not to be signed: {error}") from error


def write_draft(path: Path, draft: Draft, store: Store) -> None:
    """Write the draft's file, with the blobs that it needs. Raises UserError."""
    record = _Drafted(branch=draft.branch, commit=draft.commit.encode()).encode()
    blobs = [store.blobs.read(blob.sha256) or b"" for _, proposal in draft.proposals() for blob in proposal.blobs()]
    atomic_write(path, _LENGTH.pack(len(record)) + record + b"".join(blobs))
    failpoint("draft-written")


def read_draft(path: Path) -> tuple[Draft, list[tuple[Signed, list[bytes]]]]:
    """Return the draft in a file, and the proposals that it merges with their blobs, by the right hashes. Raises UserError."""
    try:
        data = _bounded(path)
        (length,) = _LENGTH.unpack(data[: _LENGTH.size])
        drafted = _Drafted.decode(data[_LENGTH.size : _LENGTH.size + length], DOCUMENT_LIMITS)
        draft = Draft(drafted.branch, decode_commit(drafted.commit))
        return draft, list(_blobs(draft, data[_LENGTH.size + length :]))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (struct.error, RemoteProtocolError) as error:
        raise UserError(f"{path} is no draft of a commit", "take the file that `merge` or `revert` wrote") from error


def _bounded(path: Path) -> bytes:
    """Return a file's bytes, whose record is no larger than it may be; what follows it is the person's own disk's."""
    with path.open("rb") as file:
        start = file.read(_LENGTH.size)
        if _LENGTH.unpack(start)[0] > DOCUMENT_LIMITS.size:
            raise RemoteProtocolError("malformed", "its record is too large")
        return start + file.read()


def _blobs(draft: Draft, data: bytes) -> Iterator[tuple[Signed, list[bytes]]]:
    for signed, proposal in draft.proposals():
        blobs = []
        for expected in proposal.blobs():
            blob, data = data[: expected.size], data[expected.size :]
            if sha256(blob) != expected.sha256:
                raise RemoteProtocolError("malformed", f"the payload of proposal {short(signed.digest)} is damaged")
            blobs.append(blob)
        yield signed, blobs
    if data:
        raise RemoteProtocolError("malformed", "something follows its payloads")
