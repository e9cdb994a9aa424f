"""What requests ask for, read into the terms of the catalogue. Whatever is wrong is noted by its field."""

from datetime import date
from functools import partial
from typing import Final, get_args

from book_db.book import AUTHOR_MAX, TITLE_MAX
from book_db.books.selection import BY_ID, EVERYTHING, Field, Order, Selection
from book_db.books.words import words_asked_for
from book_db.text import clean, clean_beginning
from books.v1 import book_pb2
from books.v1.book_service_pb2 import BookFilter, ListBooksRequest
from google.protobuf.field_mask_pb2 import FieldMask

from grpc_api.checks import Checks

WORDS_MAX: Final = TITLE_MAX
"""Characters: a whole title may be asked for."""

_RENAMED: Final = {"created_at": "create_time", "updated_at": "update_time"}
_SORTED_BY: Final[dict[str, Field]] = {_RENAMED.get(field, field): field for field in get_args(Field)}


def selection_of(request: ListBooksRequest, check: Checks) -> Selection:
    """Which books are meant."""
    if not request.HasField("filter"):
        return EVERYTHING
    asked = request.filter
    selection = Selection(
        author=_text(asked, "author", AUTHOR_MAX, check),
        author_prefix=_beginning(asked, "author_prefix", AUTHOR_MAX, check),
        title=_text(asked, "title", TITLE_MAX, check),
        title_prefix=_beginning(asked, "title_prefix", TITLE_MAX, check),
        words=(check.read("filter.words", _words, asked.words) or ()) if asked.words else (),
        published_from=_day(asked, "published_from", check),
        published_to=_day(asked, "published_to", check),
    )
    if selection.published_from and selection.published_to:
        in_order = selection.published_from <= selection.published_to
        check.that(in_order, "filter.published_to", "must not be before published_from")
    return selection


def order_of(order_by: str, check: Checks) -> Order:
    """The order that AIP-132's ``order_by`` asks for, by one field."""
    match order_by.split():
        case []:
            return BY_ID
        case [name] if name in _SORTED_BY:
            return Order(_SORTED_BY[name])
        case [name, "desc"] if name in _SORTED_BY:
            return Order(_SORTED_BY[name], descending=True)
    check.that(False, "order_by", f"must be one of {', '.join(_SORTED_BY)}, with ` desc` after it to go downwards")
    return BY_ID


def mask_of(mask: FieldMask, check: Checks) -> FieldMask | None:
    """Which fields of a book are wanted (AIP-157); None for all."""
    if not mask.paths or mask.paths == ["*"]:
        return None
    for place, path in enumerate(mask.paths):
        known = FieldMask(paths=[path]).IsValidForDescriptor(book_pb2.Book.DESCRIPTOR)  # type: ignore[arg-type]  # its stubs know one kind of descriptor
        check.that(known, f"read_mask.paths[{place}]", "must be a field of Book, or * alone")
    return mask


def _text(asked: BookFilter, field: str, at_most: int, check: Checks) -> str | None:
    value = getattr(asked, field)
    return check.read(f"filter.{field}", partial(clean, at_most=at_most), value) if value else None


def _beginning(asked: BookFilter, field: str, at_most: int, check: Checks) -> str | None:
    value = getattr(asked, field)
    return check.read(f"filter.{field}", _cleaned_beginning, value, at_most) if value else None


def _cleaned_beginning(value: str, at_most: int) -> str:
    beginning = clean_beginning(value, at_most=at_most)
    if not beginning:
        raise ValueError("must not be blank")
    return beginning


def _words(value: str) -> tuple[str, ...]:
    words = words_asked_for(clean(value, at_most=WORDS_MAX))
    if not words:
        raise ValueError("must have a word or a number in it")
    return tuple(words)


def _day(asked: BookFilter, field: str, check: Checks) -> date | None:
    return check.read(f"filter.{field}", _date, getattr(asked, field)) if asked.HasField(field) else None


def _date(message: book_pb2.Date) -> date:
    try:
        return date(message.year, message.month, message.day)
    except (ValueError, OverflowError):
        raise ValueError("must be a day of the calendar") from None
