"""What a message cannot hold is not written, and its JSON is protobuf's."""

import json
from datetime import UTC, datetime
from typing import Any

import betterproto2
import book_contracts
import pytest
from book_contracts import (
    BatchGetBooksRequest,
    Book,
    BookEvent,
    BookFilter,
    Date,
    FieldMask,
    GetBookRequest,
    ListBooksRequest,
    WatchBooksRequest,
)
from book_contracts.checking import _RULES, class_of
from book_contracts.errors import InvalidRequest
from books.v1 import book_event_pb2, book_pb2, book_service_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

SURROGATE = "J\udcf8rgen"
"""What Python makes of an argument in Latin-1."""


def built(of: Any, **fields: Any) -> Any:
    """A message with what its type forbids."""
    message: betterproto2.Message = of(**fields)
    return message


UNWRITABLE = [
    pytest.param(built(GetBookRequest, id=2**63), {"id"}, id="beyond-int64"),
    pytest.param(built(GetBookRequest, id=2**64 + 1), {"id"}, id="one-when-wrapped"),
    pytest.param(built(GetBookRequest, id=-(2**63) - 1), {"id"}, id="below-int64"),
    pytest.param(built(GetBookRequest, id="1"), {"id"}, id="text-for-a-number"),
    pytest.param(built(GetBookRequest, id=1.0), {"id"}, id="float-for-an-integer"),
    pytest.param(built(GetBookRequest, id=True), {"id"}, id="bool-for-an-integer"),
    pytest.param(built(GetBookRequest, id=False), {"id"}, id="bool-that-equals-the-default"),
    pytest.param(built(GetBookRequest, id=None), {"id"}, id="none-where-there-is-no-absence"),
    pytest.param(built(GetBookRequest, read_mask="title"), {"read_mask"}, id="text-for-a-message"),
    pytest.param(built(GetBookRequest, read_mask=5), {"read_mask"}, id="number-for-a-message"),
    pytest.param(built(GetBookRequest, read_mask=Date()), {"read_mask"}, id="another-message"),
    pytest.param(GetBookRequest(read_mask=built(FieldMask, paths="id")), {"read_mask.paths"}, id="text-for-a-list"),
    pytest.param(
        GetBookRequest(read_mask=built(FieldMask, paths=["id", 5, SURROGATE])),
        {"read_mask.paths[1]", "read_mask.paths[2]"},
        id="some-of-a-list",
    ),
    pytest.param(BatchGetBooksRequest(ids=[1, 2**63]), {"ids[1]"}, id="one-of-a-list"),
    pytest.param(built(BatchGetBooksRequest, ids=None), {"ids"}, id="none-for-a-list"),
    pytest.param(ListBooksRequest(page_size=2**31), {"page_size"}, id="beyond-int32"),
    pytest.param(ListBooksRequest(page_size=2**32 + 2), {"page_size"}, id="two-when-wrapped"),
    pytest.param(ListBooksRequest(page_size=-(2**31) - 1), {"page_size"}, id="below-int32"),
    pytest.param(ListBooksRequest(filter=BookFilter(author=SURROGATE)), {"filter.author"}, id="lone-surrogate"),
    pytest.param(built(ListBooksRequest, order_by=b"id"), {"order_by"}, id="bytes-for-a-text"),
    pytest.param(
        ListBooksRequest(filter=built(BookFilter, published_from="1871-12-01")), {"filter.published_from"}, id="no-date"
    ),
    pytest.param(
        ListBooksRequest(filter=BookFilter(published_to=Date(year=2**31))), {"filter.published_to.year"}, id="far-day"
    ),
    pytest.param(built(WatchBooksRequest, after="7", author=5), {"after", "author"}, id="all-of-them-are-named"),
    pytest.param(built(BookEvent, kind="CREATED"), {"kind"}, id="text-for-an-enum"),
    pytest.param(built(BookEvent, kind=2**31), {"kind"}, id="beyond-an-enum"),
    pytest.param(Book(create_time=datetime(1871, 12, 1)), {"create_time"}, id="time-without-a-zone"),  # noqa: DTZ001  # that is the point
    pytest.param(built(Book, create_time="1871-12-01T00:00:00Z"), {"create_time"}, id="text-for-a-time"),
]


