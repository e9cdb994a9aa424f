"""Finding books: what may be asked of a list of books, and the list."""

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Annotated, Any, Final, Literal, NamedTuple, cast
from urllib.parse import urlencode

import msgspec
from book_db.book import AUTHOR_MAX, TITLE_MAX, Page
from book_db.books.catalogue import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Catalogue
from book_db.books.pages import LENGTH_MAX
from book_db.books.selection import Field as BookField
from book_db.books.selection import Order, Selection
from book_db.books.words import words_asked_for
from book_db.text import clean, clean_beginning
from book_runtime.batching import IDLE_TURNS, SingleFlight
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from starlette.datastructures import QueryParams

from rest_api.books.preconditions import CACHING
from rest_api.books.schemas import Book, PublicationDate
from rest_api.fast_path import fast_path
from rest_api.fields import each_once, is_utf8, repeated_in
from rest_api.guard import GuardedRoute
from rest_api.problems.document import documented
from rest_api.spelling import IN_DIGITS, text_pattern

QUESTION_MAX: Final = TITLE_MAX
"""Characters of `q`: a whole title may be asked for."""


OrderBy = Literal[
    "id", "-id",
    "title", "-title",
    "author", "-author",
    "publication_date", "-publication_date",
    "version", "-version",
    "created_at", "-created_at",
    "updated_at", "-updated_at",
]  # fmt: skip

router = APIRouter(
    prefix="/books",
    tags=["books"],
    route_class=GuardedRoute,
    responses=documented(401, 503),
)


class _Wanted(NamedTuple):
    """A text that is asked for: the whole of it, or what it begins with."""

    exact: str | None = None
    prefix: str | None = None


def _wanted(value: str | None, *, at_most: int) -> _Wanted:
    r"""Reads `text`, `beginning*`, and `text\*` for one that ends in a star. Raises ValueError."""
    if value is None:
        return _Wanted()
    value = value.strip()
    if not value.endswith("*"):
        return _Wanted(exact=clean(value, at_most=at_most))
    text = value[:-1].rstrip("\\")
    backslashes = len(value) - 1 - len(text)
    # Two of those that stand before the star are one, and an odd one makes the star a character like any other.
    text += backslashes // 2 * "\\"
    if backslashes % 2:
        return _Wanted(exact=clean(f"{text}*", at_most=at_most))
    if not (beginning := clean_beginning(text, at_most=at_most)):
        raise ValueError("must have something before the *")
    return _Wanted(prefix=beginning)


def _asked_for(question: str | None) -> tuple[str, ...]:
    """The words of a question. Raises ValueError when it has none."""
    if question is None:
        return ()
    words = words_asked_for(clean(question, at_most=QUESTION_MAX))
    if not words:
        raise ValueError("must have a word or a number in it")
    return tuple(words)


def _checked(read: Callable[[str], object]) -> AfterValidator:
    def check(value: str) -> str:
        read(value)
        return value

    return AfterValidator(check)


def _written(pattern: str) -> Any:
    return Field(json_schema_extra={"minLength": 1, "pattern": pattern})


def never_null(schema: dict[str, Any]) -> None:
    """What is not given is None, but there is no way to write null in a query."""
    [given] = [choice for choice in schema.pop("anyOf") if choice != {"type": "null"}]
    schema |= given


# One visible character that is no star, or several.
_WANTED: Final = text_pattern(alone=r"[^\s*\x00-\x1f\x7f-\x9f]")

_AuthorFilter = Annotated[str, _written(_WANTED), _checked(partial(_wanted, at_most=AUTHOR_MAX))]
_TitleFilter = Annotated[str, _written(_WANTED), _checked(partial(_wanted, at_most=TITLE_MAX))]
_Question = Annotated[str, _written(text_pattern()), _checked(_asked_for)]


class Filters(BaseModel):
    """What may be said of the books that are meant; all of it must hold. Anything else in the query is refused.

    An endpoint that selects books takes this, or a class on top of it with more parameters, as the whole query:
    ``filters: Annotated[Filters, Query()]``.
    """

    model_config = ConfigDict(extra="forbid")

    author: _AuthorFilter | None = Field(
        default=None,
        json_schema_extra=never_null,
        description="The author, character by character, or the beginning with `*` after it: `George*`. "
        r"One that ends in a star is written `\*`.",
        examples=["George Eliot"],
    )
    title: _TitleFilter | None = Field(
        default=None,
        json_schema_extra=never_null,
        description="The title, character by character, or the beginning with `*` after it: `Middle*`. "
        r"One that ends in a star is written `\*`.",
        examples=["Middle*"],
    )
    q: _Question | None = Field(
        default=None,
        json_schema_extra=never_null,
        description="Words that are all in title or author, in any place, whatever their case, accents and "
        "apostrophes, and with letters like ł and ß or in plain ones.",
        examples=["eliot middlemarch"],
    )
    published_from: PublicationDate | None = Field(
        default=None,
        json_schema_extra=never_null,
        description="The first day of publication that counts, YYYY-MM-DD.",
        examples=["1871-01-01"],
    )
    published_to: PublicationDate | None = Field(
        default=None,
        json_schema_extra=never_null,
        description="The last day of publication that counts, YYYY-MM-DD.",
        examples=["1872-12-31"],
    )

    @field_validator("published_to")
    @classmethod
    def _is_not_before_published_from(cls, value: date | None, info: ValidationInfo) -> date | None:
        first = info.data.get("published_from")
        if value is not None and first is not None and value < first:
            raise ValueError("must not be before published_from")
        return value

    def to_selection(self) -> Selection:
        author = _wanted(self.author, at_most=AUTHOR_MAX)
        title = _wanted(self.title, at_most=TITLE_MAX)
        return Selection(
            author=author.exact,
            author_prefix=author.prefix,
            title=title.exact,
            title_prefix=title.prefix,
            words=_asked_for(self.q),
            published_from=self.published_from,
            published_to=self.published_to,
        )


