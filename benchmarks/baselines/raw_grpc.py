"""The least that grpc.aio does: a handler that neither reads the request nor makes the response."""

import sys
from pathlib import Path
from typing import Any

import grpc

from benchmarks.baselines.serving import serve_grpc

_BYTES = Path(sys.argv[2]).read_bytes()
"""What Colophon answers to the same question."""


async def constant(_request: bytes, _context: Any) -> bytes:
    return _BYTES


if __name__ == "__main__":
    serve_grpc("GetBook", grpc.unary_unary_rpc_method_handler(constant), int(sys.argv[1]))
