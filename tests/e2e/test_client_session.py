"""A session of BookCatalogue, signed in at the real REST service, reads from the real gRPC service."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from book_contracts.client import BookCatalogue, Session
from book_contracts.errors import BookNotFound, LimitReached, NotSignedIn, Unavailable
from book_db.accounts import authentication
from book_db.settings import StoreSettings
from book_db.store import open_store
from book_runtime.broker.local import LocalBroker
from book_runtime.settings import load
from book_runtime.tokens import TokenVerifier
from grpc_api import application as grpc
from rest_api import serving as rest
from rest_api.settings import RestSettings
from support.people import PASSWORD, Person
from support.ports import free_port
from support.waiting import PATIENCE, patience, until


class Rest:
    """The REST service as the session sees it, with a count of what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: Counter[str] = Counter()

    def count(self, request: httpx.Request) -> None:
        self.asked[request.url.path.rpartition("/")[2]] += 1


@pytest.fixture
def seconds() -> int:
    """How long an access token is good."""
    return 3_600


@pytest.fixture
async def rest_api(database_url: str, keys: dict[str, str], seconds: int) -> AsyncIterator[Rest]:
    settings = load(
        RestSettings,
        database_url=database_url,
        redis_url=None,
        jwt_private_key_file=keys["JWT_PRIVATE_KEY_FILE"],
    ).model_copy(update={"access_token_seconds": seconds})
    listening = rest.listen("127.0.0.1", 0, "REST_PORT")
    async with rest.serving(settings, listening):
        yield Rest(f"http://127.0.0.1:{listening.getsockname()[1]}")


@pytest.fixture
def verifier(keys: dict[str, str]) -> TokenVerifier:
    return TokenVerifier(Path(keys["JWT_PUBLIC_KEY_FILE"]).read_bytes())


