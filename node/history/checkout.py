"""A version of the weights as files for other tools: there whole, or not at all."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ..errors import UserError, disk_errors
from ..files import TEMPORARY_SUFFIX, is_running, make_folder, sync
from ..store import Store

FORMATS = ("safetensors", "transformers")
NOTE = "collab-node.json"
WEIGHTS = "model.safetensors"
_MODE = 0o644


async def check_out(
    event: EventManifest, store: Store, commit: Commit, folder: Path, format: str, *, force: bool = False,
    beside: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Make `folder` (an absolute path) with the weights after `commit`, replayed and checked, and a note of where they come from.

    `transformers`: a directory that `from_pretrained` loads. `beside`: texts of further files, by name. `force` replaces an
    earlier checkout, never anything else. Raises UserError.
    """
    from ..export import export_weights
    from ..interchange.write import write_transformers

    with _replacing(folder, force) as staging:
        weights = staging / WEIGHTS
        if format == "transformers":
            exported = staging / "exported.safetensors"
            await export_weights(event, store, commit, exported)
            write_transformers(event, exported, staging)
            exported.unlink()
        else:
            await export_weights(event, store, commit, weights)
        for name, text in (beside or {}).items():
            (staging / name).write_text(text)
        (staging / NOTE).write_text(json.dumps(_note(event, commit, format), indent=2) + "\n")


def _note(event: EventManifest, commit: Commit, format: str) -> dict[str, Any]:
    return {
        "event": event.name, "event_id": event.digest.hex(), "commit": commit.digest.hex(), "round": commit.round,
        "state": commit.state.hex(), "format": format,
    }  # fmt: skip


@contextmanager
def _replacing(folder: Path, force: bool) -> Iterator[Path]:
    """Give a folder beside `folder` to write into; when the block ends well, it takes that name."""
    _check_place(folder, force)
    with disk_errors(folder.parent):
        make_folder(folder.parent)
        for left in folder.parent.glob(f".{glob.escape(folder.name)}.*{TEMPORARY_SUFFIX}"):
            if not is_running(left.name.split(".")[-2]):
                shutil.rmtree(left, ignore_errors=True)
        staging = folder.with_name(f".{folder.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
        staging.mkdir()
        try:
            yield staging
            for path in staging.iterdir():
                path.chmod(_MODE)  # safetensors' own writer lets nobody else read
                sync(path)
            sync(staging)
            _check_place(folder, force)
            if folder.is_dir() and any(folder.iterdir()):
                shutil.rmtree(folder)
            os.rename(staging, folder)
            sync(folder.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _check_place(folder: Path, force: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder.is_dir() and (folder / NOTE).is_file()):
        raise UserError(f"{folder} is already there, and no checkout", "choose another name")
    if not force:
        raise UserError(f"{folder} holds an earlier checkout", "choose another name, or --force to replace it")
