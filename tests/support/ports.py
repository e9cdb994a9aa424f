"""Free ports for the servers of a test run."""

import random
import socket

# Below the ranges that Linux (32768 and up) and macOS (49152 and up) take ports from for outgoing connections. Inside
# them, a client that retries against a stopped server can be given that server's port as its own and connect to
# itself, and the server finds its port taken when it comes back.
_RANGE = range(20_000, 30_000)

_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that this run has not given away before."""
    for port in random.sample(_RANGE, len(_RANGE)):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"No port from {_RANGE.start} to {_RANGE.stop - 1} is free on 127.0.0.1.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
