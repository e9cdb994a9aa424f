"""Gives every test of every member the fixtures of tests/support."""

pytest_plugins = ["support.plugin"]
