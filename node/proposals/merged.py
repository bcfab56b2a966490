"""What a commit that merged proposals says of itself. Knows no torch: `log` and `show` use it."""

from __future__ import annotations

from typing import Any

from ...protocol.commit import Commit
from ...protocol.proposal import ProposalMerge, open_merge
from ..units import bytes_text, loss_text, short


def printable(message: str) -> str:
    """Return a stranger's message without what could steer a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in message)


def tried_lines(merge: ProposalMerge) -> list[str]:
    """Return what each method came to, where methods were compared."""
    return [
        f"{'*' if each.method == merge.method else ' '} {each.method:<16} "
        + (f"loss {loss_text(each.loss)}" if each.loss is not None else each.reason)
        for each in merge.tried
    ]


def merged_lines(commit: Commit) -> list[str]:
    """Return what a commit of the method "proposals" merged, and how."""
    merge = open_merge(commit)[1]
    chosen = "".join(f" {name}={value:g}" for name, value in sorted(merge.parameters.items()))
    lines = [f"merged by {merge.method}{chosen}", *(f"  {line}" for line in printable(merge.message).splitlines())]
    for signed, proposal in merge.opened():
        what = f"{proposal.form}, {bytes_text(proposal.payload.size)}, {proposal.samples:,} samples"
        lines.append(f"  {short(signed.digest)} by {signed.signer}: {what}")
        lines += [f"    {line}" for line in printable(proposal.message).splitlines()]
    return [*lines, *tried_lines(merge)]


def merged_fields(commit: Commit) -> dict[str, Any]:
    """Return what a commit of the method "proposals" merged, and how, as plain values."""
    merge = open_merge(commit)[1]
    proposals = [
        {"proposal": signed.digest.hex(), "maker": signed.signer, "base": proposal.base.hex(), "form": proposal.form,
         "bytes": proposal.payload.size, "samples": proposal.samples, "error": proposal.error, "message": proposal.message}
        for signed, proposal in merge.opened()
    ]  # fmt: skip
    tried = [each.model_dump() for each in merge.tried]
    return {
        "method": merge.method, "parameters": merge.parameters, "message": merge.message, "tried": tried, "proposals": proposals,
    }  # fmt: skip
