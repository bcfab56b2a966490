"""The daemon's task that keeps the manners: looks once a second, pauses and resumes, and counts the bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from ..errors import UserError
from ..home import Home
from ..hosting.pausing import Pausing
from ..net.pacing import Pacer
from ..net.traffic import Traffic
from .decide import Manners, Pause
from .limits import Limits
from .overrides import effective, read_overrides, with_override, write_overrides
from .policies import Seen
from .senses import Senses
from .usage import Usage

log = structlog.get_logger()

_LOOK_SECONDS = 1.0
_SAVE_SECONDS = 30.0
_WORKER_LIMITS = ("threads", "gpu_memory")


@dataclass(frozen=True)
class Kept:
    """What of a node the manners are about. `reopen` gives the worker other limits of its own."""

    home: Home
    pausing: Pausing
    traffic: Traffic
    upload: Pacer
    download: Pacer
    senses: Senses
    reopen: Callable[[Mapping[str, int]], Awaitable[None]]
    trains: bool = True


class Keeper:
    """Holds the limits of a running node. `change` is what the owner's `set` does."""

    def __init__(self, kept: Kept, base: Limits, *, now: Callable[[], float] = time.monotonic) -> None:
        """`base` are the limits of settings and flags. Raises UserError if what was set before is damaged."""
        self._kept = kept
        self._base = base
        self._overrides = read_overrides(kept.home.limits_path)
        self._manners = Manners(effective(base, self._overrides))
        self._usage = Usage(kept.home.usage_path)
        self._counted = (0, 0)
        self._now = now
        self._saved_at = now()
        self._pace()

    @property
    def limits(self) -> Limits:
        """The limits that hold now."""
        return self._manners.limits

    def state(self) -> dict[str, Any]:
        """Return limits, which of them were set by hand, what was used of the quotas, and why it rests: plain values."""
        day = _day()
        return {
            "limits": self.limits.model_dump(), "set": sorted(self._overrides),
            "used_day": self._usage.of_day(day), "used_month": self._usage.of_month(day),
            "rests": self._kept.pausing.reasons.get("manners", ""),
        }  # fmt: skip

    async def change(self, key: str, value: str) -> None:
        """Set one limit, now and for later. Raises UserError."""
        overrides = with_override(self._base, self._overrides, key, value)
        write_overrides(self._kept.home.limits_path, overrides)
        before, self._overrides = self.limits, overrides
        after = effective(self._base, overrides)
        self._manners.allow(after)
        self._pace()
        wanted = {name: getattr(after, name) for name in _WORKER_LIMITS if getattr(after, name) != getattr(before, name)}
        if wanted:
            await self._kept.reopen(wanted)
        await self.look()

    def _pace(self) -> None:
        self._kept.upload.limit(self.limits.upload_rate)
        self._kept.download.limit(self.limits.download_rate)

    async def run(self) -> None:
        """Look once a second, for ever."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            self._save()

    async def look(self) -> None:
        """Look once, and do what follows from it."""
        day = _day()
        self._count(day)
        seen = await asyncio.to_thread(self._kept.senses.look, self.limits) if self._kept.trains else Seen()
        seen = self._with_traffic(replace(seen, minute=_minute()), day)
        self._kept.upload.closed = self._is_used_up(seen)
        if self._kept.trains:
            await self._act(seen)
        if self._now() - self._saved_at >= _SAVE_SECONDS:
            self._saved_at = self._now()
            self._save()

    async def _act(self, seen: Seen) -> None:
        decision = self._manners.decide(seen, self._now())
        pausing = self._kept.pausing
        before = pausing.reasons.get("manners")
        if isinstance(decision, Pause):
            if decision.reason != before:
                log.info("resting", why=decision.reason)
                await pausing.pause("manners", decision.reason)
        elif before is not None:
            log.info("going on")
            pausing.resume("manners")

    def _count(self, day: str) -> None:
        traffic = self._kept.traffic
        total = (sum(traffic.sent.values()), sum(traffic.received.values()))
        self._usage.add(day, total[0] - self._counted[0], total[1] - self._counted[1])
        self._counted = total

    def _with_traffic(self, seen: Seen, day: str) -> Seen:
        (up, down), (month_up, month_down) = self._usage.of_day(day), self._usage.of_month(day)
        return replace(seen, uploaded_day=up, downloaded_day=down, uploaded_month=month_up, downloaded_month=month_down)

    def _is_used_up(self, seen: Seen) -> bool:
        limits = self.limits
        return bool(
            (limits.upload_day and seen.uploaded_day >= limits.upload_day)
            or (limits.upload_month and seen.uploaded_month >= limits.upload_month)
        )

    def _save(self) -> None:
        try:
            self._usage.save()
        except UserError as error:
            log.warning("the traffic so far cannot be noted", why=error.message)


def _day() -> str:
    return time.strftime("%Y-%m-%d")


def _minute() -> int:
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min
