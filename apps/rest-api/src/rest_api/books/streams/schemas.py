"""What the lines of uploads and reports look like."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from rest_api.books.schemas import Book, BookDraft
from rest_api.problems.document import Violation


class BookLine(BookDraft):
    """A book of an upload. What else an export has is passed over, so that it may be sent as it came."""

    id: Any = Field(None, description="Passed over: the catalogue gives a new one.")
    version: Any = Field(None, description="Passed over.")
    created_at: Any = Field(None, description="Passed over.")
    updated_at: Any = Field(None, description="Passed over.")


REQUIRED: Final = tuple(name for name, field in BookLine.model_fields.items() if field.is_required())
"""The columns that a CSV file must have."""

PASSED_OVER: Final = tuple(name for name in Book.model_fields if name not in BookDraft.model_fields)
"""What an export has besides, and an import passes over."""


LastLine = Annotated[
    int | None,
    Field(description="Of several lines, the last; otherwise absent.", ge=2, examples=[5]),
]


class ImportedLine(BaseModel):
    """A line whose book is in the catalogue."""

    line: int = Field(description="The line of the upload, from 1; of several, the first.", ge=1, examples=[3])
    last_line: LastLine = None
    id: int = Field(description="The book's number.", examples=[17])


class RefusedLine(BaseModel):
    """A line that is no book."""

    line: int = Field(description="The line of the upload, from 1; of several, the first.", ge=1, examples=[4])
    last_line: LastLine = None
    errors: list[Violation] = Field(description="What is wrong with it, twenty things at the most.", min_length=1)


class ImportSummary(BaseModel):
    """The last line of a report."""

    created: int = Field(description="How many books the catalogue has from this upload.", ge=0, examples=[2])
    refused: int = Field(description="How many lines are no books.", ge=0, examples=[1])
    replayed: int | None = Field(
        None,
        description="How many of the created books an earlier upload with the same key has brought; "
        "only where a key was given.",
        ge=0,
        examples=[0],
    )
    stopped_at: int | None = Field(
        None,
        description="The line from which on nothing was loaded, since more than 100,000 before it were refused; "
        "otherwise absent.",
        ge=1,
    )
