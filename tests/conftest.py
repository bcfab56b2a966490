"""For all tests: the same examples of properties on every run, commands that are built once, and workers in threads on demand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import HealthCheck, settings
from typer.main import get_command
from worker_kit import workers_in_threads

settings.register_profile("collab", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("collab")

# Typer builds all commands anew each time one is run: 0.1 s, more than most of them take.
pytest.MonkeyPatch().setattr("typer.testing._get_command", cache(get_command))


@pytest.fixture
def worker_in_thread() -> Iterator[None]:
    """Commands of this test have their worker in a thread, not in a process."""
    with workers_in_threads():
        yield
