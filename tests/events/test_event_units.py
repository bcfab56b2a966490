"""Durations and sizes as people write them."""

import pytest

from collab.node.event.units import seconds, size


@pytest.mark.parametrize(("text", "value"), [("45s", 45), ("10m", 600), ("1.5h", 5400), (" 2 d ", 172800), ("0s", 0)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(("text", "value"), [("7B", 7), ("30MB", 30_000_000), ("1.5 kB", 1500), ("2GiB", 2 << 30)])
def test_sizes(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "10", "m", "10 minutes", "-5s", "1e3s", "10MB", "٣s", "1.s"])
def test_what_is_no_duration_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match='"45s", "10m" or "2h"'):
        seconds(text)


@pytest.mark.parametrize("text", ["30", "30mb", "1M", "10m", "-1B", "9 9MB"])
def test_what_is_no_size_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match='"30MB" or "2GiB"'):
        size(text)
