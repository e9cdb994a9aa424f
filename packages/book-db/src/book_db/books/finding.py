"""Finding books: the SQL of a selection, put together from the parts that it asks for.

One statement for all, in which NULL switches parts off, would have one plan for all, good for none of them.
"""

import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, LiteralString, NamedTuple

from sqlalchemy import text

from book_db.book import Book, Page
from book_db.books import pages
from book_db.books.pages import Place
from book_db.books.selection import BY_ID, EVERYTHING, Field, Order, Selection
from book_db.books.words import ways_of
from book_db.postgres.database import Reader, compile_sql
from book_db.tables import BOOK_COLUMNS, SORTED_LENGTH


class Sql(NamedTuple):
    """A statement or a part of one, and the values of the parameters in it."""

    text: str
    values: Mapping[str, Any]


@lru_cache(maxsize=1_000)
def _compile_sql(statement: str) -> LiteralString:
    """There are as many as there are kinds of selections in use: the values are no part of them."""
    return compile_sql(text(statement))


async def page(reads: Reader, selection: Selection, order: Order, size: int, token: str | None) -> Page:
    """At most ``size`` books of a selection, in order. Raises InvalidPageToken."""
    place = pages.decode(token, order, selection) if token else None
    statement = listing(selection, order, place, at_most=size + 1)
    # By id every page has the same plan. Any other is planned for its values: few books of an author are best looked
    # up and sorted, many are best met on the way through the order, and which it is hangs on the author.
    one_plan_will_do = selection == EVERYTHING and order == BY_ID
    rows = await reads.fetch(_compile_sql(statement.text), statement.values, prepared=one_plan_will_do)
    books = [Book(*row) for row in rows[:size]]
    return Page(books, pages.encode(books[-1], order, selection) if len(rows) > size else None)


async def count(reads: Reader, selection: Selection) -> int:
    """How many books are in a selection. Takes the time that it takes to go through all of them."""
    condition = matching(selection)
    statement = _compile_sql(f"SELECT count(*) FROM books {condition.text}")  # noqa: S608 - of constants
    [[number]] = await reads.fetch(statement, condition.values, prepared=False)
    return int(number)


async def estimate(reads: Reader, selection: Selection) -> int:
    """How many books PostgreSQL expects in a selection, from its statistics; never fewer than one."""
    condition = matching(selection)
    statement = _compile_sql(f"EXPLAIN (FORMAT JSON) SELECT FROM books {condition.text}")
    [[explanation]] = await reads.fetch(statement, condition.values, prepared=False)
    [explained] = explanation
    return int(explained["Plan"]["Plan Rows"])


def listing(selection: Selection, order: Order, place: Place | None, *, at_most: int) -> Sql:
    """The statement for the books of a selection that come after a place in the order, or from the first on."""
    if getattr(selection, order.field, None) is not None:
        # They are all equal in this, which leaves the id. The planner knows that too, but not where such a page begins.
        order = Order("id", order.descending)
    condition = _where([*_conditions(selection, _implied(place, order)), *_after(place, order)])
    direction = "DESC" if order.descending else "ASC"
    by = ", ".join(f"{key} {direction}" for key in dict.fromkeys((sort_key(order.field), "id")))
    statement = f"SELECT {BOOK_COLUMNS} FROM books {condition.text} ORDER BY {by} LIMIT :at_most"  # noqa: S608 - of constants
    return Sql(statement, {**condition.values, "at_most": at_most})


def matching(selection: Selection) -> Sql:
    """A WHERE clause that the books of a selection meet; empty for every book."""
    return _where(_conditions(selection, implied=None))


def sort_key(field: Field) -> str:
    """What books are sorted by before their ids, as the index for this order has it."""
    return f'"left"({field}, {SORTED_LENGTH})' if field in {"title", "author"} else field


