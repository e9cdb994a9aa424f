"""Colophon over gRPC for the services that read the catalogue, and the log of its events."""
