"""What is a reason to rest: one small function for each, of what the owner allows and what is seen of the machine.

What cannot be seen here (None) is no reason. A reason is a line for people, without the numbers that change every second, so that
it stays the same as long as the matter does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..units import bytes_text
from .limits import Limits, within


@dataclass(frozen=True)
class Seen:
    """The machine at one moment, as far as it can be seen.

    `minute` of the local day; `idle_seconds` since the owner touched the machine; `others_cpu` in percent of all cores, used by
    programs that are not ours; `others_gpu` how many of them compute on our GPU; temperatures in °C; traffic of this day and
    month in bytes.
    """

    minute: int = 0
    on_battery: bool | None = None
    idle_seconds: float | None = None
    others_cpu: float | None = None
    others_gpu: int | None = None
    cpu_temperature: float | None = None
    gpu_temperature: float | None = None
    uploaded_day: int = 0
    uploaded_month: int = 0
    downloaded_day: int = 0
    downloaded_month: int = 0


Policy = Callable[[Limits, Seen], str | None]


def hours(limits: Limits, seen: Seen) -> str | None:
    """Only in the hours that the owner gives."""
    return None if within(limits.hours, seen.minute) else f"outside of your hours ({limits.hours})"


def battery(limits: Limits, seen: Seen) -> str | None:
    """Not on battery, unless the owner says so."""
    return "on battery" if seen.on_battery and not limits.on_battery else None


def owner(limits: Limits, seen: Seen) -> str | None:
    """Not while the owner is at work."""
    busy = limits.idle_minutes and seen.idle_seconds is not None and seen.idle_seconds < 60 * limits.idle_minutes
    return f"you were here in the last {limits.idle_minutes} min" if busy else None


def gpu(limits: Limits, seen: Seen) -> str | None:
    """Not while another program computes on the GPU."""
    return "another program wants the GPU" if seen.others_gpu and not limits.share_gpu else None


def cpu(limits: Limits, seen: Seen) -> str | None:
    """Not while other programs use more of the processor than the owner leaves to us."""
    busy = limits.others_cpu and seen.others_cpu is not None and seen.others_cpu > limits.others_cpu
    return f"other programs use more than {limits.others_cpu}% of the processor" if busy else None


def temperature(limits: Limits, seen: Seen) -> str | None:
    """Not while it is too hot."""
    for what, limit, degrees in (
        ("processor", limits.cpu_temperature, seen.cpu_temperature),
        ("GPU", limits.gpu_temperature, seen.gpu_temperature),
    ):
        if limit and degrees is not None and degrees > limit:
            return f"the {what} is hotter than {limit} °C"
    return None


def quota(limits: Limits, seen: Seen) -> str | None:
    """Not beyond the quotas: what is trained could not be sent."""
    for what, limit, used in (
        ("day's upload", limits.upload_day, seen.uploaded_day),
        ("month's upload", limits.upload_month, seen.uploaded_month),
        ("day's download", limits.download_day, seen.downloaded_day),
        ("month's download", limits.download_month, seen.downloaded_month),
    ):
        if limit and used >= limit:
            return f"the {what} of {bytes_text(limit)} is used up"
    return None


POLICIES: tuple[Policy, ...] = (hours, battery, owner, gpu, cpu, temperature, quota)


def objection(limits: Limits, seen: Seen) -> str | None:
    """Return the first reason to rest, None if there is none."""
    return next((reason for policy in POLICIES if (reason := policy(limits, seen)) is not None), None)
