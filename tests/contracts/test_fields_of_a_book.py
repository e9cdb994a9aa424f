"""Every field of ``book_db.book.Book`` is wherever books are: nothing is left out in silence.

Each failure names the file that wants a line. CONTRIBUTING.md, "To add a field", has them in order.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest
from book_contracts.client import BookField, BookOrder
from book_contracts.client.reading import book_of
from book_contracts.codec import read_book, write_book
from book_db.book import Book, BookPatch, Draft
from book_db.books.selection import Field
from book_db.events.model import COLUMNS
from book_db.tables import BookRow, EventLogRow, OutboxRow, ParkedEventRow
from book_runtime.settings import load
from books.v1 import book_pb2
from colophon.importing.books import ColumnMapping
from colophon.importing.command import import_books
from colophon.importing.rows import Row
from rest_api.app import create_app
from rest_api.settings import RestSettings
from rest_api.users.keys import make_key_pair
from ruamel.yaml import YAML

RECIPE: Final = 'see CONTRIBUTING.md, "To add a field"'
ASYNCAPI: Final = Path(__file__).parents[2] / "docs/asyncapi.yaml"

OF_A_BOOK: Final = Book.__struct_fields__
OF_A_DRAFT: Final = Draft.__struct_fields__

IN_THE_CONTRACT: Final = {"created_at": "create_time", "updated_at": "update_time"}
"""Names that AIP-148 gives to two of the fields."""

SAMPLES: Final[dict[Any, Callable[[str], object]]] = {
    int: lambda name: 40 + len(name),
    str: lambda name: f"the {name}",
    date: lambda _: date(1871, 12, 1),
    datetime: lambda name: datetime(2026, 1, 1 + ord(name[0]) % 28, 12, 30, 15, 123456, tzinfo=UTC),
}
"""A value for each type of field, which no default has."""


def sample(kind: Callable[..., Any], fields: Iterable[msgspec.structs.FieldInfo]) -> Any:
    return kind(**{field.name: SAMPLES[field.type](field.name) for field in fields})


A_BOOK: Final = sample(Book, msgspec.structs.fields(Book))
A_DRAFT: Final = sample(Draft, msgspec.structs.fields(Draft))


def of_the_contract(names: Iterable[str]) -> list[str]:
    return [IN_THE_CONTRACT.get(name, name) for name in names]


def assert_has(found: Iterable[str], fields: Iterable[str], where: str) -> None:
    assert sorted(found) == sorted(fields), f"{where} has other fields than book_db/book.py; {RECIPE}"


class TestTheDefinition:
    def test_has_each_field_of_a_draft_in_a_book(self) -> None:
        assert set(OF_A_DRAFT) < set(OF_A_BOOK)

    def test_has_each_field_of_a_draft_in_a_patch(self) -> None:
        assert_has(BookPatch.__struct_fields__, OF_A_DRAFT, "BookPatch in book_db/book.py")

    def test_has_no_default_in_a_patch(self) -> None:
        assert not BookPatch.__struct_defaults__, "a field with a default is left out in silence"

    def test_gives_what_it_is_made_of(self) -> None:
        assert Draft.of(A_DRAFT) == A_DRAFT
        assert msgspec.structs.asdict(BookPatch.of(A_DRAFT)) == msgspec.structs.asdict(A_DRAFT)
        assert Book.from_json(A_BOOK.to_json()) == A_BOOK


class TestTheDatabase:
    @pytest.mark.parametrize("row", [BookRow, OutboxRow, ParkedEventRow, EventLogRow])
    def test_has_a_column_for_each_field(self, row: Any) -> None:
        name = "id" if row is BookRow else "book_id"
        assert {name, *OF_A_BOOK[1:]} <= set(row.__table__.c.keys()), (
            f"book_db/tables.py, {row.__tablename__}; {RECIPE}"
        )

    def test_has_each_field_in_an_event(self) -> None:
        assert {"book_id", *OF_A_BOOK[1:]} <= set(COLUMNS), RECIPE


class TestTheContract:
    def test_has_each_field(self) -> None:
        found = [field.name for field in book_pb2.Book.DESCRIPTOR.fields]
        assert_has(found, of_the_contract(OF_A_BOOK), "book.proto, or what `make generate` made of it,")

    def test_is_written_with_each_field(self) -> None:
        message = book_pb2.Book()
        write_book(A_BOOK, message)
        written = [field.name for field, _ in message.ListFields()]
        assert_has(written, of_the_contract(OF_A_BOOK), "write_book in book_contracts/codec.py")

    def test_is_read_with_each_field(self) -> None:
        message = book_pb2.Book()
        write_book(A_BOOK, message)
        assert read_book(message, Book) == A_BOOK, f"read_book in book_contracts/codec.py; {RECIPE}"

    def test_is_read_by_the_client_with_each_field(self) -> None:
        message = book_pb2.Book()
        write_book(A_BOOK, message)
        assert bytes(book_of(message)) == message.SerializeToString(), f"book_contracts/client/reading.py; {RECIPE}"

    def test_lets_the_client_ask_for_each_field(self) -> None:
        assert_has(get_args(BookField), of_the_contract(OF_A_BOOK), "BookField in book_contracts/client/reading.py")

    def test_lets_the_client_sort_by_what_the_service_sorts_by(self) -> None:
        orders = {f"{name}{way}" for name in of_the_contract(get_args(Field)) for way in ("", " desc")}
        assert set(get_args(BookOrder)) == orders

    def test_tells_the_readers_of_events_of_each_field(self) -> None:
        contract = YAML(typ="safe").load(ASYNCAPI)["components"]["schemas"]["BookEvent"]["schema"]
        [message] = re.findall(r"^message Book \{\n(.*?)^\}", contract, re.DOTALL | re.MULTILINE)
        found = re.findall(r"(\w+) = \d+;", message)
        assert_has(found, of_the_contract(OF_A_BOOK), "docs/asyncapi.yaml, which `make generate` writes,")


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document, for which nothing has to run."""
    keys = tmp_path_factory.mktemp("keys")
    make_key_pair(keys / "private.pem", keys / "public.pem")
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    settings = load(RestSettings, database_url=nowhere, jwt_private_key_file=keys / "private.pem", redis_url=None)
    return create_app(settings).openapi()