def _where(conditions: Iterable[Sql]) -> Sql:
    conditions = list(conditions)
    values = {name: value for condition in conditions for name, value in condition.values.items()}
    return Sql("WHERE " + " AND ".join(condition.text for condition in conditions) if conditions else "", values)


def _conditions(selection: Selection, implied: str | None) -> Iterable[Sql]:
    # Each as an index has it, and none that another implies: the planner takes them for independent of each other,
    # and would expect too few books.
    return (condition for condition in _all_conditions(selection) if implied not in condition.values)


def _implied(place: Place | None, order: Order) -> str | None:
    """The value that bounds what comes before a place, of which nothing is left to come."""
    return place and f"{order.field}_{'until' if order.descending else 'from'}"


def _all_conditions(selection: Selection) -> Iterable[Sql]:
    yield from _text("author", selection.author, selection.author_prefix)
    yield from _text("title", selection.title, selection.title_prefix)
    if selection.words:
        yield from _words(selection.words)
    if selection.published_from is not None:
        yield Sql("publication_date >= :publication_date_from", {"publication_date_from": selection.published_from})
    if selection.published_to is not None:
        yield Sql("publication_date <= :publication_date_until", {"publication_date_until": selection.published_to})


def _words(words: Iterable[str]) -> Iterable[Sql]:
    several = [ways for word in words if len(ways := ways_of(word)) > 1]
    if single := [word for word in words if len(ways_of(word)) == 1]:
        yield Sql(_holds_all("words"), {"words": single})
    for place, ways in enumerate(several):
        values = {f"words_{place}_{way}": words for way, words in enumerate(ways)}
        yield Sql(f"({' OR '.join(map(_holds_all, values))})", values)


def _holds_all(words: str) -> str:
    return f"(title_words || author_words) @> CAST(:{words} AS text[])"


def _text(field: Field, exact: str | None, prefix: str | None) -> Iterable[Sql]:
    if exact is not None:
        yield from _is(field, exact)
    if prefix is not None:
        yield from _begins_with(field, prefix)


def _is(field: Field, value: str) -> Iterable[Sql]:
    yield Sql(f"{sort_key(field)} = :{field}_key", {f"{field}_key": value[:SORTED_LENGTH]})
    if len(value) >= SORTED_LENGTH:
        yield Sql(f"{field} = :{field}", {field: value})


def _begins_with(field: Field, prefix: str) -> Iterable[Sql]:
    if len(prefix) >= SORTED_LENGTH:
        yield Sql(f"{sort_key(field)} = :{field}_prefix_key", {f"{field}_prefix_key": prefix[:SORTED_LENGTH]})
        yield Sql(f"starts_with({field}, :{field}_prefix)", {f"{field}_prefix": prefix})
        return
    yield Sql(f"{sort_key(field)} >= :{field}_from", {f"{field}_from": prefix})
    if (end := _end_of_prefix(prefix)) is not None:
        yield Sql(f"{sort_key(field)} < :{field}_until", {f"{field}_until": end})


def _end_of_prefix(prefix: str) -> str | None:
    """The first text, by code point, after all those that begin so; None when there is none."""
    shorter = prefix.rstrip(chr(sys.maxunicode))
    return shorter[:-1] + _next(shorter[-1]) if shorter else None


def _next(character: str) -> str:
    # No text holds a surrogate, half of a pair.
    return "\ue000" if character == "\ud7ff" else chr(ord(character) + 1)


def _after(place: Place | None, order: Order) -> Iterable[Sql]:
    comparison = "<" if order.descending else ">"
    if place is None:
        # The same statement for the first page by id as for the others, so that one is prepared for all.
        return [Sql("id > :after_id", {"after_id": 0})] if order == BY_ID else []
    if order.field == "id":
        return [Sql(f"id {comparison} :after_id", {"after_id": place.id})]
    values = {"after_key": place.key, "after_id": place.id}
    # A comparison of rows, which the planner finds in the index as a whole.
    return [Sql(f"({sort_key(order.field)}, id) {comparison} (:after_key, :after_id)", values)]
