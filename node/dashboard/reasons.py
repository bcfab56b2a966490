"""Why a contribution was refused, in words. The keys are the protocol's; one that is not here is shown as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ...protocol.gates import gate_of

REASONS = {
    "bad_signature": "the signature is not the sender's",
    "banned": "the coordinator banned the sender",
    "disputed": "committee members did not agree about it",
    "equivocation": "the sender contributed two different updates to one round",
    "fisher": "Fisher weights are missing, or there where none belong",
    "fisher_malformed": "its Fisher weights are not in the wire format",
    "fisher_missing": "its Fisher weights could not be had",
    "implausible": "samples, steps or loss cannot be true",
    "invite_expired": "the sender's invite had expired",
    "invite_revoked": "the coordinator revoked the sender's invite",
    "invite_used_up": "the sender's invite had no place left",
    "late": "it came after the round had closed",
    "malformed": "it is not a valid message",
    "non_finite": "the update holds values that are not numbers",
    "not_invited": "the sender has no invitation",
    "out_of_range": "the update points outside of the model",
    "oversized": "the update is larger than the event allows",
    "payload_codec": "the update is not encoded as the event asks",
    "payload_empty": "the update changes nothing",
    "payload_malformed": "the update is not in the wire format",
    "payload_size": "the update has another size than was said",
    "rate_limited": "too many messages in a short time",
    "spent": "it was merged already",
    "stale": "it was made on a version that is too old",
    "state_mismatch": "a replay gave other weights than were claimed",
    "unavailable": "the update could not be fetched",
    "unknown_base": "it was made on a version that nobody here knows",
    "wrong_event": "it belongs to another event",
    "wrong_round": "it names the wrong round",
}  # fmt: skip


def words(reason: str) -> str:
    """Return a refusal's reason as the end of a sentence."""
    if (gate := gate_of(reason)) is not None:
        return f"the candidate with it failed the gate {gate}"
    return REASONS.get(reason, reason.replace("_", " "))


def refused_words(reasons: Iterable[str]) -> str:
    """Return how many were refused and why most of them were; empty if there are none."""
    counts = Counter(map(words, reasons))
    if not counts:
        return ""
    (why, _), *others = counts.most_common()
    return f"{counts.total()} refused: {why}" + (", and for other reasons" if others else "")