@pytest.fixture
async def address(database_url: str, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    # A caller is forgotten because PostgreSQL says so, and not after a while.
    monkeypatch.setattr(authentication, "_REMEMBERED_SECONDS", 3_600)
    settings = load(StoreSettings, database_url=database_url, redis_url=None)
    async with (
        open_store(settings, verifier, name="tests") as store,
        grpc.serving(store, LocalBroker(), host="127.0.0.1", port=0) as port,
    ):
        yield f"127.0.0.1:{port}"


@pytest.fixture
async def person(rest_api: Rest) -> AsyncIterator[Person]:
    async with httpx.AsyncClient(base_url=rest_api.url, timeout=PATIENCE) as client:
        person = await Person.register(client)
        await person.sign_in()
        yield person


@pytest.fixture
async def session(rest_api: Rest, person: Person, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Session]:
    """Theirs, not signed in yet, whose requests are counted."""
    make = httpx.AsyncClient

    async def count(request: httpx.Request) -> None:
        rest_api.count(request)

    def counting(**options: Any) -> httpx.AsyncClient:
        return make(**options, event_hooks={"request": [count]})

    monkeypatch.setattr("book_contracts.client.session.httpx.AsyncClient", counting)
    async with Session(rest_api.url, person.email, PASSWORD) as session:
        yield session


async def ask(catalogue: BookCatalogue) -> None:
    """Any call that wants a token."""
    with pytest.raises(BookNotFound):
        await catalogue.get(4_711)


async def is_refused(address: str, token: str) -> bool:
    async with BookCatalogue(address, token=token) as catalogue:
        try:
            await ask(catalogue)
        except NotSignedIn:
            return True
    return False


class TestASession:
    async def test_it_signs_in_once_for_however_many_calls(
        self, address: str, session: Session, rest_api: Rest
    ) -> None:
        async with BookCatalogue(address, token=session) as catalogue:
            await asyncio.gather(*(ask(catalogue) for _ in range(50)))
        assert rest_api.asked == {"login": 1}

    @pytest.mark.parametrize("seconds", [1])  # settings would have it a minute at least
    async def test_it_is_refreshed_before_its_token_ends_and_never_twice(
        self, address: str, session: Session, rest_api: Rest
    ) -> None:
        async with BookCatalogue(address, token=session) as catalogue:
            watching = asyncio.ensure_future(anext(catalogue.watch(after=0)))
            async with patience("it has been refreshed twice"):
                while rest_api.asked["refresh"] < 2:
                    await asyncio.gather(*(ask(catalogue) for _ in range(10)))
                    await asyncio.sleep(0.05)
            assert not watching.done(), "a watch outlives its token too"
            watching.cancel()
        assert rest_api.asked["login"] == 1, "a refresh token that comes twice would have ended the session"

    async def test_a_token_that_is_refused_is_replaced_once(
        self, address: str, session: Session, rest_api: Rest, person: Person
    ) -> None:
        async with BookCatalogue(address, token=session) as catalogue:
            await ask(catalogue)
            token = await session.token()
            await person.call("DELETE", "/users/me/sessions")
            await until(lambda: is_refused(address, token), "grpc-api has heard of it")
            await asyncio.gather(*(ask(catalogue) for _ in range(20)))
        # The session has ended, and its refresh token with it.
        assert rest_api.asked == {"login": 2, "refresh": 1}

    async def test_a_call_that_is_cancelled_does_not_cancel_the_refresh(
        self, address: str, session: Session, rest_api: Rest
    ) -> None:
        async with BookCatalogue(address, token=session) as catalogue:
            await ask(catalogue)
            assert session._access
            session._access.ends_at = 0
            impatient = asyncio.ensure_future(catalogue.get(1))
            async with patience("the refresh token is sent"):
                while not rest_api.asked["refresh"]:
                    await asyncio.sleep(0)
            impatient.cancel()
            await ask(catalogue)
        assert rest_api.asked == {"login": 1, "refresh": 1}

    async def test_it_is_ended_at_the_end(self, address: str, session: Session, rest_api: Rest, person: Person) -> None:
        async with BookCatalogue(address, token=session) as catalogue:
            await ask(catalogue)
        token = await session.token()
        await session.sign_out()
        await until(lambda: is_refused(address, token), "nobody is signed in any more")
        assert rest_api.asked["logout"] == 1


class TestWhatKeepsOneOut:
    async def test_a_wrong_password(self, address: str, rest_api: Rest, person: Person) -> None:
        async with BookCatalogue(address, token=Session(rest_api.url, person.email, "wrong")) as catalogue:
            with pytest.raises(NotSignedIn, match="/auth/login answered 400"):
                await catalogue.get(1)

    async def test_a_rest_service_that_is_away(self) -> None:
        with pytest.raises(Unavailable, match="Cannot sign in"):
            await Session(f"http://127.0.0.1:{free_port()}", "ann@example.org", PASSWORD).token()

    async def test_one_that_has_too_much_to_do(self) -> None:
        async with answering({"login": (429, "Retry-After: 7\r\n", "")}) as (url, _):
            with pytest.raises(LimitReached) as error:
                await Session(url, "ann@example.org", PASSWORD).token()
        assert error.value.retry_after == 7


TOKENS = 200, "", '{"access_token": "token", "refresh_token": "refresh", "expires_in": 0}'


@asynccontextmanager
async def answering(answers: Mapping[str, tuple[int, str, str] | None]) -> AsyncIterator[tuple[str, list[str]]]:
    """A REST service that gives these answers, or breaks the connection for None; and what it was asked."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[1].decode().rpartition("/")[2])
        found = answers[asked[-1]]
        if found is not None:
            status, headers, body = found
            writer.write(f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked


class TestARefreshToken:
    async def test_it_is_not_sent_again_when_the_answer_is_lost(self) -> None:
        async with answering({"login": TOKENS, "refresh": None}) as (url, asked):
            session = Session(url, "ann@example.org", PASSWORD)
            for _ in range(3):
                await session.token()
        assert asked == ["login", "refresh", "login", "refresh", "login"]

    async def test_it_is_sent_again_when_it_was_not_looked_at(self) -> None:
        busy = 429, "Retry-After: 1\r\n", ""
        async with answering({"login": TOKENS, "refresh": busy}) as (url, asked):
            session = Session(url, "ann@example.org", PASSWORD)
            await session.token()
            for _ in range(2):
                with pytest.raises(LimitReached):
                    await session.token()
        assert asked == ["login", "refresh", "refresh"]

    async def test_while_it_cannot_be_exchanged_the_token_that_there_is_goes_on(self) -> None:
        tokens = 200, "", TOKENS[2].replace("0}", "600}")
        async with answering({"login": tokens}) as (url, asked):
            session = Session(url, "ann@example.org", PASSWORD)
            await session.token()
        assert session._access
        session._access.renew_at = 0
        assert await session.token() == "token"
        assert asked == ["login"]
