"""How long answers take, with the real costs of Argon2: it must not tell whether somebody has an account."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable

import httpx
from rest_api.users.parts import UserParts
from support.people import PASSWORD, Person, log_in

ROUNDS = 5


async def medians(calls: dict[str, Callable[[], Awaitable[object]]]) -> dict[str, float]:
    """Seconds, of each call; they take turns, so that what else the machine does meets them all."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.perf_counter()
            await call()
            took[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in took.items()}


class TestLogin:
    async def test_takes_as_long_for_whoever_is_not_let_in(
        self, ada: Person, stranger: httpx.AsyncClient, parts: UserParts
    ) -> None:
        idle = await Person.register(stranger)
        await parts.users.change(idle.id, {"is_active": False})
        took = await medians(
            {
                "wrong password": lambda: log_in(stranger, ada.email, "correct horse batterz"),
                "unknown": lambda: log_in(stranger, "nobody@example.org", PASSWORD),
                "deactivated": lambda: log_in(stranger, idle.email, PASSWORD),
                "impossible password": lambda: log_in(stranger, ada.email, "\0"),
            }
        )
        assert max(took.values()) < 1.8 * min(took.values()), took

    async def test_leaves_the_event_loop_free_for_others(self, ada: Person, stranger: httpx.AsyncClient) -> None:
        beats: list[float] = []

        async def heart() -> None:
            while True:
                beats.append(time.perf_counter())
                await asyncio.sleep(0.005)

        beating = asyncio.create_task(heart())
        began = time.perf_counter()
        await asyncio.gather(*(log_in(stranger, ada.email, PASSWORD) for _ in range(6)))
        took = time.perf_counter() - began
        beating.cancel()
        longest = max(later - earlier for earlier, later in itertools.pairwise(beats))
        assert longest < took / 3


class TestForgotPassword:
    async def test_takes_as_long_for_an_unknown_address(self, ada: Person, stranger: httpx.AsyncClient) -> None:
        def forget(email: str) -> Callable[[], Awaitable[object]]:
            return lambda: stranger.post("/api/v1/auth/forgot-password", json={"email": email})

        took = await medians({"known": forget(ada.email), "unknown": forget("nobody@example.org")})
        # Both are a look-up of a few milliseconds; an Argon2 hash or a mail would be many times that.
        assert abs(took["known"] - took["unknown"]) < 0.02, took
