"""A release for those who use it: its weights with a model card, a citation, and the manifest of a package."""

from __future__ import annotations

from pathlib import Path

from ...protocol.event import EventManifest
from ...protocol.release import Release
from ..history.checkout import check_out
from ..history.revisions import read_commit
from ..store import Store
from .card import citation, model_card, package_manifest


async def export_release(
    event: EventManifest, store: Store, release: Release, folder: Path, format: str, *, force: bool = False
) -> None:
    """Make `folder` (an absolute path), whole or not at all; the weights are replayed and checked. Raises UserError."""
    commit = read_commit(store, release.commit)
    beside = {
        "README.md": model_card(event, release, format), "CITATION.cff": citation(event, release),
        "module.toml": package_manifest(event, release),
    }  # fmt: skip
    await check_out(event, store, commit, folder, format, force=force, beside=beside)
