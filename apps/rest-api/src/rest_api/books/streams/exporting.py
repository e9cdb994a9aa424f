"""Export: the endpoint, and the answer that is a stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import structlog
from book_db.books.exporting import Form
from book_db.errors import DatabaseUnavailable
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.types import Receive, Scope, Send

from rest_api.books.finding import Filters
from rest_api.books.schemas import Book
from rest_api.books.streams.forms import CSV, NDJSON, csv_schema, lines_of, preferred
from rest_api.fields import each_once
from rest_api.guard import GuardedRoute, caller_of
from rest_api.head_method import is_head
from rest_api.problems.document import documented

_log = structlog.get_logger(__name__)

SEND_TIMEOUT_SECONDS: Final = 60.0
"""Seconds that a client may take to take in what was sent: as long as an export runs, PostgreSQL cleans up nothing."""

router = APIRouter(prefix="/books", tags=["books"], route_class=GuardedRoute)

_MEDIA_TYPES: Final[dict[Form, str]] = {"ndjson": NDJSON, "csv": f"{CSV}; charset=utf-8; header=present"}

_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A book a line, by ascending id. An answer that does not end as HTTP has it is not the whole.",
        "headers": {
            "Content-Disposition": {
                "description": "A name for the file.",
                "schema": {"type": "string"},
                "example": 'attachment; filename="books-20261123T185019Z.ndjson"',
            },
            "Vary": {"description": "`Accept`, where `format` was not given.", "schema": {"type": "string"}},
        },
        "content": {
            NDJSON: {"schema": lines_of("Book")},
            CSV: {"schema": csv_schema(*Book.model_fields)},
        },
    },
    406: {"description": "`Accept` allows neither NDJSON nor CSV, and there is no `format`."},
    503: {
        "description": "The database does not answer just now, or as many exports are running as may. The same may "
        "safely be asked again."
    },
}


class Export(Filters):
    """Which books are exported, and how."""

    format: Form | SkipJsonSchema[None] = Field(
        None, description="The form of the export; without it `Accept` decides, and NDJSON is the default."
    )


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses=documented(422) | _ANSWERS,
    operation_id="exportBooks",
    dependencies=[Depends(each_once)],
)
async def export_books(request: Request, export: Annotated[Export, Query()]) -> Response:
    """Download all books, or those that meet every filter, as they are at one moment."""
    form = export.format or preferred(request.headers.get("accept", ""))
    headers = {
        "Content-Disposition": f'attachment; filename="books-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{form}"',
        "Cache-Control": "no-store",
    }
    if export.format is None:
        headers["Vary"] = "Accept"
    opening = request.app.state.exports.open(export.to_selection(), form, caller_of(request).user_id)
    return _Download(opening, headers, _MEDIA_TYPES[form])


class _Download(StreamingResponse):
    """Opens the export before it answers: what cannot begin is a problem document, not a download that breaks off."""

    def __init__(
        self, opening: AbstractAsyncContextManager[AsyncIterator[bytes]], headers: dict[str, str], media_type: str
    ) -> None:
        super().__init__((), headers=headers, media_type=media_type)
        self._opening = opening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._opening as self.body_iterator:
            if is_head(scope):
                await self.send_head(send)
            else:
                await super().__call__(scope, receive, send)

    async def send_head(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

    async def stream_response(self, send: Send) -> None:
        await self.send_head(send)
        try:
            async for block in self.body_iterator:
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await send({"type": "http.response.body", "body": block, "more_body": True})
        except (DatabaseUnavailable, TimeoutError) as error:
            # Without its end the answer shows that it is not the whole: the server closes the connection.
            _log.warning("an export broke off", cause=repr(error.__cause__ or error))
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
