"""Gates in the worker: a candidate is compared with the version before it, batch by batch, until the answer is clear."""

from .run import Gates

__all__ = ["Gates"]
