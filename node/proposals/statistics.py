"""What proposals' statistics may decide: which methods need them, whom they lack from, and the cap on what they claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...kernels.merge import MODEL_METHODS
from ...kernels.merge import parameters as parameters_of
from ...protocol.messages import Signed
from ...protocol.proposal import STATISTICS, ModelProposal, ProposalMerge
from ..errors import UserError
from ..units import short

_NAMED = 2
_ROUNDING = 1e-9


def lacking(merge: ProposalMerge) -> list[Signed]:
    """Return the proposals that came without the statistics that the merge's method needs."""
    return [signed for signed, proposal in merge.opened() if merge.method in STATISTICS and not proposal.statistics(merge.method)]


def require(merge: ProposalMerge) -> None:
    """Raise UserError, a line that names the proposals without the statistics that the merge's method needs."""
    if without := lacking(merge):
        whose = ", ".join(f"{short(signed.digest)} by {signed.signer}" for signed in without)
        hint = "`propose --statistics` measures them; or merge by another method"
        raise UserError(f"{merge.method} lacks statistics of {whose}", hint)


def why_not(without: Sequence[Signed]) -> str:
    """Return why a method was not tried: the first proposals without statistics, for a line of a terminal."""
    more = f" and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
    return f"no statistics of {', '.join(short(signed.digest) for signed in without[:_NAMED])}{more}"


def capped(method: str, parameters: Mapping[str, float], cap: float) -> dict[str, float]:
    """Return a method's parameters, with the cap where statistics are claims and no other was chosen."""
    takes_cap = method in MODEL_METHODS and "cap" in parameters_of(method)
    return {**({"cap": cap} if takes_cap else {}), **parameters}


def leaves_room(merge: ProposalMerge) -> bool:
    """Say whether the cap leaves statistics something to decide: otherwise every share is the average's."""
    proposals: list[ModelProposal] = [proposal for _, proposal in merge.opened()]
    whole = sum(proposal.samples for proposal in proposals)
    cap = merge.parameters.get("cap", 1.0)
    return len(proposals) == 1 or sum(max(cap, proposal.samples / whole) for proposal in proposals) > 1 + _ROUNDING
