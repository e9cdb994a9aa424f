"""Writers who work on the same books and do what a good client does when something goes wrong."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

import httpx
from faults.writes import Attempt, Book, Outcome, Write
from support.people import Person
from support.waiting import PATIENCE, until

WRITERS: Final = 8

_PEOPLE: Final = 2
"""Whom the writers write as, several at a time: a password takes as long to be hashed as a kill."""

BOOKS: Final = 50

_REQUEST_TIMEOUT: Final = httpx.Timeout(6, connect=2)
"""Seconds that a writer waits for an answer, once there is an account."""
_MAX_THINKING_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 0.1
_MAX_RETRY_SECONDS: Final = 1.0
"""Between the first two attempts, and between any two: the pause is doubled each time."""

_DAY_ONE: Final = date(1800, 1, 1)


class Shelf:
    """The books that the writers know of, each with the newest version that one of them was told."""

    def __init__(self) -> None:
        self._versions: dict[int, int] = {}
        self._coming = 0

    @property
    def books(self) -> list[int]:
        return list(self._versions)

    @property
    def is_full(self) -> bool:
        """Whether there are as many books as there should be, counting those that are being made."""
        return len(self._versions) + self._coming >= BOOKS

    @property
    def is_stocked(self) -> bool:
        return len(self._versions) >= BOOKS

    def draw(self, random: Random) -> int:
        """Any book, and one of a few more often than the others: there writers meet."""
        books = self.books
        return random.choice(books[:5] if random.random() < 1 / 3 else books)

    def version(self, book_id: int) -> int | None:
        return self._versions.get(book_id)

    def note(self, book_id: int, version: int) -> None:
        """Somebody has made the book, or seen it at this version."""
        self._versions[book_id] = max(version, self._versions.get(book_id, 0))

    def remove(self, book_id: int) -> None:
        self._versions.pop(book_id, None)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Keeps a place for a book that is made in the block."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1


class Writer:
    """Writes one thing after the other."""

    def __init__(self, number: int, person: Person, shelf: Shelf, seed: str) -> None:
        self.writes: list[Write] = []
        self.reads: set[Book] = set()
        self._number = number
        self._person = person
        self._actor = str(person.id)
        self._shelf = shelf
        self._random = Random(f"{seed} {number}")  # noqa: S311  # what is drawn shall be drawn again

    async def work(self, until: asyncio.Event) -> None:
        while not until.is_set():
            if not self._shelf.is_full:
                await self._create()
            else:
                await self._work_on(self._shelf.draw(self._random))
            await asyncio.sleep(self._random.uniform(0, _MAX_THINKING_SECONDS))

    async def _create(self) -> None:
        key = str(self._uuid()) if self._random.random() < 2 / 3 else None
        async with self._shelf.place():
            answer = await self._carry_out(Write(self._actor, "created", self._words() | self._day(), key=key))
            if answer.book:
                self._shelf.note(answer.book.id, answer.book.version)

    async def _work_on(self, book_id: int) -> None:
        if self._random.random() < 1 / 3:
            await self._read(book_id)
        version = self._shelf.version(book_id) if self._random.random() < 1 / 2 else None
        [what] = self._random.choices(("patch", "put", "delete"), (6, 3, 1))
        if what == "delete":
            write = Write(self._actor, "deleted", book_id=book_id, if_match=version)
        else:
            fields = self._words() | self._day() if what == "put" else self._some_words()
            write = Write(self._actor, "updated", fields, book_id, version)
        self._learn(book_id, await self._carry_out(write))

    def _learn(self, book_id: int, answer: Attempt) -> None:
        if answer.answer.startswith(("204", "404")):
            self._shelf.remove(book_id)
        elif answer.version and self._shelf.version(book_id):
            self._shelf.note(book_id, answer.version)

    async def _read(self, book_id: int) -> None:
        try:
            answer = await self._person.call("GET", f"/books/{book_id}")
        except httpx.TransportError:
            return
        if answer.status_code == httpx.codes.OK and (book := _book_in(answer)):
            self.reads.add(book)

    async def _carry_out(self, write: Write) -> Attempt:
        """Asks until there is an answer, or until nobody knows whether it was done and to ask again would be wrong."""
        self.writes.append(write)
        pause = _RETRY_SECONDS
        while True:
            attempt = await self._attempt(write)
            write.attempts.append(attempt)
            if not _is_worth_repeating(write, attempt):
                return attempt
            await asyncio.sleep(self._random.uniform(pause / 2, pause))
            pause = min(pause * 2, _MAX_RETRY_SECONDS)

    async def _attempt(self, write: Write) -> Attempt:
        sent_at = time.monotonic()
        try:
            answer = await self._person.call(
                write.method,
                "/books" if write.book_id is None else f"/books/{write.book_id}",
                json=dict(write.fields) or None,
                headers=_headers(write),
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Attempt(sent_at, time.monotonic(), type(error).__name__, Outcome.NOT_DONE)
        except httpx.TransportError as error:
            return Attempt(sent_at, time.monotonic(), type(error).__name__, Outcome.UNKNOWN)
        return Attempt(
            sent_at,
            time.monotonic(),
            _name_of(answer),
            _outcome(write, answer),
            int(answer.headers.get("etag", '"0"').strip('"')) or None,
            _book_in(answer) if answer.is_success else None,
        )

    def _words(self) -> dict[str, str]:
        number = f"{self._number}.{len(self.writes)}"
        return {"title": f"Volume {number}", "author": f"Author {number}"}

    def _some_words(self) -> dict[str, str]:
        name = self._random.choice(("title", "author"))
        return {name: self._words()[name]}

    def _day(self) -> dict[str, str]:
        return {"publication_date": str(_DAY_ONE + timedelta(days=self._random.randrange(70_000)))}

    def _uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)


class Load:
    """All writers at once."""

    def __init__(self, writers: list[Writer], shelf: Shelf) -> None:
        self._writers = writers
        self._shelf = shelf

    @property
    def books(self) -> list[int]:
        """Those that there are now, as far as the writers know."""
        return self._shelf.books

    @property
    def writes(self) -> list[Write]:
        return [write for writer in self._writers for write in writer.writes]

    @property
    def reads(self) -> set[Book]:
        return {book for writer in self._writers for book in writer.reads}


@asynccontextmanager
async def writing(url: str, seed: str) -> AsyncIterator[Load]:
    """Writers work from when there are all books to the end of the block, where each comes to an end with its work."""
    shelf, stop = Shelf(), asyncio.Event()
    async with AsyncExitStack() as closing:
        clients = [await closing.enter_async_context(_client(url)) for _ in range(WRITERS)]
        people = await asyncio.gather(*map(_person, clients[:_PEOPLE]))
        for client in clients:
            client.timeout = _REQUEST_TIMEOUT
        writers = [
            Writer(number, people[number % _PEOPLE].with_client(client), shelf, seed)
            for number, client in enumerate(clients)
        ]
        async with asyncio.TaskGroup() as working:
            for writer in writers:
                working.create_task(writer.work(stop))
            await until(lambda: shelf.is_stocked, "all books are there")
            try:
                yield Load(writers, shelf)
            finally:
                stop.set()


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False)


async def _person(client: httpx.AsyncClient) -> Person:
    person = await Person.register(client)
    await person.sign_in()
    return person


def _headers(write: Write) -> dict[str, str]:
    key = {"Idempotency-Key": f'"{write.key}"'} if write.key else {}
    return key | ({"If-Match": f'"{write.if_match}"'} if write.if_match else {})


def _is_worth_repeating(write: Write, attempt: Attempt) -> bool:
    if attempt.outcome is Outcome.UNKNOWN:
        return write.may_be_repeated
    return attempt.outcome is Outcome.NOT_DONE and not attempt.answer.startswith("4")


def _outcome(write: Write, answer: httpx.Response) -> Outcome:
    if answer.is_success:
        return Outcome.DONE
    if answer.is_client_error:
        return Outcome.NOT_DONE
    # The promise of Retry-After: nothing was done, or with a key nothing will be done twice.
    is_certain = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "retry-after" in answer.headers
    return Outcome.NOT_DONE if is_certain and not write.key else Outcome.UNKNOWN


def _name_of(answer: httpx.Response) -> str:
    if answer.is_success:
        return str(answer.status_code)
    try:
        problem: Mapping[str, Any] = answer.json()
    except json.JSONDecodeError:
        return f"{answer.status_code} {answer.text[:100]}"
    return f"{answer.status_code} {problem['type'].rpartition(':')[2]}"


def _book_in(answer: httpx.Response) -> Book | None:
    return Book(**{name: answer.json()[name] for name in Book._fields}) if answer.content else None
