"""Passwords: what they must be, and their hashes."""

import asyncio
import base64
import re
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import ClassVar, Final, NamedTuple, Self, TypeVar, TypeVarTuple

from argon2 import Parameters
from argon2.profiles import RFC_9106_LOW_MEMORY
from book_runtime.errors import DocumentedError
from book_runtime.turns import NoTurnLeft, Turns
from fastapi_users.password import PasswordHelper
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from rest_api.users.common_passwords import is_common

A = TypeVarTuple("A")
R = TypeVar("R")

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256
RULES: Final = (
    f"{MIN_LENGTH} to {MAX_LENGTH} characters, not blank, not the e-mail address or the part before its @, not a short "
    "piece again and again, and none that many people have"
)

_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

COST: Parameters = RFC_9106_LOW_MEMORY
"""What a hash takes: three rounds over 64 MiB."""

_MAX_CONCURRENT_HASHES: Final = 2
"""Each hash takes 64 MiB and all cores for some tenths of a second."""

_MAX_WAITING: Final = 256
_MAX_WAITING_PER_SITE: Final = 32
"""Hashes that may wait for their turn, and those that may for clients of one site: more would wait for longer than
anybody who signs in does.
"""

SITE: Final[ContextVar[str]] = ContextVar("site", default="")
"""Where the request comes from that is being answered."""


class PasswordsBusy(DocumentedError):
    """Too many passwords are being checked just now."""

    retry_after: ClassVar[int] = 1
    """Seconds after which asking again makes sense."""


def fault_of(password: str, email: str) -> str | None:
    """What keeps this from being the password of the user with this address, or None if nothing does."""
    if len(password) > MAX_LENGTH:
        return f"must have at most {MAX_LENGTH} characters"
    if forbidden := _FORBIDDEN.search(password):
        return f"must not contain the character U+{ord(forbidden[0]):04X}"
    if len(normalised(password)) < MIN_LENGTH:
        return f"must have at least {MIN_LENGTH} characters"
    if not password.strip():
        return "must not be blank"
    return _guessed_by(bare(password), bare(email))


def _guessed_by(password: str, email: str) -> str | None:
    """By what those who guess would find it soon."""
    if password in (email, email.rpartition("@")[0].strip()):
        return "must not be the e-mail address or the part before its @"
    if _piece_of(password) < min(MIN_LENGTH, len(password)):
        return "must not be a short piece again and again"
    if is_common(password):
        return "must not be one that many people have"
    return None


def _piece_of(password: str) -> int:
    """The length of the shortest piece that the whole is made of, again and again; its own if there is none."""
    return (password * 2).find(password, 1)


def are_the_same(one: str, other: str) -> bool:
    """Whether two passwords are one, however they were typed."""
    return normalised(one) == normalised(other)


class Verdict(NamedTuple):
    """Whether a password is right, and a better hash of it if the one that is stored is of an older make."""

    right: bool
    better_hash: str | None


class Passwords:
    """Argon2id hashes. They are made on threads of their own, so that the event loop goes on meanwhile."""

    def __init__(self) -> None:
        hasher = Argon2Hasher(COST.time_cost, COST.memory_cost, COST.parallelism, COST.hash_len, COST.salt_len)
        self.helper: Final = PasswordHelper(PasswordHash((hasher,)))
        self._threads = ThreadPoolExecutor(_MAX_CONCURRENT_HASHES, thread_name_prefix="passwords")
        self._turns = Turns(_MAX_CONCURRENT_HASHES, waiting=_MAX_WAITING, waiting_each=_MAX_WAITING_PER_SITE)
        self._nobodys_hash = _nobodys_hash(COST)

    async def hash(self, password: str) -> str:
        return await self._beside_the_loop(self.helper.hash, normalised(password))

    async def verify(self, password: str, hashed: str | None) -> Verdict:
        """Whether the password is the hashed one. Without a hash it is not, which takes as long to tell."""
        if len(password) > MAX_LENGTH or _FORBIDDEN.search(password):
            password, hashed = "", None
        return await self._beside_the_loop(self._verify, normalised(password), hashed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    def _verify(self, password: str, hashed: str | None) -> Verdict:
        right, better_hash = self.helper.verify_and_update(password, hashed or self._nobodys_hash)
        return Verdict(right and hashed is not None, better_hash)

    async def _beside_the_loop(self, work: Callable[[*A], R], *args: *A) -> R:
        """Raises PasswordsBusy."""
        try:
            async with self._turns.taken_by(SITE.get()):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        except NoTurnLeft as error:
            raise PasswordsBusy from error


def _nobodys_hash(cost: Parameters) -> str:
    """The hash of a user who is not there. No password has it, and to find that out takes as long as for any other."""
    salt, digest = (_base64(secrets.token_bytes(length)) for length in (cost.salt_len, cost.hash_len))
    how = f"m={cost.memory_cost},t={cost.time_cost},p={cost.parallelism}"
    return f"$argon2id$v={cost.version}${how}${salt}${digest}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def normalised(password: str) -> str:
    """In NFC, so that it is the same password from every keyboard (RFC 8265, 4.2.2)."""
    return unicodedata.normalize("NFC", password)


def bare(text: str) -> str:
    """What is the same for all ways to write a text that those who guess try together."""
    return unicodedata.normalize("NFKC", text).strip().casefold()
