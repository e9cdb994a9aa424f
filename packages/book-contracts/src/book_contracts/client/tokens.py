"""Where access tokens come from."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable


@runtime_checkable
class TokenSource(Protocol):
    """Gives an access token, and another one when the service refuses it."""

    async def token(self) -> str:
        """A token that should be good. Asked for each call, so it is remembered for as long as it is."""

    async def renewed(self, refused: str) -> str | None:
        """A token in place of one that was refused, or None when there is no other. Many calls may ask at once."""


Token: TypeAlias = str | Callable[[], str | Awaitable[str]] | TokenSource
"""A token, a function that is asked for one before each call, which may be async, or a source such as Session."""


def source_of(token: Token) -> TokenSource:
    if isinstance(token, str):
        return _Fixed(token)
    return token if isinstance(token, TokenSource) else _Called(token)


@dataclass(frozen=True, slots=True)
class _Fixed:
    _token: str

    async def token(self) -> str:
        return self._token

    async def renewed(self, refused: str) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _Called:
    _function: Callable[[], str | Awaitable[str]]

    async def token(self) -> str:
        found = self._function()
        return found if isinstance(found, str) else await found

    async def renewed(self, refused: str) -> str | None:
        """The function may know by now that its token is good no more."""
        found = await self.token()
        return None if found == refused else found
