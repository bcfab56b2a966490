"""An adapter in a base: other weights, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ...modules.adapter import changed_by, check_adapter
from ..gates.version import Version
from ..models import LanguageModel


def with_adapter(model: LanguageModel, weights: Mapping[str, Tensor], state: bytes, folder: Path) -> Version:
    """Return the base with the adapter merged into it. Raises UserError."""
    return Version(model, {**weights, **changed_by(check_adapter(folder), folder, weights)}, state)
