"""How many bytes went out and came in, by day, over restarts: what quotas are about."""

from __future__ import annotations

import json
from pathlib import Path

from ..files import atomic_write

_DAYS = 62
_MAX_FILE = 64 * 1024


class Usage:
    """Bytes (sent, received) by day, as `2026-11-24`. What was counted since the last `save` is lost with a killed process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._days = _read(path)
        self._saved = dict(self._days)

    def add(self, day: str, sent: int, received: int) -> None:
        """Count bytes of `day`."""
        before = self._days.get(day, (0, 0))
        self._days[day] = before[0] + sent, before[1] + received
        for old in sorted(self._days)[:-_DAYS]:
            del self._days[old]

    def of_day(self, day: str) -> tuple[int, int]:
        """Return the bytes (sent, received) of a day."""
        return self._days.get(day, (0, 0))

    def of_month(self, day: str) -> tuple[int, int]:
        """Return the bytes (sent, received) of the month that `day` is in."""
        found = [amounts for known, amounts in self._days.items() if known[:7] == day[:7]]
        return sum(sent for sent, _ in found), sum(received for _, received in found)

    def save(self) -> None:
        """Keep what was counted. Raises UserError."""
        if self._days != self._saved:
            atomic_write(self._path, json.dumps(self._days).encode())
            self._saved = dict(self._days)


def _read(path: Path) -> dict[str, tuple[int, int]]:
    """Return what was saved; of a file that is not ours, nothing: to count anew is better than not to run."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_FILE))
        rows = {str(day): (int(sent), int(received)) for day, (sent, received) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {day: amounts for day, amounts in rows.items() if min(amounts) >= 0}
