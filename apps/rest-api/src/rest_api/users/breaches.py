"""Passwords that were found in stolen data, asked for by the first five digits of their SHA-1.

The server learns no password, only that it is one of some hundreds. It is the range API of Have I Been Pwned
(https://haveibeenpwned.com/API/v3#PwnedPasswords), or one like it on one's own network.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha1
from typing import Final, Protocol

import httpx
import structlog
from book_runtime.outage import Outage

_log = structlog.get_logger(__name__)

TIMEOUT_SECONDS: Final = 1.0
"""However slowly the answer drips. After that a password is taken as if nobody had been asked."""

_PREFIX_DIGITS: Final = 5


class Breaches(Protocol):
    """Knows passwords that were found in stolen data."""

    async def have(self, password: str) -> bool:
        """Whether this is one of them; not, if nobody can tell."""


class NoBreaches:
    """Knows none: nobody is asked."""

    async def have(self, password: str) -> bool:
        return False


class RangeApi:
    """Asks a range API."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._outage = Outage(_log, "the passwords found in stolen data", "passwords are taken without being looked up")

    async def have(self, password: str) -> bool:
        digest = sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                # Padded, so that its length does not tell what was asked.
                answer = await self._client.get(
                    f"{self._url}/{digest[:_PREFIX_DIGITS]}", headers={"Add-Padding": "true"}
                )
                answer.raise_for_status()
        except (TimeoutError, httpx.HTTPError) as error:
            self._outage.begin(error)
            return False
        self._outage.end()
        return any(_is_of(line, digest[_PREFIX_DIGITS:]) for line in answer.text.splitlines())


def _is_of(line: str, rest: str) -> bool:
    found, _, times = line.strip().partition(":")
    return found.upper() == rest and times.strip() not in {"", "0"}  # what pads was found no times


@asynccontextmanager
async def open_breaches(url: str | None) -> AsyncIterator[Breaches]:
    """What is asked at this address for the length of the block; nothing, without one."""
    if url is None:
        yield NoBreaches()
        return
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
        yield RangeApi(client, url)