class TestWhatAMessageCannotHold:
    @pytest.mark.parametrize(("message", "fields"), UNWRITABLE)
    def test_is_named_and_not_written(self, message: betterproto2.Message, fields: set[str]) -> None:
        for write in (bytes, betterproto2.Message.SerializeToString, betterproto2.Message.to_json):
            with pytest.raises(InvalidRequest) as refused:
                write(message)
            assert {violation.field for violation in refused.value.violations} == fields
            assert all(f"{field} must be " in str(refused.value) for field in fields)
            assert refused.value.reason == "INVALID_FIELD"

    def test_is_told_in_a_sentence_of_bearable_length(self) -> None:
        with pytest.raises(InvalidRequest) as refused:
            bytes(BatchGetBooksRequest(ids=[2**63] * 300))
        assert len(refused.value.violations) == 300
        assert str(refused.value).endswith("ids[2] must be an integer of 64 bits; and 297 more.")

    @pytest.mark.parametrize(
        "message",
        [
            pytest.param(BatchGetBooksRequest(ids=[-(2**63), 2**63 - 1]), id="int64"),
            pytest.param(ListBooksRequest(page_size=2**31 - 1), id="int32"),
            pytest.param(ListBooksRequest(filter=BookFilter(author="\U0001f4da\0ʼ")), id="text"),
            pytest.param(WatchBooksRequest(after=None), id="absent"),
            pytest.param(WatchBooksRequest(after=0), id="present"),
        ],
    )
    def test_is_nothing_else(self, message: betterproto2.Message) -> None:
        assert type(message).parse(bytes(message)) == message

    def test_is_known_for_every_type_of_the_contract(self) -> None:
        files = (book_pb2, book_event_pb2, book_service_pb2)
        fields = [f for file in files for m in file.DESCRIPTOR.message_types_by_name.values() for f in m.fields]
        assert {field.type for field in fields} - {FieldDescriptor.TYPE_MESSAGE} == set(_RULES)


EXAMPLES: list[Message] = [
    book_service_pb2.GetBookRequest(id=2**53 + 1, read_mask={"paths": ["title", "publication_date.year"]}),
    book_service_pb2.GetBookRequest(read_mask={}),
    book_service_pb2.GetBookResponse(book={"id": 1, "title": 'Ø "\n\U0001f4da', "create_time": {"seconds": 1}}),
    book_service_pb2.BatchGetBooksRequest(ids=[1, 2**63 - 1], read_mask={"paths": ["*"]}),
    book_service_pb2.BatchGetBooksResponse(books=[{"id": 1}, {}]),
    book_service_pb2.ListBooksRequest(
        page_size=-1,
        page_token="x",
        filter={"author_prefix": "Ø", "published_from": {"year": 1871, "month": 12, "day": 1}},
        order_by="create_time desc",
    ),
    book_service_pb2.ListBooksResponse(books=[{"version": 7}], next_page_token="x"),
    book_service_pb2.WatchBooksRequest(after=0, book_ids=[7], author="Ø"),
    book_service_pb2.WatchBooksRequest(),
    book_service_pb2.WatchBooksResponse(position=2**53 + 1, event={"kind": 3, "time": {"seconds": -1, "nanos": 1_000}}),
    book_event_pb2.BookEvent(id="x", kind=77, actor="y", book={"publication_date": {"year": 1}}),  # type: ignore[arg-type]  # of a newer contract
    book_service_pb2.BookFilter(words="middle march"),
    book_pb2.Book(
        update_time={"seconds": -62_135_596_800}, create_time={"seconds": 253_402_300_799, "nanos": 999_999_000}
    ),
    book_pb2.Date(),
]


def better(message: Message) -> betterproto2.Message:
    kind: type[betterproto2.Message] = getattr(book_contracts, message.DESCRIPTOR.name)
    return kind.parse(message.SerializeToString())


