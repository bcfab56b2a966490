"""Putting a module into a base: by kind, with what does not fit told in words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ...errors import UserError
from ..errors import WorkerError
from ..gates.version import Version
from ..messages import ModuleRef
from ..models import LanguageModel
from .adapter import with_adapter
from .datastore import with_datastore
from .experts import with_experts
from .heads import with_head

Weights = Mapping[str, Tensor]
KINDS: dict[str, Callable[[LanguageModel, Weights, bytes, Path], Version]] = {
    "adapter": with_adapter, "expert": with_experts, "head": with_head, "datastore": with_datastore,
}  # fmt: skip
"""Each takes the model, the base's weights, a name for the result (as `Version.state`), and the package's folder."""


def applied(model: LanguageModel, weights: Weights, state: bytes, module: ModuleRef) -> Version:
    """Return the version whose weights and state hash these are, with a module in it.

    Raises WorkerError("unfit"), with the reason, for a module that is not for such a model or that is damaged.
    """
    folder = Path(module.folder)
    name = hashlib.sha256(state)
    try:
        for path in sorted(folder.rglob("*")):
            name.update(_digest(path) if path.is_file() else b"")
        return KINDS[module.kind](model, weights, name.digest(), folder)
    except UserError as error:
        raise WorkerError("unfit", error.message) from error


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
