"""What the client promises without a service: the same messages and words as the contract, no secret in the clear."""

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args

import book_contracts
import pytest
from book_contracts.client import BookCatalogue, BookField, Session
from book_contracts.client.asking import Wanted, filter_of
from book_contracts.client.channel import leaves_the_machine
from book_contracts.client.reading import book_of
from books.v1 import book_pb2, book_service_pb2
from hypothesis import given
from hypothesis import strategies as st

FIELDS = [field.name for field in book_pb2.Book.DESCRIPTOR.fields]
INT64 = st.integers(-(2**63), 2**63 - 1)
DATES = st.builds(book_pb2.Date, **dict.fromkeys(("year", "month", "day"), st.integers(-(2**31), 2**31 - 1)))
TIMES = st.datetimes(timezones=st.just(UTC))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("id", "version"), INT64),
    **dict.fromkeys(("title", "author"), st.text()),
    "publication_date": DATES,
    **dict.fromkeys(("create_time", "update_time"), TIMES),
}


class TestReading:
    @given(st.fixed_dictionaries({}, optional=VALUES))
    def test_a_book_is_what_betterproto_reads(self, values: dict[str, Any]) -> None:
        book = book_pb2.Book(**values)
        assert book_of(book) == book_contracts.Book.parse(book.SerializeToString())

    def test_no_field_of_the_contract_is_left_out(self) -> None:
        assert set(VALUES) == set(FIELDS), "a new field needs a line in client/reading.py"


class TestTheWordsOfTheContract:
    def test_every_field_can_be_asked_for(self) -> None:
        assert list(get_args(BookField)) == FIELDS

    def test_every_filter_can_be_said(self) -> None:
        descriptor = book_service_pb2.BookFilter.DESCRIPTOR
        assert list(Wanted.__annotations__) == [field.name for field in descriptor.fields]

    def test_what_is_none_says_nothing(self) -> None:
        assert filter_of({"author": None, "published_from": None}) == book_contracts.BookFilter()
        day = datetime(1871, 12, 1, 9, tzinfo=UTC)
        assert filter_of({"published_to": day}).published_to == book_contracts.Date(year=1871, month=12, day=1)

    def test_a_misspelled_filter_is_not_taken_for_all_books(self) -> None:
        misspelled: Any = {"autor": "George Eliot"}
        with pytest.raises(TypeError, match="autor"):
            BookCatalogue("127.0.0.1:1").list(**misspelled, published_from=date(1871, 1, 1))


HERE = [
    "127.0.0.1:50051",
    "127.8.0.1",
    "localhost:50051",
    "books.localhost:50051",
    "[::1]:50051",
    "::1",
    "unix:/run/books.sock",
    "unix-abstract:books",
    "dns:///localhost:50051",
    "dns:localhost:50051",
    "ipv4:127.0.0.1:50051,127.0.0.1:50052",
    "ipv6:[::1]:50051,[::1]:50052",
]
AWAY = [
    "books.example.org:50051",
    "10.0.0.1:50051",
    "0.0.0.0:50051",
    "[2001:db8::1]:50051",
    "localhost.example.org:50051",
    "dns://127.0.0.1/books.example.org:50051",
    "ipv4:127.0.0.1:50051,10.0.0.1:50051",
    "vsock:2:50051",
    "xds:///books",
]


class TestATokenInTheClear:
    @pytest.mark.parametrize("address", HERE)
    def test_it_may_go_to_this_machine(self, address: str) -> None:
        assert not leaves_the_machine(address)
        BookCatalogue(address, token="secret")

    @pytest.mark.parametrize("address", AWAY)
    def test_it_does_not_go_over_a_network_unasked(self, address: str) -> None:
        with pytest.raises(ValueError, match="insecure=True"):
            BookCatalogue(address, token="secret")
        BookCatalogue(address, token="secret", tls=True)
        BookCatalogue(address, token="secret", insecure=True)
        BookCatalogue(address)

    def test_nor_does_a_password(self) -> None:
        with pytest.raises(ValueError, match="https"):
            Session("http://books.example.org", "ann@example.org", "secret")
        for url, insecure in (
            ("https://books.example.org", False),
            ("http://127.0.0.1:8000", False),
            ("http://[::1]:8000", False),
            ("http://rest-api:8000", True),
        ):
            Session(url, "ann@example.org", "secret", insecure=insecure)

    @pytest.mark.parametrize(
        "url",
        [
            pytest.param("books.example.org", id="without-a-scheme"),
            pytest.param("ftp://books.example.org", id="another-protocol"),
            pytest.param("", id="empty"),
            pytest.param("https://books.example.org:port", id="a-port-that-is-none"),
            pytest.param("https://b\udcf8ks.example.org", id="bytes-that-were-not-utf-8"),
        ],
    )
    def test_an_address_of_no_rest_service_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="no address"):
            Session(url, "ann@example.org", "secret")

    def test_what_is_no_text_is_refused(self) -> None:
        for email, password in (("\udcf8@example.org", "secret"), ("ann@example.org", "\udcf8")):
            with pytest.raises(ValueError, match="UTF-8"):
                Session("http://127.0.0.1:8000", email, password)
        with pytest.raises(ValueError, match="no address"):
            BookCatalogue("127.0.0.1:\udcf8")

    def test_a_session_does_not_show_its_password(self) -> None:
        assert "secret" not in repr(Session("http://127.0.0.1:8000", "ann@example.org", "secret"))


class TestTls:
    def test_a_certificate_of_one_s_own_wants_tls(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="tls=True"):
            BookCatalogue("127.0.0.1:1", certificate=(tmp_path / "chain.pem", tmp_path / "key.pem"))

    def test_a_file_that_is_not_there_is_named_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"ca\.pem"):
            BookCatalogue("127.0.0.1:1", tls=tmp_path / "ca.pem")


class TestImporting:
    def test_the_messages_come_without_the_client_and_what_it_needs(self) -> None:
        code = "import sys, book_contracts.events; print(sorted({'grpc', 'httpx'} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert done.stdout == "[]\n"
