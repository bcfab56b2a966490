"""Adding packages to a project, and making on any machine exactly what its lock says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ...protocol.module import Requirement
from ...protocol.versions import Version
from ..errors import UserError, disk_errors
from ..files import make_folder, sync
from .index import Held, Index
from .lock import LOCK, Pinned, pin, read_lock, read_wanted, write_lock, write_wanted
from .resolve import resolve

FOLDER = "modules"


def add(project: Path, index: Index, wanted: Sequence[Requirement], *, trust: bool = False) -> list[Held]:
    """Let the project require these as well, choose versions and lock them. Nothing is written unless all of it works.

    Packages that are locked keep their version where it fits, and their publisher unless `trust`. Raises UserError.
    """
    all_wanted = read_wanted(project) | {each.name: each for each in wanted}
    locked = {each.name: each for each in read_lock(project).package} if (project / LOCK).exists() else {}
    asked = {each.name for each in wanted}
    keep = {name: Version.parse(each.version) for name, each in locked.items() if name not in asked}
    found = resolve(index, [all_wanted[name] for name in sorted(all_wanted)], keep)
    for held in found:
        before = locked.get(held.package.module.name)
        if before is not None and before.publisher != held.package.publisher and not trust:
            what = f"{before.name} was published by {before.publisher} and is now by {held.package.publisher}"
            raise UserError(what, "--trust-publisher if you know why")
    write_lock(project, found)
    write_wanted(project, all_wanted)
    return found


def install(project: Path, index: Index) -> list[Held]:
    """Make `modules/` of the project what its lock says, bit for bit, and return it. Raises UserError, and changes nothing,
    for anything with another hash."""
    lock = read_lock(project)
    target, staging = project / FOLDER, project / f".{FOLDER}.{os.getpid()}.tmp"
    with disk_errors(project):
        shutil.rmtree(staging, ignore_errors=True)
        make_folder(staging)
        try:
            found = [_place(index, pinned, staging / pinned.name) for pinned in lock.package]
            sync(staging)
            _swap(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return found


def _place(index: Index, pinned: Pinned, folder: Path) -> Held:
    held = index.find(pinned.name, pinned.version)
    if pin(held) != pinned:
        what = f"{pinned.name} {pinned.version} of {index.folder} is not what {LOCK} pins: its record is {held.digest.hex()[:16]}"
        raise UserError(what, "use the index that it was locked with")
    make_folder(folder)
    for file in held.package.files:
        index.copy(file, folder / file.path)
    return held


def _swap(staging: Path, target: Path) -> None:
    """Put `staging` in the place of `target`. A process killed between the two renames leaves the lock, which makes it anew."""
    old = target.with_name(f".{target.name}.old.tmp")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(staging, target)
    sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)
