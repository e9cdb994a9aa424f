"""Messages are filled with what protobuf's own helpers would write."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from book_contracts.codec import write_date, write_time
from books.v1 import book_pb2
from google.protobuf.timestamp_pb2 import Timestamp


@pytest.mark.parametrize(
    "time",
    [
        pytest.param(datetime(1970, 1, 1, tzinfo=UTC), id="the-epoch"),
        pytest.param(datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), id="just-before"),
        pytest.param(datetime(1, 1, 1, tzinfo=UTC), id="the-first"),
        pytest.param(datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), id="the-last"),
        pytest.param(datetime(2026, 11, 28, 12, 0, tzinfo=timezone(timedelta(hours=5, minutes=45))), id="in-Kathmandu"),
    ],
)
def test_a_time_is_that_of_protobuf(time: datetime) -> None:
    book, expected = book_pb2.Book(), Timestamp()
    expected.FromDatetime(time)
    write_time(time, book.create_time)
    assert book.create_time == expected
    assert book.HasField("create_time")  # the epoch, whose fields are all nought, too


def test_a_date_has_its_three_parts() -> None:
    book = book_pb2.Book()
    write_date(date(1871, 12, 1), book.publication_date)
    assert book == book_pb2.Book(publication_date=book_pb2.Date(year=1871, month=12, day=1))
