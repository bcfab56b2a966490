"""The codec in C++ (`csrc/cpu_*`): the reference's bits at the speed of memory.

A chunk is read once: its totals are written where its residual will be, and candidates among them are marked. Then the largest
are chosen, fitted, packed and subtracted in the cache, while the next chunk is on its way from memory. Decoding first checks all
payloads, then adds all contributions to one chunk after the other. The library holds the code for several instruction sets and
takes the best that the machine has; threads share the chunks. Neither changes a bit of any result.

`library` loads it, `backend` is the seam.
"""

from __future__ import annotations

import logging
from functools import cache

from .backend import Native
from .library import LibraryError

__all__ = ["LibraryError", "Native", "load"]

_log = logging.getLogger(__name__)


@cache
def load() -> Native | None:
    """The backend, or None after one line in the log that says why there is none."""
    try:
        return Native()
    except LibraryError as error:
        _log.warning("the codec runs as slowly as its reference, without its native library: %s", error)
        return None
