"""The releases that a store proves: verified again when they change, and now and then because signatures grow stale."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.identity import PeerId
from ...protocol.release import Release
from ...protocol.verdict import Measurement
from ..errors import UserError
from ..home import EventFolder
from ..store import Store

_NOTE = "releases"
_HOLDS_SECONDS = 600.0


@dataclass(frozen=True)
class Opened:
    """A release, and what its verdicts say with who signed them."""

    release: Release
    verdicts: tuple[tuple[PeerId, Measurement], ...]

    @property
    def why(self) -> str:
        """Why it has the version that it has."""
        evidence = self.release.evidence
        return "the first release" if evidence is None else evidence.reason()


class Released:
    """Keeps what was verified last, the newest version first; `problem` is one line if the releases cannot be shown."""

    def __init__(self, folder: EventFolder, event: EventManifest) -> None:
        self.releases: list[Opened] = []
        self.problem = ""
        self._folder = folder
        self._event = event
        self._seen: bytes | None = None
        self._checked = 0.0

    def read(self, store: Store) -> None:
        """Bring `releases` and `problem` up to date."""
        note = store.note(_NOTE)
        if note is None or (note == self._seen and time.monotonic() - self._checked < _HOLDS_SECONDS):
            return
        self._seen, self._checked = note, time.monotonic()
        # The Update Framework's client is needed by few pages: an event has its first release near its end.
        from ..releases.publish import Desk

        try:
            self.releases = [_open(release) for release in Desk(self._folder, self._event, store).known()]
            self.problem = ""
        except (UserError, RemoteProtocolError) as error:
            self.releases, self.problem = [], str(error)


def _open(release: Release) -> Opened:
    return Opened(release, tuple((peer, verdict.measurement) for peer, verdict in release.opened_verdicts()))
