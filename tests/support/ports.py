"""Free ports for the servers of a test run."""

import random
import socket

# Below the ranges that Linux (32768 and up) and macOS (49152 and up) take ports from for outgoing connections. Inside
# them, a client that retries against a stopped server can be given that server's port as its own and connect to
# itself, and the server finds its port taken when it comes back.
_BLOCKS = range(20_000, 30_000, 100)

_owned: list[socket.socket] = []
_left: list[int] = []


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no other process is given while this one lives.

    Seconds go by until a server listens on it, and others that run tests look for ports meanwhile. So a process takes a
    whole block of them, which belongs to it as long as it keeps the first one bound.
    """
    while True:
        if not _left:
            _left.extend(_take_block())
        port = _left.pop()
        with socket.socket() as probe:
            if _is_bound(probe, port):
                return port


def _take_block() -> range:
    for first in random.sample(_BLOCKS, len(_BLOCKS)):
        owner = socket.socket()
        if _is_bound(owner, first):
            _owned.append(owner)
            return range(first + 1, first + _BLOCKS.step)
        owner.close()
    raise RuntimeError(f"Every block of ports from {_BLOCKS.start} to {_BLOCKS.stop - 1} of 127.0.0.1 is taken.")


def _is_bound(socket_: socket.socket, port: int) -> bool:
    try:
        socket_.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
