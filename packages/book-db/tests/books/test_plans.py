"""How PostgreSQL answers what may be asked of a list, on a table of many books."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, get_args

import psycopg
import pytest
from book_db.book import Book
from book_db.books import indexing, pages
from book_db.books.cache import NoCache
from book_db.books.catalogue import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Catalogue
from book_db.books.finding import Sql, listing, matching
from book_db.books.pages import Place
from book_db.books.selection import BY_ID, EVERYTHING, Field, Order, Selection
from book_db.events.outbox import OutboxNotifier
from book_db.migrations import engine_of
from book_db.postgres.database import Database
from book_db.tables import words_version_of
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from support.postgresql import PostgreSQLServer

MANY: Final = 200_000

SORTED_MAX: Final = 1 / 20
"""The part of all books that may be sorted. Where few books match, PostgreSQL does best to fetch them all and sort
them; where many do, it comes by enough of them on its way through the index of the order, and must not sort."""

# As in libraries: a few authors and words are in very many books, and very many in a few.
FILL: Final = """
    CREATE FUNCTION pg_temp.some(most integer) RETURNS integer LANGUAGE sql VOLATILE
        RETURN floor(exp(random() * ln(most)));
    SELECT setseed(0.5);
    INSERT INTO books (
        title, author, publication_date, version, created_at, updated_at, title_words, author_words, words_version
    )
    SELECT
        title, author, day, version, created_at, created_at + version * interval '1 day',
        string_to_array(lower(title), ' '), string_to_array(lower(author), ' '), {present}
    FROM (
        SELECT
            concat_ws(' ', 'W' || pg_temp.some(20000), 'W' || pg_temp.some(20000), 'W' || pg_temp.some(20000)) AS title,
            CASE WHEN random() < 0.05 THEN 'Anonymous'
                ELSE 'F' || pg_temp.some(200) || ' A' || pg_temp.some(50000) END AS author,
            DATE '2026-01-01' - CAST(random() ^ 2 * 100000 AS integer) AS day,
            pg_temp.some(50) AS version,
            TIMESTAMPTZ '2026-01-01Z' + number * interval '1 minute' AS created_at
        FROM generate_series(1, {many}) AS number
    ) AS made
