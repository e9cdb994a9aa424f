"""Errors: canonical codes with google.rpc details, read back by a grpc.aio stub and by the betterproto2 client."""

from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import grpclib
import pytest
from book_contracts import BookServiceStub as BetterStub
from book_contracts import GetBookRequest as BetterGetBook
from book_contracts import ListBooksRequest as BetterListBooks
from book_db.books.catalogue import Catalogue
from book_db.events.outbox import OutboxNotifier
from book_db.settings import StoreSettings
from book_db.store import Store, open_store
from book_runtime.broker.local import LocalBroker
from book_runtime.logs import _add_trace_id
from book_runtime.settings import load
from book_runtime.tokens import TokenVerifier
from books.v1.book_service_pb2 import GetBookRequest, ListBooksRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo
from grpc_api.application import serving
from grpc_api.checks import Violation
from grpc_api.errors import status_of
from grpc_status import rpc_status
from grpclib.client import Channel
from structlog.testing import capture_logs
from support.errors import an_error, kinds_of
from support.ports import free_port
from support.tokens import SignedIn, Signer

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"

Details = dict[type[Message], Message]


async def refused(call: Awaitable[object]) -> tuple[str, str, Details]:
    """Code, message and details of the error that grpcio gives."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]  # it has all that is read of a call
    assert status is not None
    details: list[Message] = [kind() for kind in (BadRequest, ErrorInfo, RequestInfo, ResourceInfo, RetryInfo)]
    found = {type(each): each for detail in status.details for each in details if detail.Unpack(each)}
    assert len(found) == len(status.details)
    return caught.value.code().name, status.message, found


async def refused_by_grpclib(call: Awaitable[object]) -> tuple[str, str, Details]:
    """The same of the error that grpclib gives, on which betterproto2's clients stand."""
    with pytest.raises(grpclib.GRPCError) as caught:
        await call
    return caught.value.status.name, caught.value.message or "", {type(each): each for each in caught.value.details}


@pytest.fixture
async def better(port: int) -> AsyncIterator[BetterStub]:
    async with Channel("127.0.0.1", port) as channel:
        yield BetterStub(channel)


class TestErrorsOfTheDomain:
    async def test_a_missing_book_is_named(
        self, stub: "BookServiceAsyncStub", better: BetterStub, caller: SignedIn
    ) -> None:
        error = await refused(stub.GetBook(GetBookRequest(id=42), metadata=caller.metadata))
        assert error == (
            "NOT_FOUND",
            "No book has the id 42.",
            {
                ErrorInfo: ErrorInfo(reason="BOOK_NOT_FOUND", domain="colophon", metadata={"id": "42"}),
                ResourceInfo: ResourceInfo(
                    resource_type="books.v1.Book", resource_name="42", description="No book has the id 42."
                ),
            },
        )
        assert error == await refused_by_grpclib(better.get_book(BetterGetBook(id=42), metadata=dict(caller.metadata)))

    @pytest.mark.parametrize(
        ("request_", "reason", "field"),
        [
            pytest.param({"page_size": -1}, "INVALID_FIELD", "page_size", id="page-size"),
            pytest.param({"page_token": "x"}, "INVALID_PAGE_TOKEN", "page_token", id="page-token"),
        ],
    )
    async def test_a_wrong_field_is_named(
        self,
        stub: "BookServiceAsyncStub",
        better: BetterStub,
        caller: SignedIn,
        request_: dict[str, Any],
        reason: str,
        field: str,
    ) -> None:
        error = await refused(stub.ListBooks(ListBooksRequest(**request_), metadata=caller.metadata))
        code, message, details = error
        assert code == "INVALID_ARGUMENT"
        assert details[ErrorInfo] == ErrorInfo(reason=reason, domain="colophon", metadata={"field": field})
        [violation] = details[BadRequest].field_violations  # type: ignore[attr-defined]  # a BadRequest has them
        assert violation.field == field
        assert violation.description in message
        assert error == await refused_by_grpclib(
            better.list_books(BetterListBooks(**request_), metadata=dict(caller.metadata))
        )

    async def test_a_missing_token_is_told_from_a_bad_one(self, stub: "BookServiceAsyncStub") -> None:
        code, _, details = await refused(stub.GetBook(GetBookRequest(id=1)))
        assert (code, details) == (
            "UNAUTHENTICATED",
            {ErrorInfo: ErrorInfo(reason="ACCESS_TOKEN_MISSING", domain="colophon")},
        )
        code, _, details = await refused(stub.GetBook(GetBookRequest(id=1), metadata=[("authorization", "Bearer x")]))
        assert (code, details) == (
            "UNAUTHENTICATED",
            {ErrorInfo: ErrorInfo(reason="ACCESS_TOKEN_INVALID", domain="colophon")},
        )


