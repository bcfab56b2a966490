"""A home with a stored history, a browser, and where the bench lives: scripts/ is no package's folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from store_samples import Chain

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

from dashboard.kit import StoredHome


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def stored(tmp_path: Path, chain: Chain) -> StoredHome:
    """A home whose event has its root, and can grow."""
    return StoredHome(tmp_path / "home", chain)
