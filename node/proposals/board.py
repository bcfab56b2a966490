"""The proposals of a store: found by what a person types, kept, and carried in files between stores.

A proposal's file is the length of the signed record (4 bytes, big-endian), the record, the payload, and the statistics if it has
any.
"""

from __future__ import annotations

import struct
from pathlib import Path

from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.messages import Signed
from ...protocol.proposal import ModelProposal, open_proposal
from ...protocol.record import sha256
from ..errors import UserError
from ..failpoints import failpoint
from ..files import atomic_write
from ..store import Proposed, Store

_LENGTH = struct.Struct(">I")
_MAX_RECORD = 64 * 1024
_LISTED = "`collab-node review` lists what there is"


def find_proposals(store: Store, prefixes: list[str]) -> list[Proposed]:
    """Return the proposals whose ids begin so, in the order of their ids, each once. Raises UserError."""
    known = store.proposals.all()
    found = {}
    for prefix in prefixes:
        matching = [each for each in known if prefix and each.digest.hex().startswith(prefix.lower())]
        if len(matching) != 1:
            what = f"{len(matching)} proposals' ids begin" if matching else "no proposal's id begins"
            raise UserError(f"{what} with {prefix[:64]!r}", _LISTED)
        found[matching[0].digest] = matching[0]
    return [found[digest] for digest in sorted(found)]


def keep(store: Store, signed: Signed, *blobs: bytes) -> None:
    """Keep a proposal and its blobs, durably and together. Raises StoreFull."""
    with store.transaction():
        for blob in blobs:
            store.blobs.put_bytes(blob)
        failpoint("proposal-kept")
        store.proposals.add(signed)


def write_file(path: Path, signed: Signed, *blobs: bytes) -> None:
    """Write a proposal's file; the blobs in the order of `ModelProposal.blobs`. Raises UserError."""
    record = signed.encode()
    atomic_write(path, b"".join((_LENGTH.pack(len(record)), record, *blobs)))


def read_file(path: Path, event: EventManifest, store: Store) -> tuple[Signed, ModelProposal, list[bytes]]:
    """Read and check a proposal's file: signature, event, base and the blobs' hashes. Raises UserError."""
    try:
        with path.open("rb") as file:
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            if length > _MAX_RECORD:
                raise UserError(f"{path} is no proposal")
            signed = Signed.decode(file.read(length))
            _, proposal = open_proposal(signed.encode())
            blobs = [file.read(blob.size) for blob in proposal.blobs()]
            more = file.read(1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (struct.error, RemoteProtocolError) as error:
        raise UserError(f"{path} is no proposal: {error}") from error
    if proposal.event != event.digest:
        raise UserError(f"{path} belongs to another event", "choose it with --event")
    if not store.has_commit(proposal.base):
        raise UserError(f"the commit {proposal.base.hex()[:16]} that {path} changes is not here", "let the node catch up first")
    if more or [sha256(blob) for blob in blobs] != [blob.sha256 for blob in proposal.blobs()]:
        raise UserError(f"{path} is damaged: its payload is not the one that was signed")
    return signed, proposal, blobs
