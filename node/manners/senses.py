"""What can be seen of this machine, cheaply enough for once a second. Only what a limit asks about is looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from .gpus import Gpus
from .limits import Limits
from .load import OthersLoad
from .policies import Seen

_INTERRUPTS = Path("/proc/interrupts")
_WINDOWS = Path("/dev/pts")
_KEYBOARD = "i8042"  # the controller of built-in keyboards and touchpads


class Senses:
    """Reads the machine; `look` blocks for some milliseconds."""

    def __init__(
        self,
        worker: Callable[[], int | None],
        *,
        load: OthersLoad | None = None,
        gpus: Gpus | None = None,
        touched: Callable[[], float | None] | None = None,
    ) -> None:
        """`worker` gives the process id of our worker on a GPU, None while there is none. The others are for tests."""
        self._worker = worker
        self._load = load or OthersLoad()
        self._gpus = gpus or Gpus()
        self._touched = touched or Touches().idle_seconds
        self._had_worker = False

    def look(self, limits: Limits) -> Seen:
        """Return what is seen; time and traffic are for others to add."""
        worker = self._worker()
        self._had_worker = self._had_worker or worker is not None
        wants_gpu = self._had_worker and (not limits.share_gpu or limits.gpu_temperature > 0)
        others, degrees = self._gpus.look(worker) if wants_gpu else (None, None)
        return Seen(
            on_battery=None if limits.on_battery else on_battery(),
            idle_seconds=self._touched() if limits.idle_minutes else None,
            others_cpu=self._load.read() if limits.others_cpu else None,
            others_gpu=others,
            cpu_temperature=hottest() if limits.cpu_temperature else None,
            gpu_temperature=degrees,
        )


def on_battery() -> bool | None:
    """Say whether the machine runs on battery; None where it has none, or cannot say."""
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def hottest() -> float | None:
    """Return the highest temperature that the processor's sensors show, in °C."""
    if not hasattr(psutil, "sensors_temperatures"):
        return None
    found = psutil.sensors_temperatures()
    chips = [found[name] for name in ("coretemp", "k10temp", "zenpower", "cpu_thermal") if name in found] or list(found.values())
    return max((reading.current for chip in chips for reading in chip), default=None)


class Touches:
    """When the owner last touched the machine: typed in a terminal, or used a built-in keyboard or touchpad.

    A desktop's USB devices cannot be read without rights that a guest should not have.
    """

    def __init__(self, interrupts: Path = _INTERRUPTS, clock: Callable[[], float] = time.time) -> None:
        self._interrupts = interrupts
        self._clock = clock
        self._count: int | None = None
        self._at: float | None = None

    def idle_seconds(self) -> float | None:
        """Return the seconds since then; None if nobody was seen at all."""
        count = self._keyboard()
        if count is not None and self._count is not None and count != self._count:
            self._at = self._clock()
        self._count = count
        moments = [moment for moment in (self._at, *_terminals()) if moment is not None]
        return max(0.0, self._clock() - max(moments)) if moments else None

    def _keyboard(self) -> int | None:
        try:
            lines = self._interrupts.read_text().splitlines()
        except OSError:
            return None
        counts = [sum(int(word) for word in line.split() if word.isdigit()) for line in lines if _KEYBOARD in line]
        return sum(counts) if counts else None


def _terminals() -> list[float]:
    """Return when each terminal was last typed in, or opened (Unix seconds): those of who logged in, and our user's own windows.

    Most terminal windows are in no list of log-ins any more, and some systems keep none.
    """
    logged_in = {f"/dev/{user.terminal}" for user in psutil.users()}
    found = []
    for path in (*logged_in, *map(str, _WINDOWS.glob("[0-9]*"))):
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            continue
        if path in logged_in or status.st_uid == os.getuid():
            found.append(status.st_atime)
    return found
