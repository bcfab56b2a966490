"""A new version of a base re-tests the modules that were published against the old one, each by its own gates.

A module of any kind is put into both bases (`trainer.modules`). Gains are measured on the same samples for both, all that a gate
may look at; the new base with the module is compared with the old one with it as any candidate is. What the new base has no place
for has failed; what cannot be tested at all (no gates, no data, a damaged package) is listed with the reason.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...protocol.commit import Commit
from ...protocol.dependent import MAX_DEPENDENTS, Dependent, Gain, Measures
from ...protocol.event import EventManifest
from ...protocol.gates import EventGate
from ...protocol.versions import Version
from ..errors import UserError
from ..gates.run import seed_of
from ..history.progress import Progress
from ..history.replay import replaying
from ..processes.ipc import RemoteFailure
from ..settings import Settings
from ..store import Store
from ..trainer.messages import ModuleRef, VersionRef
from .fit import Unfit, fitting
from .index import Held, Index
from .trial import Bench, equipped

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
        async with replaying(event, store, settings, data=True) as replay:
            bench = Bench(replay, seed_of(older.state, newer.state))
            bases = [await bench.write(commit, Path(folder) / f"{commit.digest.hex()}.base") for commit in (older, newer)]
            tests = _Tests(event, index, bench, *bases)
            found = []
            for at, held in enumerate(modules):
                progress(held.package.module.name, at, len(modules))
                found.append(await tests.run(held, Path(folder) / str(at)))
            return found


@dataclass(frozen=True)
class _Tests:
    """Two bases, and what modules are tested with."""

    event: EventManifest
    index: Index
    bench: Bench
    older: VersionRef
    newer: VersionRef

    async def run(self, held: Held, folder: Path) -> Dependent:
        module = held.package.module
        tested = Dependent(module=module.name, version=module.version, package=held.digest, kind=module.kind)
        try:
            put_in = await asyncio.to_thread(self._taken_out, held, folder)
            gains = tuple([await self._gain(gate, put_in) for gate in module.gate])
        except UserError as error:
            problem, fits = error.message, not isinstance(error, Unfit)
        except RemoteFailure as error:
            problem, fits = error.text, error.code != "unfit"
        else:
            return tested.model_copy(update={"gains": gains})
        problem = problem.replace(str(folder), module.name)[:_MOST_PROBLEM]
        return tested.model_copy(update={"problem": problem, "fits": fits})

    def _taken_out(self, held: Held, folder: Path) -> ModuleRef:
        """Take the package's files out of the index. Raises UserError."""
        for file in held.package.files:
            self.index.copy(file, folder / file.path)
        return fitting(held.package.module, folder, self.event)

    async def _gain(self, gate: EventGate, module: ModuleRef) -> Gain:
        bases = self.older, self.newer
        before, after = [await self.bench.compare(gate, base, equipped(base, module), whole=True) for base in bases]
        compared = await self.bench.compare(gate, *(equipped(base, module) for base in bases))
        return Gain(
            before=_better(before.change), after=_better(after.change), compared=compared,
            measures=Measures(
                older=before.base, older_with=before.candidate, newer=after.base, newer_with=after.candidate
            ),
        )  # fmt: skip


def _better(change: float | None) -> float | None:
    return None if change is None else -change