class TestJson:
    def test_every_message_has_an_example_here(self) -> None:
        files = (book_pb2, book_event_pb2, book_service_pb2)
        known = {name for file in files for name in file.DESCRIPTOR.message_types_by_name}
        assert {message.DESCRIPTOR.name for message in EXAMPLES} == known

    @pytest.mark.parametrize(
        "message", [pytest.param(each, id=f"{n}-{each.DESCRIPTOR.name}") for n, each in enumerate(EXAMPLES)]
    )
    def test_is_that_of_protobuf_both_ways(self, message: Message) -> None:
        ours = better(message)
        for casing, names in ((betterproto2.Casing.CAMEL, False), (betterproto2.Casing.SNAKE, True)):
            said = json_format.MessageToDict(message, preserving_proto_field_name=names)
            assert ours.to_dict(casing=casing) == said
            text = ours.to_json(casing=casing)
            assert json.loads(text) == said
            for read in (type(ours).from_json(text), type(ours).from_json(text.encode()), type(ours).from_dict(said)):
                assert read == ours
        with_defaults = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
        assert ours.to_dict(include_default_values=True) == with_defaults
        assert class_of(type(ours)) is type(message)

    def test_of_a_mask_is_one_text(self) -> None:
        request = GetBookRequest(read_mask=FieldMask(paths=["title", "create_time"]))
        assert request.to_json() == '{"readMask": "title,createTime"}'
        assert GetBookRequest.from_json('{"read_mask": "title,createTime"}') == request
        mask = request.read_mask
        assert mask is not None
        assert mask.to_json() == '"title,createTime"'
        assert FieldMask.from_json('"title,createTime"') == mask

    def test_a_mask_that_has_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match="createTime"):
            GetBookRequest(read_mask=FieldMask(paths=["createTime"])).to_json()

    @pytest.mark.parametrize(
        ("kind", "text", "said"),
        [
            pytest.param(GetBookRequest, '{"readMask": {"paths": ["title"]}}', "readMask", id="mask-as-an-object"),
            pytest.param(GetBookRequest, '{"id": 1.5}', "id", id="not-whole"),
            pytest.param(GetBookRequest, '{"id": true}', "id", id="bool-for-a-number"),
            pytest.param(GetBookRequest, '{"id": "18446744073709551617"}', "id", id="beyond-int64"),
            pytest.param(GetBookRequest, '{"id": 1, "id": 2}', "id", id="twice"),
            pytest.param(GetBookRequest, '{"ident": 1}', "ident", id="unknown"),
            pytest.param(BatchGetBooksRequest, '{"ids": "12"}', "ids", id="text-for-a-list"),
            pytest.param(BatchGetBooksRequest, '{"ids": [1, null]}', "ids", id="null-in-a-list"),
            pytest.param(WatchBooksRequest, '{"author": 5}', "author", id="number-for-a-text"),
            pytest.param(Book, '{"createTime": "2026-11-24T09:30:00"}', "createTime", id="time-without-a-zone"),
            pytest.param(BookEvent, '{"kind": "CREATED"}', "kind", id="an-enum-by-another-name"),
            pytest.param(Book, "[", "JSON", id="no-json"),
            pytest.param(Book, "5", "JSON", id="no-object"),
        ],
    )
    def test_what_is_not_the_message_s_is_refused(self, kind: type[Any], text: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            kind.from_json(text)

    def test_unknown_fields_are_passed_over_where_that_is_asked_for(self) -> None:
        assert GetBookRequest.from_json('{"id": 1, "ident": 2}', ignore_unknown_fields=True) == GetBookRequest(id=1)

    def test_python_s_form_is_as_betterproto_has_it(self) -> None:
        made = datetime(2026, 11, 24, tzinfo=UTC)
        form = Book(id=1, create_time=made).to_dict(output_format=betterproto2.OutputFormat.PYTHON)
        assert form == {"id": 1, "createTime": made}
