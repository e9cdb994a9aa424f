"""What no request can hold is refused by the client itself, and nothing is sent: grpc.aio would send an empty one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from typing import Any

import grpc
import pytest
from book_contracts import BookServiceStub, GetBookRequest
from book_contracts.client import BookCatalogue
from book_contracts.errors import InvalidRequest, NotSignedIn, ServiceFailed
from books.v1.book_service_pb2 import ListBooksRequest, WatchBooksRequest, WatchBooksResponse
from grpclib.client import Channel
from support.waiting import PATIENCE, patiently

SURROGATE = "J\udcf8rgen"


class Listening(grpc.GenericRpcHandler):
    """A service that keeps every request, whatever the method, and answers each with the same bytes."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.tokens_asked_for = 0
        self.answer = b""

    def service(self, call: grpc.HandlerCallDetails) -> Any:
        method: str = call.method
        if not method.startswith("/books.v1."):
            return None  # the client asks for health too
        if method.endswith("WatchBooks"):
            return grpc.unary_stream_rpc_method_handler(self._stream)
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request: bytes, _context: Any) -> bytes:
        self.requests.append(request)
        return self.answer

    async def _stream(self, request: bytes, _context: Any) -> AsyncIterator[bytes]:
        self.requests.append(request)
        yield self.answer

    def token(self) -> str:
        self.tokens_asked_for += 1
        return "token"


@pytest.fixture
async def listening() -> Listening:
    return Listening()


@pytest.fixture
async def address(listening: Listening) -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([listening])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.fixture
async def catalogue(address: str, listening: Listening) -> AsyncIterator[Any]:
    """Without its types: these callers have not looked at them."""
    async with BookCatalogue(address, token=listening.token, timeout=PATIENCE) as catalogue:
        yield catalogue


Call = Callable[[Any], Awaitable[object]]

WRONG = [
    pytest.param(lambda c: c.get(2**64 + 1), "id", id="get-beyond-int64"),
    pytest.param(lambda c: c.get("7"), "id", id="get-text"),
    pytest.param(lambda c: c.get(None), "id", id="get-none"),
    pytest.param(lambda c: c.get(True), "id", id="get-bool"),
    pytest.param(lambda c: c.get(7.0), "id", id="get-float"),
    pytest.param(lambda c: c.get(7, fields="title"), "read_mask.paths", id="get-one-field-for-a-list"),
    pytest.param(lambda c: c.get(7, fields=5), "read_mask.paths", id="get-number-for-a-list"),
    pytest.param(lambda c: c.get(7, fields=[5]), "read_mask.paths[0]", id="get-field-that-is-a-number"),
    pytest.param(lambda c: c.get(7, fields=[SURROGATE]), "read_mask.paths[0]", id="get-field-that-is-no-text"),
    pytest.param(lambda c: c.get(7, timeout="5"), "timeout", id="get-timeout-text"),
    pytest.param(lambda c: c.get(7, timeout=float("nan")), "timeout", id="get-timeout-nan"),
    pytest.param(lambda c: c.get(7, timeout=10**400), "timeout", id="get-timeout-beyond-floats"),
    pytest.param(lambda c: c.get_many([7, 2**63]), "ids[1]", id="many-beyond-int64"),
    pytest.param(lambda c: c.get_many(["7"]), "ids[0]", id="many-text"),
    pytest.param(lambda c: c.get_many("77"), "ids", id="many-text-for-a-list"),
    pytest.param(lambda c: c.get_many(None), "ids", id="many-none"),
    pytest.param(lambda c: c.get_many(0), "ids", id="many-number"),
    pytest.param(lambda c: c.get_many([], fields=5), "read_mask.paths", id="none-of-a-field-that-is-none"),
    pytest.param(lambda c: anext(c.list(author=SURROGATE)), "filter.author", id="list-surrogate"),
    pytest.param(lambda c: anext(c.list(author=5)), "filter.author", id="list-author-number"),
    pytest.param(lambda c: anext(c.list(author=False)), "filter.author", id="list-author-false"),
    pytest.param(lambda c: anext(c.list(words=["mill"])), "filter.words", id="list-words-list"),
    pytest.param(lambda c: anext(c.list(title_prefix=b"Mi")), "filter.title_prefix", id="list-title-bytes"),
    pytest.param(lambda c: anext(c.list(published_from="1871")), "filter.published_from", id="list-date-text"),
    pytest.param(lambda c: anext(c.list(published_to=1871)), "filter.published_to", id="list-date-number"),
    pytest.param(lambda c: anext(c.list(page_size="5")), "page_size", id="list-size-text"),
    pytest.param(lambda c: anext(c.list(page_size=2**32 + 2)), "page_size", id="list-size-beyond-int32"),
    pytest.param(lambda c: anext(c.list(page_size=None)), "page_size", id="list-size-none"),
    pytest.param(lambda c: anext(c.list(page_size=False)), "page_size", id="list-size-false"),
    pytest.param(lambda c: anext(c.list(order_by=None)), "order_by", id="list-order-none"),
    pytest.param(lambda c: anext(c.list(order_by=["id"])), "order_by", id="list-order-list"),
    pytest.param(lambda c: anext(c.list(fields="id")), "read_mask.paths", id="list-one-field-for-a-list"),
    pytest.param(lambda c: anext(c.watch(book_ids=["7"])), "book_ids[0]", id="watch-text"),
    pytest.param(lambda c: anext(c.watch(book_ids=7)), "book_ids", id="watch-number-for-a-list"),
    pytest.param(lambda c: anext(c.watch(book_ids=None)), "book_ids", id="watch-none"),
    pytest.param(lambda c: anext(c.watch(book_ids=[2**64 + 7])), "book_ids[0]", id="watch-beyond-int64"),
    pytest.param(lambda c: anext(c.watch(after=2**64 + 5)), "after", id="watch-after-beyond-int64"),
    pytest.param(lambda c: anext(c.watch(after="5")), "after", id="watch-after-text"),
    pytest.param(lambda c: anext(c.watch(after=False)), "after", id="watch-after-false"),
    pytest.param(lambda c: anext(c.watch(author=None)), "author", id="watch-author-none"),
    pytest.param(lambda c: anext(c.watch(author=SURROGATE)), "author", id="watch-surrogate"),
]


