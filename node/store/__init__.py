"""What a node keeps: content-addressed blobs, and an SQLite index over the commits, certificates and snapshots among them."""

from ..errors import StoreFull
from .blobs import BlobMismatch, Blobs, file_digest
from .proposals import Proposals, Proposed
from .prune import blobs_of, prune
from .refs import RefMoved, Refs
from .store import BlobRef, Snapshot, Store

__all__ = [
    "BlobMismatch", "BlobRef", "Blobs", "Proposals", "Proposed", "RefMoved", "Refs", "Snapshot", "Store", "StoreFull", "blobs_of",
    "file_digest", "prune",
]  # fmt: skip
