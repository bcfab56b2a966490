"""The evidence that a version is computed from: both versions replayed, compared, and run through the event's gates."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open

from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.gates import OwnGate
from ...protocol.identity import Identity
from ...protocol.messages import Signed
from ...protocol.release import Release
from ...protocol.verdict import Measurement, open_about
from ...protocol.versions import Evidence, architecture_relation
from ..event.interface import interface_of
from ..export import export_versions
from ..gates.run import run_gates
from ..history.compare import diff_files
from ..history.diff import combined
from ..history.progress import Progress
from ..settings import Settings
from ..store import Store


async def compare(event: EventManifest, store: Store, last: Release, commit: Commit, tasks: Sequence[Measurement]) -> Evidence:
    """Return what differs between the last release's weights and those after `commit`. Raises UserError."""
    before = store.commit(last.commit)
    with tempfile.TemporaryDirectory(prefix="collab-release-") as folder:
        older, newer = Path(folder) / "older.safetensors", Path(folder) / "newer.safetensors"
        await export_versions(event, store, [(before, older), (commit, newer)])
        relation = architecture_relation(_shapes(older), _shapes(newer))
        changed = 1.0 if relation == "other" else combined(diff_files(older, newer)).share
    interface = last.interface.relation(interface_of(event))
    return Evidence(
        architecture=relation, interface=interface, changed=changed, tasks=tuple(tasks), promised=last.tasks
    )


async def own_verdicts(
    event: EventManifest, store: Store, settings: Settings, gates: Sequence[OwnGate], last: Release, commit: Commit,
    signer: Identity, progress: Progress,
) -> list[Signed]:  # fmt: skip
    """Run the gates on `commit` against the last release, and return a signed verdict of each."""
    if not gates:
        return []
    before = store.commit(last.commit)
    found = await run_gates(event, store, settings, gates, commit, before, progress)
    return [result.sign(signer, event, commit, before) for result in found]


def tasks_of(
    event: EventManifest, gates: Sequence[OwnGate], last: Release, commit: Commit, verdicts: Sequence[Signed]
) -> list[Measurement]:
    """Return a measurement a gate, of several peers' the one that speaks most against the candidate.

    Of these gates and of the tasks that the last release promised: what else strangers measured is no task of ours. Raises
    RemoteProtocolError for a verdict that is not signed, or about other versions.
    """
    ours = {gate.name for gate in gates} | set(last.tasks)
    worst: dict[str, Measurement] = {}
    for signed in verdicts:
        _, verdict = open_about(signed, event.digest, commit.state, last.state)
        measured = verdict.measurement
        known = worst.get(measured.gate)
        if measured.gate in ours and (known is None or (known.passed, -_change(known)) > (measured.passed, -_change(measured))):
            worst[measured.gate] = measured
    return [worst[gate] for gate in sorted(worst)]


def _change(measured: Measurement) -> float:
    return float("inf") if measured.change is None else measured.change


def _shapes(path: Path) -> dict[str, list[int]]:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
