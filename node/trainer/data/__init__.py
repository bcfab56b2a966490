"""From the sources that an event names to batches: documents → tokens → a memory-mapped corpus → blocks."""

from .batches import Batch, Batches
from .corpus import Corpus, prepare

__all__ = ["Batch", "Batches", "Corpus", "prepare"]
