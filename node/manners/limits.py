"""What the owner allows: settings that can be changed while the node runs. A limit of 0 is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from ..errors import UserError

LEAST_RATE = 64_000  # bytes a second: slower, a part of a blob takes longer than a peer waits for it
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([kmgt]?b?)(?:/s)?", re.IGNORECASE)
_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]|24):([0-5][0-9])")
_DAY = 24 * 60
_MEBIBYTE = 1 << 20
_PLAIN = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "it should be a whole number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "it should be yes or no"),
}


def sentence(detail: ErrorDetails) -> str:
    """Return what is wrong with a value as a person says it."""
    text = detail["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return _PLAIN.get(detail["type"], text[:1].lower() + text[1:])


def _amount(value: object) -> object:
    """Read such as `500kB`, `1.5 MB/s` or 64000: bytes, in powers of 1000."""
    if not isinstance(value, str):
        return value
    found = _AMOUNT.fullmatch(value.strip())
    unit = found[2].lower() if found else ""
    if found is None or (unit and not unit.endswith("b")):
        raise ValueError("it should be such as 500kB, 2MB or 1.5GB")
    return round(float(found[1]) * _UNITS[unit])


def _mebibytes(value: object) -> object:
    """Read MiB as a number, or such as `4GB`."""
    if not isinstance(value, str) or not (found := _AMOUNT.fullmatch(value.strip())) or not found[2].lower().endswith("b"):
        return value
    return round(float(found[1]) * _UNITS[found[2].lower()]) // _MEBIBYTE


def _percent(value: object) -> object:
    return value.strip().removesuffix("%").strip() if isinstance(value, str) else value


def _degrees(value: object) -> object:
    return value.strip().rstrip("°Cc").strip() if isinstance(value, str) else value


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
Degrees = Annotated[int, BeforeValidator(_degrees), Field(ge=0, le=120)]
Mebibytes = Annotated[int, BeforeValidator(_mebibytes), Field(ge=0, le=1 << 24)]
Hours = Annotated[str, BeforeValidator(_windows)]


class Limits(BaseModel):
    """The owner's limits, each with what it means. Rates are in bytes a second, quotas in bytes, hours in local time,
    temperatures in °C, `gpu_memory` is in MiB, `others_cpu` a percentage of all cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: Annotated[int, Field(ge=0, le=1024, description="CPU threads that it trains with")] = 0
    gpu_memory: Annotated[Mebibytes, Field(description="memory that it takes on the GPU")] = 0
    hours: Annotated[Hours, Field(description="trains in these hours only")] = ""
    on_battery: Annotated[bool, Field(description="trains on battery too")] = False
    idle_minutes: Annotated[int, Field(ge=0, le=_DAY, description="rests until nobody has typed for so long")] = 0
    others_cpu: Annotated[Percent, Field(description="rests while other programs use more")] = 0
    share_gpu: Annotated[bool, Field(description="trains beside other programs on the GPU")] = False
    cpu_temperature: Annotated[Degrees, Field(description="rests while the processor is hotter")] = 0
    gpu_temperature: Annotated[Degrees, Field(description="rests while the GPU is hotter")] = 0
    calm_seconds: Annotated[int, Field(ge=0, le=86400, description="goes on when all was well for so long")] = 60
    upload_rate: Annotated[Rate, Field(description="sends no faster")] = 0
    download_rate: Annotated[Rate, Field(description="fetches no faster")] = 0
    upload_day: Annotated[Bytes, Field(description="rests when so much was sent in a day")] = 0
    upload_month: Annotated[Bytes, Field(description="rests when so much was sent in a month")] = 0
    download_day: Annotated[Bytes, Field(description="rests when so much was fetched in a day")] = 0
    download_month: Annotated[Bytes, Field(description="rests when so much was fetched in a month")] = 0

    def changed(self, changes: Mapping[str, Any]) -> Limits:
        """Return the limits with `changes`, as a person wrote them. Raises UserError that names the first that is wrong."""
        try:
            return Limits(**{**self.model_dump(), **changes})
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            name = str(detail["loc"][0])
            if detail["type"] == "extra_forbidden":
                raise no_such_limit(name) from error
            raise UserError(f"{name}: {sentence(detail)} (not {detail['input']!r})") from error


def no_such_limit(name: str) -> UserError:
    """Return the error of who names a limit that does not exist."""
    near = get_close_matches(name.lower(), Limits.model_fields, 1)
    return UserError(f"there is no limit {name!r}", f"is it {near[0]}?" if near else "`collab-node limits` lists them")


def parse_assignments(texts: list[str]) -> dict[str, str]:
    """Read `KEY=VALUE` texts. Raises UserError."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not equals:
            raise UserError(f"--limit {text}: it should be KEY=VALUE, such as upload_rate=1MB")
        if name.strip() not in Limits.model_fields:
            raise no_such_limit(name.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
