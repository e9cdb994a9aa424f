"""The contracts of Colophon, for those who call it and for those who follow its events.

Messages and the asynchronous client are betterproto2's; protobuf's own classes stand in ``books.v1``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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

_MODULES: Final = ("book_contracts.messages.books.v1", "book_contracts.messages.google.protobuf")


def __getattr__(name: str) -> object:
    """Imports the messages when the first of them is asked for (PEP 562).

    The services want the names in ``events`` alone, and the messages bring a gRPC client with them: a fiftieth of a
    second, and 3 MB.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = next(found for module in _MODULES if (found := getattr(import_module(module), name, None)))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
