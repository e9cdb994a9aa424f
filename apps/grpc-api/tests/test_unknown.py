"""What a request holds that this release does not know is named, and not passed over: it may be the filter."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from books.v1 import book_service_pb2 as contract
from books.v1.book_service_pb2 import BookFilter, GetBookRequest, ListBooksRequest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_api.checks import InvalidFields
from grpc_api.unknown import refuse_what_is_unknown
from support.rich_errors import detail_of
from support.tokens import SignedIn
from support.waiting import patiently

NEW_TEXT = b"\xfa\x06\x03new"
"""Field 111."""
AUTHOR_AS_A_NUMBER = b"\x08\x05"
"""Field 1 of a filter, as a varint."""
IN_THE_FILTER = b"\x1a"
IN_THE_MASK = b"\x12"


def nested(tag: bytes, content: bytes) -> bytes:
    return tag + bytes([len(content)]) + content


REQUESTS = [
    pytest.param("GetBook", b"\x08\x01" + NEW_TEXT, ["111"], id="a-field-of-a-newer-contract"),
    pytest.param("GetBook", b"\x08\x01" + nested(IN_THE_MASK, NEW_TEXT), ["read_mask.111"], id="inside-of-another"),
    pytest.param("GetBook", b"\x0a\x011", ["id"], id="a-text-for-a-number"),
    pytest.param("BatchGetBooks", b"\x08\x01" + NEW_TEXT * 1_000, ["111"], id="again-and-again"),
    pytest.param("ListBooks", nested(IN_THE_FILTER, NEW_TEXT), ["filter.111"], id="a-filter-of-a-newer-contract"),
    pytest.param("ListBooks", nested(IN_THE_FILTER, AUTHOR_AS_A_NUMBER), ["filter.author"], id="an-author-as-a-number"),
    pytest.param("ListBooks", b"\x0a\x015" + NEW_TEXT, ["page_size", "111"], id="two-at-once"),
    pytest.param("WatchBooks", b"\x18\x05", ["author"], id="a-watch-of-a-number"),
    pytest.param("WatchBooks", NEW_TEXT, ["111"], id="a-watch-of-something-new"),
]


class TestWhatIsUnknown:
    @pytest.mark.parametrize(("method", "request_", "fields"), REQUESTS)
    async def test_is_named(
        self, channel: grpc.aio.Channel, caller: SignedIn, method: str, request_: bytes, fields: list[str]
    ) -> None:
        path = f"/books.v1.BookService/{method}"
        call: Callable[..., Any] = channel.unary_stream(path) if method == "WatchBooks" else channel.unary_unary(path)
        calling = call(request_, metadata=caller.metadata)
        answer: Awaitable[bytes] = calling.read() if method == "WatchBooks" else calling
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await patiently(answer, "there is an answer")
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        violations = detail_of(refused.value, BadRequest).field_violations
        assert [violation.field for violation in violations] == fields
        assert detail_of(refused.value, ErrorInfo).reason == "INVALID_FIELD"

    def test_is_told_in_a_sentence(self) -> None:
        with pytest.raises(InvalidFields, match=r"^filter\.111 is not known to this service\.$"):
            refuse_what_is_unknown(ListBooksRequest.FromString(nested(IN_THE_FILTER, NEW_TEXT)))

    def test_is_nothing_that_is_known(self) -> None:
        refuse_what_is_unknown(GetBookRequest(id=1, read_mask=FieldMask(paths=["id"])))
        refuse_what_is_unknown(ListBooksRequest(filter=BookFilter(author="Ø", published_from={"year": 1})))
        refuse_what_is_unknown(contract.WatchBooksRequest(after=0, book_ids=[1]))
