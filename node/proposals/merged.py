"""What a commit that merged proposals says of itself. Knows no torch: `log` and `show` use it."""

from __future__ import annotations

from typing import Any

from ...protocol.commit import Commit
from ...protocol.messages import Signed
from ...protocol.proposal import ProposalMerge, Tried, open_merge
from ...protocol.verdict import open_verdict
from ..units import bytes_text, loss_text, printable, short


def tried_lines(merge: ProposalMerge) -> list[str]:
    """Return what each method came to, where methods were compared."""
    return [f"{'*' if each.method == merge.method else ' '} {each.method:<16} {_came_to(each)}" for each in merge.tried]


def _came_to(tried: Tried) -> str:
    if tried.change is not None:
        return f"{abs(tried.change):.3%} {'worse' if tried.change > 0 else 'better'}"
    return tried.reason if tried.loss is None else f"loss {loss_text(tried.loss)}"


def verdict_lines(commit: Commit) -> list[str]:
    """Return what the gates showed of a merge, and why it was made all the same if one failed."""
    despite = open_merge(commit)[1].despite
    lines = [open_verdict(Signed.decode(envelope)).measurement.sentence() for envelope in commit.verdicts]
    return [*lines, *([f"merged although a gate failed: {printable(despite)}"] if despite else [])]


def merged_lines(commit: Commit) -> list[str]:
    """Return what a commit of the method "proposals" merged, and how."""
    merge = open_merge(commit)[1]
    chosen = "".join(f" {name}={value:g}" for name, value in sorted(merge.parameters.items()))
    lines = [f"merged by {merge.method}{chosen}", *(f"  {line}" for line in printable(merge.message).splitlines())]
    for signed, proposal in merge.opened():
        what = f"{proposal.form}, {bytes_text(proposal.payload.size)}, {proposal.samples:,} samples"
        lines.append(f"  {short(signed.digest)} by {signed.signer}: {what}")
        lines += [f"    {line}" for line in printable(proposal.message).splitlines()]
    return [*lines, *tried_lines(merge), *verdict_lines(commit)]


def merged_fields(commit: Commit) -> dict[str, Any]:
    """Return what a commit of the method "proposals" merged, and how, as plain values."""
    merge = open_merge(commit)[1]
    proposals = [
        {"proposal": signed.digest.hex(), "maker": signed.signer, "base": proposal.base.hex(), "form": proposal.form,
         "bytes": proposal.payload.size, "samples": proposal.samples, "error": proposal.error, "message": proposal.message}
        for signed, proposal in merge.opened()
    ]  # fmt: skip
    tried = [each.model_dump() for each in merge.tried]
    opened = [(signed, open_verdict(signed)) for signed in map(Signed.decode, commit.verdicts)]
    verdicts = [{"peer": signed.signer, **verdict.measurement.model_dump()} for signed, verdict in opened]
    return {
        "method": merge.method, "parameters": merge.parameters, "message": merge.message, "tried": tried, "proposals": proposals,
        "verdicts": verdicts, "despite": merge.despite, "cosigners": [each.peer for each in commit.cosigners],
    }  # fmt: skip