class Listing(Filters):
    """What may be asked of the list of books."""

    order_by: OrderBy = Field(
        default="id",
        description="The field to sort by, `-` for descending; among equals the id decides, the same way round.",
    )
    page_size: Annotated[int, IN_DIGITS] = Field(
        default=PAGE_SIZE_DEFAULT, ge=1, le=PAGE_SIZE_MAX, description="How many books at most."
    )
    page_token: Annotated[str, Field(max_length=LENGTH_MAX)] | None = Field(
        default=None,
        json_schema_extra=never_null,
        description="`next_page_token` of the page before, filters and order being the same; none for the first.",
    )
    count: Literal["exact", "estimated"] | None = Field(
        default=None,
        json_schema_extra=never_null,
        description="Also tell how many books there are on all pages: `exact` takes the time to go through them, "
        "`estimated` is what PostgreSQL expects.",
    )

    def to_order(self) -> Order:
        return Order(cast(BookField, self.order_by.removeprefix("-")), self.order_by.startswith("-"))


class BookPage(BaseModel):
    """A page of the books that were asked for."""

    books: list[Book]
    next_page_token: str | None = Field(description="Ask for the next page with it; null at the end.")
    total: int | None = Field(description="How many books there are on all pages; null without `count`.", ge=0)


_WITH_LINK: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "headers": {
            "Link": {
                "description": "The next page (RFC 8288), relative to this address; absent at the end.",
                "schema": {"type": "string"},
                "example": '</api/v1/books?page_size=50&page_token=AgAAAAAAAAAyc2Vl>; rel="next"',
            }
        }
    }
}


async def _answer_plain_list(request: Request) -> Response | None:
    lists: Lists = request.app.state.lists
    found = await lists.find(request.scope["path"], request.scope["query_string"].decode("latin-1"))
    return None if found is None else found.response()


@router.get(
    "",
    response_model=BookPage,
    responses=_WITH_LINK | documented(422),
    operation_id="listBooks",
    dependencies=[Depends(each_once)],
)
@fast_path(_answer_plain_list)
async def list_books(request: Request, listing: Annotated[Listing, Query()]) -> Response:
    """Find books, page by page: those that meet every filter, in the order that is asked for."""
    return (await _found(request.app.state.store.catalogue, listing, request.url.path, request.query_params)).response()


class Lists:
    """Lists of books, as they are answered. Equal ones that are asked for at the same time are made once."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._made = SingleFlight(self._make, idle_turns=IDLE_TURNS)

    async def find(self, path: str, query: str) -> "_Found | None":
        """The list that a query asks for; None where something is wrong with the query."""
        return await self._made.load((path, query))

    async def _make(self, question: tuple[str, str]) -> "_Found | None":
        path, query = question
        asked = QueryParams(query)
        if repeated_in(asked) or not is_utf8(query.encode("latin-1")):
            return None
        try:
            listing = Listing.model_validate(dict(asked))
        except ValidationError:
            return None
        return await _found(self._catalogue, listing, path, asked)


class _Found(NamedTuple):
    body: bytes
    headers: dict[str, str]

    def response(self) -> Response:
        return Response(self.body, headers=self.headers, media_type="application/json")


async def _found(catalogue: Catalogue, listing: Listing, path: str, asked: QueryParams) -> _Found:
    selection = listing.to_selection()
    page = await catalogue.page(listing.page_size, listing.page_token, selection, listing.to_order())
    answer = {
        "books": page.books,
        "next_page_token": page.next_token,
        "total": await _total(catalogue, selection, listing, page),
    }
    link = {"Link": f'<{_next(path, asked, page.next_token)}>; rel="next"'} if page.next_token else {}
    return _Found(msgspec.json.encode(answer), CACHING | link)


async def _total(catalogue: Catalogue, selection: Selection, listing: Listing, page: Page) -> int | None:
    if listing.count is None:
        return None
    if listing.page_token is None and page.next_token is None:
        return len(page.books)
    return await (catalogue.count(selection) if listing.count == "exact" else catalogue.estimate(selection))


def _next(path: str, asked: QueryParams, token: str) -> str:
    kept = [(name, value) for name, value in asked.multi_items() if name != "page_token"]
    return f"{path}?{urlencode([*kept, ('page_token', token)])}"