class TestWhatNoRequestCanHold:
    @pytest.mark.parametrize(("call", "field"), WRONG)
    async def test_is_named_and_nothing_is_sent(
        self, catalogue: Any, listening: Listening, call: Call, field: str
    ) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await patiently(call(catalogue), "the call ends")
        assert [violation.field for violation in refused.value.violations] == [field]
        assert field in str(refused.value)
        await catalogue.get(1)
        assert listening.requests == [b"\x08\x01"], "the one after it is the first to arrive"
        assert listening.tokens_asked_for == 1, "not even somebody was signed in"

    async def test_is_refused_again_when_a_watch_is_asked_again(self, catalogue: Any, listening: Listening) -> None:
        watch = catalogue.watch(book_ids=["7"])
        for _ in range(2):
            with pytest.raises(InvalidRequest):
                await anext(watch)
        assert listening.requests == []

    async def test_nor_does_betterproto_s_own_client_send_it(self, address: str, listening: Listening) -> None:
        host, _, port = address.partition(":")
        async with Channel(host, int(port)) as channel:
            stub = BookServiceStub(channel, timeout=PATIENCE)
            with pytest.raises(InvalidRequest):
                await stub.get_book(GetBookRequest(id=2**64 + 1))
            await stub.get_book(GetBookRequest(id=1))
        assert listening.requests == [b"\x08\x01"]


class TestATokenThatIsNone:
    @pytest.mark.parametrize(
        "token",
        [
            pytest.param("J\udcf8rgen", id="bytes-that-were-not-utf-8"),
            pytest.param("Jørgen", id="not-ascii"),
            pytest.param("one\ntwo", id="two-lines"),
        ],
    )
    @pytest.mark.parametrize(
        "call", [pytest.param(lambda c: c.get(1), id="get"), pytest.param(lambda c: anext(c.watch()), id="watch")]
    )
    async def test_is_refused_before_it_is_sent(
        self, address: str, listening: Listening, token: str, call: Call
    ) -> None:
        async with BookCatalogue(address, token=token, timeout=PATIENCE) as catalogue:
            with pytest.raises(NotSignedIn, match="metadata"):
                await patiently(call(catalogue), "the call ends")
        assert listening.requests == []


class TestWhatIsAsked:
    async def test_arrives_as_it_is(self, catalogue: Any, listening: Listening) -> None:
        await anext(catalogue.list(author="Jørgen", published_from=date(1871, 12, 1), fields=("id",)), None)
        listening.answer = WatchBooksResponse(position=1, event={"kind": 1}).SerializeToString()
        await anext(catalogue.watch(after=0, book_ids={7}, author="Jørgen"))
        asked, watched = listening.requests
        assert ListBooksRequest.FromString(asked) == ListBooksRequest(
            page_size=200,
            filter={"author": "Jørgen", "published_from": {"year": 1871, "month": 12, "day": 1}},
            order_by="id",
            read_mask={"paths": ["id"]},
        )
        assert WatchBooksRequest.FromString(watched) == WatchBooksRequest(after=0, book_ids=[7], author="Jørgen")


class TestAnAnswerOfAnotherContract:
    @pytest.mark.parametrize(
        "call",
        [
            pytest.param(lambda c: c.get(1), id="get"),
            pytest.param(lambda c: c.get_many([1]), id="many"),
            pytest.param(lambda c: anext(c.list()), id="list"),
            pytest.param(lambda c: anext(c.watch()), id="watch"),
        ],
    )
    async def test_is_an_error_and_not_nothing(self, catalogue: Any, listening: Listening, call: Call) -> None:
        listening.answer = b"\xff\xff\xff"
        with pytest.raises(ServiceFailed) as failed:
            await patiently(call(catalogue), "the call ends")
        assert failed.value.reason == "UNDECODABLE_ANSWER"
