"""The least that grpc.aio does: a handler that neither reads the request nor makes the response."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop

_BYTES = Path(sys.argv[2]).read_bytes()
"""What Colophon answers to the same question."""


async def constant(_request: bytes, _context: Any) -> bytes:
    return _BYTES


async def serve(port: int) -> None:
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(constant)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("books.v1.BookService", {"GetBook": handler})]
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
