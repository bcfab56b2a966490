"""A new version of a base re-tests the modules that were published against the old one, each by its own gates.

Only adapters can be put into a base here, so other kinds are listed as not tested. Gains are measured on the same samples for
both bases, all that a gate may look at; the new base with the module is compared with the old one with it as any candidate is.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...protocol.commit import Commit
from ...protocol.dependent import MAX_DEPENDENTS, Dependent, Gain
from ...protocol.event import EventManifest
from ...protocol.gates import EventGate
from ...protocol.versions import Version
from ..errors import UserError
from ..gates.run import run_on_files, seed_of, to_the_end
from ..history.progress import Progress
from ..history.replay import Replay, replaying
from ..processes.ipc import RemoteFailure
from ..settings import Settings
from ..store import Store
from .adapter import apply_adapter
from .index import Held, Index

_MOST_PROBLEM = 300


def dependents_on(index: Index, base: str, version: Version | None) -> list[Held]:
    """Return the newest version of each package that requires `base`, if `version` is in its range or None. Raises UserError."""
    newest = (versions[0] for name in index.names() if (versions := index.versions(name)))
    found = [held for held in newest if _requires(held, base, version)]
    if len(found) > MAX_DEPENDENTS:
        raise UserError(f"{len(found)} packages require {base}, at most {MAX_DEPENDENTS} are tested", "use a smaller index")
    return found


def _requires(held: Held, base: str, version: Version | None) -> bool:
    wanted = [each.range for each in held.package.module.requirements() if each.name == base]
    return any(version is None or version in range for range in wanted)


async def retest(
    event: EventManifest, store: Store, settings: Settings, index: Index, modules: Sequence[Held],
    older: Commit, newer: Commit, progress: Progress,
) -> list[Dependent]:  # fmt: skip
    """Run the gates of each module on the weights after two commits with it, and say what it keeps. Raises UserError."""
    if not modules:
        return []
    with tempfile.TemporaryDirectory(prefix="collab-dependents-") as folder:
        bases = Path(folder) / "older.safetensors", Path(folder) / "newer.safetensors"
        async with replaying(event, store, settings, data=True) as replay:
            for commit, file in zip((older, newer), bases, strict=True):
                await replay.go_to(commit)
                await replay.write(file)
            bench = _Bench(replay, index, bases, seed_of(older.state, newer.state))
            found = []
            for at, held in enumerate(modules):
                progress(held.package.module.name, at, len(modules))
                found.append(await bench.test(held, Path(folder) / str(at)))
            return found


@dataclass(frozen=True)
class _Bench:
    """Two bases, and what modules are tested with."""

    replay: Replay
    index: Index
    bases: tuple[Path, Path]
    seed: bytes

    async def test(self, held: Held, folder: Path) -> Dependent:
        module = held.package.module
        tested = Dependent(module=module.name, version=module.version, package=held.digest)
        try:
            adapted = await asyncio.to_thread(self._adapted, held, folder)
            gains = tuple([await self._gain(gate, adapted) for gate in module.gate])
        except (UserError, RemoteFailure) as error:
            text = error.message if isinstance(error, UserError) else error.text
            return tested.model_copy(update={"problem": text.replace(str(folder), held.package.module.name)[:_MOST_PROBLEM]})
        return tested.model_copy(update={"gains": gains})

    def _adapted(self, held: Held, folder: Path) -> tuple[Path, Path]:
        """Write both bases with the module in them. Raises UserError."""
        if held.package.module.kind != "adapter":
            raise UserError(f"a module of kind {held.package.module.kind} cannot be put into a base here")
        if not held.package.module.gate:
            raise UserError("it has no gates")
        for file in held.package.files:
            self.index.copy(file, folder / file.path)
        files = folder.with_suffix(".older"), folder.with_suffix(".newer")
        for base, out in zip(self.bases, files, strict=True):
            apply_adapter(base, folder, out)
        return files

    async def _gain(self, gate: EventGate, adapted: tuple[Path, Path]) -> Gain:
        before, after = [
            (await run_on_files(self.replay, [to_the_end(gate)], base, file, self.seed))[0].measurement.change
            for base, file in zip(self.bases, adapted, strict=True)
        ]
        (compared,) = await run_on_files(self.replay, [gate], *adapted, self.seed)
        return Gain(before=_better(before), after=_better(after), compared=compared.measurement)


def _better(change: float | None) -> float | None:
    return None if change is None else -change
