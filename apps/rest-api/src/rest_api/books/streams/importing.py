"""Import: the endpoint."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, Final
from uuid import UUID

from book_runtime.places import NoPlaceLeft, Places
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from rest_api.books.idempotency import FOR_CREATES, REPLAYED, REPLAYED_HEADER, key_of
from rest_api.books.schemas import BookDraft
from rest_api.books.streams.forms import CSV, NDJSON, csv_schema, header_pattern, lines_of
from rest_api.books.streams.problems import TooManyImports, UnknownForm
from rest_api.books.streams.reading import CsvReader, NdjsonReader, Reader
from rest_api.books.streams.schemas import PASSED_OVER, REQUIRED, BookLine
from rest_api.books.streams.upload_import import UploadImport
from rest_api.books.streams.upload_report import UploadReport
from rest_api.codings import refuse_coded
from rest_api.guard import GuardedRoute, caller_of
from rest_api.problems.document import documented

IMPORT_PATH: Final = "/api/v1/books/import"

router = APIRouter(prefix="/books", tags=["books"], route_class=GuardedRoute)

_READERS: Final[dict[str, type[Reader]]] = {
    NDJSON: NdjsonReader,
    "application/ndjson": NdjsonReader,
    "application/jsonl": NdjsonReader,
    CSV: CsvReader,
}


def _listed(names: Sequence[str]) -> str:
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} and {last}"


_BODY: Final = {
    "requestBody": {
        "description": "A book a line, UTF-8. As NDJSON: a JSON object as for `createBook`. As CSV (RFC 4180): a "
        f"header that names the columns {_listed(REQUIRED)}, in any order, then a record for each "
        "book. Between the fields are commas, or else semicolons, tabs or `|`; a first line like `sep=;` may name what "
        f"it is. {_listed(PASSED_OVER)}, as an export has them, are passed over; anything else "
        "is an error. A line, in CSV a record, has 65,536 bytes at the most.",
        "required": True,
        "content": {
            **{form: {"schema": lines_of("BookLine")} for form, reader in _READERS.items() if reader is NdjsonReader},
            CSV: {
                "schema": csv_schema(*BookDraft.model_fields)
                | {
                    "pattern": header_pattern(
                        REQUIRED, besides=[name for name in BookLine.model_fields if name not in REQUIRED]
                    )
                }
            },
        },
    }
}
_REPORT: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A JSON object for each book, in the order of the upload: `ImportedLine` or `RefusedLine`. "
        "The last one is an `ImportSummary`.",
        "headers": REPLAYED_HEADER,
        "content": {NDJSON: {"schema": lines_of("ImportedLine", "RefusedLine", "ImportSummary")}},
    }
}
_BROKEN_OFF: Final[dict[int | str, dict[str, Any]]] = {
    413: {
        "description": "The upload is too large, from the beginning or from where `next_line` is: what is before "
        "that is loaded or refused."
    },
    415: {"description": "The upload is neither NDJSON nor CSV, or not UTF-8; `Accept` says what it may be."},
    422: {"description": "The header of the CSV is not one of books, or the key was given to another upload."},
    503: {
        "description": "The database does not answer just now. If some of the upload was loaded, the type is "
        "`urn:colophon:import-broken-off`, `next_line` says from which line on nothing is, and `created` and `refused` "
        "count what was before. Or too many imports are running. With `Retry-After`, the same may safely be sent again."
    },
}


@router.post(
    "/import",
    response_class=StreamingResponse,
    responses=documented(400) | _REPORT | _BROKEN_OFF,
    operation_id="importBooks",
    openapi_extra=FOR_CREATES | _BODY,
)
async def import_books(request: Request, report: Annotated[UploadReport, Depends(UploadReport.open)]) -> Response:
    """Load any number of books from a stream of lines, and report what became of each.

    Lines that are no books are refused and do not keep others from being loaded. Lines are loaded some hundreds at a
    time, in their order, while the upload comes in: if it breaks off, what was loaded stays. With an
    `Idempotency-Key`, the same upload may be sent again and goes on from where it broke off.
    """
    reader, key = _reader_of(request), key_of(request, "importBooks")
    user_id = caller_of(request).user_id
    with _place_for(user_id, request.app.state.imports):
        await UploadImport(request.app.state.store.catalogue, reader, report, user_id, key).run(request.stream())
    was_done_before = 0 < report.replayed == report.created
    return StreamingResponse(report.blocks(), headers=REPLAYED if was_done_before else {}, media_type=NDJSON)


@contextmanager
def _place_for(user_id: UUID, imports: Places) -> Iterator[None]:
    """Raises TooManyImports."""
    with ExitStack() as place:
        try:
            place.enter_context(imports.taken_by(user_id))
        except NoPlaceLeft as full:
            raise TooManyImports(full.most, own=full.own) from full
        yield


def _reader_of(request: Request) -> Reader:
    """Raises UnknownForm and CodedBody."""
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(' "')
    if media_type.strip() not in _READERS or charset not in {"", "utf-8", "utf8"}:
        raise UnknownForm(f"The upload must be {NDJSON} or {CSV}, in UTF-8.", headers={"Accept": ", ".join(_READERS)})
    refuse_coded(request)
    return _READERS[media_type.strip()]()
