"""Property tests draw the same examples on every run, and none fails because a machine is slow."""

from hypothesis import HealthCheck, settings

settings.register_profile("collab", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("collab")
