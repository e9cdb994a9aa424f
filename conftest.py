"""Gives every test of every member the fixtures of tests/support."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["support.plugin"]

# How long an example takes says more of what else runs on the machine than of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
