"""Nothing stands still while one request is in hand, and none takes much more memory than it may have."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Final

import httpx
import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from support.people import PASSWORD
from support.services import RestApi
from support.waiting import PATIENCE

from .conftest import System

LONGEST: Final = 0.25
"""Seconds of the service's processor between a question and its answer. A busy machine makes an answer wait for other
work as well, which no request is to blame for.
"""
EVERY: Final = 0.02
BATCH_MAX: Final = 8 * 2**20
ALLOWANCE: Final = 4
"""Times what a request may have is what memory may grow by."""

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"


@dataclass
class Pulse:
    """What was seen while `/healthz/live` was asked again and again."""

    longest: float = 0.0
    peak: int = 0
    """Bytes of memory."""


@contextmanager
def asked_again_and_again(rest: RestApi) -> Iterator[Pulse]:
    """From a thread, for the length of the block."""
    process = psutil.Process(rest.pid)
    pulse = Pulse()
    over = threading.Event()

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", rest.port, timeout=PATIENCE)
        while True:
            before = process.cpu_times()
            connection.request("GET", "/healthz/live")
            assert connection.getresponse().read()
            after = process.cpu_times()
            pulse.longest = max(pulse.longest, after.user + after.system - before.user - before.system)
            pulse.peak = max(pulse.peak, process.memory_info().rss)
            if over.wait(EVERY):
                break
        connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield pulse
    finally:
        over.set()
        asking.join()


def a_book(title: str = "Middlemarch") -> dict[str, str]:
    return {"title": title, "author": "George Eliot", "publication_date": "1871-12-01"}


def in_han(length: int, number: int) -> str:
    """A title in which hardly a pair of characters is there twice."""
    return "".join(chr(0x4E00 + (number * 2_003 + place * place * 31) % 20_000) for place in range(length))


def in_words(count: int, number: int) -> str:
    return " ".join(f"{number * count + place:x}" for place in range(count))


def batch(*titles: str) -> bytes:
    return json.dumps({"books": [a_book(title) for title in titles]}, ensure_ascii=False).encode()


def unknown_fields(size: int) -> bytes:
    return b",".join(b'"%x":1' % number for number in range(size // 10))


def full_of(part: bytes, size: int) -> bytes:
    return b",".join([part] * (size // (len(part) + 1)))


ALMOST: Final = BATCH_MAX - 2**10

BATCHES: Final[dict[str, tuple[int, Callable[[], bytes]]]] = {
    "thousand-books": (201, lambda: batch(*["Middlemarch"] * 1_000)),
    "all-the-words-that-fit": (201, lambda: batch(*(in_han(100, number) for number in range(800)))),
    "han": (413, lambda: batch(*(in_han(2_000, number) for number in range(1_000)))),
    "words": (413, lambda: batch(*(in_words(300, number) for number in range(1_000)))),
    "unknown-fields-of-a-book": (422, lambda: b'{"books":[{' + unknown_fields(ALMOST) + b"}]}"),
    "unknown-fields": (422, lambda: b"{" + unknown_fields(ALMOST) + b"}"),
    "empty-lists": (422, lambda: b'{"books":[' + full_of(b"[]", ALMOST) + b"]}"),
    "empty-books": (422, lambda: b'{"books":[' + full_of(b"{}", ALMOST) + b"]}"),
    "lists-in-a-title": (422, lambda: b'{"books":[{"title":[' + full_of(b"[]", ALMOST) + b"]}]}"),
    "empty-strings": (422, lambda: b'{"books":[{"title":[' + full_of(b'""', ALMOST) + b"]}]}"),
    "one-string": (422, lambda: b'{"books":[{"title":"' + b"\\n" * (ALMOST // 2) + b'"}]}'),
    "depth": (400, lambda: b'{"books":' + b"[" * (ALMOST // 2) + b"]" * (ALMOST // 2) + b"}"),
    "an-end-too-early": (400, lambda: b'{"books":[{' + unknown_fields(ALMOST)),
}

BOOK_MAX: Final = 256 * 2**10 - 2**10
SMALL_MAX: Final = 64 * 2**10 - 2**10

OTHERS: Final[dict[str, tuple[int, str, str, Callable[[], bytes]]]] = {
    "a-book-of-unknown-fields": (422, "/books", JSON, lambda: b"{" + unknown_fields(BOOK_MAX) + b"}"),
    "a-book-of-lists": (422, "/books", JSON, lambda: b'{"title":[' + full_of(b"[]", BOOK_MAX) + b"]}"),
    "a-book-in-han": (201, "/books", JSON, lambda: json.dumps(a_book(in_han(2_000, 7))).encode()),
    "an-account-of-unknown-fields": (422, "/auth/register", JSON, lambda: b"{" + unknown_fields(SMALL_MAX) + b"}"),
    "a-form-of-unknown-fields": (
        422,
        "/auth/login",
        "application/x-www-form-urlencoded",
        lambda: b"&".join(b"%x=1" % number for number in range(SMALL_MAX // 7)),
    ),
    "an-import-in-han": (
        200,
        "/books/import",
        NDJSON,
        lambda: b"\n".join(
            json.dumps(a_book(in_han(1_500, number)), ensure_ascii=False).encode() for number in range(90)
        ),
    ),
    "an-import-of-rubbish": (200, "/books/import", NDJSON, lambda: b'{"a":1}\n' * 60_000),
    "an-import-of-unknown-fields": (
        200,
        "/books/import",
        NDJSON,
        lambda: b"\n".join([b"{" + unknown_fields(60_000) + b"}"] * 60),
    ),
    "an-import-of-quotes": (
        200,
        "/books/import",
        CSV,
        lambda: b"title,author,publication_date\n" + b"\n".join([b'"' * 60_000] * 60),
    ),
}


@pytest.fixture(scope="module")
def caller(system: System) -> Iterator[httpx.Client]:
    """Someone who is signed in, and has called: nothing here is about what is made once."""
    account = {"email": "ada@example.org", "password": PASSWORD}
    with httpx.Client(base_url=f"{system.rest.url}/api/v1", timeout=PATIENCE) as client:
        client.post("/auth/register", json=account).raise_for_status()
        signed_in = client.post("/auth/login", data={"username": account["email"], "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {signed_in.json()['access_token']}"
        client.post("/books/batch", content=batch("Middlemarch"), headers={"Content-Type": JSON}).raise_for_status()
        yield client


class TestTheService:
    @pytest.mark.parametrize("kind", BATCHES)
    def test_answers_while_many_books_are_in_hand(self, rest: RestApi, caller: httpx.Client, kind: str) -> None:
        status, body = BATCHES[kind]
        answers_beside(rest, caller, status, "/books/batch", JSON, body())

    @pytest.mark.parametrize("kind", OTHERS)
    def test_answers_while_others_are_in_hand(self, rest: RestApi, caller: httpx.Client, kind: str) -> None:
        status, path, form, body = OTHERS[kind]
        answers_beside(rest, caller, status, path, form, body())


def answers_beside(rest: RestApi, caller: httpx.Client, status: int, path: str, form: str, body: bytes) -> None:
    assert len(body) <= BATCH_MAX
    before = psutil.Process(rest.pid).memory_info().rss
    with asked_again_and_again(rest) as pulse:
        answer = caller.post(path, content=body, headers={"Content-Type": form})
    assert answer.status_code == status, answer.text
    assert pulse.longest <= LONGEST
    assert pulse.peak - before <= ALLOWANCE * BATCH_MAX
