"""The catalogue for programs in asyncio: ``async with BookCatalogue("127.0.0.1:50051", token=...) as catalogue``.

Its errors are those of ``book_contracts.errors``, its messages those of ``book_contracts``.
"""

from book_contracts.client.asking import BookOrder
from book_contracts.client.catalogue import BookCatalogue
from book_contracts.client.connection import CatalogueClosed
from book_contracts.client.reading import BookField
from book_contracts.client.session import Session
from book_contracts.client.tokens import Token, TokenSource
from book_contracts.client.watching import BookChanged, Watch

__all__ = [
    "BookCatalogue",
    "BookChanged",
    "BookField",
    "BookOrder",
    "CatalogueClosed",
    "Session",
    "Token",
    "TokenSource",
    "Watch",
]
