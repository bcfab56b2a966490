"""What coordinators decide after an event has started: a chain of signed amendments, and the event that is in force with them."""

from .amendment import Amendment, CoordinatorSignature, SignedAmendment
from .chain import MAX_AMENDMENTS, Amendments, amended
from .event import AmendedEvent
from .kinds import (
    SECTIONS,
    Admit,
    Announce,
    Ban,
    Body,
    Bootstrap,
    Close,
    Coordinators,
    Extend,
    Open,
    Pause,
    Recipe,
    Revoke,
)  # fmt: skip
from .signers import Signers
from .state import Announcement, InForce

__all__ = [
    "MAX_AMENDMENTS", "SECTIONS", "Admit", "AmendedEvent", "Amendment", "Amendments", "Announce", "Announcement", "Ban", "Body",
    "Bootstrap", "Close", "CoordinatorSignature", "Coordinators", "Extend", "InForce", "Open", "Pause", "Recipe", "Revoke",
    "SignedAmendment", "Signers", "amended",
]  # fmt: skip
