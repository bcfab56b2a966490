"""What the daemon can ask of the worker, and what it hears from it: the contract between the two processes.

Every request is one frozen class; `REQUESTS` lists them with what answers each. On the channel a request is its fields, its
`op` and an `id`; the answer has the fields of the answer's class, or `error` and `text` (a WorkerError's code and line). While it
trains, the worker also sends notices (`NOTICES`), each with its `event`. Paths are absolute; the daemon owns the files that it
was given the paths of, and takes payloads out of `work_dir` (by renaming or copying) before it asks for the next.

One round, seen from here: `Train` → notices `progress` … `trained` → `Compress` (payload file) → the network → `Merge` of all
contributions into a candidate → attest → `Adopt` the candidate. A node that catches up repeats `Merge` and `Adopt`.

Three sets of weights are told apart: the *base* (the shared state of a commit, on the CPU, bit-identical everywhere), the
*local* weights (on the device, in training) and *candidates* (merge results, at most two are kept).

Nothing is lost: the residual, the optimiser's moments, the base, the local weights and the position in the data are saved
before a payload is handed out, every `checkpoint_seconds` while training, and when the channel ends. `Opened.restored` says
what was found of an earlier life.
"""

from __future__ import annotations

from .base import Done, Message, Notice, Request
from .contributing import Compress, Compressed, Inspect, Inspected, Settle
from .gates import Evaluate, Evaluated, GateRun, MadeModule, MakeModule, ModuleRef, RunGate, VersionRef
from .merging import Adopt, Change, Measure, Measured, Merge, MergeChanges, Merged, Overlap, Overlaps, Part, Undo, Unmerge
from .opening import Amend, Init, Load, Open, Opened, Restored, Save, Snapshot, State, Written
from .training import Failed, Progress, Stop, Train, Trained

__all__ = [
    "NOTICES", "REQUESTS", "Adopt", "Amend", "Change", "Compress", "Compressed", "Done", "Evaluate", "Evaluated", "Failed",
    "GateRun", "Init", "Inspect", "Inspected", "Load", "MadeModule", "MakeModule", "Measure", "Measured", "Merge",
    "MergeChanges", "Merged", "Message", "ModuleRef", "Notice", "Open", "Opened", "Overlap", "Overlaps", "Part", "Progress",
    "Request", "Restored", "RunGate", "Save", "Settle", "Snapshot", "State", "Stop", "Train", "Trained", "Undo", "Unmerge",
    "VersionRef", "Written",
]  # fmt: skip

REQUESTS: dict[str, tuple[type[Request], type[Message]]] = {
    request.OP: (request, answer)
    for request, answer in (
        (Open, Opened), (Init, State), (Load, State), (Snapshot, Written), (Train, Done), (Stop, Done),
        (Compress, Compressed), (Settle, Done), (Inspect, Inspected), (Merge, Merged), (Adopt, State),
        (Evaluate, Evaluated), (RunGate, GateRun), (Save, Done), (MergeChanges, Merged), (Undo, Merged), (Overlap, Overlaps),
        (Measure, Measured), (Amend, Done), (MakeModule, MadeModule),
    )
}  # fmt: skip

NOTICES: dict[str, type[Notice]] = {notice.EVENT: notice for notice in (Progress, Trained, Failed)}