class TestRest:
    @pytest.mark.parametrize(
        ("schema", "fields"), [("Book", OF_A_BOOK), ("BookDraft", OF_A_DRAFT), ("BookChange", OF_A_DRAFT)]
    )
    def test_has_each_field_in_its_schemas(self, openapi: dict[str, Any], schema: str, fields: tuple[str, ...]) -> None:
        properties = openapi["components"]["schemas"][schema]["properties"]
        assert_has(properties, fields, f"{schema} in rest_api/books/schemas.py")

    def test_has_a_column_for_each_field_in_an_export(self, openapi: dict[str, Any]) -> None:
        answer = openapi["paths"]["/api/v1/books/export"]["get"]["responses"]["200"]
        assert header_of(answer) == [*OF_A_BOOK], RECIPE

    def test_has_a_column_for_each_field_of_a_draft_in_an_import(self, openapi: dict[str, Any]) -> None:
        body = openapi["paths"]["/api/v1/books/import"]["post"]["requestBody"]
        assert header_of(body) == [*OF_A_DRAFT], RECIPE


def header_of(said: dict[str, Any]) -> list[str]:
    [header] = said["content"]["text/csv"]["schema"]["examples"]
    return str(header).strip().split(",")


class TestTheCommand:
    def test_has_an_option_for_the_column_of_each_field_of_a_draft(self) -> None:
        assert_has(options(), OF_A_DRAFT, "import_books in colophon/importing/command.py")

    def test_reads_each_field_of_a_draft(self) -> None:
        mapping = ColumnMapping.of([*OF_A_DRAFT], **{option: field for field, option in options().items()})
        row = Row(2, 2, [str(getattr(A_DRAFT, field)) for field in OF_A_DRAFT])
        assert mapping.read(row).draft == A_DRAFT, f"ColumnMapping in colophon/importing/books.py; {RECIPE}"


def options() -> dict[str, str]:
    """The option for the column of each field: unless it is used, the column is called as the field."""
    parameters = inspect.signature(import_books).parameters.values()
    return {each.default: each.name for each in parameters if each.default in OF_A_BOOK}
