"""What the owner allows: settings that can be changed while the node runs. A limit of 0 is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..errors import UserError

LEAST_RATE = 64_000  # bytes a second: slower, a part of a blob takes longer than a peer waits for it
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([kmgt]?b?)(?:/s)?", re.IGNORECASE)
_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]|24):([0-5][0-9])")
_DAY = 24 * 60


def _amount(value: object) -> object:
    """Read such as `500kB`, `1.5 MB/s` or 64000: bytes, in powers of 1000."""
    if not isinstance(value, str):
        return value
    found = _AMOUNT.fullmatch(value.strip())
    unit = found[2].lower() if found else ""
    if found is None or (unit and not unit.endswith("b")):
        raise ValueError("it should be such as 500kB, 2MB or 1.5GB")
    return round(float(found[1]) * _UNITS[unit])


def _percent(value: object) -> object:
    return value.strip().removesuffix("%").strip() if isinstance(value, str) else value


def _rate(value: int) -> int:
    if 0 < value < LEAST_RATE:
        raise ValueError(f"it should be at least {LEAST_RATE // 1000}kB, or 0 for no limit")
    return value


def _windows(value: object) -> object:
    """Read such as `22:00-07:00,12:00-13:00`; a TOML list is taken too."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("it should be such as 22:00-07:00")
    texts = [str(part).strip() for part in parts if str(part).strip()]
    if any(window_minutes(text) is None for text in texts):
        raise ValueError("it should be such as 22:00-07:00, or several with commas between them")
    return ",".join(texts)


def window_minutes(text: str) -> tuple[int, int] | None:
    """Return the first minute of the day of a window such as `22:00-07:00`, and the one after its last; None if it is none."""
    found = _WINDOW.fullmatch(text)
    if found is None:
        return None
    start, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    return (start, end) if start != end and end <= _DAY else None


def within(hours: str, minute: int) -> bool:
    """Say whether a minute of the day (0 to 1439) is in one of the windows; with no window every minute is."""
    windows = [window for text in hours.split(",") if (window := window_minutes(text)) is not None]
    return not windows or any(
        start <= minute < end if start < end else minute >= start or minute < end for start, end in windows
    )


Bytes = Annotated[int, BeforeValidator(_amount), Field(ge=0, lt=1 << 60)]
Rate = Annotated[int, BeforeValidator(_amount), Field(ge=0, lt=1 << 40), AfterValidator(_rate)]
Percent = Annotated[int, BeforeValidator(_percent), Field(ge=0, le=100)]
Degrees = Annotated[int, Field(ge=0, le=120)]
Hours = Annotated[str, BeforeValidator(_windows)]


class Limits(BaseModel):
    """The owner's limits. Rates are in bytes a second, quotas in bytes, hours in local time, temperatures in °C.

    `others_cpu`: rest while other programs use more than this percentage of all cores. `share_gpu`: train on although another
    program computes on the GPU. `on_battery`: train on battery too. `idle_minutes`: train only when nobody has typed for so long.
    `calm_seconds`: how long all must be well before the node goes on. `gpu_memory` is in MiB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    gpu_memory: Annotated[int, Field(ge=0, le=1 << 24)] = 0
    hours: Hours = ""
    on_battery: bool = False
    idle_minutes: Annotated[int, Field(ge=0, le=_DAY)] = 0
    others_cpu: Percent = 0
    share_gpu: bool = False
    cpu_temperature: Degrees = 0
    gpu_temperature: Degrees = 0
    calm_seconds: Annotated[int, Field(ge=0, le=86400)] = 60
    upload_rate: Rate = 0
    download_rate: Rate = 0
    upload_day: Bytes = 0
    upload_month: Bytes = 0
    download_day: Bytes = 0
    download_month: Bytes = 0

    def changed(self, changes: Mapping[str, Any]) -> Limits:
        """Return the limits with `changes`, as a person wrote them. Raises UserError that names the first that is wrong."""
        try:
            return Limits(**{**self.model_dump(), **changes})
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            name = str(detail["loc"][0])
            if detail["type"] == "extra_forbidden":
                raise UserError(f"there is no limit {name!r}", f"the limits are {', '.join(Limits.model_fields)}") from error
            said = detail["msg"].removeprefix("Value error, ").replace("Input should", "it should")
            raise UserError(f"{name}: {said} (not {detail['input']!r})") from error


def parse_assignments(texts: list[str]) -> dict[str, str]:
    """Read `KEY=VALUE` texts. Raises UserError."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not equals or name.strip() not in Limits.model_fields:
            raise UserError(f"--limit {text}: it should be KEY=VALUE", f"the limits are {', '.join(Limits.model_fields)}")
    return {name.strip(): value.strip() for name, _, value in pairs}
