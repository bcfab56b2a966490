"""What a wrong clock means for a node, as a line for people."""

from __future__ import annotations

from .units import seconds_text

SKEW_NOTE, SKEW_BAD = 5.0, 60.0  # the records that tell how to reach us live for 90 seconds
ADVICE = "set it: `sudo timedatectl set-ntp true`"


def clock_warning(ahead: float) -> str:
    """Return what to say of a clock that is `ahead` seconds before the peers'; empty while it harms nobody."""
    if abs(ahead) < SKEW_BAD:
        return ""
    where = "ahead of" if ahead > 0 else "behind"
    return f"this clock is {seconds_text(abs(ahead))} {where} the peers': others cannot find this node; {ADVICE}"
