"""Colophon over gRPC for the services that read the catalogue, and the log of its events."""

import os

# Read when grpc is imported. With it, which is the default, a process that is forked while gRPC works crashes before it
# becomes the program it was to start. `colophon run`, which starts PostgreSQL as another user, forks.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
