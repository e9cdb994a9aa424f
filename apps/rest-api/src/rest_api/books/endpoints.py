"""Books: the endpoints. Each reads what was sent, calls the catalogue once, and says what came of it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from book_db.book import Added, Draft
from book_db.books.catalogue import Catalogue
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from rest_api.books.batches import BATCH, drafts_of
from rest_api.books.idempotency import FOR_CREATES, REPLAYED, REPLAYED_HEADER, key_of
from rest_api.books.paths import BOOKS_PATH
from rest_api.books.preconditions import CACHING, FOR_READS, FOR_WRITES, condition_of, etag_of, is_known
from rest_api.books.schemas import Book, BookChange, BookDraft, BookId, Books
from rest_api.fast_path import fast_path
from rest_api.guard import GuardedRoute, caller_of, require_json
from rest_api.problems.document import documented

router = APIRouter(
    prefix="/books",
    tags=["books"],
    route_class=GuardedRoute,
    responses=documented(401, 503),
)

_FAST_BODY_BYTES: Final = 8_192
"""What is longer is rare, and left to FastAPI, which reads it with more care."""

_WRITES: Final = documented(400, 413, 415, 422)
_CONDITIONAL: Final = documented(400, 404, 412, 422, 428)
_ETAG: Final = {"ETag": {"description": "The version, quoted.", "schema": {"type": "string"}, "example": '"1"'}}
_CREATED: Final[dict[int | str, dict[str, Any]]] = {
    201: {
        "headers": {
            **_ETAG,
            **REPLAYED_HEADER,
            "Location": {
                "description": "Where the book is.",
                "schema": {"type": "string"},
                "example": "/api/v1/books/42",
            },
        }
    }
}
_CREATED_MANY: Final[dict[int | str, dict[str, Any]]] = {201: {"headers": REPLAYED_HEADER}}
_WITH_ETAG: Final[dict[int | str, dict[str, Any]]] = {200: {"headers": _ETAG}}
_NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "The copy with the ETag of `If-None-Match` is still good.", "headers": _ETAG}
}


async def _answer_plain_create(request: Request) -> Response | None:
    headers = request.headers
    # A body of no declared length is read by BodyLimit, which counts what comes.
    if headers.get("content-type") != "application/json" or "content-length" not in headers:
        return None
    if "content-encoding" in headers:
        return None
    try:
        draft = BookDraft.model_validate(msgspec.json.decode(await request.body()))
    except (ValueError, RecursionError, ClientDisconnect):
        return None
    return await create_book(draft, request)


@router.post(
    "",
    status_code=201,
    response_model=Book,
    responses=_CREATED | _WRITES,
    operation_id="createBook",
    openapi_extra=FOR_CREATES,
)
@fast_path(_answer_plain_create, longest_body=_FAST_BODY_BYTES)
async def create_book(draft: BookDraft, request: Request) -> Response:
    """Put a new book into the catalogue."""
    [book], replayed = await _add([draft.to_draft()], request, "createBook")
    headers = {"ETag": etag_of(book.version), "Location": f"{BOOKS_PATH}/{book.id}"} | (REPLAYED if replayed else {})
    return _json(book.to_json(), headers, 201)


@router.post(
    "/batch",
    status_code=201,
    response_model=Books,
    responses=_CREATED_MANY | _WRITES,
    operation_id="createBooks",
    openapi_extra=FOR_CREATES | BATCH,
)
async def create_books(request: Request) -> Response:
    """Put up to 1,000 new books into the catalogue, all or none. They come back in the order they were sent in.

    With the words that they are found by they may have 2 MiB together.
    """
    require_json(request)
    drafts = await asyncio.to_thread(drafts_of, await request.body())
    books, replayed = await _add(drafts, request, "createBooks")
    return _json(b'{"books":' + msgspec.json.encode(books) + b"}", REPLAYED if replayed else {}, 201)


async def _answer_plain_get(request: Request) -> Response:
    return await get_book(int(request.scope["path"].rpartition("/")[2]), request)


@router.get(
    "/{book_id}",
    response_model=Book,
    responses=_WITH_ETAG | _NOT_MODIFIED | documented(400, 404, 412, 422),
    operation_id="getBook",
    openapi_extra=FOR_READS,
)
@fast_path(_answer_plain_get)
async def get_book(book_id: BookId, request: Request) -> Response:
    """Read one book."""
    book = await _catalogue(request).get_json(book_id)
    version = msgspec.json.decode(book, type=_Versioned).version
    headers = {"ETag": etag_of(version), **CACHING}
    return Response(None, 304, headers) if is_known(request, book_id, version) else _json(book, headers)


@router.put(
    "/{book_id}",
    response_model=Book,
    responses=_WITH_ETAG | _CONDITIONAL | _WRITES,
    operation_id="replaceBook",
    openapi_extra=FOR_WRITES,
)
async def replace_book(book_id: BookId, draft: BookDraft, request: Request) -> Response:
    """Write every field of a book anew."""
    actor, condition = caller_of(request).user_id, condition_of(request)
    book = await _catalogue(request).replace(book_id, draft.to_draft(), actor, condition)
    return _json(book.to_json(), {"ETag": etag_of(book.version)})


@router.patch(
    "/{book_id}",
    response_model=Book,
    responses=_WITH_ETAG | _CONDITIONAL | _WRITES,
    operation_id="changeBook",
    openapi_extra=FOR_WRITES,
)
async def change_book(book_id: BookId, change: BookChange, request: Request) -> Response:
    """Write some fields of a book and leave the others."""
    actor, condition = caller_of(request).user_id, condition_of(request)
    book = await _catalogue(request).change(book_id, change.to_patch(), actor, condition)
    return _json(book.to_json(), {"ETag": etag_of(book.version)})


@router.delete(
    "/{book_id}", status_code=204, responses=_CONDITIONAL, operation_id="deleteBook", openapi_extra=FOR_WRITES
)
async def delete_book(book_id: BookId, request: Request) -> None:
    """Take a book out of the catalogue. Its id is never given again."""
    await _catalogue(request).remove(book_id, caller_of(request).user_id, condition_of(request))


class _Versioned(msgspec.Struct):
    version: int


def _catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.store.catalogue
    return catalogue


async def _add(drafts: Sequence[Draft], request: Request, operation: str) -> Added:
    catalogue, actor = _catalogue(request), caller_of(request).user_id
    key = key_of(request, operation)
    if key is not None:
        return await catalogue.add_once(drafts, actor, key)
    if len(drafts) == 1:
        return Added([await catalogue.add(drafts[0], actor)], replayed=False)
    return Added(await catalogue.add_many(drafts, actor), replayed=False)


def _json(content: bytes, headers: Mapping[str, str], status: int = 200) -> Response:
    return Response(content, status, headers, media_type="application/json")
