"""Books: the endpoints. Each reads what was sent, calls the catalogue once, and says what came of it."""

from typing import Any, Final

import msgspec
from book_db.books.catalogue import Catalogue
from fastapi import APIRouter, Request, Response, Security

from rest_api.books.schemas import (
    DEFAULT_PAGE_SIZE,
    Book,
    BookChange,
    BookDraft,
    BookDrafts,
    BookId,
    BookPage,
    Books,
    PageSize,
    PageToken,
)
from rest_api.guard import GuardedRoute, bearer, caller_of
from rest_api.problems import documented

router = APIRouter(
    prefix="/books",
    tags=["books"],
    route_class=GuardedRoute,
    dependencies=[Security(bearer)],
    responses=documented(401, 503),
)

_WRITES: Final = documented(400, 413, 415, 422)
_ETAG: Final = {"ETag": {"description": "The version, quoted.", "schema": {"type": "string"}, "example": '"1"'}}
_CREATED: Final[dict[int | str, dict[str, Any]]] = {
    201: {
        "headers": {
            **_ETAG,
            "Location": {
                "description": "Where the book is.",
                "schema": {"type": "string"},
                "example": "/api/v1/books/42",
            },
        }
    }
}
_WITH_ETAG: Final[dict[int | str, dict[str, Any]]] = {200: {"headers": _ETAG}}


@router.post("", status_code=201, response_model=Book, responses=_CREATED | _WRITES, operation_id="createBook")
async def create_book(draft: BookDraft, request: Request) -> Response:
    """Put a new book into the catalogue."""
    book = await _catalogue(request).add(draft.to_draft(), caller_of(request).user_id)
    location = request.app.url_path_for("get_book", book_id=book.id)
    return _json(book.to_json(), 201, ETag=_etag(book.version), Location=location)


@router.post("/batch", status_code=201, response_model=Books, responses=_WRITES, operation_id="createBooks")
async def create_books(drafts: BookDrafts, request: Request) -> Response:
    """Put up to 1,000 new books into the catalogue, all or none. They come back in the order they were sent in."""
    books = await _catalogue(request).add_many([draft.to_draft() for draft in drafts.books], caller_of(request).user_id)
    return _json(b'{"books":' + msgspec.json.encode(books) + b"}", 201)


@router.get("", response_model=BookPage, responses=documented(422), operation_id="listBooks")
async def list_books(
    request: Request, page_size: PageSize = DEFAULT_PAGE_SIZE, page_token: PageToken = None
) -> Response:
    """Page through the catalogue, by ascending id."""
    page = await _catalogue(request).page(page_size, page_token)
    return _json(msgspec.json.encode({"books": page.books, "next_page_token": page.next_token}))


@router.get("/{book_id}", response_model=Book, responses=_WITH_ETAG | documented(404, 422), operation_id="getBook")
async def get_book(book_id: BookId, request: Request) -> Response:
    """Read one book."""
    book = await _catalogue(request).get_json(book_id)
    return _json(book, ETag=_etag(msgspec.json.decode(book, type=_Versioned).version))


@router.put(
    "/{book_id}", response_model=Book, responses=_WITH_ETAG | documented(404) | _WRITES, operation_id="replaceBook"
)
async def replace_book(book_id: BookId, draft: BookDraft, request: Request) -> Response:
    """Write every field of a book anew."""
    book = await _catalogue(request).replace(book_id, draft.to_draft(), caller_of(request).user_id)
    return _json(book.to_json(), ETag=_etag(book.version))


@router.patch(
    "/{book_id}", response_model=Book, responses=_WITH_ETAG | documented(404) | _WRITES, operation_id="changeBook"
)
async def change_book(book_id: BookId, change: BookChange, request: Request) -> Response:
    """Write some fields of a book and leave the others."""
    book = await _catalogue(request).change(book_id, change.to_change(), caller_of(request).user_id)
    return _json(book.to_json(), ETag=_etag(book.version))


@router.delete("/{book_id}", status_code=204, responses=documented(404, 422), operation_id="deleteBook")
async def delete_book(book_id: BookId, request: Request) -> None:
    """Take a book out of the catalogue. Its id is never given again."""
    await _catalogue(request).remove(book_id, caller_of(request).user_id)


class _Versioned(msgspec.Struct):
    version: int


def _catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.store.catalogue
    return catalogue


def _etag(version: int) -> str:
    return f'"{version}"'


def _json(content: bytes, status: int = 200, **headers: str) -> Response:
    return Response(content, status, headers, media_type="application/json")