class TestRequestsThatAreNone:
    async def test_bytes_that_cannot_be_decoded_are_an_invalid_argument(
        self, channel: grpc.aio.Channel, caller: SignedIn
    ) -> None:
        get_book: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/books.v1.BookService/GetBook")
        code, message, details = await refused(get_book(b"\xff\xff\xff", metadata=caller.metadata))
        assert (code, message) == ("INVALID_ARGUMENT", "The request cannot be decoded.")
        assert details == {ErrorInfo: ErrorInfo(reason="UNDECODABLE_REQUEST", domain="colophon")}

    async def test_they_are_not_looked_at_without_a_token(self, channel: grpc.aio.Channel) -> None:
        get_book: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/books.v1.BookService/GetBook")
        code, _, _ = await refused(get_book(b"\xff\xff\xff"))
        assert code == "UNAUTHENTICATED"

    async def test_a_message_of_over_64_kib_is_refused(self, stub: "BookServiceAsyncStub", caller: SignedIn) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListBooks(ListBooksRequest(page_token="x" * 65_536), metadata=caller.metadata)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    @pytest.mark.parametrize("method", ["/books.v1.BookService/GetBooks", "/books.v2.BookService/GetBook", "/nothing"])
    async def test_a_method_that_does_not_exist_is_unimplemented(self, channel: grpc.aio.Channel, method: str) -> None:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


class CatalogueWithABug(Catalogue):
    async def get(self, book_id: int) -> Any:
        raise RuntimeError("password=hunter2")


class TestAnErrorThatNobodyForesaw:
    async def test_only_a_reference_leaves_the_house(self, store: Store) -> None:
        catalogue = CatalogueWithABug(store.database, store.cache, OutboxNotifier(store.database))
        async with (
            serving(
                replace(store, catalogue=catalogue), LocalBroker(), host="127.0.0.1", port=0, authenticate=False
            ) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            with capture_logs([_add_trace_id]) as logs:
                code, message, details = await refused(
                    stub.GetBook(GetBookRequest(id=1), metadata=[("traceparent", f"00-{TRACE_ID}-00f067aa0ba902b7-01")])
                )
        reference = details[RequestInfo].request_id  # type: ignore[attr-defined]  # a RequestInfo has one
        assert code == "INTERNAL"
        assert message == f"Something went wrong here. The reference for the operators is {reference}."
        [line] = [line for line in logs if line["event"] == "a call failed"]
        assert line["reference"] == reference
        assert line["trace_id"] == TRACE_ID
        assert "hunter2" in repr(line["exc_info"])


class TestADatabaseThatIsAway:
    async def test_the_caller_is_told_when_to_try_again(self, signer: Signer) -> None:
        nowhere = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
        settings = load(StoreSettings, database_url=nowhere, redis_url=None)
        async with (
            open_store(settings, TokenVerifier(signer.public_pem), name="tests") as store,
            serving(store, LocalBroker(), host="127.0.0.1", port=0, authenticate=False) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            with capture_logs() as logs:
                answers = [await refused(BookServiceStub(channel).GetBook(GetBookRequest(id=1))) for _ in range(5)]
        [(code, _, details), *_] = answers
        said = [
            line["event"] for line in logs if line["log_level"] == "warning" and "notifications" not in line["event"]
        ]
        assert said in ([], ["outage of PostgreSQL: what needs it waits or is refused"]), "once, by whoever came first"
        assert code == "UNAVAILABLE"
        assert details[ErrorInfo].reason == "DATABASE_UNAVAILABLE"  # type: ignore[attr-defined]  # an ErrorInfo has one
        assert details[RetryInfo].retry_delay.ToSeconds() == 1  # type: ignore[attr-defined]  # a RetryInfo has one


class TestASubclassOfAnErrorThatIsKnown:
    def test_is_answered_as_its_parent_is(self) -> None:
        kinds = {kind for each in status_of.registry.keys() - {object} for kind in kinds_of(each)}
        assert len(kinds) > 20
        for kind in kinds:
            another = type(f"Another{kind.__name__}", (kind,), {})
            errors: list[Exception] = [
                an_error(each, violations=[Violation("ids", "must be given")]) for each in (kind, another)
            ]
            statuses = [status_of(each, "/") for each in errors]
            one, other = ((status.code, status.details[0].value) for status in statuses)
            assert (one, one[0] != grpc.StatusCode.INTERNAL.value[0]) == (other, True), kind
