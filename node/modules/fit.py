"""Whether a module can be put into an event's model, as far as its package alone says; its tensors are for the worker to try."""

from __future__ import annotations

from pathlib import Path

from ...protocol.event import EventManifest
from ...protocol.module import Module
from ..errors import UserError
from ..event.interface import interface_of
from ..trainer.messages import ModuleRef
from .kinds import check_module


class Unfit(UserError):
    """The base has no place for the module."""


def fitting(module: Module, folder: Path, event: EventManifest) -> ModuleRef:
    """Return how the worker is told of the module in `folder`. Raises Unfit, or UserError if it cannot be tested."""
    if module.kind == "base":
        raise UserError("a base is put into no other")
    check_module(module, folder)
    if module.interface is not None:
        base = interface_of(event)
        if module.interface.tokenizer != base.tokenizer:
            raise Unfit("it is for another tokenizer than the base's")
        # A head may bring inputs of its own.
        if module.kind != "head" and (odd := set(module.interface.inputs) - set(base.inputs)):
            raise Unfit(f"it takes {min(odd)}, and the base does not")
    if not module.gate:
        raise UserError("it has no gates", "a [[gate]] in module.toml says what it is good for")
    return ModuleRef(kind=module.kind, folder=str(folder.absolute()))
