"""The units in which people write durations and sizes in an event file: "10m", "45s", "30MB"; a bare number stays one."""

from __future__ import annotations

import re

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", re.ASCII)


def seconds(text: str) -> float:
    """Return the seconds in a duration such as "1.5h". Raises ValueError with a sentence for its author."""
    return _quantity(text, SECONDS, 'a number of seconds, or text such as "45s", "10m" or "2h"')


def size(text: str) -> int:
    """Return the bytes in a size such as "30MB" or "2GiB". Raises ValueError with a sentence for its author."""
    return int(_quantity(text, BYTES, 'a number of bytes, or text such as "30MB" or "2GiB"'))


def _quantity(text: str, units: dict[str, int], expected: str) -> float:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units:
        raise ValueError(f"must be {expected} (not {text!r})")
    return float(match[1]) * units[match[2]]
