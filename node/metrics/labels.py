"""The values that metrics' labels may take. Everything else is counted as `other`: a peer cannot make up new ones."""

from collections.abc import Collection
from typing import Final

from ...protocol.messages import MESSAGES

OTHER: Final = "other"
ROUND_PHASES = ("training", "collecting", "voting", "final")
PHASES = (*ROUND_PHASES, "catching_up")
CHILDREN = ("worker", "sidecar", "p2pd")
PARTS = (*CHILDREN, "dht")
DIRECTIONS = ("sent", "received")
BYTE_KINDS = ("blob", "rpc", "gossip")
MESSAGE_KINDS = tuple(MESSAGES)
QUANTILES = ("0", "0.5", "1")
CHANNELS = ("blob", "rpc", "gossip", "record", "push")
REASONS = frozenset({
    "bad_certificate", "bad_proof", "bad_signature", "banned", "busy", "event_paused", "not_a_coordinator",
    "too_few_signatures", "too_many_amendments", "unamended", "unknown_amendment", "unknown_previous", "wrong_amendment",
    "wrong_previous", "disputed", "duplicate", "equivocation",
    "event_over", "expires_too_late", "fisher", "fisher_codec", "fisher_empty", "fisher_malformed", "fisher_missing",
    "fisher_size", "fisher_unexpected", "gate", "implausible", "invite_expired", "invite_revoked", "invite_used_up", "late",
    "lost", "malformed", "no_such_view", "non_finite", "not_a_member", "not_allowed", "not_invited", "not_the_proposer",
    "omitted", "out_of_range", "oversized", "payload_codec", "payload_empty", "payload_malformed", "payload_size",
    "rate_limited", "refused", "spent", "stale", "stalled", "state_mismatch", "too_many_records", "too_many_verdicts",
    "unavailable",
    "unexpected_kind",
    "unknown_base", "unknown_call", "unknown_event", "unknown_gate", "unknown_kind", "unknown_parent",
    "unknown_version", "wrong_accepted",
    "wrong_author", "wrong_bytes", "wrong_departed", "wrong_event", "wrong_expiration", "wrong_key",
    "wrong_parents", "wrong_proposer", "wrong_rejected", "wrong_round", "wrong_shares", "wrong_state",
    "wrong_topic", "wrong_verdicts",
})  # fmt: skip


def bounded(value: str, known: Collection[str]) -> str:
    """Return `value` if it is one of `known`, else OTHER."""
    return value if value in known else OTHER
