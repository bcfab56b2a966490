"""A base with a module in it, as gates read it. `applied` is the one way in; each kind of module has a file of its own."""

from .kinds import applied

__all__ = ["applied"]
