"""What one run of a node is asked to do, besides its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..protocol.invite import Invite
from .home import EventFolder, Home
from .settings import Settings

Display = Literal["auto", "live", "plain"]


@dataclass(frozen=True)
class NodeOptions:
    """A run of one event's node.

    `invite` is a volunteer's, and None on the coordinator's node or when a known event is taken up again. `max_rounds` is how
    many commits to take part in before leaving; None: until told to stop. `serves`: stay when the event is over, for those who
    come to fetch what it made.
    """

    home: Home
    settings: Settings
    event: bytes
    invite: Invite | None = None
    trains: bool = True
    max_rounds: int | None = None
    serves: bool = False
    display: Display = "auto"

    @property
    def folder(self) -> EventFolder:
        """Where the event lives in the home."""
        return self.home.event(self.event)
