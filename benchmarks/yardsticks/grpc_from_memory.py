"""A page of books over gRPC, from memory: protobuf's classes are filled and written for each call."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop
from books.v1.book_service_pb2 import DESCRIPTOR, ListBooksRequest, ListBooksResponse

_SERVICE = DESCRIPTOR.services_by_name["BookService"].full_name
_BOOKS = list(ListBooksResponse.FromString(Path(sys.argv[2]).read_bytes()).books)


async def list_books(request: ListBooksRequest, _context: Any) -> ListBooksResponse:
    return ListBooksResponse(books=_BOOKS[: request.page_size])


async def serve(port: int) -> None:
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[ListBooksRequest, ListBooksResponse] = grpc.unary_unary_rpc_method_handler(
        list_books, ListBooksRequest.FromString, ListBooksResponse.SerializeToString
    )
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(_SERVICE, {"ListBooks": handler})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
