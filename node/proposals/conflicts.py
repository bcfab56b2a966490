"""What proposals disagree about: with what became of the model since their base, and with each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ...kernels import Layout, PayloadError
from ...kernels.change import decode
from ...kernels.conflict import ConflictReport, compare_updates
from ...protocol.commit import Commit
from ..errors import UserError
from ..history.replay import Replay
from ..history.revisions import read_commit
from ..store import Proposed, Store
from ..units import rounds_text, short
from .weights import Weights, weights_of


@dataclass(frozen=True)
class Comparison:
    """The report of two sides, in words: `ours` and `theirs`."""

    ours: str
    theirs: str
    report: ConflictReport


async def compare(replay: Replay, store: Store, target: Commit, chosen: Sequence[Proposed]) -> list[Comparison]:
    """Compare each proposal with what changed from its base to `target`, and with every other. Raises UserError."""
    bases = {proposed.proposal.base: read_commit(store, proposed.proposal.base) for proposed in chosen}
    weights = await weights_of(replay, target, *bases.values())
    layout = Layout.of(weights[target.digest])
    changes = {proposed.digest: change_of(store, proposed, layout) for proposed in chosen}
    found = []
    for proposed in chosen:
        base = proposed.proposal.base
        if base != target.digest:
            ours = {name: weights[base][name] - weights[target.digest][name] for name in layout.names}
            first = bases[base].round + 1
            since = rounds_text(first, target.round) if first <= target.round else short(target.digest)
            found.append(Comparison(since, short(proposed.digest), compare_updates(ours, changes[proposed.digest])))
    for one, other in itertools.combinations(chosen, 2):
        report = compare_updates(changes[one.digest], changes[other.digest])
        found.append(Comparison(short(one.digest), short(other.digest), report))
    return found


def change_of(store: Store, proposed: Proposed, layout: Layout) -> Weights:
    """Return a proposal's change: base − its weights. Raises UserError."""
    payload = store.blobs.read(proposed.proposal.payload.sha256)
    if payload is None:
        raise UserError(f"the payload of proposal {short(proposed.digest)} is not here", "`collab-node review FILE` brings it")
    try:
        return decode(proposed.proposal.form, payload, layout)
    except PayloadError as error:
        raise UserError(f"proposal {short(proposed.digest)} by {proposed.maker} cannot be read: {error}") from error
