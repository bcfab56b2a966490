"""What commits with a statement did to the weights, from payloads alone: merges of proposals, and reverts.

torch is imported when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...protocol.commit import Commit
from ...protocol.messages import Blob
from ...protocol.proposal import ModelProposal, ProposalMerge, open_merge
from ...protocol.revert import Rules, Undone

if TYPE_CHECKING:
    from torch import Tensor

    from ...kernels import Layout
    from ...kernels.merge import Contribution, Update

Read = Callable[[Blob], bytes]


def can_be_divided(commit: Commit) -> bool:
    """Say whether the payloads of a merge of proposals tell what it did."""
    from ...kernels.merge.model_portions import can_be_divided

    return can_be_divided(open_merge(commit)[1].method)


def changes_of_proposals(merge: ProposalMerge, layout: Layout, read: Read) -> list[dict[str, Tensor]]:
    """Return what each proposal put into the weights, in the merge's order."""
    from ...kernels.merge.model_portions import model_portions

    updates = [
        _update(proposal, merge.method, signed.digest, layout, read) for signed, proposal in merge.opened()
    ]
    parts = model_portions(merge.method, merge.parameters, layout, updates)
    return [{name: -tensor for name, tensor in part.items()} for part in parts]


def _update(proposal: ModelProposal, method: str, key: bytes, layout: Layout, read: Read) -> Update:
    from ...kernels import fisher, grams
    from ...kernels.change import decode
    from ...kernels.merge import Update

    payload, found = read(proposal.payload), proposal.statistics(method)
    return Update(
        decode(proposal.form, payload, layout),
        float(proposal.samples),
        fisher=fisher.decode(read(found["fisher"]), proposal.form, payload, layout) if "fisher" in found else None,
        grams=grams.decode(read(found["grams"]), layout) if "grams" in found else None,
        key=key,
    )


def change_of_revert(
    rules: Rules, undone: Sequence[Undone], layout: Layout, contributions: Callable[[Commit], list[Contribution]]
) -> dict[str, Tensor]:
    """Return what a revert added to the weights: what it takes out of each commit, times what that still did."""
    from ...kernels.removal import added_by, step_back

    change: dict[str, Tensor] = layout.zeros()
    for each in undone:
        policy, claims = rules(each.commit).merge, contributions(each.commit)
        added = added_by(each.commit.method, layout, claims, each.kept, cap=policy.cap, damping=policy.damping)
        change = step_back(change, added, each.weight)
    return change
