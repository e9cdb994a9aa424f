"""What books look like in requests and responses."""

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any, Final

from book_db.book import AUTHOR_MAX, TITLE_MAX, BookPatch, Draft
from book_db.text import clean
from fastapi import Path
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rest_api.spelling import IN_DIGITS, INT64_MAX, text_pattern

BATCH_MAX: Final = 1_000

JSON_MAX_BYTES: Final = 256 * 1_024
"""Bytes of one book: a title and an author of the greatest length, every character of them escaped."""

_ISO_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _cleaned(at_most: int) -> Callable[[str], str]:
    return lambda value: clean(value, at_most=at_most)


def _iso_date(value: object) -> date:
    """RFC 3339's full-date and nothing else: no number, no date with a time."""
    if not isinstance(value, str) or not _ISO_DATE.fullmatch(value):
        raise ValueError("must be a date written YYYY-MM-DD")
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"is not a day of the calendar: {error}") from error


def _text(at_most: int) -> dict[str, Any]:
    # Said in the schema and checked after trimming, so not by pydantic itself.
    return {"minLength": 1, "maxLength": at_most, "pattern": text_pattern()}


Title = Annotated[
    str,
    AfterValidator(_cleaned(TITLE_MAX)),
    Field(
        description="Trimmed and brought into Unicode NFC; then 1 to 2,000 characters, no control characters.",
        examples=["Middlemarch"],
        json_schema_extra=_text(TITLE_MAX),
    ),
]
Author = Annotated[
    str,
    AfterValidator(_cleaned(AUTHOR_MAX)),
    Field(
        description="Trimmed and brought into Unicode NFC; then 1 to 1,000 characters, no control characters.",
        examples=["George Eliot"],
        json_schema_extra=_text(AUTHOR_MAX),
    ),
]
PublicationDate = Annotated[
    date, BeforeValidator(_iso_date), Field(description="YYYY-MM-DD, year 1 to 9999.", examples=["1871-12-01"])
]

BookId = Annotated[int, Path(ge=1, le=INT64_MAX, description="The book's number.", examples=[42]), IN_DIGITS]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BookDraft(_Input):
    """A book to be written whole."""

    title: Title
    author: Author
    publication_date: PublicationDate

    def to_draft(self) -> Draft:
        return Draft.of(self)


class BookChange(_Input):
    """The fields of a book that are to be written, one at least."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    title: Title = Field(default=None, validate_default=False)  # type: ignore[assignment]  # absent, never null
    author: Author = Field(default=None, validate_default=False)  # type: ignore[assignment]  # absent, never null
    publication_date: PublicationDate = Field(default=None, validate_default=False)  # type: ignore[assignment]  # absent, never null

    @model_validator(mode="after")
    def _names_a_field(self) -> "BookChange":
        if not self.model_fields_set:
            raise ValueError("must name at least one field")
        return self

    def to_patch(self) -> BookPatch:
        return BookPatch.only(**self.model_dump(exclude_unset=True))


class BookDrafts(_Input):
    """Books to be written together, all or none."""

    books: Annotated[list[BookDraft], Field(min_length=1, max_length=BATCH_MAX)]


class Book(BaseModel):
    """A book as it stands in the catalogue."""

    id: int = Field(description="Given by the catalogue, never twice.", examples=[42])
    title: str = Field(examples=["Middlemarch"])
    author: str = Field(examples=["George Eliot"])
    publication_date: date = Field(examples=["1871-12-01"])
    version: int = Field(description="1 when created, one more with each change; the ETag.", examples=[1])
    created_at: datetime = Field(description="UTC.", examples=["2026-11-23T18:00:00.123456Z"])
    updated_at: datetime = Field(description="UTC.", examples=["2026-11-23T18:00:00.123456Z"])


class Books(BaseModel):
    """Books that were written together."""

    books: list[Book]
