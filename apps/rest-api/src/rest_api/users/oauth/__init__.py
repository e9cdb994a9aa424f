"""Signing in with an account at GitHub or Google."""
