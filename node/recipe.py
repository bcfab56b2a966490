"""From what an event says about compression to the codec that does it."""

from __future__ import annotations

from ..kernels import Codec, Layout, max_payload_bytes, max_support_bytes
from ..protocol.event import Compression, EventManifest

FULL_MERGE = Codec(kind="fp16", decay=1.0)
"""A full merge takes everything, and all of the residual."""


def codec_of(compression: Compression) -> Codec:
    """Return the codec of an event's ordinary rounds."""
    tensors = tuple((density.pattern, density.k) for density in compression.tensors)
    return Codec(**compression.model_dump(exclude={"tensors"}), tensors=tensors)


def payload_limit(event: EventManifest, layout: Layout) -> int:
    """Return the largest payload in bytes that the model and the event's codecs allow."""
    codecs = [codec_of(event.compression), *([FULL_MERGE] if event.merge.full_every else [])]
    return max(most(layout, codec) for codec in codecs for most in (max_payload_bytes, max_support_bytes))
