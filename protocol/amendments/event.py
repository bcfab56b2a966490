"""The event as it is in force: the manifest's fields with their new values, under the event's own id."""

from __future__ import annotations

from functools import cached_property

from pydantic import model_validator

from ..event import EventManifest
from ..identity import PeerId
from ..record import Count, Digest


class AmendedEvent(EventManifest):
    """An event after amendments. `digest` is the id of the event as it was created, whatever was changed since.

    `amendment` names the newest one that counts. `admitted` peers need no invite, `revoked` are the ids of invites' tokens that
    let nobody in, `recipe_since` is the first round of the recipe.
    """

    id: Digest
    amendment: Digest
    admitted: tuple[PeerId, ...] = ()
    revoked: tuple[Digest, ...] = ()
    paused: bool = False
    recipe_since: Count = 0

    @model_validator(mode="after")
    def _coordinator_may_take_part(self) -> AmendedEvent:
        return self  # a coordinator who has handed the event over may be banned before the next base knows of either

    @cached_property
    def digest(self) -> bytes:
        """The event's id."""
        return self.id
