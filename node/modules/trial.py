"""A module in a version of its base: what each of its own gates shows with it against without it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.gates import EventGate
from ...protocol.verdict import Measurement
from ..gates.run import request_for, result_of, seed_of
from ..history.progress import Progress
from ..history.replay import Replay, replaying
from ..settings import Settings
from ..store import Store
from ..trainer.messages import ModuleRef, VersionRef
from .fit import fitting
from .pack import read_module


@dataclass(frozen=True)
class Bench:
    """What compares two versions, either of them with a module in it or without."""

    replay: Replay
    seed: bytes

    async def write(self, commit: Commit, file: Path) -> VersionRef:
        """Write the weights after a commit to a file, and return what stands for them."""
        await self.replay.go_to(commit)
        await self.replay.write(file)
        return VersionRef(of="file", path=str(file))

    async def compare(self, gate: EventGate, base: VersionRef, candidate: VersionRef, *, whole: bool = False) -> Measurement:
        """Run one gate, on all its samples if `whole`. Raises RemoteFailure, "unfit" for a module that is not for the weights."""
        return result_of(await self.replay.gate(request_for(gate, candidate, self.seed, base, whole=whole))).measurement


def equipped(version: VersionRef, module: ModuleRef) -> VersionRef:
    """Return a version with a module in it."""
    return version.model_copy(update={"module": module})


async def try_out(
    event: EventManifest, store: Store, settings: Settings, folder: Path, commit: Commit, progress: Progress
) -> list[Measurement]:
    """Run the gates of the module in `folder` on the weights after a commit with it, against without it. Raises UserError."""
    module = read_module(folder)
    put_in = fitting(module, folder, event)
    with tempfile.TemporaryDirectory(prefix="collab-module-") as place:
        async with replaying(event, store, settings, data=True) as replay:
            bench = Bench(replay, seed_of(commit.state, commit.state))
            base = await bench.write(commit, Path(place) / "base.safetensors")
            found = []
            for at, gate in enumerate(module.gate):
                progress(gate.name, at, len(module.gate))
                found.append(await bench.compare(gate, base, equipped(base, put_in)))
            return found
