"""Gates on any two versions of a history, from the store alone."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...protocol.canonical import encode
from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.gates import CommandGate, EventGate, OwnGate
from ...protocol.identity import Identity
from ...protocol.messages import Signed
from ...protocol.record import sha256
from ...protocol.verdict import Measurement, Verdict, sign_verdict
from ..errors import UserError
from ..history.progress import Progress, silent
from ..history.replay import Replay, replaying
from ..settings import Settings
from ..store import Store
from ..trainer import messages
from ..trainer.messages import VersionRef
from .command import measure_command


@dataclass(frozen=True)
class Result:
    """What one gate showed; `data` is the hash of what it looked at (None for a command), `hardware` where it ran."""

    measurement: Measurement
    data: bytes | None
    hardware: str

    def sign(self, identity: Identity, event: EventManifest, candidate: Commit, against: Commit) -> Signed:
        """Return the signed verdict."""
        return sign_verdict(identity, Verdict(
            event=event.digest, candidate=candidate.state, against=against.state, data=self.data, hardware=self.hardware,
            measurement=self.measurement,
        ))  # fmt: skip

    def fields(self) -> dict[str, Any]:
        """Return plain values; the hash in hex."""
        data = self.data.hex() if self.data is not None else None
        return {**self.measurement.model_dump(), "data": data, "hardware": self.hardware}


def choose(gates: Sequence[OwnGate], names: Sequence[str]) -> list[OwnGate]:
    """Return the gates with these names, or all of them. Raises UserError."""
    unknown = sorted(set(names) - {gate.name for gate in gates})
    if unknown:
        known = ", ".join(gate.name for gate in gates) or "none"
        raise UserError(f"there is no gate {unknown[0]!r}", f"there are: {known}")
    return [gate for gate in gates if not names or gate.name in names]


def all_gates(gates: Sequence[EventGate], own: Sequence[OwnGate]) -> tuple[OwnGate, ...]:
    """Return the event's gates and one's own. Raises UserError if two have one name."""
    names = {gate.name for gate in gates}
    for gate in own:
        if gate.name in names:
            raise UserError(f"the event has a gate {gate.name!r} too", "call yours otherwise")
    return (*gates, *own)


def seed_of(against: bytes, candidate: bytes) -> bytes:
    """Return what decides which samples are looked at, given the two state hashes: nobody can choose them beforehand."""
    return sha256(b"collab-node/gate/1\0" + encode([against, candidate]))


async def run_gates(
    event: EventManifest, store: Store, settings: Settings, gates: Sequence[OwnGate], candidate: Commit, against: Commit,
    progress: Progress,
) -> list[Result]:  # fmt: skip
    """Replay both versions and run the gates on them, in order. Raises UserError."""
    with tempfile.TemporaryDirectory(prefix="collab-gates-") as folder:
        files = Path(folder) / "against.safetensors", Path(folder) / "candidate.safetensors"
        async with replaying(event, store, settings, data=any(not isinstance(gate, CommandGate) for gate in gates)) as replay:
            for commit, file in ((against, files[0]), (candidate, files[1])):
                progress(f"replaying round {commit.round}", 0, len(gates))
                await replay.go_to(commit)
                await replay.write(file)
            return await run_on_files(replay, gates, *files, seed_of(against.state, candidate.state), progress)


async def run_on_child(
    replay: Replay, gates: Sequence[OwnGate], parent: Commit, child: Commit, progress: Progress = silent
) -> list[Result]:
    """Run the gates on a commit that need not be in the store, against its parent, which is. The replay ends at the child.

    Raises UserError, RemoteFailure, StateMismatch, Unavailable.
    """
    with tempfile.TemporaryDirectory(prefix="collab-gates-") as folder:
        files = Path(folder) / "against.safetensors", Path(folder) / "candidate.safetensors"
        await replay.go_to(parent)
        await replay.write(files[0])
        await replay.step(child)
        await replay.write(files[1])
        return await run_on_files(replay, gates, *files, seed_of(parent.state, child.state), progress)


async def run_on_files(
    replay: Replay, gates: Sequence[OwnGate], against: Path, candidate: Path, seed: bytes, progress: Progress = silent
) -> list[Result]:
    """Run the gates, in order, on the weights in two safetensors files. Raises UserError, RemoteFailure."""
    found = []
    for at, gate in enumerate(gates):
        progress(gate.name, at, len(gates))
        found.append(await _run(replay, gate, (against, candidate), seed))
    return found


async def _run(replay: Replay, gate: OwnGate, files: tuple[Path, Path], seed: bytes) -> Result:
    if isinstance(gate, CommandGate):
        return Result(await measure_command(gate, *files), None, "command")
    base, candidate = (VersionRef(of="file", path=str(file)) for file in files)
    return result_of(await replay.gate(request_for(gate, candidate, seed, base)))


def result_of(answer: messages.GateRun) -> Result:
    """Return what the worker found."""
    return Result(Measurement.decode(answer.measurement), answer.data, answer.hardware)


def request_for(
    gate: EventGate, candidate: VersionRef, seed: bytes, base: VersionRef | None = None, *, whole: bool = False
) -> messages.RunGate:
    """Return what the worker is asked; without `base` the candidate is compared with the worker's base.

    `whole`: all samples that the gate may look at, so that measures can be compared.
    """
    return messages.RunGate(gate=gate.encode(), base=base or VersionRef(), candidate=candidate, seed=seed, whole=whole)
