"""Property tests draw the same examples on every run, and none fails because a machine is slow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from worker_kit import workers_in_threads

settings.register_profile("collab", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("collab")


@pytest.fixture
def worker_in_thread() -> Iterator[None]:
    """Commands of this test have their worker in a thread, not in a process."""
    with workers_in_threads():
        yield