"""

SELECTIONS: Final = {
    "everything": EVERYTHING,
    "author of a twentieth": Selection(author="Anonymous"),
    "author of some books": Selection(author="F1 A1"),
    "author of few books": Selection(author="F1 A12345"),
    "author of none": Selection(author="Nobody"),
    "beginning of many authors": Selection(author_prefix="F"),
    "beginning of some authors": Selection(author_prefix="F1 "),
    "beginning of few authors": Selection(author_prefix="F1 A12"),
    "title": Selection(title="W1 W1 W1"),
    "beginning of all titles": Selection(title_prefix="W"),
    "beginning of some titles": Selection(title_prefix="W1 "),
    "beginning of few titles": Selection(title_prefix="W1 W12"),
    "word of a fifth": Selection(words=("w1",)),
    "word of a hundredth": Selection(words=("w25",)),
    "word of few books": Selection(words=("w12345",)),
    "word of none": Selection(words=("nothing",)),
    "two words of many books": Selection(words=("w1", "w2")),
    "word of an author and of a title": Selection(words=("anonymous", "w3")),
    "a word of many books and a rare one": Selection(words=("w1", "w12345")),
    "a word of a fifth in one piece or in two": Selection(words=("w1|w2 w3",)),
    "a rare word in one piece or in two": Selection(words=("w12345|w1 w2345",)),
    "a word in two spellings and a rare one": Selection(words=("w12345", "w1|w2")),
    "words in many ways, all that are asked for so": Selection(
        words=tuple(f"w{each}|w{each + 1}|w{each + 2} w3|w{each + 3} w2 w1" for each in range(1, 11))
    ),
    "from a day on": Selection(published_from=date(1900, 1, 1)),
    "from a late day on": Selection(published_from=date(2025, 12, 30)),
    "up to a day": Selection(published_to=date(1950, 1, 1)),
    "a month": Selection(published_from=date(1950, 1, 1), published_to=date(1950, 1, 31)),
    "a century": Selection(published_from=date(1801, 1, 1), published_to=date(1900, 12, 31)),
    "author and word": Selection(author="Anonymous", words=("w1",)),
    "author and years": Selection(author="F1 A1", published_from=date(1900, 1, 1), published_to=date(1999, 12, 31)),
    "word and years": Selection(words=("w2",), published_from=date(1990, 1, 1)),
    "beginnings of author and title": Selection(author_prefix="F1", title_prefix="W1"),
    "all filters": Selection(
        author_prefix="F1",
        title_prefix="W1",
        words=("w2",),
        published_from=date(1900, 1, 1),
        published_to=date(2020, 1, 1),
    ),
}
ORDERS: Final = [Order(field, descending) for field in get_args(Field) for descending in (False, True)]


@pytest.fixture(scope="module", params=[MANY // 4, pytest.param(MANY, marks=pytest.mark.slow)])
def how_many(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture(scope="module")
def many_books(postgresql: PostgreSQLServer, migrated_template: str, how_many: int) -> Iterator[str]:
    """The address of a database with so many books."""
    name = postgresql.create_database(template=migrated_template)
    with psycopg.connect(postgresql.url_of(name), autocommit=True) as connection:
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'books' AND indexname <> 'books_pkey'"
        ).fetchall()
        # They are made faster when the books are there.
        for index, _ in indexes:
            connection.execute(f"DROP INDEX {index}".encode())
        connection.execute(FILL.format(many=how_many, present=words_version_of("version")).encode())
        for _, definition in indexes:
            connection.execute(definition.encode())
        connection.execute("ANALYZE books")
    yield postgresql.url_of(name)
    postgresql.drop_database(name)


@pytest.fixture
async def database(many_books: str) -> AsyncIterator[Database]:
    database = Database.open(many_books, pool_size=1)
    yield database
    await database.close()


@pytest.fixture
async def catalogue(database: Database) -> AsyncIterator[Catalogue]:
    notifier = OutboxNotifier(database)
    yield Catalogue(database, NoCache(), notifier)
    await notifier.close()


@dataclass(frozen=True)
class Answer:
    """How a question was answered."""

    question: str
    nodes: list[dict[str, Any]]
    milliseconds: float

    @property
    def sorted(self) -> int:
        sorts = [node for node in self.nodes if "Sort" in node["Node Type"]]
        return max((int(below["Actual Rows"]) for node in sorts for below in node["Plans"]), default=0)

    @property
    def steps(self) -> str:
        return " < ".join(f"{node['Node Type']} {node.get('Index Name', '')}".strip() for node in self.nodes)

    def __str__(self) -> str:
        return f"{self.question}: {self.milliseconds:.0f} ms, {self.sorted:,} rows sorted ({self.steps})"


async def explained(connection: AsyncConnection, question: str, statement: Sql) -> Answer:
    sql = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}")
    [answer] = (await connection.execute(sql, statement.values)).scalar_one()
    return Answer(question, list(nodes_of(answer["Plan"])), answer["Execution Time"])


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes_of(below)


async def middle_of(connection: AsyncConnection, selection: Selection) -> list[Book]:
    """Some books out of the middle of a selection."""
    condition = matching(selection)
    count = text(f"SELECT count(*) FROM books {condition.text}")  # noqa: S608 - of constants
    half = (await connection.execute(count, condition.values)).scalar_one() // 2
    statement = listing(selection, BY_ID, None, at_most=21)
    rows = await connection.execute(text(f"{statement.text} OFFSET {half}"), statement.values)
    return [Book(*row) for row in rows]


def place_in(order: Order, selection: Selection, books: list[Book]) -> Place:
    """The place in an order of the middle one of some books."""
    book = sorted(books, key=lambda book: (getattr(book, order.field), book.id))[len(books) // 2]
    return pages.decode(pages.encode(book, order, selection), order, selection)


class TestPlans:
    @pytest.mark.parametrize("most", [PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX])
    async def test_no_question_takes_a_sequential_scan_or_a_sort_of_many(
        self, database: Database, how_many: int, most: int
    ) -> None:
        answers = []
        size = most * how_many // MANY  # the plan of a page hangs on what part it is of all
        async with database.statement() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.prepare_threshold = None  # as of questions whose plan hangs on their values
            for name, selection in SELECTIONS.items():
                books = await middle_of(connection, selection)
                for order in ORDERS:
                    question = f"{name}, by {'-' * order.descending}{order.field}"
                    first = listing(selection, order, None, at_most=size + 1)
                    answers.append(await explained(connection, f"{question}, first page", first))
                    if books:
                        place = place_in(order, selection, books)
                        deep = listing(selection, order, place, at_most=size + 1)
                        answers.append(await explained(connection, f"{question}, a page in the middle", deep))
        print(f"{len(answers)} questions to {how_many:,} books, pages of {size}")
        print(f"slowest: {max(answers, key=lambda answer: answer.milliseconds)}")
        print(f"most sorted: {max(answers, key=lambda answer: answer.sorted)}")
        assert [str(answer) for answer in answers if "Seq Scan" in answer.steps] == []
        assert [str(answer) for answer in answers if answer.sorted > how_many * SORTED_MAX] == []

    async def test_one_plan_for_all_pages_by_id_is_a_good_one(self, database: Database, how_many: int) -> None:
        statement = listing(EVERYTHING, BY_ID, None, at_most=PAGE_SIZE_DEFAULT + 1)
        async with database.statement() as connection:
            for mode in ("force_custom_plan", "force_generic_plan"):
                await connection.execute(text(f"SET plan_cache_mode = {mode}"))
                for after in (0, how_many // 2):
                    answer = await explained(
                        connection, mode, Sql(statement.text, {**statement.values, "after_id": after})
                    )
                    assert answer.steps == "Limit < Index Scan books_pkey"

    async def test_pages_by_id_are_prepared_and_no_others_are(self, catalogue: Catalogue, database: Database) -> None:
        rare, common = Selection(words=("w12345",)), Selection(words=("w1",))
        for _ in range(10):
            await catalogue.page(5)
            await catalogue.page(5, selection=rare)
            await catalogue.page(5, selection=common)
            await catalogue.page(5, order=Order("title"))
            await catalogue.count(rare)
            await catalogue.estimate(rare)
        async with database.statement() as connection:
            prepared = (await connection.execute(text("SELECT statement FROM pg_prepared_statements"))).scalars().all()
        assert [statement for statement in prepared if "books" in statement] == [
            listing(EVERYTHING, BY_ID, None, at_most=6).text.replace(":after_id", "$1").replace(":at_most", "$2")
        ]


class TestAStart:
    def test_looks_for_books_without_words_in_an_index_of_these_alone(self, many_books: str, how_many: int) -> None:
        engine = engine_of(many_books)
        with engine.begin() as connection:
            statement = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {indexing._LACKING.text}")
            [plan] = connection.execute(statement, {"after": 0, "at_most": 1_000}).scalar_one()
        began = time.perf_counter()
        indexing.index_books(engine)
        print(f"no book of {how_many:,} wants words: known in {(time.perf_counter() - began) * 1_000:.1f} ms")
        engine.dispose()
        assert [node.get("Index Name") for node in nodes_of(plan["Plan"])][-1] == "books_without_words_idx"


class TestEstimates:
    @pytest.mark.parametrize(
        "name",
        ["everything", "author of a twentieth", "word of a fifth", "a century"],
    )
    async def test_are_near_what_there_is(self, catalogue: Catalogue, name: str) -> None:
        exact, estimated = await catalogue.count(SELECTIONS[name]), await catalogue.estimate(SELECTIONS[name])
        print(f"{name}: {exact:,} books, {estimated:,} estimated")
        assert estimated == pytest.approx(exact, rel=0.25)
