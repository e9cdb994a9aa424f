"""The contracts of Colophon, for those who call it and for those who follow its events.

Messages and the asynchronous client are betterproto2's; protobuf's own classes stand in ``books.v1``.
"""

from book_contracts.messages.books.v1 import (
    Book,
    BookEvent,
    BookEventKind,
    BookServiceStub,
    Date,
    GetBookRequest,
    GetBookResponse,
    ListBooksRequest,
    ListBooksResponse,
)

__all__ = [
    "Book",
    "BookEvent",
    "BookEventKind",
    "BookServiceStub",
    "Date",
    "GetBookRequest",
    "GetBookResponse",
    "ListBooksRequest",
    "ListBooksResponse",
]
