"""What this node's gates showed of the commits that became final: verdicts under its own signature, kept in its store.

For the dashboard, the report, and whoever asks this node for its word on a version. The newest are kept, as one note.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...protocol.canonical import DOCUMENT_LIMITS, decode, encode
from ...protocol.errors import RemoteProtocolError
from ...protocol.messages import Signed
from ...protocol.verdict import Measurement, Verdict, open_verdict
from ..store import Store

NOTE = "own_verdicts"
_MOST = 1024


def keep(store: Store, made: Iterable[Signed]) -> None:
    """Add signed verdicts; of too many, the oldest go."""
    kept = [*_envelopes(store.note(NOTE)), *(signed.encode() for signed in made)]
    store.put_note(NOTE, encode(kept[-_MOST:]))


def read(note: bytes | None) -> dict[bytes, dict[str, Measurement]]:
    """Return the measurements in the note, by the state hash of the version that was tested, then by gate."""
    found: dict[bytes, dict[str, Measurement]] = {}
    for verdict in _verdicts(note):
        found.setdefault(verdict.candidate, {})[verdict.measurement.gate] = verdict.measurement
    return found


def _verdicts(note: bytes | None) -> Iterator[Verdict]:
    for envelope in _envelopes(note):
        try:
            yield open_verdict(Signed.decode(envelope))
        except RemoteProtocolError:
            continue  # of a version of this program that knew other gates


def _envelopes(note: bytes | None) -> list[bytes]:
    try:
        value = decode(note or b"", DOCUMENT_LIMITS)
    except RemoteProtocolError:
        return []
    return [envelope for envelope in value if isinstance(envelope, bytes)] if isinstance(value, tuple | list) else []
