"""From what an event says about compression to the codec that does it."""

from __future__ import annotations

from ..kernels import Codec
from ..protocol.event import Compression

FULL_MERGE = Codec(kind="fp16", decay=1.0)
"""A full merge takes everything, and all of the residual."""


def codec_of(compression: Compression) -> Codec:
    """Return the codec of an event's ordinary rounds."""
    tensors = tuple((density.pattern, density.k) for density in compression.tensors)
    return Codec(**compression.model_dump(exclude={"tensors"}), tensors=tensors)
