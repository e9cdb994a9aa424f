"""Where books are."""

from typing import Final

BOOKS_PATH: Final = "/api/v1/books"
