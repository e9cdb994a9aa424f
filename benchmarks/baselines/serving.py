"""How baselines listen: on the loop and the parser that Colophon's services run on, and with the same options.

Nothing is left on that they leave off: uvicorn's own handling of proxies, say, would make the baseline slower by a
wrapper around each request. And as theirs, what start-up has made is left out of garbage collection.
"""

import asyncio
from typing import Any

import grpc
import uvicorn
import uvloop
from book_runtime.process import freeze_gc
from books.v1.book_service_pb2 import DESCRIPTOR
from fastapi import FastAPI

_BOOK_SERVICE = DESCRIPTOR.services_by_name["BookService"].full_name


def serve_http(app: FastAPI, port: int) -> None:
    config = uvicorn.Config(
        app,
        port=port,
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    freeze_gc()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve())


def serve_grpc(method: str, handler: "grpc.RpcMethodHandler[Any, Any]", port: int) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(grpc.method_handlers_generic_handler(_BOOK_SERVICE, {method: handler}), port))


async def _serve(handler: grpc.GenericRpcHandler, port: int) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([handler])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    freeze_gc()
    await server.wait_for_termination()
