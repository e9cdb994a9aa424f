"""Not run but type-checked, by test_retry.py and `make check`: @retry gives the types that it was given."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, assert_type

from book_runtime.retry import Failure, retry

T = TypeVar("T")


@retry()
def count(word: str, *, times: int = 1) -> int:
    return len(word) * times


@retry(times=2, delay=0.5, exceptions=(OSError, ValueError), backoff=2, jitter=1, max_delay=30)
async def fetch(url: str) -> bytes:
    return url.encode()


@retry()
def same(thing: T) -> T:
    return thing


class Shelf:
    @retry()
    def look_up(self, number: int) -> str:
        return str(number)

    @retry()
    async def send(self, number: int) -> str:
        return str(number)

    @classmethod
    @retry()
    def open(cls, path: str) -> "Shelf":
        return cls()

    @staticmethod
    @retry()
    def width(metres: float) -> float:
        return metres

    @property
    @retry()
    def books(self) -> list[str]:
        return []


def tell(failure: Failure) -> None:
    assert_type(failure.attempt, int)
    assert_type(failure.exception, Exception)
    assert_type(failure.delay, float)


async def uses() -> None:
    assert_type(count("a", times=2), int)
    await assert_type(fetch("a"), Coroutine[Any, Any, bytes])
    assert_type(await fetch("a"), bytes)
    assert_type(same("a"), str)
    assert_type(Shelf().look_up(1), str)
    assert_type(await Shelf().send(number=1), str)
    assert_type(Shelf.open("a"), Shelf)
    assert_type(Shelf.width(1), float)
    assert_type(Shelf().books, list[str])
    assert_type(retry(5, on_retry=tell)(int)("1"), int)

    patient = retry(times=9)
    hasty = retry(delay=0)
    assert_type(patient(count)("a"), int)
    assert_type(await hasty(fetch)("a"), bytes)
    kept: Callable[[str], Coroutine[Any, Any, bytes]] = fetch
    del kept


async def refused() -> None:
    # An ignore that is not needed is an error (warn_unused_ignores), so each of these lines must be refused.
    count(1)  # type: ignore[arg-type]  # the parameter is a str
    count("a", 2)  # type: ignore[call-arg]  # keyword-only stays keyword-only
    await fetch()  # type: ignore[call-arg]  # the parameter is required
    Shelf().look_up("a")  # type: ignore[arg-type]  # bound methods keep the rest of their parameters
    retry(exceptions=BaseException)  # type: ignore[arg-type]  # would swallow cancellation
    retry(3, 1, OSError, 2)  # type: ignore[call-arg]  # the options are keyword-only
    retry()(3)  # type: ignore[arg-type]  # not a function
