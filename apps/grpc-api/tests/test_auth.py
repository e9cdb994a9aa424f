"""Who may call what."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import grpc
import pytest
from book_db.errors import RefreshRefused
from book_db.store import Store
from book_runtime.broker.local import LocalBroker
from books.v1.book_service_pb2 import ListBooksRequest
from books.v1.book_service_pb2_grpc import BookServiceStub
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_api.application import serving
from grpc_status import rpc_status
from support.tokens import SignedIn, Signer
from support.waiting import until

if TYPE_CHECKING:
    from books.v1.book_service_pb2_grpc import BookServiceAsyncStub

Metadata = list[tuple[str, str]]


async def is_let_in(stub: "BookServiceAsyncStub", metadata: Metadata) -> bool:
    code = await stub.ListBooks(ListBooksRequest(), metadata=metadata).code()
    assert code in {grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED}
    return code is grpc.StatusCode.OK


class TestWhoIsLetIn:
    @pytest.mark.parametrize(
        "scheme", [pytest.param("Bearer ", id="as-written"), "bearer ", "BEARER ", pytest.param("Bearer  ", id="wide")]
    )
    async def test_the_bearer_of_a_good_token_is(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, scheme: str
    ) -> None:
        assert await is_let_in(stub, [("authorization", scheme + caller.token)])

    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(lambda token: [], id="nothing"),
            pytest.param(lambda token: [("authorization", "")], id="empty"),
            pytest.param(lambda token: [("authorization", "Bearer")], id="no-token"),
            pytest.param(lambda token: [("authorization", "Bearer ")], id="blank-token"),
            pytest.param(lambda token: [("authorization", token)], id="no-scheme"),
            pytest.param(lambda token: [("authorization", f"Basic {token}")], id="another-scheme"),
            pytest.param(lambda token: [("authorization", f"Bearer{token}")], id="no-blank"),
            pytest.param(lambda token: [("authorization", f"Bearer {token}x")], id="broken-signature"),
            pytest.param(lambda token: [("authorization", f"Bearer {token} {token}")], id="two-in-one"),
            pytest.param(lambda token: [("x-authorization", f"Bearer {token}")], id="another-key"),
            pytest.param(lambda token: [("authorization", f"Bearer {'x' * 5_000}")], id="endless"),
        ],
    )
    async def test_nobody_else_is(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, make: Callable[[str], Metadata]
    ) -> None:
        assert not await is_let_in(stub, make(caller.token))

    async def test_a_token_that_has_expired_is_refused(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, signer: Signer
    ) -> None:
        token = signer.sign(caller.user_id, caller.session_id, seconds=-1)
        assert not await is_let_in(stub, [("authorization", f"Bearer {token}")])

    async def test_a_token_of_another_key_is_refused(self, stub: "BookServiceAsyncStub", caller: SignedIn) -> None:
        token = Signer().sign(caller.user_id, caller.session_id)
        assert not await is_let_in(stub, [("authorization", f"Bearer {token}")])

    async def test_a_token_of_no_session_is_refused(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, signer: Signer
    ) -> None:
        token = signer.sign(caller.user_id, uuid4())
        assert not await is_let_in(stub, [("authorization", f"Bearer {token}")])

    async def test_a_token_for_the_session_of_another_is_refused(
        self, stub: "BookServiceAsyncStub", sign_in: Callable[[], Awaitable[SignedIn]], signer: Signer
    ) -> None:
        one, other = await sign_in(), await sign_in()
        token = signer.sign(one.user_id, other.session_id)
        assert not await is_let_in(stub, [("authorization", f"Bearer {token}")])


class TestAProgram:
    @pytest.fixture
    def make(self, store: Store, caller: SignedIn) -> Callable[[str], Awaitable[tuple[UUID, Metadata]]]:
        """Makes an API token with a scope, and gives its id and what a program sends along."""

        async def make(scope: str) -> tuple[UUID, Metadata]:
            made, token = await store.api_tokens.add(caller.user_id, "backup", [scope], days=30)
            return made.id, [("authorization", f"Bearer {token}")]

        return make

    async def test_that_may_read_books_is_let_in(
        self, stub: "BookServiceAsyncStub", make: Callable[[str], Awaitable[tuple[UUID, Metadata]]]
    ) -> None:
        assert await is_let_in(stub, (await make("books:read"))[1])

    async def test_that_may_write_alone_is_told_what_is_missing(
        self, stub: "BookServiceAsyncStub", make: Callable[[str], Awaitable[tuple[UUID, Metadata]]]
    ) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListBooks(ListBooksRequest(), metadata=(await make("books:write"))[1])
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]  # it has all that is read of a call
        assert status is not None
        info = ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (info.reason, dict(info.metadata)) == ("INSUFFICIENT_SCOPE", {"scope": "books:read"})

    async def test_whose_token_is_removed_is_out_at_once(
        self,
        stub: "BookServiceAsyncStub",
        caller: SignedIn,
        store: Store,
        make: Callable[[str], Awaitable[tuple[UUID, Metadata]]],
    ) -> None:
        token_id, metadata = await make("books:read")
        assert await is_let_in(stub, metadata)
        await store.api_tokens.remove(caller.user_id, token_id)
        assert not await is_let_in(stub, metadata)

    async def test_whose_user_is_deactivated_is_out_at_once(
        self,
        stub: "BookServiceAsyncStub",
        caller: SignedIn,
        store: Store,
        make: Callable[[str], Awaitable[tuple[UUID, Metadata]]],
    ) -> None:
        _, metadata = await make("books:read")
        assert await is_let_in(stub, metadata)
        await store.users.change(caller.user_id, {"is_active": False}, decided_on={"id": caller.user_id})
        assert not await is_let_in(stub, metadata)


class TestWhoIsOut:
    @pytest.fixture(autouse=True)
    def _long_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever is out is not just forgotten."""
        monkeypatch.setattr("book_db.accounts.authentication._REMEMBERED_SECONDS", 3_600)

    async def test_a_session_whose_refresh_token_came_again_is_over_at_once(
        self, stub: "BookServiceAsyncStub", store: Store, signer: Signer
    ) -> None:
        user = await store.users.add({"email": "ada@example.org", "hashed_password": "unused"})
        begun = await store.sessions.begin(user.id, 600)
        caller = SignedIn(user.id, begun.session_id, signer.sign(user.id, begun.session_id))
        await store.sessions.refresh(begun.refresh_token, 600)
        assert await is_let_in(stub, caller.metadata)
        with pytest.raises(RefreshRefused):
            await store.sessions.refresh(begun.refresh_token, 600)
        assert not await is_let_in(stub, caller.metadata)

    async def test_whoever_logged_out_is_out_at_once(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, store: Store
    ) -> None:
        assert await is_let_in(stub, caller.metadata)
        await store.sessions.end(caller.session_id)
        await _until_forgotten(stub, caller)

    async def test_a_deactivated_user_is_out_at_once(
        self, stub: "BookServiceAsyncStub", caller: SignedIn, store: Store
    ) -> None:
        assert await is_let_in(stub, caller.metadata)
        await store.users.change(caller.user_id, {"is_active": False}, decided_on={"id": caller.user_id})
        await _until_forgotten(stub, caller)


async def _until_forgotten(stub: "BookServiceAsyncStub", caller: SignedIn) -> None:
    """The notification of PostgreSQL takes a moment."""

    async def is_out() -> bool:
        return not await is_let_in(stub, caller.metadata)

    await until(is_out, "the caller is not let in any more")


class TestWithoutAuthentication:
    async def test_everybody_is_let_in(self, store: Store) -> None:
        async with (
            serving(store, LocalBroker(), host="127.0.0.1", port=0, authenticate=False) as port,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            stub: BookServiceAsyncStub = BookServiceStub(channel)
            assert await is_let_in(stub, [])
            assert await is_let_in(stub, [("authorization", "Bearer nonsense")])
