"""The contracts of Colophon, for those who call it and for those who follow its events.

Messages and the asynchronous client are betterproto2's; protobuf's own classes stand in ``books.v1``.
"""

from book_contracts.messages.books.v1 import (
    BatchGetBooksRequest,
    BatchGetBooksResponse,
    Book,
    BookEvent,
    BookEventKind,
    BookFilter,
    BookServiceStub,
    Date,
    GetBookRequest,
    GetBookResponse,
    ListBooksRequest,
    ListBooksResponse,
    WatchBooksRequest,
    WatchBooksResponse,
)
from book_contracts.messages.google.protobuf import FieldMask

__all__ = [
    "BatchGetBooksRequest",
    "BatchGetBooksResponse",
    "Book",
    "BookEvent",
    "BookEventKind",
    "BookFilter",
    "BookServiceStub",
    "Date",
    "FieldMask",
    "GetBookRequest",
    "GetBookResponse",
    "ListBooksRequest",
    "ListBooksResponse",
    "WatchBooksRequest",
    "WatchBooksResponse",
]
