"""A page of books over gRPC, from memory: protobuf's classes are filled and written for each call."""

import sys
from pathlib import Path
from typing import Any

import grpc
from books.v1.book_service_pb2 import ListBooksRequest, ListBooksResponse

from benchmarks.baselines.serving import serve_grpc

_BOOKS = list(ListBooksResponse.FromString(Path(sys.argv[2]).read_bytes()).books)


async def list_books(request: ListBooksRequest, _context: Any) -> ListBooksResponse:
    return ListBooksResponse(books=_BOOKS[: request.page_size])


if __name__ == "__main__":
    handler = grpc.unary_unary_rpc_method_handler(
        list_books, ListBooksRequest.FromString, ListBooksResponse.SerializeToString
    )
    serve_grpc("ListBooks", handler, int(sys.argv[1]))
